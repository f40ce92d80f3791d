"""The conversation on the Messages wire: order, roles, replay byte for byte, and nothing lost in silence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.providers import anthropic_kit as kit

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import Reasoning, SummaryText
from antiphon.providers.base import ReplayedReasoning, ReplayRecord

ANCHOR = kit.said("Continue.")
BLOCKS = (
    b'[{"type":"thinking","thinking":"Hm \\u00fc","signature":"s+/="},'
    b'{"type":"text","text":"Looking","citations":[{"type":"x","encrypted_index":"Eo"}]},'
    b'{"type":"tool_use","id":"toolu_1","name":"get_weather","input":{"z" : 1,"a":[ ]}}]'
)
CALL = {"type": "function_call", "call_id": "toolu_1", "name": "get_weather", "arguments": '{"z" : 1,"a":[ ]}'}
OUTPUT = {"type": "function_call_output", "call_id": "toolu_1", "output": "12"}
SYSTEM_MODEL = "claude-opus-5"


def call(call_id: str, name: str = "get_weather", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id: str, said: Any = "ok", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": said} | fields


def use(call_id: str, name: str = "get_weather", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(call_id: str, content: Any = "ok", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content} | fields


def replayed(blocks: bytes, **options: Any) -> ReplayedReasoning:
    return ReplayedReasoning(Reasoning(id="rs_1", summary=(SummaryText("Hm"),)), kit.record(blocks, **options))


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


# -- replay


def test_pitfall_056_a_stored_turn_goes_back_byte_for_byte() -> None:
    sent = kit.encode(kit.turn(BLOCKS), input=[OUTPUT], tools=[kit.WEATHER]).body
    assert BLOCKS[1:-1] in sent


def test_pitfall_030_the_same_turn_gives_the_same_bytes() -> None:
    said = {"input": [kit.HI, CALL, OUTPUT], "tools": [kit.WEATHER, kit.NOW]}
    assert kit.encode(**said).body == kit.encode(**said).body


def test_the_past_is_rendered_alike_however_the_conversation_goes_on() -> None:
    items = [kit.HI, assistant("Yes"), {"role": "developer", "content": "D"}, {"role": "user", "content": "A"}]
    first = kit.body(model=SYSTEM_MODEL, input=items)["messages"]
    later = kit.body(model=SYSTEM_MODEL, input=[*items, assistant("B"), kit.HI])["messages"]
    assert later[: len(first)] == first


def test_a_client_that_keeps_its_history_sends_the_bytes_of_the_stored_turn() -> None:
    thinking = b'[{"type":"thinking","thinking":"Hm","signature":"s"}]'
    tail = b',{"type":"text","text":"Looking"},'
    tail += b'{"type":"tool_use","id":"toolu_1","name":"get_weather","input":{"z" : 1,"a":[ ]}}]'
    stored = kit.encode(kit.turn(thinking[:-1] + tail), input=[OUTPUT], tools=[kit.WEATHER])
    said = [assistant("Looking"), CALL, OUTPUT]
    echoed = kit.encode(replayed(thinking), input=said, tools=[kit.WEATHER])
    assert echoed.body == stored.body


def test_pitfall_098_a_turn_of_another_model_of_the_family_goes_back_whole() -> None:
    blocks = b'[{"type":"thinking","thinking":"Hm","signature":"s"},{"type":"text","text":"Yes"}]'
    sent = kit.encode(kit.turn(blocks, model="claude-opus-4-6"), model="claude-sonnet-5-5")
    assert blocks[1:-1] in sent.body
    assert sent.removed == ()


@pytest.mark.parametrize(("family", "reason"), [("anthropic", "organization"), ("chat_completions", "model")])
def test_pitfall_090_reasoning_that_cannot_be_read_is_dropped_and_named(family: str, reason: str) -> None:
    record = ReplayRecord(family, "elsewhere", "m", msgspec.Raw(BLOCKS))
    entry = ReplayedReasoning(Reasoning(id="rs_1", summary=()), record)
    sent = kit.encode(entry, input=[assistant("Yes"), kit.HI])
    assert sent.removed == (("rs_1", f"{reason}_mismatch"),)
    assert b"thinking" not in sent.body


def test_a_turn_of_another_account_is_told_from_its_items() -> None:
    past = kit.turn(BLOCKS, {"type": "reasoning", "id": "rs_9", "summary": []}, CALL, scope="elsewhere")
    sent = kit.encode(past, input=[OUTPUT], tools=[kit.WEATHER])
    assert sent.removed == (("rs_9", "organization_mismatch"),)
    assert msgspec.json.decode(sent.body)["messages"][1]["content"] == [use("toolu_1", z=1, a=[])]


def test_bare_reasoning_items_are_removed_and_named() -> None:
    sent = kit.encode(input=[kit.HI, {"type": "reasoning", "id": "rs_2", "summary": []}, assistant("Yes"), kit.HI])
    assert sent.removed == (("rs_2", "model_mismatch"),)


def test_a_recorded_block_that_uses_known_names_for_other_values_goes_back_as_it_is() -> None:
    block = {"type": "future_tool_result", "id": 7, "name": {"a": 1}, "signature": {"key": "s"}}
    assert kit.messages(kit.turn(msgspec.json.encode([block, kit.said("Yes")])))[1] == (
        "assistant",
        [block, kit.said("Yes")],
    )


def test_pitfall_059_a_recorded_block_with_an_empty_signature_is_not_sent() -> None:
    blocks = b'[{"type":"thinking","thinking":"Hm","signature":""},{"type":"text","text":"Yes"}]'
    assert kit.messages(kit.turn(blocks))[1] == ("assistant", [kit.said("Yes")])


def test_pitfall_052_redacted_thinking_goes_back_as_it_came() -> None:
    blocks = b'[{"type":"redacted_thinking","data":"Em+/="},{"type":"text","text":"Yes"}]'
    assert blocks[1:-1] in kit.encode(kit.turn(blocks)).body


def test_pitfall_039_the_outputs_name_the_calls_as_the_provider_does() -> None:
    past = kit.turn(BLOCKS, call_public="toolu_1")
    sent = kit.messages(past, input=[output("call_public")], tools=[kit.WEATHER])
    assert sent[2] == ("user", [result("toolu_1")])


def test_pitfall_060_a_paused_turn_ends_with_its_own_blocks() -> None:
    parts = [b'[{"type":"text","text":"A"}]', b'[{"type":"server_tool_use","id":"s","name":"x","input":{ }}]']
    sent = kit.encode(pending=tuple(kit.record(part) for part in parts))
    role, content = [(row["role"], row["content"]) for row in msgspec.json.decode(sent.body)["messages"]][-1]
    assert (role, [block["type"] for block in content]) == ("assistant", ["text", "server_tool_use"])
    assert parts[0][1:-1] + b"," + parts[1][1:-1] in sent.body


# -- calls and results


def test_results_come_first_and_in_the_order_of_the_calls() -> None:
    said = [kit.HI, call("a"), call("b"), {"role": "user", "content": "More"}, output("b"), output("a")]
    assert kit.messages(input=said)[1:] == [
        ("assistant", [use("a"), use("b")]),
        ("user", [result("a"), result("b"), kit.said("More")]),
    ]


def test_a_call_whose_output_is_lost_gets_an_error_and_an_incomplete_output_is_one() -> None:
    said = [kit.HI, call("a"), call("b"), output("a", "late", status="incomplete"), kit.HI]
    lost = result("b", "[no output]", is_error=True)
    assert kit.messages(input=said)[2][1][:2] == [result("a", "late", is_error=True), lost]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("late", [kit.said("[output of call gone: late]")]),
        ([{"type": "input_text", "text": "late"}], [kit.said("[output of call gone follows]"), kit.said("late")]),
    ],
)
def test_pitfall_032_an_output_whose_call_is_gone_is_told_whole(content: Any, told: list[dict[str, Any]]) -> None:
    assert kit.messages(input=[kit.HI, output("gone", content)]) == [("user", [kit.said("Hi"), *told])]


def test_an_output_holds_text_images_and_files() -> None:
    parts = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "https://e.org/a.png"},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="},
    ]
    (found,) = kit.messages(input=[kit.HI, call("a"), output("a", parts)])[2][1]
    assert [block["type"] for block in found["content"]] == ["text", "image", "document"]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [("", {}), ("[1]", {"input": "[1]"}), ("not json", {"input": "not json"}), ('{"b":1,"a":2}', {"b": 1, "a": 2})],
)
def test_arguments_are_an_object_or_wrapped_in_one(arguments: str, given: dict[str, Any]) -> None:
    assert kit.messages(input=[kit.HI, call("a", arguments=arguments), output("a")])[1][1] == [use("a", **given)]


def test_an_illegal_call_id_is_the_same_legal_one_on_both_sides() -> None:
    (_, [used]), (_, [answered]) = kit.messages(input=[kit.HI, call("f.g:0"), output("f.g:0")])[1:]
    assert used["id"] == answered["tool_use_id"]
    assert used["id"].replace("_", "").isalnum()


def test_custom_calls_and_namespaced_calls_have_their_wire_names() -> None:
    said = [
        kit.HI,
        {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": "x\n"},
        call("b", "read") | {"namespace": "fs"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "done"},
        output("b"),
    ]
    assert kit.messages(input=said)[1][1] == [use("a", "patch", input="x\n"), use("b", "fs__read")]


def test_a_history_with_calls_declares_their_tools_also_when_the_turn_has_none() -> None:
    sent = kit.body(input=[kit.HI, call("a"), output("a")])
    assert [tool["name"] for tool in sent["tools"]] == ["get_weather"]
    assert sent["tool_choice"] == {"type": "none"}


# -- roles


def test_neighbours_of_one_role_are_one_message() -> None:
    said = [kit.HI, {"role": "user", "content": "There"}, assistant("A"), assistant("B"), kit.HI]
    assert [role for role, _ in kit.messages(input=said)] == ["user", "assistant", "user"]


def test_empty_text_is_never_sent() -> None:
    said = [kit.HI, assistant(" "), {"role": "user", "content": [{"type": "input_text", "text": ""}]}]
    assert kit.messages(input=said) == [("user", [kit.said("Hi")])]


def test_a_conversation_that_begins_or_ends_with_the_model_gets_a_word_from_the_user() -> None:
    assert kit.messages(input=[assistant("A")]) == [
        ("user", [ANCHOR]),
        ("assistant", [kit.said("A")]),
        ("user", [ANCHOR]),
    ]


def test_leading_system_and_developer_items_follow_the_instructions() -> None:
    said = [{"role": "system", "content": "S"}, {"role": "developer", "content": "D"}, kit.HI]
    sent = kit.body(input=said, instructions="I")
    assert sent["system"] == [kit.said("I"), kit.said("S"), kit.said("D")]


def test_pitfall_061_a_later_developer_item_stays_in_its_place() -> None:
    said = [kit.HI, assistant("A"), {"role": "developer", "content": "D"}, {"role": "user", "content": "B"}]
    assert kit.messages(model=SYSTEM_MODEL, input=said)[2:] == [
        ("user", [kit.said("B")]),
        ("system", [kit.said("D")]),
    ]
    tagged = kit.said("<system>\nD\n</system>")
    assert kit.messages(input=said)[2:] == [("user", [tagged, kit.said("B")])]
    assert "system" not in kit.body(input=said)


def test_a_developer_item_at_the_end_follows_a_user_message() -> None:
    said = [kit.HI, assistant("A"), {"role": "developer", "content": "D"}]
    assert kit.messages(model=SYSTEM_MODEL, input=said)[2:] == [("user", [ANCHOR]), ("system", [kit.said("D")])]


def test_an_image_in_a_developer_item_is_refused_not_lost() -> None:
    part = {"type": "input_image", "image_url": "https://e.org/a.png"}
    with pytest.raises(InvalidRequest) as caught:
        kit.encode(input=[{"role": "developer", "content": [part]}, kit.HI])
    assert caught.value.param == "input[0].content[0]"


# -- items of other worlds


def test_a_built_in_tools_items_are_told_and_unknown_items_are_refused_by_type() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    sent = kit.messages(input=[kit.HI, search, kit.HI])
    assert sent[1][1][0]["text"].startswith("[web_search_call: ")
    with pytest.raises(InvalidRequest) as caught:
        kit.encode(input=[kit.HI, {"type": "hologram", "id": "h_1"}])
    assert caught.value.param == "input[1].type"


def test_what_a_search_found_can_be_called() -> None:
    said = [
        kit.HI,
        {"type": "tool_search_call", "call_id": "s", "execution": "client", "arguments": {"query": "w"}},
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "tools": [kit.WEATHER]},
    ]
    sent = kit.body(input=said, tools=[{"type": "tool_search", "execution": "client"}])
    assert [tool["name"] for tool in sent["tools"]] == ["tool_search", "get_weather"]
    assert sent["messages"][1]["content"] == [use("s", "tool_search", query="w")]
