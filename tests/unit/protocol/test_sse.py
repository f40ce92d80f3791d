"""Blocks of server-sent events that are read together are the events that they are one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.protocol.sse import SseDecoder, SseEvent, events_in

BLOCKS = (
    (b"event: a\ndata: 1", [SseEvent(b"1", "a")]),
    (b"event: b \ndata: 2", [SseEvent(b"2", "b")]),
    (b"event: c\ndata: 3\ndata: 4", [SseEvent(b"3\n4", "c")]),
    (b"event: d\ndata:5", [SseEvent(b"5", "d")]),
    (b"event: e\nid: 6\ndata: 7", [SseEvent(b"7", "e")]),
    (b"event: f", []),
    (b"event: \ndata: ", [SseEvent(b"", "")]),
    (b"data: event: g", [SseEvent(b"event: g")]),
    (b"data: 8", [SseEvent(b"8")]),
    (b": event: h\ndata: 9", [SseEvent(b"9")]),
    (b"event: i\nevent: j\ndata: 10", [SseEvent(b"10", "j")]),
    (b": nothing", []),
)


@pytest.mark.parametrize(("block", "events"), BLOCKS)
def test_a_block_is_what_the_grammar_says(block: bytes, events: list[SseEvent]) -> None:
    assert SseDecoder().feed(block + b"\n\n") == events


@given(blocks=st.lists(st.sampled_from(BLOCKS), max_size=6))
def test_blocks_read_together_are_the_events_that_they_are_alone(blocks: list[tuple[bytes, list[SseEvent]]]) -> None:
    together = b"".join(block + b"\n\n" for block, _ in blocks)
    assert events_in(together) == [event for _, events in blocks for event in events]
    assert SseDecoder().feed(together.replace(b"\n", b"\r\n")) == events_in(together)
