"""The conversation that is sent. Tests with a number are pitfalls of the provider reference."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.providers.chat_kit import CALLED, OPENAI, decode, encode, kept, messages, piece, record, said

from antiphon.protocol.deltas import Carried, Kept
from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    AdditionalTools,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputImage,
    InputText,
    Message,
    Opaque,
    OutputText,
    Reasoning,
    ReasoningText,
    RefusalPart,
    ToolSearchCall,
    ToolSearchOutput,
)
from antiphon.protocol.request import InputItem
from antiphon.protocol.tools import FunctionTool, NamespaceTool
from antiphon.providers.base import ModelTurn, ReplayedReasoning
from antiphon.providers.quirks import ChatQuirks

USER = Message("user", "hi")


PNG = "data:image/png;base64,AAAA"


def raw(item: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(item))


def test_instructions_lead_as_a_system_message() -> None:
    assert messages(USER, instructions="be brief") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]


def test_pitfall_061_a_developer_message_in_the_middle_stays_there() -> None:
    sent = messages(USER, Message("assistant", "yes"), Message("developer", "now in French"), USER)
    assert [message["role"] for message in sent] == ["user", "assistant", "system", "user"]
    assert [m["role"] for m in messages(Message("system", "s"), quirks=OPENAI)] == ["developer"]


def test_where_one_system_message_may_lead_the_others_keep_their_place() -> None:
    sent = messages(
        Message("system", "b"), USER, Message("developer", "c"), instructions="a", quirks=ChatQuirks(single_system=True)
    )
    assert sent == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "hi"},
        {"role": "user", "content": "<system>\nc\n</system>"},
    ]


def test_one_model_turn_is_one_assistant_message() -> None:
    sent = messages(
        USER,
        Message("assistant", (OutputText("Let me look."),)),
        FunctionCall("a", "f", '{"x": 1}'),
        FunctionCall("b", "g", ""),
        FunctionCallOutput("1", "b"),
        FunctionCallOutput("2", "a"),
    )
    assert sent[1] == {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [
            {"type": "function", "id": "a", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"type": "function", "id": "b", "function": {"name": "g", "arguments": "{}"}},
        ],
    }
    assert [message.get("tool_call_id") for message in sent[2:]] == ["b", "a"]


def test_two_answers_in_a_row_stay_two() -> None:
    sent = messages(Message("assistant", "one"), Message("assistant", "two"))
    assert [message["content"] for message in sent] == ["one", "two"]


@pytest.mark.parametrize(
    ("form", "expected"), [("null", {"content": None}), ("omitted", {}), ("empty", {"content": ""})]
)
def test_a_turn_of_calls_alone_has_the_content_its_vendor_wants(form: str, expected: dict[str, object]) -> None:
    (sent,) = messages(FunctionCall("a", "f", "{}"), quirks=msgspec.convert({"empty_content": form}, ChatQuirks))
    assert {key: value for key, value in sent.items() if key == "content"} == expected


def test_images_of_outputs_follow_after_all_outputs_of_the_turn() -> None:
    sent = messages(
        FunctionCall("a", "f", "{}"),
        FunctionCall("b", "f", "{}"),
        FunctionCallOutput((InputText("seen"), InputImage(image_url=PNG)), "a"),
        FunctionCallOutput((InputImage(image_url=PNG),), "b"),
        USER,
    )
    assert [message["role"] for message in sent] == ["assistant", "tool", "tool", "user", "user"]
    assert [part["type"] for part in sent[3]["content"]] == ["text", "image_url", "text", "image_url"]


def test_what_is_said_between_a_call_and_its_output_comes_after_the_output() -> None:
    sent = messages(FunctionCall("a", "f", "{}"), USER, FunctionCallOutput("1", "a"), Message("user", "next"))
    assert [message["role"] for message in sent] == ["assistant", "tool", "user", "user"]


def test_pitfall_092_an_output_of_texts_is_a_string() -> None:
    sent = messages(FunctionCall("a", "f", "{}"), FunctionCallOutput((InputText("1"), InputText("2")), "a"))
    assert sent[1] == {"role": "tool", "tool_call_id": "a", "content": "1\n2"}


def test_orphans_do_not_crash() -> None:
    assert messages(FunctionCall("a", "f", "{}"), USER)
    assert messages(FunctionCallOutput("1", "nobody"))
    assert messages(FunctionCallOutput("1"))[0]["role"] == "user"
    assert messages(ToolSearchOutput(())) == []
    assert messages(ModelTurn((FunctionCallOutput("1", "a"), Message("assistant", "x"))))[0]["content"] == "x"


def test_a_stored_turn_is_sent_byte_for_byte() -> None:
    blocks = b'{"role":"assistant", "content":"x",  "odd":[1.0]}'
    turn = ModelTurn((Message("assistant", "x"),), record(blocks))
    assert blocks in encode(USER, turn, USER).body


def test_a_stored_turn_of_another_account_is_rendered_without_its_reasoning() -> None:
    items = (Reasoning(id="rs_1"), Message("assistant", "x"))
    for foreign, reason in (
        (record(b"{}", scope="other"), "organization_mismatch"),
        (record(b"{}", family="anthropic"), "model_mismatch"),
        (None, "model_mismatch"),
    ):
        request = encode(USER, ModelTurn(items, foreign))
        assert msgspec.json.decode(request.body)["messages"][1] == {"role": "assistant", "content": "x"}
        assert request.removed == (("rs_1", reason),)


def test_pitfall_064_items_ids_and_summaries_are_never_sent() -> None:
    reasoning = Reasoning(id="rs_1", content=(ReasoningText("secret"),))
    body = encode(USER, reasoning, Message("assistant", "x", id="msg_1"), FunctionCall("a", "f", "{}", id="fc_1")).body
    for word in (b"rs_1", b"msg_1", b"fc_1", b"secret", b"summary"):
        assert word not in body


def test_pitfall_090_reasoning_without_blocks_is_reported() -> None:
    assert encode(USER, Reasoning(id="rs_1")).removed == (("rs_1", "model_mismatch"),)


def test_reasoning_of_another_account_is_reported() -> None:
    reasoning = ReplayedReasoning(Reasoning(id="rs_1"), record(b'{"reasoning":"x"}', scope="other"))
    assert encode(USER, reasoning).removed == (("rs_1", "organization_mismatch"),)


@pytest.mark.parametrize(
    "quirks", [ChatQuirks(), ChatQuirks(empty_reasoning_field="reasoning_content"), ChatQuirks(empty_content="empty")]
)
@pytest.mark.parametrize(
    "chunks",
    [
        [said(reasoning_content="hm"), said(content="ok"), piece(0, "a", "f", '{"x": 1}'), piece(1, "b", "g"), CALLED],
        [said(reasoning="h"), said(reasoning="m"), piece(0, "a", "f", "{}"), piece(1, "b", "g", "{}"), CALLED],
        [
            said(reasoning_details=[{"type": "reasoning.text", "text": "h", "index": 0}]),
            said(reasoning_details=[{"type": "reasoning.text", "signature": "s", "index": 0}]),
            piece(0, "a", "f", "{}"),
            piece(1, "b", "g", "{}"),
            CALLED,
        ],
        [
            said(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
            said(content="ok"),
            piece(0, "a", "f", "{}"),
            piece(1, "b", "g", "{}"),
            CALLED,
        ],
    ],
)
def test_pitfall_033_a_history_the_client_keeps_renders_the_bytes_of_the_stored_turn(
    quirks: ChatQuirks, chunks: list[object]
) -> None:
    deltas = decode(*chunks, quirks=quirks)
    (carried,) = [delta for delta in deltas if isinstance(delta, Carried)]
    said_text = "ok" if any("content" in str(chunk) and "'ok'" in str(chunk) for chunk in chunks) else ""
    arguments = '{"x": 1}' if "'{\"x\": 1}'" in str(chunks) else "{}"
    calls = (FunctionCall("a", "f", arguments), FunctionCall("b", "g", "{}"))
    answer = (Message("assistant", said_text),) if said_text else ()
    outputs = (FunctionCallOutput("1", "a"), FunctionCallOutput("2", "b"))
    echoed = ReplayedReasoning(Reasoning(), record(bytes(carried.blocks)))
    stored = ModelTurn((*answer, *calls), record(kept(deltas)))
    assert (
        encode(USER, echoed, *answer, *calls, *outputs, quirks=quirks).body
        == encode(USER, stored, *outputs, quirks=quirks).body
    )


def test_pitfall_073_outputs_bear_the_ids_the_upstream_gave() -> None:
    (kept_delta,) = [d for d in decode(piece(0, "call_0", "f", "{}"), CALLED) if isinstance(d, Kept)]
    blocks = bytes(kept_delta.blocks)
    turns = [
        entry
        for public in ("call_x", "call_y")
        for entry in (
            ModelTurn((FunctionCall(public, "f", "{}"),), record(blocks, **{public: "call_0"})),
            FunctionCallOutput("1", public),
        )
    ]
    assert [m["tool_call_id"] for m in messages(*turns) if m["role"] == "tool"] == ["call_0", "call_0"]


def test_ids_that_a_target_refuses_are_encoded_alike_everywhere() -> None:
    sent = messages(
        FunctionCall("functions.f:0", "f", "{}"),
        FunctionCallOutput("1", "functions.f:0"),
        FunctionCall("abcDEF123", "f", "{}"),
        quirks=ChatQuirks(tool_call_id_length=9),
    )
    encoded = sent[0]["tool_calls"][0]["id"]
    assert len(encoded) == 9
    assert encoded.isalnum()
    assert sent[1]["tool_call_id"] == encoded
    assert sent[2]["tool_calls"][0]["id"] == "abcDEF123"


def test_calls_of_other_models_have_an_empty_reasoning_field_where_one_must_stand() -> None:
    quirks = ChatQuirks(empty_reasoning_field="reasoning_content")
    calling, answer = messages(FunctionCall("a", "f", "{}"), USER, Message("assistant", "x"), quirks=quirks)[::2]
    assert calling["reasoning_content"] == ""
    assert "reasoning_content" not in answer


def test_a_bridge_stands_between_tool_and_user_where_one_is_needed() -> None:
    sent = messages(
        FunctionCall("a", "f", "{}"), FunctionCallOutput("1", "a"), USER, quirks=ChatQuirks(bridges_tool_to_user=True)
    )
    assert [message["role"] for message in sent] == ["assistant", "tool", "assistant", "user"]


def test_custom_calls_are_wrapped_or_native_as_their_tools_are() -> None:
    items = (CustomToolCall("a", "exec", "ls", namespace="ns"), CustomToolCallOutput("a", "ok"))
    wrapped = messages(*items)[0]["tool_calls"][0]
    assert wrapped["function"] == {"name": "ns__exec", "arguments": '{"input":"ls"}'}
    native = messages(*items, quirks=OPENAI)[0]["tool_calls"][0]
    assert native == {"type": "custom", "id": "a", "custom": {"name": "ns__exec", "input": "ls"}}


def test_a_tool_search_is_a_call_whose_output_names_what_was_found() -> None:
    sent = messages(
        ToolSearchCall(raw({"query": "maps"}), call_id="a", execution="client"),
        ToolSearchOutput((NamespaceTool("maps", (FunctionTool("find"),)), FunctionTool("go")), call_id="a"),
    )
    assert sent[0]["tool_calls"][0]["function"] == {"name": "tool_search", "arguments": '{"query":"maps"}'}
    assert sent[1]["content"] == '{"tools":["maps__find","go"]}'


def test_a_search_that_ran_elsewhere_and_declarations_are_no_messages() -> None:
    assert messages(AdditionalTools(()), ToolSearchCall(raw({})), ToolSearchOutput(()), USER) == [
        {"role": "user", "content": "hi"}
    ]


def test_a_refusal_has_its_field_or_is_text() -> None:
    item = Message("assistant", (RefusalPart("no"),))
    assert messages(item) == [{"role": "assistant", "content": "no"}]
    assert messages(item, quirks=OPENAI) == [{"role": "assistant", "content": "", "refusal": "no"}]


def test_what_a_built_in_tool_did_is_told_in_the_turn_it_did_it() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}}
    item = Opaque("web_search_call", "ws_1", raw(search))
    told = '[web_search_call: {"action":{"query":"x"}}]'
    assert messages(ModelTurn((item, Message("assistant", "found"))))[0]["content"] == f"{told}\nfound"
    assert messages(item, USER)[0]["content"] == told + "\n"
    assert messages(Opaque("compaction_trigger", None, raw({"type": "compaction_trigger"}))) == []
    output = Opaque("shell_call_output", None, raw({"type": "shell_call_output", "call_id": "s", "output": []}))
    assert messages(output)[0]["role"] == "user"


def test_an_item_nobody_knows_is_refused_where_it_stands() -> None:
    item = Opaque("mystery", None, raw({"type": "mystery"}))
    with pytest.raises(InvalidRequest) as caught:
        encode(USER, item, input=(InputItem(USER, raw({})), InputItem(item, raw({}))))
    assert (caught.value.param, caught.value.code) == ("input[1].type", "invalid_value")


def test_pitfall_030_equal_turns_are_equal_bytes_and_grow_at_their_end() -> None:
    past = (USER, FunctionCall("a", "f", "{}"), FunctionCallOutput("1", "a"))
    first, again, longer = encode(*past).body, encode(*past).body, encode(*past, USER).body
    assert first == again
    end = first.index(b'],"stream"')
    assert longer.startswith(first[:end])


def signed(index: int, call_id: str, signature: str) -> dict[str, object]:
    call = {"index": index, "id": call_id, "function": {"name": "f", "arguments": "{}"}}
    return said(tool_calls=[{**call, "extra_content": {"google": {"thought_signature": signature}}}])


def test_pitfall_007_and_080_a_calls_signature_comes_back_stored_or_echoed() -> None:
    deltas = decode(signed(0, "a", "s1"), piece(1, "b", "g", "{}"), signed(2, "c", "s3"), CALLED)
    carried = [ReplayedReasoning(Reasoning(), record(bytes(d.blocks))) for d in deltas if isinstance(d, Carried)]
    calls = (FunctionCall("a", "f", "{}"), FunctionCall("b", "g", "{}"), FunctionCall("c", "f", "{}"))
    outputs = tuple(FunctionCallOutput("1", call.call_id) for call in calls)
    echoed = encode(USER, carried[0], *calls[:2], carried[1], calls[2], *outputs).body
    assert echoed == encode(USER, ModelTurn(calls, record(kept(deltas))), *outputs).body
    sent = msgspec.json.decode(echoed)["messages"][1]["tool_calls"]
    assert [call.get("extra_content", {}).get("google") for call in sent] == [
        {"thought_signature": "s1"},
        None,
        {"thought_signature": "s3"},
    ]


def test_pitfall_058_only_the_first_unsigned_call_of_another_model_gets_the_dummy() -> None:
    quirks = ChatQuirks(unsigned_call_extra={"google": {"thought_signature": "skip"}})
    (sent,) = messages(FunctionCall("a", "f", "{}"), FunctionCall("b", "f", "{}"), quirks=quirks)
    assert ["extra_content" in call for call in sent["tool_calls"]] == [True, False]


def test_a_signature_of_a_call_that_is_gone_is_dropped() -> None:
    blocks = b'{"call_extras":[{"call":3,"extra_content":{}}]}'
    (sent,) = messages(ReplayedReasoning(Reasoning(), record(blocks)), FunctionCall("a", "f", "{}"))
    assert "extra_content" not in sent["tool_calls"][0]
