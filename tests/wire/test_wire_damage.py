"""Recorded answers, damaged: frames twice, in another order, left out, bytes changed. Whatever comes of it is legal.

A decoder may refuse with its two errors and nothing else, and what it has said until then, assembled, is a stream that
clients can read to its end.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.stage import Stage
from tests.wire.recording import Recording, recordings

from antiphon.protocol.errors import TruncatedStream, UpstreamFault

STREAMS = [case for case in recordings() if case.response is not None and case.response[0] == 200]
FRAME = re.compile(rb"(?<=\n)(?=data:|event:|\{)")
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


orders = st.lists(st.integers(0, 1 << 16), min_size=1, max_size=60)
changes = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4)


@pytest.mark.parametrize("case", STREAMS, ids=[case.name for case in STREAMS])
@given(order=orders)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_frames_twice_or_in_any_order_give_a_legal_stream(case: Recording, order: list[int]) -> None:
    frames = FRAME.split(case.body)
    perform(case, b"".join(frames[index % len(frames)] for index in order))


@pytest.mark.parametrize("case", STREAMS, ids=[case.name for case in STREAMS])
@given(change=changes)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_changed_bytes_give_a_legal_stream(case: Recording, change: list[tuple[int, int]]) -> None:
    damaged = bytearray(case.body)
    for place, value in change:
        damaged[place % len(damaged)] = value
    perform(case, bytes(damaged))
