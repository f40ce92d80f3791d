"""Recorded answers, damaged: frames twice, in another order, left out, bytes or values changed. All of it is legal.

A decoder may refuse with its two errors and nothing else; what it has said until then, assembled, is a stream that
clients can read to its end, and what it keeps can be read again.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.stage import Stage
from tests.upstream.converse_wire import frame
from tests.wire.recording import Recording, recordings

from antiphon.engine.assembler import StoredTurn
from antiphon.engine.history import encode_turns
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.providers.eventstream import FrameDecoder

STREAMS = [case for case in recordings() if case.response is not None and case.response[0] == 200]
FRAME = re.compile(rb"(?<=\n)(?=data:|event:|\{)")
HEAD = re.compile(rb"(?:data:)? *")
BROKEN = UpstreamFault("transport", "the stream broke")


def perform(case: Recording, body: bytes) -> None:
    stage = Stage()
    stage.assembler.begin_turn("family", "scope", "model")
    decoder = case.dialect.decoder(case.target, case.http_request)
    failure = None
    try:
        stage.assembler.apply_all(decoder.feed(body))
        stage.assembler.apply_all(decoder.close())
    except (TruncatedStream, UpstreamFault):
        failure = BROKEN
    stage.assembler.end_turn()
    stage.finish(failure)
    for turn in msgspec.json.decode(encode_turns(stage.assembler.turns), type=list[StoredTurn]):
        if turn.record is not None:
            msgspec.json.decode(turn.record.blocks)


def with_value(document: Any, place: int, value: Any) -> Any:
    """The document with another value in the place-th of its places; the 0th is all of it."""
    left = place % _places(document)

    def walk(here: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            return value
        if isinstance(here, dict):
            return {key: walk(inner) for key, inner in here.items()}
        return [walk(inner) for inner in here] if isinstance(here, list) else here

    return walk(document)


def _places(here: Any) -> int:
    inner = here.values() if isinstance(here, dict) else here if isinstance(here, list) else ()
    return 1 + sum(map(_places, inner))


values = st.sampled_from(
    [None, True, -1, 0.5, 2**63, 10**30, "", "text", "\0", '{"a', [], [None], {}, {"type": "other"}, [{"text": 1}]]
)
orders = st.lists(st.integers(0, 1 << 16), min_size=1, max_size=60)
changes = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4)


@pytest.mark.parametrize("case", STREAMS, ids=[case.name for case in STREAMS])
@given(order=orders)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_frames_twice_or_in_any_order_give_a_legal_stream(case: Recording, order: list[int]) -> None:
    frames = FRAME.split(case.body)
    perform(case, b"".join(frames[index % len(frames)] for index in order))


@pytest.mark.parametrize("case", STREAMS, ids=[case.name for case in STREAMS])
@given(changed=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 1 << 16), values), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_other_values_give_a_legal_stream(case: Recording, changed: list[tuple[int, int, Any]]) -> None:
    is_binary = case.body[:1] == b"\0"
    frames = FrameDecoder().feed(case.body) if is_binary else []
    payloads = [one.payload for one in frames] if is_binary else case.body.split(b"\n")
    told = [number for number, payload in enumerate(payloads) if _document(payload) is not None]
    for line, place, value in changed if told else ():
        number = told[line % len(told)]
        head, document = _document(payloads[number]) or (b"", {})
        payloads[number] = head + msgspec.json.encode(with_value(document, place, value))
    if is_binary:
        perform(case, b"".join(frame(one.headers, said) for one, said in zip(frames, payloads, strict=True)))
    else:
        perform(case, b"\n".join(payloads))


def _document(payload: bytes) -> tuple[bytes, Any] | None:
    """What stands before the JSON of a line or a frame, and what it says."""
    head = HEAD.match(payload)
    assert head is not None, "it matches nothing, too"
    try:
        return head[0], msgspec.json.decode(payload[head.end() :])
    except msgspec.DecodeError:
        return None


@pytest.mark.parametrize("case", STREAMS, ids=[case.name for case in STREAMS])
@given(change=changes)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_changed_bytes_give_a_legal_stream(case: Recording, change: list[tuple[int, int]]) -> None:
    damaged = bytearray(case.body)
    for place, value in change:
        damaged[place % len(damaged)] = value
    perform(case, bytes(damaged))
