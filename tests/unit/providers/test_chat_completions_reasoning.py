"""Reasoning of a Chat Completions answer, under every name it comes in. Numbered tests are pitfalls."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.providers.chat_kit import (
    STOP,
    decode,
    kept,
    said,
    text,
    thought,
)

from antiphon.protocol.deltas import (
    Carried,
    Delta,
    Ended,
    Summary,
    Text,
    Thinking,
    Usage,
    Used,
)
from antiphon.providers.chat_completions_decode import usage_of
from antiphon.providers.chat_completions_wire import UsageWire
from antiphon.providers.quirks import ChatQuirks


def used(deltas: list[Delta]) -> Usage:
    return [delta.usage for delta in deltas if isinstance(delta, Used)][-1]


def test_pitfall_003_reasoning_is_never_text_and_no_delta_is_empty() -> None:
    deltas = decode(said(reasoning_content="", content=""), said(reasoning_content="hm", content=""), STOP)
    assert thought(deltas) == "hm"
    assert not any(isinstance(delta, Text) for delta in deltas)
    assert all(delta.text for delta in deltas if hasattr(delta, "text"))


def test_pitfall_035_reasoning_details_are_joined_with_a_signature_that_comes_last() -> None:
    detail = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
    deltas = decode(
        said(reasoning="a", reasoning_details=[{**detail, "text": "a"}]),
        said(reasoning="b", reasoning_details=[{**detail, "text": "b"}]),
        said(reasoning_details=[{**detail, "signature": "s"}]),
        said(content="hi"),
        STOP,
    )
    joined = [{"type": "reasoning.text", "text": "ab", "signature": "s", "format": "anthropic-claude-v1", "index": 0}]
    assert msgspec.json.decode(kept(deltas))["reasoning_details"] == joined
    assert thought(deltas) == "ab"


def test_encrypted_details_are_thinking_without_text() -> None:
    detail = {"type": "reasoning.encrypted", "data": "zz", "id": "rs_1", "index": 0}
    deltas = decode(said(reasoning_details=[detail]), said(content="hi"), STOP)
    assert any(isinstance(delta, Thinking) for delta in deltas)
    assert msgspec.json.decode(kept(deltas))["reasoning_details"] == [detail]


def test_summary_details_are_a_summary() -> None:
    deltas = decode(said(reasoning_details=[{"type": "reasoning.summary", "summary": "so"}]), STOP)
    assert [delta.text for delta in deltas if isinstance(delta, Summary)] == ["so"]


def test_pitfall_054_reasoning_beside_the_output_is_added_to_it_and_else_part_of_it() -> None:
    wire = msgspec.convert({"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 9}}, UsageWire)
    assert usage_of(wire, False).sane() == Usage(output_tokens=5, reasoning_tokens=5)
    assert usage_of(wire, True) == Usage(output_tokens=14, reasoning_tokens=9)


def test_pitfall_071_null_details_count_as_nothing() -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }
    assert used(decode(STOP, {"choices": [], "usage": usage})) == Usage(3, 0, 0, 2, 0)
    hollow = {**usage, "prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": {}}
    assert used(decode(STOP, {"choices": [], "usage": hollow})) == Usage(3, 0, 0, 2, 0)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_replayed_under_the_name_it_came_in(field: str) -> None:
    deltas = decode(said(**{field: "h"}), said(**{field: "m"}), said(content="hi"), STOP)
    assert kept(deltas) == f'{{"role":"assistant","content":"hi","{field}":"hm"}}'.encode()
    (carried,) = [delta for delta in deltas if isinstance(delta, Carried)]
    assert bytes(carried.blocks) == f'{{"{field}":"hm"}}'.encode()


def test_one_reasoning_text_under_two_names_is_read_once() -> None:
    assert thought(decode(said(reasoning="hm", reasoning_content="hm"), STOP)) == "hm"


def test_reasoning_is_not_replayed_where_it_is_refused() -> None:
    deltas = decode(said(reasoning="hm"), said(content="hi"), STOP, quirks=ChatQuirks(replays_reasoning=False))
    assert kept(deltas) == b'{"role":"assistant","content":"hi"}'


def test_thinking_chunks_are_replayed_as_one() -> None:
    def thinking(words: str) -> dict[str, object]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": words}], "closed": True}

    deltas = decode(said(content=[thinking("h")]), said(content=[thinking("m"), {"type": "text", "text": "hi"}]), STOP)
    assert msgspec.json.decode(kept(deltas))["content"] == [thinking("hm"), {"type": "text", "text": "hi"}]
    assert (thought(deltas), text(deltas)) == ("hm", "hi")


def test_reasoning_after_text_is_another_item() -> None:
    deltas = decode(said(reasoning="a"), said(content="b"), said(reasoning="c"), said(content="d"), STOP)
    assert [delta.key for delta in deltas if isinstance(delta, Ended)] == [0, 1, 2, 3]
    assert kept(deltas) == b'{"role":"assistant","content":"bd","reasoning":"ac"}'


def test_think_tags_are_split_only_where_asked_for_and_wherever_they_are_cut() -> None:
    whole = "<think>h<m</think>\n\nhi </think>"
    chunks = [said(content=character) for character in whole]
    asked = ChatQuirks(think_models=("r1*",))
    deltas = decode(*chunks, STOP, quirks=asked, model="r1-small")
    assert (thought(deltas), text(deltas)) == ("h<m", "hi </think>")
    assert text(decode(*chunks, STOP, quirks=asked, model="v3")) == whole


@pytest.mark.parametrize(
    ("whole", "expected"), [("<thin", ("", "<thin")), ("<think>hm</thi", ("hm</thi", "")), ("hi", ("", "hi"))]
)
def test_half_a_tag_is_no_tag(whole: str, expected: tuple[str, str]) -> None:
    deltas = decode(said(content=whole), STOP, quirks=ChatQuirks(think_models=("*",)))
    assert (thought(deltas), text(deltas)) == expected


def test_newlines_between_reasoning_and_text_belong_to_neither() -> None:
    deltas = decode(said(reasoning="hm"), said(content="\n\n"), said(content="\n    code"), STOP)
    assert text(deltas) == "    code"


def test_a_signature_of_thinking_is_kept() -> None:
    deltas = decode(said(content=[{"type": "thinking", "thinking": "hm", "signature": "s"}]), STOP)
    assert msgspec.json.decode(kept(deltas))["content"][0]["signature"] == "s"
