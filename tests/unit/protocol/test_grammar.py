"""The checker accepts a legal stream and names the rule each illegal one breaks."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from antiphon.protocol.grammar import GrammarError, StreamChecker

Event = dict[str, Any]


def response(status: str, output: list[Event], **more: Any) -> Event:
    usage = {"input_tokens": 1} if status not in ("in_progress", "queued") else None
    return {"id": "resp_1", "status": status, "output": output, "usage": usage, "error": None} | more


def numbered(events: list[Event]) -> list[Event]:
    return [event | {"sequence_number": number} for number, event in enumerate(events)]


def message_events(index: int = 0, text: tuple[str, ...] = ("Hel", "lo")) -> tuple[list[Event], Event]:
    place = {"output_index": index, "item_id": f"msg_{index}", "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    note = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    part = empty | {"text": "".join(text), "annotations": [note]}
    item = {"id": f"msg_{index}", "type": "message", "role": "assistant"}
    done = item | {"status": "completed", "content": [part]}
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": item | {"status": "in_progress", "content": []},
        },
        place | {"type": "response.content_part.added", "part": empty},
        *(place | {"type": "response.output_text.delta", "delta": piece, "logprobs": []} for piece in text),
        place | {"type": "response.output_text.annotation.added", "annotation_index": 0, "annotation": note},
        place | {"type": "response.output_text.done", "text": "".join(text), "logprobs": []},
        place | {"type": "response.content_part.done", "part": part},
        {"type": "response.output_item.done", "output_index": index, "item": done},
    ], done


def call_events(index: int, arguments: str = '{"a":1}') -> tuple[list[Event], Event]:
    place = {"output_index": index, "item_id": f"fc_{index}"}
    item = {"id": f"fc_{index}", "type": "function_call", "call_id": f"call_{index}", "name": "look"}
    done = item | {"status": "completed", "arguments": arguments}
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": item | {"status": "in_progress", "arguments": ""},
        },
        *([place | {"type": "response.function_call_arguments.delta", "delta": arguments}] if arguments else []),
        place | {"type": "response.function_call_arguments.done", "arguments": arguments},
        {"type": "response.output_item.done", "output_index": index, "item": done},
    ], done


def reasoning_events(index: int) -> tuple[list[Event], Event]:
    place = {"output_index": index, "item_id": f"rs_{index}", "summary_index": 0}
    part = {"type": "summary_text", "text": "why"}
    item = {"id": f"rs_{index}", "type": "reasoning", "summary": []}
    done = item | {"summary": [part], "encrypted_content": "x"}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item},
        place | {"type": "response.reasoning_summary_part.added", "part": part | {"text": ""}},
        place | {"type": "response.reasoning_summary_text.delta", "delta": "why"},
        place | {"type": "response.reasoning_summary_text.done", "text": "why"},
        place | {"type": "response.reasoning_summary_part.done", "part": part},
        {"type": "response.output_item.done", "output_index": index, "item": done},
    ], done


def stream_of(*blocks: tuple[list[Event], Event], status: str = "completed", **more: Any) -> list[Event]:
    events: list[Event] = [
        {"type": "response.created", "response": response("in_progress", [])},
        {"type": "response.in_progress", "response": response("in_progress", [])},
    ]
    for block, _ in blocks:
        events += block
    output = [done for _, done in blocks]
    events.append({"type": f"response.{status}", "response": response(status, output, **more)})
    return numbered(events)


def legal_stream() -> list[Event]:
    return stream_of(reasoning_events(0), message_events(1), call_events(2))


def check(events: list[Event]) -> Any:
    checker = StreamChecker()
    for event in events:
        checker.feed(event)
    return checker.finish()


def test_a_legal_stream_passes_and_finish_returns_its_terminal_response() -> None:
    assert check(legal_stream())["status"] == "completed"


def test_a_queued_event_may_stand_between_created_and_in_progress() -> None:
    events = legal_stream()
    events.insert(1, {"type": "response.queued", "response": response("queued", [])})
    assert check(numbered(events))["id"] == "resp_1"


def test_parallel_calls_may_interleave() -> None:
    one, one_done = call_events(0)
    two, two_done = call_events(1)
    woven = [one[0], two[0], two[1], one[1], two[2], one[2], one[3], two[3]]
    events = stream_of((woven, one_done))
    events[-1]["response"]["output"] = [one_done, two_done]
    assert check(events)["output"] == [one_done, two_done]


def test_any_single_missing_event_is_an_error() -> None:
    events = legal_stream()
    for gone in range(len(events)):
        left = numbered(events[:gone] + events[gone + 1 :])
        with pytest.raises(GrammarError):
            check(left)


def test_any_single_repeated_event_is_an_error() -> None:
    events = legal_stream()
    for twice in range(len(events)):
        with pytest.raises(GrammarError):
            check(numbered(events[: twice + 1] + events[twice:]))


def test_any_two_neighbours_exchanged_are_an_error() -> None:
    events = legal_stream()
    for left in range(len(events) - 1):
        swapped = [*events[:left], events[left + 1], events[left], *events[left + 2 :]]
        if [event["type"] for event in swapped] == [event["type"] for event in events]:
            continue  # two deltas: their text is then wrong, which the next test shows
        if events[left]["type"].endswith("delta") and events[left + 1]["type"].endswith("annotation.added"):
            continue  # text and annotations may come in either order
        with pytest.raises(GrammarError):
            check(numbered(swapped))


def _gap(events: list[Event]) -> None:
    events[3]["sequence_number"] = 7


def _wrong_delta(events: list[Event]) -> None:
    next(e for e in events if e["type"] == "response.output_text.delta")["delta"] = "Hal"


def _empty_delta(events: list[Event]) -> None:
    next(e for e in events if e["type"] == "response.output_text.delta")["delta"] = ""


def _other_item_id(events: list[Event]) -> None:
    next(e for e in events if e["type"] == "response.output_text.done")["item_id"] = "msg_x"


def _other_index(events: list[Event]) -> None:
    next(e for e in events if e["type"] == "response.content_part.done")["output_index"] = 2


def _content_index(events: list[Event]) -> None:
    next(e for e in events if e["type"] == "response.content_part.added")["content_index"] = 1


def _other_output(events: list[Event]) -> None:
    events[-1]["response"]["output"][1] = events[-1]["response"]["output"][1] | {"content": []}


def _no_usage(events: list[Event]) -> None:
    events[-1]["response"]["usage"] = None


def _changed_call_id(events: list[Event]) -> None:
    next(e for e in events if e["type"] == "response.output_item.done" and "call_id" in e["item"])["item"][
        "call_id"
    ] = "call_x"


def _open_status(events: list[Event]) -> None:
    for event in events:
        if event["type"] == "response.output_item.done" and event["item"]["type"] == "message":
            event["item"]["status"] = "in_progress"


def _error_on_completed(events: list[Event]) -> None:
    events[-1]["response"]["error"] = {"code": "server_error", "message": "no"}


def _early_output(events: list[Event]) -> None:
    events[0]["response"]["output"] = [{}]


def _new_response_id(events: list[Event]) -> None:
    events[-1]["response"]["id"] = "resp_2"


@pytest.mark.parametrize(
    ("breakage", "rule"),
    [
        (_gap, "sequence_number"),
        (_wrong_delta, "not the deltas joined"),
        (_empty_delta, "a delta is empty"),
        (_other_item_id, "item_id"),
        (_other_index, "no item is open"),
        (_content_index, "content_index"),
        (_other_output, "terminal output"),
        (_no_usage, "completed without usage"),
        (_changed_call_id, "call_id changed"),
        (_open_status, "still in_progress"),
        (_error_on_completed, "error is set exactly when failed"),
        (_early_output, "created carries output"),
        (_new_response_id, "response.id"),
    ],
)
def test_a_broken_stream_names_its_rule(breakage: Any, rule: str) -> None:
    events = copy.deepcopy(legal_stream())
    breakage(events)
    with pytest.raises(GrammarError, match=rule):
        check(events)


def test_a_completed_call_with_empty_arguments_is_an_error() -> None:
    block, done = call_events(0, "")
    with pytest.raises(GrammarError, match="never"):
        check(stream_of((block, done)))


def test_a_message_may_not_open_while_a_call_is_open() -> None:
    call, _ = call_events(0)
    message, done = message_events(1)
    with pytest.raises(GrammarError, match="opens while"):
        check(stream_of(([call[0], *message], done)))


def test_an_item_id_used_twice_is_an_error() -> None:
    first, done = call_events(0)
    second, _ = call_events(1)
    second[0]["item"]["id"] = "fc_0"
    with pytest.raises(GrammarError, match="used twice"):
        check(stream_of((first + second, done)))


def test_events_after_the_terminal_one_are_an_error() -> None:
    events = legal_stream()
    with pytest.raises(GrammarError, match="after the terminal"):
        check(numbered([*events, events[-1]]))


def test_a_stream_without_a_terminal_event_is_an_error() -> None:
    with pytest.raises(GrammarError, match="without a terminal event"):
        check(legal_stream()[:-1])


def test_a_failed_stream_closes_its_items_as_incomplete() -> None:
    events, done = message_events(0)
    done["status"] = "incomplete"
    error = {"code": "server_error", "message": "gone"}
    assert check(stream_of((events, done), status="failed", error=error))["error"] == error
    with pytest.raises(GrammarError, match="incomplete items"):
        check(stream_of((events, done)))


def test_an_item_type_we_do_not_model_may_carry_its_own_events_only() -> None:
    item = {"id": "ws_0", "type": "web_search_call", "status": "in_progress"}
    done = item | {"status": "completed"}
    block: list[Event] = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_0"},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]
    assert check(stream_of((block, done)))["output"] == [done]
    block[1]["type"] = "response.output_text.delta"
    with pytest.raises(GrammarError, match="does not belong"):
        check(stream_of((block, done)))
