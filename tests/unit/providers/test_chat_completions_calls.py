"""Tool calls of a Chat Completions answer, in whatever pieces they come. Numbered tests are pitfalls."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.providers.chat_kit import (
    CALLED,
    STOP,
    calls,
    decode,
    encode,
    kept,
    piece,
    said,
)

from antiphon.protocol.deltas import (
    CallStarted,
    Delta,
    Ended,
    Failed,
    Native,
)
from antiphon.protocol.errors import UpstreamFault
from antiphon.protocol.tools import CustomTool, FunctionTool, HostedTool, NamespaceTool


def failed(deltas: list[Delta]) -> UpstreamFault:
    assert isinstance(deltas[-1], Failed)
    return deltas[-1].error


def test_pitfall_001_arguments_that_come_whole_are_not_lost() -> None:
    assert calls(decode(piece(0, "a", "f", '{"x":1}'), CALLED)) == [("a", "f", '{"x":1}')]


def test_pitfall_002_every_call_of_the_wire_is_started_and_ended() -> None:
    deltas = decode(piece(0, "a", "f", "{}"), piece(1, "b", "g", "{}"), CALLED)
    started = [delta.key for delta in deltas if isinstance(delta, CallStarted)]
    assert started == [delta.key for delta in deltas if isinstance(delta, Ended)]


@pytest.mark.parametrize("nothing", ["", " ", None])
def test_pitfall_016_a_call_without_arguments_has_an_empty_object(nothing: str | None) -> None:
    ((_, _, arguments),) = calls(decode(piece(0, "a", "f", nothing), CALLED))
    assert msgspec.json.decode(arguments) == {}


def test_pitfall_018_no_phantom_calls() -> None:
    empty = said(tool_calls=[{"index": 1, "function": {"arguments": ""}}, {"index": 2}])
    assert len(calls(decode(piece(0, "a", "f", "{}"), empty, CALLED))) == 1


def test_pitfall_019_an_empty_piece_of_arguments_ends_nothing() -> None:
    chunks = [piece(0, "a", "f", ""), piece(0, args='{"x"'), piece(0, args=""), piece(0, args=":1}"), CALLED]
    assert calls(decode(*chunks)) == [("a", "f", '{"x":1}')]


def test_pitfall_026_three_calls_one_without_arguments_are_three() -> None:
    chunks = [piece(0, "a", "f", '{"x":1}'), piece(1, "b", "g"), piece(2, "c", "h", "{}"), CALLED]
    assert calls(decode(*chunks)) == [("a", "f", '{"x":1}'), ("b", "g", "{}"), ("c", "h", "{}")]


def test_pitfall_047_indices_may_be_sparse_reused_or_missing() -> None:
    expected = [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]
    for first, second in [(0, 1), (3, 9), (1, 0), (0, 0), (None, None)]:
        chunks = [piece(first, "a", "f", '{"x"'), piece(first, args=":1}")]
        chunks += [piece(second, "b", "g", '{"y"'), piece(second, args=":2}"), CALLED]
        assert calls(decode(*chunks)) == expected


@pytest.mark.parametrize("prefix", ["1", "{}", '{"path":"/"}'])
def test_pitfall_048_arguments_that_parse_end_nothing_before_the_answer_ends(prefix: str) -> None:
    deltas = decode(piece(0, "a", "f", prefix), piece(0, args="2"), CALLED)
    assert calls(deltas) == [("a", "f", prefix + "2")]
    end = next(index for index, delta in enumerate(deltas) if isinstance(delta, Ended))
    assert not any(hasattr(delta, "text") for delta in deltas[end:])


def test_pitfall_049_arguments_before_the_name_are_kept() -> None:
    chunks = [piece(0, "a", args='{"x"'), piece(0, name="f"), piece(0, args=":1}"), CALLED]
    assert calls(decode(*chunks)) == [("a", "f", '{"x":1}')]


def test_arguments_whose_call_is_never_named_fail() -> None:
    assert "never named" in failed(decode(piece(0, "a", args='{"x":1}'), CALLED)).message


@pytest.mark.parametrize("call_id", ["", None])
def test_pitfall_057_calls_without_ids_get_ids_of_their_own(call_id: str | None) -> None:
    chunks = [piece(0, call_id, "f", "{}"), piece(1, call_id, "g", "{}"), CALLED]
    (first, _, _), (second, _, _) = calls(decode(*chunks))
    assert first
    assert second
    assert first != second
    assert calls(decode(*chunks))[0][0] == first


def test_two_calls_with_one_id_on_two_indices_keep_apart() -> None:
    found = calls(decode(piece(0, "x", "f", "{}"), piece(1, "x", "g", "{}"), CALLED))
    assert [name for _, name, _ in found] == ["f", "g"]
    assert found[0][0] != found[1][0]


def test_arguments_may_be_an_object() -> None:
    chunk = said(tool_calls=[{"function": {"name": "f", "arguments": {"x": 1}}}])
    ((_, name, arguments),) = calls(decode(chunk, STOP))
    assert (name, msgspec.json.decode(arguments)) == ("f", {"x": 1})
    twice = decode(chunk, chunk, STOP)
    assert len(calls(twice)) == 2


def test_a_legacy_function_call_is_a_call() -> None:
    chunks = [said(function_call={"name": "f", "arguments": '{"x"'}), said(function_call={"arguments": ":1}"})]
    ((_, name, arguments),) = calls(decode(*chunks, said("function_call")))
    assert (name, arguments) == ("f", '{"x":1}')


def test_a_wrapped_custom_call_is_unwrapped() -> None:
    request = encode(tools=(CustomTool("exec"), NamespaceTool("ns", (FunctionTool("f"),))))
    chunks = [piece(0, "a", "exec", '{"inp'), piece(0, args='ut": "ls"}'), piece(1, "b", "ns__f", "{}"), CALLED]
    deltas = decode(*chunks, request=request)
    started = [delta for delta in deltas if isinstance(delta, CallStarted)]
    assert [(call.kind, call.name, call.namespace) for call in started] == [
        ("custom", "exec", None),
        ("function", "f", "ns"),
    ]
    assert calls(deltas)[0] == ("a", "exec", "ls")


def test_a_native_custom_call_is_one() -> None:
    chunk = said(tool_calls=[{"index": 0, "id": "a", "type": "custom", "custom": {"name": "exec", "input": "ls"}}])
    deltas = decode(chunk, CALLED)
    assert calls(deltas) == [("a", "exec", "ls")]
    assert [delta.kind for delta in deltas if isinstance(delta, CallStarted)] == ["custom"]
    assert b'{"type":"custom","id":"a","custom":{"name":"exec","input":"ls"}}' in kept(deltas)


def test_a_tool_search_is_lifted_to_its_item() -> None:
    search = HostedTool("tool_search", msgspec.Raw(b'{"type":"tool_search","execution":"client"}'))
    deltas = decode(piece(0, "a", "tool_search", '{"query":"maps"}'), CALLED, request=encode(tools=(search,)))
    (native,) = [delta for delta in deltas if isinstance(delta, Native)]
    item = msgspec.json.decode(native.item)
    assert (item["call_id"], item["arguments"]) == ("a", {"query": "maps"})
    assert not any(isinstance(delta, CallStarted) for delta in deltas)
