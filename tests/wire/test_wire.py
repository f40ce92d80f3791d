"""Every folder of recorded bytes is a test: what is sent, what is understood, and what no cut may turn into."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.garbage import nothing_left
from tests.wire.recording import Recording, is_finished, recordings, written, written_fault

from antiphon.protocol.deltas import Failed, Finished
from antiphon.protocol.errors import TruncatedStream, UpstreamFault

ALL = recordings()
STREAMS = [case for case in ALL if case.response is not None and case.response[0] == 200]
FAULTS = [case for case in ALL if case.response is not None and case.response[0] != 200]


def _ids(cases: list[Recording]) -> list[str]:
    return [case.name for case in cases]


def _golden(path: Path, actual: Any, request: pytest.FixtureRequest) -> Any:
    """What the file says; with --update-golden it first says what is."""
    if request.config.getoption("--update-golden"):
        path.write_bytes(msgspec.json.format(msgspec.json.encode(actual), indent=2) + b"\n")
    assert path.exists(), f"{path} is missing: run pytest tests/wire --update-golden and read the diff"
    return msgspec.json.decode(path.read_bytes())


@pytest.mark.parametrize("case", ALL, ids=_ids(ALL))
def test_a_turn_is_sent_as_recorded_to_the_order_of_its_keys(case: Recording, request: pytest.FixtureRequest) -> None:
    actual = case.encoded()
    golden = _golden(case.path / "request.json", actual, request)
    assert msgspec.json.encode(actual).decode() == msgspec.json.encode(golden).decode()


@pytest.mark.parametrize("case", ALL, ids=_ids(ALL))
def test_a_turn_is_sent_as_the_same_bytes_twice(case: Recording) -> None:
    if "error" not in case.encoded():
        assert case.dialect.encode(case.turn, case.target) == case.http_request


@pytest.mark.parametrize("case", STREAMS, ids=_ids(STREAMS))
def test_an_answer_is_understood_as_recorded(case: Recording, request: pytest.FixtureRequest) -> None:
    actual = written(_until_end(case, case.body))
    assert actual == _golden(case.path / "deltas.json", actual, request)


@pytest.mark.parametrize("case", FAULTS, ids=_ids(FAULTS))
def test_a_refused_call_is_classified_as_recorded(case: Recording, request: pytest.FixtureRequest) -> None:
    assert case.response is not None
    status, headers, body = case.response
    actual = [{"delta": "Failed", "error": written_fault(case.dialect.fault(status, headers, body))}]
    assert actual == _golden(case.path / "deltas.json", actual, request)


@pytest.mark.parametrize("case", STREAMS, ids=_ids(STREAMS))
@given(cuts=st.lists(st.integers(0, 1 << 16), max_size=12))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_chunking_gives_the_same_deltas(case: Recording, cuts: list[int]) -> None:
    ends = sorted({cut % (len(case.body) + 1) for cut in cuts} | {0, len(case.body)})
    chunks = [case.body[start:end] for start, end in pairwise(ends)]
    assert written(_until_end(case, *chunks)) == written(_until_end(case, case.body))


@pytest.mark.parametrize("case", STREAMS, ids=_ids(STREAMS))
def test_single_bytes_give_the_same_deltas(case: Recording) -> None:
    single = [case.body[index : index + 1] for index in range(len(case.body))]
    assert written(_until_end(case, *single)) == written(_until_end(case, case.body))


@pytest.mark.slow
@pytest.mark.parametrize("case", STREAMS, ids=_ids(STREAMS))
def test_a_cut_anywhere_is_finished_only_if_the_finish_was_read(case: Recording) -> None:
    marker = case.finish_marker.search(case.body)
    finish = marker.end() if marker else len(case.body) + 1
    for cut in range(min(finish, len(case.body))):
        assert not is_finished(_until_end(case, case.body[:cut])), f"cut at byte {cut}"


@pytest.mark.parametrize("case", STREAMS, ids=_ids(STREAMS))
def test_nothing_follows_the_last_delta(case: Recording) -> None:
    deltas = _until_end(case, case.body, case.body)
    assert not any(isinstance(delta, Finished | Failed) for delta in deltas[:-1])


@pytest.mark.parametrize("dialect", sorted({case.dialect.name for case in STREAMS}))
def test_a_decoder_that_is_let_go_is_free(dialect: str) -> None:
    cases = [case for case in STREAMS if case.dialect.name == dialect]
    with nothing_left():
        for case in cases:
            _until_end(case, case.body)


def _until_end(case: Recording, *chunks: bytes) -> list[Any]:
    """The deltas of these chunks; those before the cut where the stream is truncated."""
    decoder = case.dialect.decoder(case.target, case.http_request)
    deltas: list[Any] = []
    try:
        for chunk in chunks:
            deltas += decoder.feed(chunk)
        deltas += decoder.close()
    except (TruncatedStream, UpstreamFault):
        pass
    return deltas
