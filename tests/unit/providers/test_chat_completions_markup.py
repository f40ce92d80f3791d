"""Calls written into text as `<tool_call>` markup are calls, for the models that are known to do so."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.providers.chat_kit import STOP, calls, decode, encode, finished, kept, said, text

from antiphon.protocol.items import Message
from antiphon.protocol.tools import FunctionTool
from antiphon.providers.chat_completions_markup import MarkupSplitter, WrittenCall
from antiphon.providers.quirks import ChatQuirks

QUIRKS = ChatQuirks(tool_markup_models=("m",))
REQUEST = encode(Message("user", "Hi"), quirks=QUIRKS, tools=(FunctionTool("f"), FunctionTool("g")))
MARKED = 'Look. <tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call><tool_call>{"name":"g"}</tool_call> Done'


def pieces(size: int) -> list[dict]:
    return [said(content=MARKED[at : at + size]) for at in range(0, len(MARKED), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 500])
def test_pitfall_084_markup_never_leaks_as_text_when_tools_are_declared(size: int) -> None:
    deltas = decode(*pieces(size), STOP, quirks=QUIRKS, request=REQUEST)
    assert [(name, arguments) for _, name, arguments in calls(deltas)] == [("f", '{"a": 1}'), ("g", "{}")]
    assert "tool_call" not in text(deltas)
    assert text(deltas).split() == ["Look.", "Done"]
    assert finished(deltas).reason is None
    assert [call["function"]["name"] for call in msgspec.json.decode(kept(deltas))["tool_calls"]] == ["f", "g"]


def test_without_tools_or_for_other_models_tags_are_text() -> None:
    assert text(decode(said(content=MARKED), STOP, quirks=QUIRKS)) == MARKED
    assert text(decode(said(content=MARKED), STOP, request=REQUEST)) == MARKED


@pytest.mark.parametrize("marked", ["<tool_call>no json</tool_call>", '<tool_call>{"name":', "a <tool", "<tool_call>"])
def test_markup_that_holds_no_call_stays_text(marked: str) -> None:
    assert text(decode(said(content=marked), STOP, quirks=QUIRKS, request=REQUEST)) == marked


words = st.lists(
    st.sampled_from(["<tool_call>", "</tool_call>", '{"name":"f"}', "<tool", "x", " ", "<", "_call>"]), max_size=8
)


@given(words, st.lists(st.integers(1, 9), max_size=20))
def test_any_cut_of_any_text_says_the_same(parts: list[str], sizes: list[int]) -> None:
    whole = "".join(parts)

    def split(cuts: list[str]) -> list[str | WrittenCall]:
        splitter = MarkupSplitter()
        found = [piece for cut in cuts for piece in splitter.feed(cut)] + splitter.close()
        joined: list[str | WrittenCall] = []
        for piece in found:
            if isinstance(piece, str) and joined and isinstance(joined[-1], str):
                joined[-1] += piece
            else:
                joined.append(piece)
        return joined

    cuts, at = [], 0
    for size in sizes:
        cuts.append(whole[at : at + size])
        at += size
    assert split([*cuts, whole[at:]]) == split([whole])
