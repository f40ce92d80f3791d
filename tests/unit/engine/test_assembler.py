"""The assembler turns any deltas into a legal stream whose end is the accumulation of its events."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.stage import Stage

from antiphon.protocol import deltas as de
from antiphon.protocol.errors import UpstreamFault


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def play(*deltas: de.Delta, seal: bool = False, taken: set[str] | None = None) -> tuple[Stage, dict]:
    stage = Stage(seal, taken)
    stage.turn(list(deltas))
    return stage, stage.finish()


def test_text_streams_through_the_documented_event_sequence() -> None:
    stage, response = play(de.Started("m"), de.Text(0, "Hel"), de.Text(0, "lo"), de.Finished())
    assert stage.types() == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert response["output"][0]["content"][0]["text"] == "Hello"
    assert response["status"] == "completed"


def test_a_call_without_arguments_ends_as_an_empty_object_with_one_delta() -> None:
    stage, response = play(de.CallStarted(0, "now", "call_1"), de.Finished())
    assert response["output"][0]["arguments"] == "{}"
    assert [event["delta"] for event in stage.events if event["type"].endswith("arguments.delta")] == ["{}"]


def test_empty_deltas_open_nothing() -> None:
    _, response = play(de.Text(0, ""), de.Summary(1, ""), de.Refusal(2, ""), de.Thought(3, ""), de.Finished())
    assert response["output"] == []


def test_parallel_calls_may_interleave_and_stay_apart() -> None:
    _, response = play(
        de.CallStarted(0, "a", "call_a"),
        de.CallStarted(1, "b", "call_b"),
        de.CallArguments(0, '{"x"'),
        de.CallArguments(1, '{"y":2}'),
        de.CallArguments(0, ":1}"),
        de.Finished(),
    )
    assert [(item["call_id"], item["arguments"]) for item in response["output"]] == [
        ("call_a", '{"x":1}'),
        ("call_b", '{"y":2}'),
    ]


def test_text_between_the_pieces_of_a_call_waits_and_is_not_lost() -> None:
    _, response = play(
        de.CallStarted(0, "a", "call_a"),
        de.CallArguments(0, '{"x"'),
        de.Text(1, "meanwhile"),
        de.CallArguments(0, ":1}"),
        de.Finished(),
    )
    assert response["output"][0]["arguments"] == '{"x":1}'
    assert response["output"][1]["content"][0]["text"] == "meanwhile"


def test_an_illegal_or_taken_call_id_is_replaced_and_remembered() -> None:
    stage, response = play(
        de.CallStarted(0, "a", "call_0"),
        de.Ended(0),
        de.CallStarted(1, "b", "functions.b:0"),
        de.Ended(1),
        de.CallStarted(2, "c", ""),
        de.Kept(raw("[]")),
        de.Finished(),
        taken={"call_0"},
    )
    ids = [item["call_id"] for item in response["output"]]
    assert len(set(ids)) == 3
    assert "call_0" not in ids
    record = stage.assembler.turns[0].record
    assert record is not None
    assert record.call_ids == dict(zip(ids, ["call_0", "functions.b:0", ""], strict=True))


def test_a_carrier_is_sealed_into_its_own_reasoning_item() -> None:
    stage, response = play(
        de.Thinking(0), de.Carried(0, raw('{"s":1}')), de.Ended(0), de.Text(1, "x"), de.Finished(), seal=True
    )
    assert response["output"][0]["encrypted_content"] == 'sealed:{"s":1}'
    assert stage.assembler.turns[0].carried[0].blocks == raw('{"s":1}')


def test_a_cut_answer_marks_only_its_last_item_incomplete() -> None:
    _, response = play(
        de.Text(0, "done"), de.Ended(0), de.CallStarted(1, "f", "call_1"), de.Finished("max_output_tokens")
    )
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["status"] == "incomplete"


def test_a_failure_in_the_middle_closes_the_open_item_as_incomplete() -> None:
    _, response = play(de.Text(0, "par"), de.Failed(UpstreamFault("rate_limit", "slow down")))
    assert response["output"][0]["status"] == "incomplete"
    assert response["error"] == {"code": "rate_limit_exceeded", "message": "slow down"}


def test_usage_of_several_calls_of_one_turn_adds_up_and_within_a_call_replaces() -> None:
    stage = Stage()
    stage.turn([de.Used(de.Usage(10, 0, 0, 1)), de.Used(de.Usage(10, 4, 0, 5, 2)), de.Paused()])
    stage.turn([de.Used(de.Usage(20, 0, 0, 3)), de.Finished()])
    usage = stage.finish()["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (30, 8, 38)
    assert usage["input_tokens_details"]["cached_tokens"] == 4


@pytest.mark.parametrize(
    ("claimed", "counted"),
    [
        (de.Usage(1, 0, 0, 5, 50), de.Usage(1, 0, 0, 5, 5)),
        (de.Usage(-9, -3, -1, -5, -2), de.Usage()),
        (de.Usage(2**63, 7, 2**62, 2**62, 2**63), de.Usage(2**40, 7, 2**40, 2**40, 2**40)),
    ],
)
def test_counts_that_cannot_be_true_reach_neither_the_response_nor_the_ledger(
    claimed: de.Usage, counted: de.Usage
) -> None:
    stage, response = play(de.Used(claimed), de.Finished())
    assert stage.assembler.usage == counted
    assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == counted.reasoning_tokens
    assert response["usage"]["total_tokens"] == counted.input_tokens + counted.output_tokens


def test_a_native_item_keeps_everything_but_its_id() -> None:
    item = raw('{"type":"web_search_call","id":"ws_up","status":"completed","action":{"type":"search","query":"q"}}')
    event = raw('{"type":"response.web_search_call.searching","item_id":"ws_up","output_index":7,"sequence_number":3}')
    stage, response = play(
        de.Native(0, "web_search_call", item, "added"),
        de.NativeEvent(0, "response.web_search_call.searching", event),
        de.Native(0, "web_search_call", item),
        de.Finished(),
    )
    shown = response["output"][0]
    assert shown["id"].startswith("ws_0")
    assert shown["action"] == {"type": "search", "query": "q"}
    searching = next(event for event in stage.events if event["type"].endswith("searching"))
    assert (searching["item_id"], searching["output_index"]) == (shown["id"], 0)


keys = st.integers(0, 3)
texts = st.text(max_size=4)
any_delta = st.one_of(
    st.builds(de.Text, keys, texts),
    st.builds(de.Refusal, keys, texts),
    st.builds(de.Summary, keys, texts, st.integers(0, 2)),
    st.builds(de.Thought, keys, texts),
    st.builds(de.Thinking, keys),
    st.builds(de.Carried, keys, st.just(raw("{}"))),
    st.builds(de.CallStarted, keys, st.just("f"), st.sampled_from(["", "call_1", "bad id"])),
    st.builds(de.CallArguments, keys, st.sampled_from(["", '{"a":1}'])),
    st.builds(de.Ended, keys),
    st.builds(de.Cited, keys, st.just(raw('{"type":"url_citation"}'))),
    st.builds(de.Native, keys, st.just("web_search_call"), st.just(raw('{"type":"web_search_call"}'))),
    st.builds(de.Used, st.builds(de.Usage, st.integers(0, 9), st.integers(0, 9))),
)
endings = st.sampled_from(
    [de.Finished(), de.Finished("max_output_tokens"), de.Failed(UpstreamFault("server", "broken"))]
)


@given(st.lists(any_delta, max_size=25), endings)
def test_any_deltas_give_a_legal_stream_that_accumulates_to_its_end(deltas: list[de.Delta], end: de.Delta) -> None:
    play(*deltas, end, seal=True)
