"""Answers of Responses-speaking upstreams, with all that they leave out, repeat or invent."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.spread import spread
from tests.unit.providers.responses_upstream import (
    added,
    arguments_delta,
    call,
    completed,
    created,
    done,
    kept,
    message,
    of,
    sse,
    text_delta,
    told,
    understood,
    understood_bytes,
)

from antiphon.protocol.deltas import (
    CallArguments,
    CallStarted,
    Carried,
    Cited,
    Ended,
    Failed,
    Finished,
    Kept,
    Native,
    NativeEvent,
    Refusal,
    Started,
    Summary,
    Text,
    Texts,
    Thinking,
    Thought,
    Usage,
    Used,
)
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.providers import responses_wire as wire
from antiphon.providers.base import ToolName
from antiphon.providers.responses_decoder import ResponsesDecoder

ANNOTATION = {"type": "url_citation", "url": "http://x", "title": "X", "start_index": 0, "end_index": 2}
LOGPROBS = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}]


def arguments_of(deltas: list[Any], key: int) -> str:
    return "".join(delta.text for delta in of(CallArguments, deltas) if delta.key == key)


# -- messages ----------------------------------------------------------------------------------------------------------


def test_streamed_message_is_told_once_and_kept_as_it_came() -> None:
    item = message("Hello", phase="final_answer")
    deltas = understood(
        created(),
        added(0, **message("", status="in_progress", content=[], phase="final_answer")),
        {"type": "response.content_part.added", "output_index": 0, "part": {"type": "output_text", "text": ""}},
        text_delta(0, "Hel"),
        text_delta(0, "lo"),
        {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hello"},
        {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": item["content"][0]},
        done(0, **item),
        completed(item),
    )
    assert told(deltas) == "Hello"
    assert [delta.phase for delta in of(Text, deltas)] == ["final_answer", None]
    assert kept(deltas) == [item]
    assert of(Ended, deltas) == [Ended(0)]
    assert deltas[-1] == Finished()


def test_text_that_only_done_events_bring_is_told() -> None:
    deltas = understood(
        {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hi"}, completed()
    )
    assert told(deltas) == "Hi"
    deltas = understood(
        {"type": "response.content_part.done", "output_index": 0, "part": {"type": "output_text", "text": "Hi"}},
        completed(),
    )
    assert told(deltas) == "Hi"


def test_tail_that_the_deltas_lost_is_told_by_the_finished_item() -> None:
    assert told(understood(text_delta(0, "Hel"), done(0, **message("Hello")), completed())) == "Hello"


def test_finished_text_that_contradicts_the_deltas_changes_nothing() -> None:
    assert told(understood(text_delta(0, "Hello"), done(0, **message("Bye")), completed())) == "Hello"


def test_refusal_is_told_by_deltas_and_by_its_done_event_alone() -> None:
    streamed = understood(
        {"type": "response.refusal.delta", "output_index": 0, "delta": "No"},
        {"type": "response.refusal.done", "output_index": 0, "refusal": "No."},
        done(0, type="message", content=[{"type": "refusal", "refusal": "No."}]),
        completed(),
    )
    assert of(Refusal, streamed) == [Refusal(0, "No"), Refusal(0, ".")]
    whole = understood(completed({"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}))
    assert of(Refusal, whole) == [Refusal(0, "No.")]
    assert kept(whole)[0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_annotation_is_told_once_whether_streamed_or_only_in_the_finished_part() -> None:
    item = message("Hi")
    item["content"][0]["annotations"] = [ANNOTATION]
    event = {"type": "response.output_text.annotation.added", "output_index": 0, "annotation": ANNOTATION}
    for events in ([text_delta(0, "Hi"), event], [text_delta(0, "Hi")], []):
        cited = of(Cited, understood(*events, done(0, **item), completed(item)))
        assert [msgspec.json.decode(delta.annotation) for delta in cited] == [ANNOTATION]


def test_done_event_without_its_text_tells_nothing() -> None:
    assert of(Text, understood({"type": "response.output_text.done", "output_index": 0}, completed())) == []
    nothing = {"type": "response.reasoning_text.done", "output_index": 0}
    assert of(Thought, understood(nothing, completed())) == []


def test_null_annotation_is_not_told() -> None:
    event = {"type": "response.output_text.annotation.added", "output_index": 0, "annotation": None}
    assert of(Cited, understood(text_delta(0, "Hi"), event, completed())) == []


def test_logprobs_travel_with_their_text_and_empty_ones_do_not() -> None:
    deltas = understood(text_delta(0, "Hi", logprobs=LOGPROBS), text_delta(0, "!", logprobs=[]), completed())
    first, second = of(Text, deltas)
    assert msgspec.json.decode(first.logprobs) == LOGPROBS
    assert second.logprobs is None


def test_content_as_one_string_is_read_as_text() -> None:
    assert told(understood(completed({"type": "message", "role": "assistant", "content": "Hi"}))) == "Hi"


def test_incomplete_item_ends_as_incomplete() -> None:
    deltas = understood(text_delta(0, "Hi"), done(0, **message("Hi", status="incomplete")), completed())
    assert of(Ended, deltas) == [Ended(0, "incomplete")]


# -- calls -------------------------------------------------------------------------------------------------------------


def test_pitfall_001_arguments_that_come_only_in_done_are_told() -> None:
    event = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a":1}'}
    deltas = understood(added(0, **call("f", "c", "")), event, done(0, **call("f", "c", '{"a":1}')), completed())
    assert of(CallStarted, deltas) == [CallStarted(0, "f", "c")]
    assert arguments_of(deltas, 0) == '{"a":1}'


def test_pitfall_001_arguments_that_come_only_in_the_finished_item_are_told() -> None:
    item = call("f", "c", '{"a":1}')
    assert arguments_of(understood(added(0, **call("f", "c", "")), done(0, **item), completed(item)), 0) == '{"a":1}'
    assert arguments_of(understood(added(0, **call("f", "c", "")), completed(item)), 0) == '{"a":1}'


def test_pitfall_002_every_item_of_a_completed_only_stream_is_told() -> None:
    items = [
        {
            "type": "reasoning",
            "id": "rs",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "E",
        },
        {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "q"}},
        message("Hi"),
        call("f", "c", "{}"),
    ]
    deltas = understood(completed(*items))
    assert [type(delta) for delta in deltas] == [
        Started,
        Thinking,
        Summary,
        Carried,
        Ended,
        Native,
        Text,
        Ended,
        CallStarted,
        CallArguments,
        Ended,
        Kept,
        Finished,
    ]
    assert kept(deltas) == items


def test_pitfall_016_call_without_arguments_tells_no_text_of_its_own() -> None:
    deltas = understood(added(0, **call("f", "c", "")), done(0, **call("f", "c", "")), completed())
    assert of(CallArguments, deltas) == []
    assert of(CallStarted, deltas) == [CallStarted(0, "f", "c")]


def test_pitfall_017_placeholder_arguments_of_the_added_item_are_not_prefixed() -> None:
    deltas = understood(
        added(0, **call("f", "c", "{}")),
        arguments_delta(0, '{"a":1}'),
        done(0, **call("f", "c", '{"a":1}')),
        completed(),
    )
    assert arguments_of(deltas, 0) == '{"a":1}'


def test_pitfall_018_call_that_was_never_named_is_no_call() -> None:
    deltas = understood(added(0, type="function_call", id="fc", name="", arguments=""), completed())
    assert of(CallStarted, deltas) == []
    assert of(Kept, deltas) == []


def test_pitfall_019_empty_deltas_anywhere_change_nothing() -> None:
    deltas = understood(
        arguments_delta(1, ""),
        added(1, **call("f", "c", "")),
        arguments_delta(1, ""),
        arguments_delta(1, "{}"),
        arguments_delta(1, ""),
        text_delta(0, ""),
        text_delta(0, "Hi") | {"delta": None},
        {"type": "response.reasoning_text.delta", "output_index": 2, "delta": ""},
        completed(),
    )
    assert arguments_of(deltas, 0) == "{}"
    assert of(Text, deltas) == []
    assert of(Thought, deltas) == []


def test_pitfall_026_parallel_calls_interleave_without_mixing() -> None:
    deltas = understood(
        added(0, **call("a", "c0", "")),
        added(1, **call("b", "c1", "")),
        added(2, **call("now", "c2", "")),
        arguments_delta(1, '{"b"'),
        arguments_delta(0, '{"a"'),
        arguments_delta(1, ":2}"),
        arguments_delta(0, ":1}"),
        done(1, **call("b", "c1", '{"b":2}')),
        done(2, **call("now", "c2", "")),
        done(0, **call("a", "c0", '{"a":1}')),
        completed(),
    )
    assert [started.call_id for started in of(CallStarted, deltas)] == ["c0", "c1", "c2"]
    assert [arguments_of(deltas, key) for key in range(3)] == ['{"a":1}', '{"b":2}', ""]
    assert {ended.key for ended in of(Ended, deltas)} == {0, 1, 2}
    assert [item["call_id"] for item in kept(deltas)] == ["c0", "c1", "c2"]


def test_pitfall_046_rotating_ids_do_not_split_an_item() -> None:
    deltas = understood(
        added(0, **message("", id="a", content=[])),
        text_delta(0, "He", item_id="b"),
        text_delta(0, "llo", item_id="c"),
        done(0, **message("Hello", id="d")),
        added(1, **call("f", "c", "", id="e")),
        arguments_delta(1, "{}", item_id="f"),
        done(1, **call("f", "c", "{}", id="g")),
        completed(message("Hello", id="h"), call("f", "c", "{}", id="i")),
    )
    assert told(deltas) == "Hello"
    assert arguments_of(deltas, 1) == "{}"
    assert len(of(Ended, deltas)) == 2


def test_pitfall_048_arguments_that_parse_early_do_not_end_the_call() -> None:
    decoder = ResponsesDecoder()
    deltas = decoder.feed(sse(added(0, **call("f", "c", "")), arguments_delta(0, "{}")))
    assert of(Ended, deltas) == []


def test_pitfall_049_arguments_before_the_name_wait_for_it() -> None:
    deltas = understood(
        arguments_delta(0, '{"a"'), arguments_delta(0, ":1}"), done(0, **call("f", "c", "")), completed()
    )
    started, arguments, *_ = [delta for delta in deltas if isinstance(delta, CallStarted | CallArguments)]
    assert (started.name, arguments.text) == ("f", '{"a":1}')
    named = {"type": "response.function_call_arguments.done", "output_index": 0, "name": "f", "arguments": "{}"}
    assert of(CallStarted, understood(named, completed())) == [CallStarted(0, "f")]


def test_pitfall_057_call_without_an_id_says_so() -> None:
    assert of(CallStarted, understood(completed(call("f", "", "{}")))) == [CallStarted(0, "f", "")]


def test_pitfall_073_call_id_goes_through_verbatim() -> None:
    assert of(CallStarted, understood(completed(call("f", "functions.f:0", "{}"))))[0].call_id == "functions.f:0"


def test_call_id_that_changes_is_kept_as_it_was_announced() -> None:
    deltas = understood(added(0, **call("f", "c", "")), done(0, **call("f", "other", "{}")), completed())
    assert kept(deltas)[0]["call_id"] == "c"


def test_arguments_sent_as_an_object_become_their_text() -> None:
    item = call("f", "c", "") | {"arguments": {"a": 1}}
    assert arguments_of(understood(completed(item)), 0) == '{"a":1}'


def test_call_cut_off_by_the_end_of_a_whole_answer_is_ended_and_kept() -> None:
    deltas = understood(added(0, **call("f", "c", "")), arguments_delta(0, "{}"), completed())
    assert of(Ended, deltas) == [Ended(0)]
    assert kept(deltas) == [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]


def test_custom_call_with_namespace_is_lifted_by_the_upstreams_own_words() -> None:
    item = {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "exec", "namespace": "functions"}
    deltas = understood(
        added(0, **item, input=""),
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": "ls"},
        {"type": "response.custom_tool_call_input.done", "output_index": 0, "input": "ls -l"},
        done(0, **item, input="ls -l"),
        completed(),
    )
    assert of(CallStarted, deltas) == [CallStarted(0, "exec", "c", "custom", "functions")]
    assert arguments_of(deltas, 0) == "ls -l"


def test_custom_call_that_never_was_finished_is_kept_with_its_input() -> None:
    event = {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": "ls"}
    deltas = understood(added(0, type="custom_tool_call", call_id="c", name="x"), event, completed())
    assert kept(deltas) == [{"type": "custom_tool_call", "call_id": "c", "name": "x", "input": "ls"}]
    late = understood(event, added(0, type="custom_tool_call", call_id="c", name="x"), completed())
    assert (of(CallStarted, late)[0].kind, arguments_of(late, 0)) == ("custom", "ls")


LOWERED = (
    ToolName("ns__f", "f", "function", "ns"),
    ToolName("patch", "patch", "custom", None, wrapped=True),
    ToolName("tool_search", "tool_search", "function", is_search=True),
)


def test_flattened_call_is_lifted_to_the_clients_own_tool() -> None:
    assert of(CallStarted, understood(completed(call("ns__f", "c", "{}")), names=LOWERED)) == [
        CallStarted(0, "f", "c", "function", "ns")
    ]


def test_wrapped_custom_call_is_told_as_its_plain_input_once_it_is_whole() -> None:
    decoder = ResponsesDecoder(LOWERED)
    deltas = decoder.feed(sse(added(0, **call("patch", "c", "")), arguments_delta(0, '{"input":"*** Be')))
    assert deltas == [CallStarted(0, "patch", "c", "custom")]
    deltas = decoder.feed(sse(arguments_delta(0, 'gin"}'), done(0, **call("patch", "c", '{"input":"*** Begin"}'))))
    assert deltas == [CallArguments(0, "*** Begin"), Ended(0)]


def test_lowered_tool_search_comes_back_as_its_item() -> None:
    item = call("tool_search", "c", '{"query": "x"}')
    deltas = understood(
        added(0, **item), arguments_delta(0, '{"query": "x"}'), done(0, **item), completed(item), names=LOWERED
    )
    (native,) = of(Native, deltas)
    assert msgspec.json.decode(native.item) == {
        "type": "tool_search_call",
        "call_id": "c",
        "arguments": {"query": "x"},
        "execution": "client",
        "status": "completed",
    }
    assert of(CallStarted, deltas) == []
    assert of(Ended, deltas) == []


# -- reasoning ---------------------------------------------------------------------------------------------------------


def test_reasoning_summary_is_told_by_part_and_carried_as_its_own_bytes() -> None:
    item = {
        "type": "reasoning",
        "id": "rs",
        "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}],
        "encrypted_content": "E",
    }
    where = {"output_index": 0, "item_id": "rs"}
    deltas = understood(
        added(0, type="reasoning", id="rs", summary=[]),
        {"type": "response.reasoning_summary_part.added", **where, "summary_index": 0, "part": {"text": ""}},
        {"type": "response.reasoning_summary_text.delta", **where, "summary_index": 0, "delta": "one"},
        {"type": "response.reasoning_summary_text.done", **where, "summary_index": 0, "text": "one"},
        {"type": "response.reasoning_summary_part.done", **where, "summary_index": 1, "part": {"text": "two"}},
        done(0, **item),
        completed(item),
    )
    assert deltas[0:3] == [Thinking(0), Summary(0, "one", 0), Summary(0, "two", 1)]
    (carried,) = of(Carried, deltas)
    assert msgspec.json.decode(carried.blocks) == item
    assert of(Kept, deltas)[0].essential


@pytest.mark.parametrize("name", ["response.reasoning_text.delta", "response.reasoning.delta"])
def test_raw_reasoning_is_told_under_either_of_its_names(name: str) -> None:
    deltas = understood({"type": name, "output_index": 0, "content_index": 0, "delta": "hm"}, completed())
    assert of(Thought, deltas) == [Thought(0, "hm")]


def test_reasoning_of_vllm_is_told_once_through_its_private_events() -> None:
    part = {"type": "reasoning_text", "text": "hmm"}
    deltas = understood(
        added(0, type="reasoning", id="rs", summary=[]),
        {"type": "response.reasoning_part.added", "output_index": 0, "part": {"type": "reasoning_text", "text": ""}},
        {"type": "response.content_part.added", "output_index": 0, "part": {"type": "reasoning_text", "text": ""}},
        {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "hm"},
        {"type": "response.reasoning_text.done", "output_index": 0, "content_index": 0, "text": "hmm"},
        {"type": "response.reasoning_part.done", "output_index": 0, "part": part},
        done(0, type="reasoning", id="rs", summary=[], content=[part]),
        completed(),
    )
    assert [delta.text for delta in of(Thought, deltas)] == ["hm", "m"]
    assert len(of(Carried, deltas)) == 1


def test_pitfall_025_reasoning_delta_without_its_item_opens_one() -> None:
    event = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"}
    assert understood(event, completed())[:2] == [Thinking(0), Summary(0, "hm", 0)]


def test_pitfall_065_reasoning_without_readable_text_is_still_carried() -> None:
    item = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "E"}
    deltas = understood(added(0, **item), done(0, **item), completed(item))
    assert of(Thinking, deltas) == [Thinking(0)]
    assert len(of(Carried, deltas)) == 1


def test_reasoning_that_holds_nothing_to_replay_carries_nothing() -> None:
    item = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]}
    deltas = understood(done(0, **item), completed(item))
    assert of(Carried, deltas) == []
    assert not of(Kept, deltas)[0].essential


def test_pitfall_078_two_reasoning_items_in_a_row_stay_two() -> None:
    items = [{"type": "reasoning", "id": f"rs_{n}", "summary": [], "encrypted_content": f"E{n}"} for n in range(2)]
    deltas = understood(*(done(n, **item) for n, item in enumerate(items)), completed(*items))
    assert len(of(Carried, deltas)) == 2
    assert kept(deltas) == items


def test_pitfall_087_reasoning_part_that_is_never_done_does_no_harm() -> None:
    part = {"type": "reasoning_text", "text": ""}
    deltas = understood(
        {"type": "response.content_part.added", "output_index": 0, "part": part},
        {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "hm"},
        text_delta(1, "Hi"),
        completed(),
    )
    assert (of(Thought, deltas)[0].text, told(deltas)) == ("hm", "Hi")
    assert kept(deltas)[0] == {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }


# -- native items ------------------------------------------------------------------------------------------------------


def test_native_item_and_its_events_go_through_verbatim() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
    event = {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1", "sequence_number": 4}
    deltas = understood(
        added(0, type="web_search_call", id="ws_1", status="in_progress"), event, done(0, **item), completed(item)
    )
    opened, closed = of(Native, deltas)
    assert (opened.stage, closed.stage) == ("added", "done")
    assert msgspec.json.decode(closed.item) == item
    (forwarded,) = of(NativeEvent, deltas)
    assert msgspec.json.decode(forwarded.event) == event
    assert of(Kept, deltas)[0].essential


@pytest.mark.parametrize(
    "item_type",
    [
        "code_interpreter_call",
        "mcp_call",
        "mcp_list_tools",
        "image_generation_call",
        "shell_call",
        "compaction",
        "new_2027",
    ],
)
def test_item_of_any_other_type_is_native(item_type: str) -> None:
    item = {"type": item_type, "id": "x", "anything": [1, {"a": None}]}
    (native,) = of(Native, understood(done(0, **item), completed(item)))
    assert (native.type, native.stage) == (item_type, "done")
    assert msgspec.json.decode(native.item) == item


def test_native_event_without_item_id_finds_its_item_by_place() -> None:
    event = {"type": "response.shell_call_command.delta", "output_index": 0, "command_index": 0, "delta": "ls"}
    deltas = understood(added(0, type="shell_call", id="sh"), event, completed())
    assert len(of(NativeEvent, deltas)) == 1


def test_native_event_finds_its_item_by_id_when_the_place_is_missing() -> None:
    event = {"type": "response.mcp_call.in_progress", "item_id": "mcp_1"}
    assert len(of(NativeEvent, understood(added(0, type="mcp_call", id="mcp_1"), event, completed()))) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.audio.delta", "delta": "AAAA"},
        {"type": "response.web_search_call.searching", "output_index": 7},
        {"type": "response.future_thing"},
        {"type": "response.output_item.added", "output_index": 0, "item": None},
        {"type": "response.output_item.added", "output_index": 0, "item": {}},
        {"type": "keepalive"},
        completed({"id": "an item without a type"}),
    ],
)
def test_event_that_belongs_to_nothing_is_left_alone(event: dict[str, Any]) -> None:
    assert [type(delta) for delta in understood(event, completed())] == [Started, Finished]


def test_events_about_a_finished_item_are_left_alone() -> None:
    item = {"type": "mcp_call", "id": "m"}
    late = {"type": "response.mcp_call.completed", "output_index": 0}
    deltas = understood(done(0, **item), late, done(0, **item), added(0, **item), completed(item))
    assert len(of(Native, deltas)) == 1
    assert of(NativeEvent, deltas) == []


# -- odd orders and places ---------------------------------------------------------------------------------------------


def test_pitfall_083_content_index_counted_up_per_delta_is_one_text() -> None:
    deltas = understood(
        *(text_delta(0, piece, content_index=index) for index, piece in enumerate(["a", "b", "c"])),
        {"type": "response.output_text.done", "output_index": 0, "content_index": 3, "text": "abc"},
        done(0, **message("abc")),
        completed(message("abc")),
    )
    assert told(deltas) == "abc"


def test_pitfall_085_jumped_index_and_empty_id_still_close_the_item() -> None:
    deltas = understood(
        added(0, **message("", id="", content=[])),
        text_delta(0, "Hi", item_id=""),
        done(1, **message("Hi", id="x")),
        completed(message("Hi")),
    )
    assert told(deltas) == "Hi"
    assert of(Ended, deltas) == [Ended(0)]


def test_index_that_every_item_shares_does_not_merge_items() -> None:
    deltas = understood(
        added(0, **call("a", "c0", "", id="x")),
        done(0, **call("a", "c0", "{}", id="x")),
        added(0, **call("b", "c1", "", id="y")),
        done(0, **call("b", "c1", "{}", id="y")),
        completed(),
    )
    assert [started.name for started in of(CallStarted, deltas)] == ["a", "b"]


def test_missing_index_falls_back_to_the_id_and_then_to_the_kind() -> None:
    by_id = understood(
        {"type": "response.output_item.added", "item": message("", id="m", content=[])},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "Hi"},
        {"type": "response.output_item.done", "item": message("Hi", id="m")},
        completed(),
    )
    assert (told(by_id), len(of(Ended, by_id))) == ("Hi", 1)
    by_kind = understood(
        {"type": "response.output_text.delta", "delta": "H"},
        {"type": "response.output_text.delta", "delta": "i"},
        completed(),
    )
    assert {delta.key for delta in of(Text, by_kind)} == {0}


def test_pitfall_089_message_finished_empty_is_kept_as_it_was_streamed() -> None:
    deltas = understood(
        text_delta(0, "Hi"),
        done(0, **message("", content=[])),
        added(1, **message("", content=[], id="msg_2")),
        done(1, **message("", content=[], id="msg_2")),
        done(2, **call("f", "c", "{}")),
        completed(),
    )
    blocks = kept(deltas)
    assert [block["type"] for block in blocks] == ["message", "function_call"]
    assert blocks[0]["content"][0]["text"] == "Hi"


def test_pitfall_023_thousands_of_equal_deltas_are_all_told() -> None:
    assert told(understood(*[text_delta(0, "ha")] * 5000, completed())) == "ha" * 5000


# -- the end -----------------------------------------------------------------------------------------------------------


def test_pitfall_020_json_body_tells_what_the_stream_tells() -> None:
    items = [message("Hi"), call("f", "c", "{}")]
    usage = {"input_tokens": 3, "output_tokens": 2}
    streamed = understood(
        created(),
        text_delta(0, "Hi"),
        done(0, **items[0]),
        added(1, **items[1]),
        done(1, **items[1]),
        completed(*items, usage=usage),
    )
    whole = understood_bytes(b"\n " + msgspec.json.encode(completed(*items, usage=usage)["response"]))
    assert sorted(map(repr, of(Used, streamed))) == sorted(map(repr, of(Used, whole)))
    assert (told(streamed), kept(streamed)) == (told(whole), kept(whole))
    assert arguments_of(streamed, 1) == arguments_of(whole, 1)


def test_pitfall_022_error_body_in_a_200_is_a_failure() -> None:
    deltas = understood_bytes(b'{"error":{"message":"no credits","code":402}}')
    assert deltas[-1].error.kind == "quota"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", "max_output_tokens"),
        ("content_filter", "content_filter"),
        ("steered", "max_output_tokens"),
        (None, "max_output_tokens"),
    ],
)
def test_pitfall_082_incomplete_is_never_whole(reason: str | None, expected: str) -> None:
    details = {"reason": reason} if reason else None
    deltas = understood(text_delta(0, "Hi"), completed(status="incomplete", incomplete_details=details))
    assert deltas[-1] == Finished(expected)
    assert of(Ended, deltas) == []


def test_pitfall_082_stream_without_a_terminal_event_is_truncated() -> None:
    for body in (b"", b"data: [DONE]\n\n", sse(created(), text_delta(0, "Hi")), sse(completed())[:-20], b'{"id":"resp'):
        with pytest.raises(TruncatedStream):
            understood_bytes(body)


def test_pitfall_086_failure_after_created_is_told() -> None:
    response = {
        "status": "failed",
        "error": {"code": "rate_limit_exceeded", "message": "slow"},
        "usage": {"input_tokens": 1},
    }
    deltas = understood(created(), {"type": "response.failed", "response": response})
    assert of(Used, deltas) == [Used(Usage(input_tokens=1))]
    assert isinstance(deltas[-1], Failed)
    assert (deltas[-1].error.kind, deltas[-1].error.message) == ("rate_limit", "slow")


@pytest.mark.parametrize(
    ("event", "kind", "message_text"),
    [
        ({"type": "error", "code": "server_error", "message": "boom", "param": None}, "server", "boom"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "overloaded", "busy"),
        ({"type": "error", "error": {"code": 429, "message": "slow"}}, "rate_limit", "slow"),
        ({"type": "", "error": {"message": "bad", "type": "invalid_request_error"}}, "bad_request", "bad"),
        ({"type": "response.failed", "response": {"error": None}}, "server", "gave no reason"),
        ({"type": "response.cancelled", "response": {}}, "server", "cancelled"),
    ],
)
def test_pitfall_037_error_in_the_stream_is_a_failure(event: dict[str, Any], kind: str, message_text: str) -> None:
    deltas = understood(created(), event)
    assert deltas[-1].error.kind == kind
    assert message_text in deltas[-1].error.message


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"code": None, "message": None}, "gave no reason"),
        ({"code": [], "message": "odd code"}, "odd code"),
        ({"message": "Provider returned error", "metadata": {"raw": '{"error":{"message":"inner"}}'}}, "inner"),
        ("plain words", "plain words"),
    ],
)
def test_pitfall_074_error_object_of_any_shape_fails_with_its_message(error: Any, said: str) -> None:
    deltas = understood(created(), {"type": "error", "error": error})
    assert isinstance(deltas[-1], Failed)
    assert said in deltas[-1].error.message
    deltas = understood(completed(error=error))
    assert isinstance(deltas[-1], Failed)


def test_pitfall_071_null_usage_details_count_as_nothing() -> None:
    usage = {"input_tokens": 5, "input_tokens_details": None, "output_tokens": None, "output_tokens_details": None}
    assert of(Used, understood(completed(usage=usage))) == [Used(Usage(input_tokens=5))]


def test_usage_is_read_with_all_its_details() -> None:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 17,
        "cost_in_usd_ticks": 1,
    }
    assert of(Used, understood(completed(usage=usage))) == [Used(Usage(10, 4, 3, 7, 5))]


def test_pitfall_075_unknown_values_of_known_fields_do_no_harm() -> None:
    deltas = understood(
        created(service_tier="hyperspeed", status="warming_up"),
        done(0, **message("Hi", status="mostly_done", phase="epilogue")),
        completed(status="completed", object="something", output_text=7),
    )
    assert of(Started, deltas) == [Started("m", "resp_up", "hyperspeed")]
    assert deltas[-1] == Finished()


def test_service_tier_that_is_corrected_at_the_end_is_told_again() -> None:
    deltas = understood(created(service_tier="auto"), completed(service_tier="default"))
    assert [started.service_tier for started in of(Started, deltas)] == ["auto", "default"]


def test_terminal_event_counts_even_if_its_response_claims_to_go_on() -> None:
    event = completed()
    event["response"]["status"] = "in_progress"
    assert understood(event)[-1] == Finished()


def test_native_item_announced_twice_is_opened_once() -> None:
    assert (
        len(of(Native, understood(added(0, type="mcp_call", id="m"), added(0, type="mcp_call", id="m"), completed())))
        == 1
    )


def test_search_that_was_cut_off_is_not_run() -> None:
    cut = understood(added(0, **call("tool_search", "c", "")), completed(status="incomplete"), names=LOWERED)
    assert of(Native, cut) == []


def test_search_whose_arguments_are_no_json_keeps_them_as_text() -> None:
    (native,) = of(Native, understood(completed(call("tool_search", "c", "{oops")), names=LOWERED))
    assert msgspec.json.decode(native.item)["arguments"] == "{oops"


def test_nothing_is_read_after_the_end() -> None:
    decoder = ResponsesDecoder()
    decoder.feed(sse(completed()))
    assert decoder.feed(sse(text_delta(0, "Hi"))) == []
    assert decoder.close() == []
    assert understood(completed(), text_delta(0, "Hi"))[-1] == Finished()


def test_type_is_taken_from_the_event_line_when_the_data_has_none() -> None:
    body = b'event: response.output_text.delta\ndata: {"output_index":0,"delta":"Hi"}\n\n' + sse(completed())
    assert told(understood_bytes(body)) == "Hi"


@pytest.mark.parametrize("line", [b"data: {oops\n\n", b'data: {"type":[]}\n\n', b"data: [1]\n\n"])
def test_bytes_that_are_not_this_wire_are_a_transport_fault(line: bytes) -> None:
    with pytest.raises(UpstreamFault) as fault:
        ResponsesDecoder().feed(line)
    assert fault.value.kind == "transport"


def test_endless_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.providers.responses_decoder.MAX_EVENT_BYTES", 10)
    decoder = ResponsesDecoder()
    decoder.feed(b"{")
    with pytest.raises(UpstreamFault):
        decoder.feed(b" " * 20)


STREAM = [
    created(),
    added(0, type="reasoning", id="rs", summary=[]),
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"},
    done(0, type="reasoning", id="rs", summary=[{"type": "summary_text", "text": "hm"}], encrypted_content="E"),
    added(1, **message("", content=[])),
    text_delta(1, "Hé"),
    text_delta(1, "llo"),
    done(1, **message("Héllo")),
    added(2, **call("f", "c", "")),
    arguments_delta(2, '{"a":'),
    arguments_delta(2, "1}"),
    done(2, **call("f", "c", '{"a":1}')),
    added(3, type="web_search_call", id="ws"),
    {"type": "response.web_search_call.searching", "output_index": 3},
    done(3, type="web_search_call", id="ws"),
]
END = completed(*(event["item"] for event in STREAM if event["type"].endswith("item.done")))


@given(st.lists(st.sampled_from(STREAM), max_size=25))
def test_events_lost_repeated_or_reordered_end_as_one_answer_or_fault(events: list[dict[str, Any]]) -> None:
    deltas = understood(*events, END)
    assert deltas[-1] == Finished()
    ended = [delta.key for delta in of(Ended, deltas)]
    assert len(ended) == len(set(ended))
    assert not any(delta.text == "" for delta in deltas if isinstance(delta, Text | Summary | CallArguments))


@given(st.sets(st.sampled_from([event for event in map(repr, STREAM) if ".delta'" not in event])))
def test_what_the_stream_lost_but_its_deltas_the_terminal_response_tells(lost: set[str]) -> None:
    deltas = understood(*(event for event in STREAM if repr(event) not in lost), END)
    assert kept(deltas) == END["response"]["output"]
    assert told(deltas) == "Héllo"
    assert arguments_of(deltas, of(CallStarted, deltas)[0].key) == '{"a":1}'


# -- text that goes on

OPEN = [
    text_delta(0, "a"),
    text_delta(0, "b", item_id="msg_1"),
    text_delta(0, "c", item_id="msg_2"),
    text_delta(1, "d"),
    text_delta(0, "e", content_index=1),
    text_delta(0, "f", logprobs=[]),
    text_delta(0, "g", logprobs=LOGPROBS),
    text_delta(0, ""),
    text_delta(0, "h") | {"delta": None},
    text_delta(0, "i") | {"output_index": None},
    {"type": "response.refusal.delta", "output_index": 0, "delta": "No"},
    {"type": "response.reasoning_text.delta", "output_index": 2, "delta": "hm"},
    {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "aaa"},
    {"type": "response.output_text.annotation.added", "output_index": 0, "annotation": ANNOTATION},
    added(0, **message("", content=[], phase="commentary")),
    added(1, **message("", id="msg_2", content=[])),
    done(0, **message("aab")),
    done(1, **message("d", id="msg_2")),
    {"type": "keepalive"},
]


@given(
    events=st.lists(st.one_of(st.sampled_from(OPEN[:3]), st.sampled_from(OPEN)), max_size=30),
    size=st.sampled_from([7, 150, 400, 100_000]),
    terminal=st.sampled_from([completed(), completed(status="incomplete"), completed(message("aaaa"))]),
)
def test_text_that_goes_on_is_read_as_if_each_event_stood_alone(
    events: list[dict[str, Any]], size: int, terminal: dict[str, Any]
) -> None:
    def read(body: bytes) -> list[Any]:
        decoder = ResponsesDecoder()
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        return list(spread([delta for chunk in chunks for delta in decoder.feed(chunk)] + decoder.close()))

    body = sse(created(), *events, terminal)
    with patch.object(wire, "text_at", lambda place, data: ""):
        expected = read(body)
    assert read(body) == expected


def test_text_of_one_read_is_one_delta_of_many_pieces() -> None:
    decoder = ResponsesDecoder()
    first = decoder.feed(sse(created(), text_delta(0, "a")))
    assert first[-1] == Text(0, "a")
    assert decoder.feed(sse(*[text_delta(0, piece) for piece in "bcd"])) == [Texts(0, ["b", "c", "d"])]
    assert decoder.feed(sse(text_delta(0, "e"))) == [Texts(0, ["e"])]
