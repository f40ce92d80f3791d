"""Blocks of a Chat Completions stream that come at once say what they say one by one, whatever is wrong with them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.spread import spread
from tests.unit.providers import chat_kit

from antiphon.protocol.deltas import Delta, Failed
from antiphon.protocol.errors import TruncatedStream, UpstreamFault

SAYS_A = msgspec.json.encode(chat_kit.said(content="a"))
SAYS_B = msgspec.json.encode(chat_kit.said(content="b"))
HALVES = (b'{"choices":[{"index":0,"delta":{"content":"c"}', b"}]}")
GOOD = b"data: " + SAYS_A
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
BLOCKS = (
    GOOD,
    b"data: " + SAYS_B,
    b"data:" + SAYS_A,
    b"data: " + SAYS_A + b" ",
    b"data: " + SAYS_A + SAYS_B,
    b"data: " + SAYS_A + b"," + SAYS_B,
    b"data: " + SAYS_A + b"\ndata: " + SAYS_B,
    b"data: " + SAYS_A + b"\n" + SAYS_B,
    b"data: " + HALVES[0],
    b"data: " + HALVES[1] + SAYS_A,
    b"data: " + HALVES[0] + b"\n" + HALVES[1],
    SAYS_A,
    b"",
    b": comment",
    b"event: message\ndata: " + SAYS_A,
    b"event: error\ndata: " + SAYS_A,
    b"id: 7\ndata: " + SAYS_A,
    STOP,
    b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
    b'data: {"error":{"message":"no"}}',
    b"data: [DONE]",
    b"data: null",
)


def outcome(*reads: bytes) -> tuple[list[Delta | str], str]:
    """What is understood of an answer that comes in these pieces, and why it was refused."""
    decoder = chat_kit.DIALECT.decoder(chat_kit.target(), chat_kit.encode())
    deltas: list[Delta] = []
    try:
        for one in reads:
            deltas += decoder.feed(one)
        deltas += decoder.close()
    except (UpstreamFault, TruncatedStream) as error:
        return [], str(error).partition(":")[0]
    return [str(delta.error) if isinstance(delta, Failed) else delta for delta in spread(deltas)], ""


@given(blocks=st.lists(st.sampled_from(BLOCKS), max_size=6))
def test_blocks_that_come_at_once_say_what_they_say_one_by_one(blocks: list[bytes]) -> None:
    first, *rest = (block + b"\n\n" for block in (GOOD, *blocks))
    assert outcome(b"".join((first, *rest))) == outcome(first, *rest)


@pytest.mark.parametrize("broken", [*BLOCKS[4:7], *BLOCKS[8:11]])
def test_what_is_no_chunk_is_none_between_good_ones_either(broken: bytes) -> None:
    refused = ([], "The provider sent an event that is not a chat completion chunk")
    assert outcome(b"\n\n".join((GOOD, GOOD, broken, GOOD, STOP, b""))) == refused
    assert outcome(GOOD + b"\n\n", broken + b"\n\n") == refused


def test_a_line_without_a_field_is_no_part_of_a_chunk() -> None:
    said, _ = outcome(b"\n\n".join((GOOD, BLOCKS[7], STOP, b"")))
    assert said == outcome(b"\n\n".join((GOOD, GOOD, STOP, b"")))[0]


def test_two_broken_halves_of_a_chunk_are_not_read_as_one() -> None:
    blocks = (GOOD, b"data: " + HALVES[0], b"data: " + HALVES[1] + SAYS_A, STOP, b"")
    assert outcome(b"\n\n".join(blocks))[1] == "The provider sent an event that is not a chat completion chunk"
