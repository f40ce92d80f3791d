"""Blocks that are read by the bytes around their text are read as the decoder reads them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.spread import spread
from tests.unit.providers import anthropic_kit, chat_kit

from antiphon.protocol.deltas import Delta, Ended, Failed, Text, Texts
from antiphon.protocol.errors import UpstreamFault
from antiphon.providers.base import Decoder
from antiphon.providers.repeats import Repeats

AWKWARD = ("a", " the", '"', "\\", '","', ",", ":", "\n\n", 'say "hi"', "role", "text", "é", "\u2028", "😀")
PIECES = st.lists(st.one_of(st.sampled_from(AWKWARD), st.text(max_size=6)), max_size=30)
CUTS = st.lists(st.integers(0, 4000), max_size=6)
SAYS_NO_TEXT: tuple[dict[str, Any], ...] = (
    chat_kit.said(reasoning_content="hm"),
    {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
    chat_kit.piece(0, "call_1", "look", "{}"),
)


def encoded(event: object, style: int) -> bytes:
    """JSON as servers write it: compact, or with escapes for what is not ASCII."""
    raw = msgspec.json.encode(event)
    if style:
        raw = "".join(mark if mark < "\x7f" else _escape(mark) for mark in raw.decode()).encode()
    return raw


def _escape(mark: str) -> str:
    data = mark.encode("utf-16-be")
    return "".join(f"\\u{data[at : at + 2].hex()}" for at in range(0, len(data), 2))


def read(decoder: Decoder, raw: bytes, cuts: list[int]) -> list[Delta]:
    marks = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    deltas = [delta for first, end in pairwise(marks) for delta in decoder.feed(raw[first:end])]
    return list(spread(deltas + decoder.close()))


@given(
    pieces=PIECES,
    cuts=CUTS,
    style=st.integers(0, 1),
    other=st.integers(0, 40),
    which=st.integers(0, 2),
    behind=st.sampled_from(({}, {"role": "assistant"}, {"refusal": None})),
)
def test_a_chat_answer_is_the_same_as_if_no_two_of_its_chunks_were_alike(
    pieces: list[str], cuts: list[int], style: int, other: int, which: int, behind: dict[str, Any]
) -> None:
    chunks = [chat_kit.said(content=piece, **behind) for piece in pieces]
    chunks.insert(other, SAYS_NO_TEXT[which])
    chunks.append(chat_kit.STOP)
    found, expected = (
        read(
            chat_kit.DIALECT.decoder(chat_kit.target(), chat_kit.encode()),
            chat_kit.sse(*(encoded({"created": nth if differ else 1, **one}, style) for nth, one in enumerate(chunks))),
            cuts,
        )
        for differ in (False, True)
    )
    assert found == expected


@given(blocks=st.lists(PIECES, max_size=3), cuts=CUTS, style=st.integers(0, 1))
def test_an_anthropic_answer_is_the_same_as_if_no_two_of_its_events_were_alike(
    blocks: list[list[str]], cuts: list[int], style: int
) -> None:
    def answer(*, differ: bool) -> bytes:
        frames = [anthropic_kit.begun()]
        for index, pieces in enumerate(blocks):
            lines = anthropic_kit.text_block(index, *pieces).split(b"\n")
            frames.append(b"\n".join(_line(line, style, nth if differ else 0) for nth, line in enumerate(lines)))
        return b"".join([*frames, anthropic_kit.stopped()])

    found, expected = (
        read(anthropic_kit.DIALECT.decoder(anthropic_kit.target(), anthropic_kit.encode()), answer(differ=differ), cuts)
        for differ in (False, True)
    )
    assert found == expected


def _line(line: bytes, style: int, nth: int) -> bytes:
    if not line.startswith(b"data: "):
        return line
    event = {"nth": nth, **msgspec.json.decode(line[6:])}
    return b"data: " + encoded(event, style)


def test_text_goes_to_the_block_that_it_names() -> None:
    def delta(index: int) -> bytes:
        return anthropic_kit.event("content_block_delta", index=index, delta={"type": "text_delta", "text": "la "})

    ping = anthropic_kit.event("ping") * 4
    opened = anthropic_kit.event("content_block_start", index=1, content_block={"type": "text", "text": ""})
    deltas = anthropic_kit.decode(
        anthropic_kit.begun(),
        anthropic_kit.text_block(0, "la ", "la ", "la "),
        opened + ping + delta(1),
        delta(0),  # it was closed
        delta(1),
        anthropic_kit.stopped(),
    )
    assert anthropic_kit.text(deltas) == "la " * 5


@pytest.mark.parametrize("is_one_read", [True, False])
def test_a_second_choice_whose_chunks_differ_behind_the_text_alone_is_not_read(*, is_one_read: bool) -> None:
    def chunk(index: int) -> bytes:
        return chat_kit.sse({"choices": [{"delta": {"content": "la "}, "index": index}]}, is_done=False)

    frames = [chunk(0)] * 3 + [chunk(1)] * 2 + [chunk(0)] * 2 + [chat_kit.sse(chat_kit.STOP)]
    decoder = chat_kit.DIALECT.decoder(chat_kit.target(), chat_kit.encode())
    deltas = [delta for frame in ([b"".join(frames)] if is_one_read else frames) for delta in decoder.feed(frame)]
    assert chat_kit.text(deltas) == "la " * 5


def test_a_string_that_happens_to_be_the_text_is_not_taken_for_it() -> None:
    chunks = [{**chat_kit.said(content="la "), "service_tier": tier} for tier in ("la ", "la ", "lo ", "le ")]
    assert chat_kit.text(chat_kit.decode(*chunks, chat_kit.STOP)) == "la " * 4


@pytest.mark.parametrize("text", [",", ":", ", ", "", '","'])
def test_a_text_that_also_stands_between_two_strings_is_read(text: str) -> None:
    chunks = [chat_kit.said(content=piece, role="assistant") for piece in ("a", text, text, "b", text)]
    assert chat_kit.text(chat_kit.decode(*chunks, chat_kit.STOP)) == f"a{text}{text}b{text}"


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
@pytest.mark.parametrize("after", [1, 2, 3, 8])
def test_blank_lines_between_chunks_mean_nothing(lines: int, after: int) -> None:
    chunk = chat_kit.sse(chat_kit.said(content="la "), is_done=False)
    for raws in ([chunk * after + b"\n" * lines, chunk * 4], [(chunk + b"\n" * lines) * after, chunk * 4]):
        for reads in (raws, [b"".join(raws)]):
            decoder = chat_kit.DIALECT.decoder(chat_kit.target(), chat_kit.encode())
            deltas = [delta for raw in reads for delta in decoder.feed(raw)]
            assert chat_kit.text(deltas) == "la " * (after + 4)


def test_nothing_is_added_behind_an_error() -> None:
    chunk = chat_kit.said(content="la ")
    deltas = chat_kit.decode(*[chunk] * 5, {"error": {"message": "no"}}, *[chunk] * 5, chat_kit.STOP)
    assert chat_kit.text(deltas) == "la " * 5
    assert isinstance(deltas[-1], Failed)


@pytest.mark.parametrize("between", [b'"', b"\\", b"\x01", b'","', b'a","b', b"\\ud800x\\", b"\n", b"\\x"])
@pytest.mark.parametrize("before", [0, 1, 2, 9])
def test_what_is_no_string_is_refused_wherever_it_stands(between: bytes, before: int) -> None:
    good = msgspec.json.encode(chat_kit.said(content="la "))
    raw = chat_kit.sse(*[good] * before, good.replace(b"la ", between), *[good] * 3, chat_kit.STOP)
    with pytest.raises(UpstreamFault):
        chat_kit.decode_bytes(raw)


@pytest.mark.parametrize(("between", "text"), [(b'\\"', '"'), (b'"},"x":{"y":"', ""), (b"\\u00e9\\\\", "é\\")])
@pytest.mark.parametrize("before", [0, 1, 2, 9])
def test_what_is_json_by_other_means_is_read_as_json(between: bytes, text: str, before: int) -> None:
    good = msgspec.json.encode(chat_kit.said(content="la "))
    raw = chat_kit.sse(*[good] * before, good.replace(b"la ", between), *[good] * 3, chat_kit.STOP)
    assert chat_kit.text(chat_kit.decode_bytes(raw)) == "la " * before + text + "la " * 3


def test_an_envelope_that_keeps_changing_is_still_read() -> None:
    chunks = [{"obfuscation": "x" * (nth % 7), **chat_kit.said(content="la ")} for nth in range(200)]
    late = [{**chat_kit.said(content="la "), "obfuscation": "x" * (nth % 7)} for nth in range(200)]
    decoder = chat_kit.DIALECT.decoder(chat_kit.target(), chat_kit.encode())
    deltas = [delta for chunk in chunks + late for delta in decoder.feed(chat_kit.sse(chunk, is_done=False))]
    ends = decoder.feed(chat_kit.sse(chat_kit.STOP))
    assert chat_kit.text(deltas) == "la " * 400
    assert any(isinstance(delta, Ended) for delta in ends)


@pytest.mark.parametrize(("blocks", "is_learnt"), [(10, False), (1000, True)])
def test_an_answer_that_comes_whole_is_learnt_from_only_if_it_is_long(blocks: int, is_learnt: bool) -> None:
    looked: list[bytes] = []
    reader = Plain()
    repeats = Repeats(lambda block: looked.append(block) or "")
    repeats.read(b'{"t":"x"}\n\n' * blocks, reader)
    assert bool(looked) is is_learnt
    repeats.read(b'{"t":"x"}\n\n', reader)
    assert looked


class Plain:
    """A reader for which every block says one text."""

    def text_key(self) -> int:
        return 0

    def texts(self, pieces: list[str]) -> Delta:
        return Texts(0, pieces)

    def decoded(self, blocks: bytes) -> list[Delta]:
        return [Text(0, "x") for _ in blocks.splitlines() if _]
