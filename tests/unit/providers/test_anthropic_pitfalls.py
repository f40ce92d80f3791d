"""The pitfalls of other gateways that concern Anthropic Messages, each by its number."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from pydantic import TypeAdapter

from antiphon.protocol import deltas as de
from antiphon.protocol.errors import InvalidRequest, TruncatedStream, UpstreamFault
from antiphon.protocol.items import (
    AdditionalTools,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputImage,
    InputText,
    Message,
    Reasoning,
    SummaryText,
)
from antiphon.protocol.request import CreateResponse, ReasoningSettings, Text, TextFormat
from antiphon.protocol.tools import CustomTool, FunctionTool, NamespaceTool
from antiphon.providers.anthropic import Anthropic
from antiphon.providers.base import Entry, HttpRequest, ModelTurn, ReplayedReasoning, ReplayRecord, Target, Turn, Vendor

DIALECT = Anthropic()
F = FunctionTool("f", parameters=msgspec.Raw(b'{"type":"object","properties":{}}'))
USER = Message("user", "Hi")


def target(model: str = "claude-opus-4-8") -> Target:
    return Target(Vendor("a", "anthropic", "https://up.example", "x-api-key", "key", scope="acc"), model)


def encode(*context: Entry, model: str = "claude-opus-4-8", **fields: Any) -> HttpRequest:
    return DIALECT.encode(Turn(CreateResponse(model=model, **fields), context), target(model))


def body(*context: Entry, model: str = "claude-opus-4-8", **fields: Any) -> dict[str, Any]:
    return msgspec.json.decode(encode(*context, model=model, **fields).body)


def event(kind: str, **fields: Any) -> bytes:
    return b"data: " + msgspec.json.encode({"type": kind} | fields) + b"\n\n"


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    middle = b"".join(event("content_block_delta", index=index, delta=delta) for delta in deltas)
    opened = event("content_block_start", index=index, content_block=start)
    return opened + middle + event("content_block_stop", index=index)


def thinking(index: int, text: str, signature: str) -> bytes:
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in text]
    deltas += [{"type": "signature_delta", "signature": signature}] if signature else []
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *deltas)


def said(index: int, text: str) -> bytes:
    return block(index, {"type": "text", "text": ""}, {"type": "text_delta", "text": text})


def call(index: int, call_id: str, *pieces: str) -> bytes:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block(index, {"type": "tool_use", "id": call_id, "name": "f", "input": {}}, *deltas)


def end(reason: str = "end_turn", **usage: int) -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage=usage) + event("message_stop")


def decode(*chunks: bytes) -> list[de.Delta]:
    decoder = DIALECT.decoder(target(), encode(USER))
    return [delta for chunk in chunks for delta in decoder.feed(chunk)] + decoder.close()


def kept(deltas: list[de.Delta]) -> list[dict[str, Any]]:
    (one,) = [delta for delta in deltas if isinstance(delta, de.Kept)]
    return msgspec.json.decode(one.blocks)


def record(deltas: list[de.Delta]) -> ReplayRecord:
    (one,) = [delta for delta in deltas if isinstance(delta, de.Kept)]
    return ReplayRecord("anthropic", "acc", "claude-opus-4-8", one.blocks)


def test_pitfall_004_thinking_in_many_pieces_is_one_block() -> None:
    blocks = kept(decode(thinking(0, "abc", "sig"), end()))
    assert blocks == [{"type": "thinking", "thinking": "abc", "signature": "sig"}]


def test_pitfall_005_the_signature_is_carried_as_it_came() -> None:
    (carried,) = [delta for delta in decode(thinking(0, "a", "s+/="), end()) if isinstance(delta, de.Carried)]
    assert msgspec.json.decode(carried.blocks)[0]["signature"] == "s+/="


def test_pitfall_006_thinking_that_is_only_a_signature_is_a_reasoning_item() -> None:
    deltas = decode(thinking(0, "", "sig"), said(1, "x"), end())
    assert any(isinstance(delta, de.Thinking) for delta in deltas)
    assert kept(deltas)[0] == {"type": "thinking", "thinking": "", "signature": "sig"}


def test_pitfall_010_no_tools_no_tool_choice() -> None:
    sent = body(USER, parallel_tool_calls=False, parallel_tool_calls_said=True)
    assert not sent.keys() & {"tools", "tool_choice"}


def test_pitfall_014_a_schema_and_effort_need_no_forced_tool() -> None:
    schema = TextFormat("json_schema", "n", msgspec.Raw(b'{"type":"object"}'))
    sent = body(USER, text=Text(schema), reasoning=ReasoningSettings("high"))
    assert sent["output_config"]["format"]["type"] == "json_schema"
    assert "tool_choice" not in sent


def test_pitfall_016_a_call_without_arguments_is_an_empty_object_when_it_goes_back() -> None:
    assert kept(decode(call(0, "toolu_1"), end("tool_use")))[0]["input"] == {}


def test_pitfall_017_the_empty_input_of_the_start_is_not_prefixed() -> None:
    assert kept(decode(call(0, "toolu_1", '{"a"', ":1}"), end("tool_use")))[0]["input"] == {"a": 1}


def test_pitfall_018_as_many_calls_as_the_upstream_made() -> None:
    deltas = decode(call(0, "toolu_1"), call(1, "toolu_2"), end("tool_use"))
    assert [delta.call_id for delta in deltas if isinstance(delta, de.CallStarted)] == ["toolu_1", "toolu_2"]


def test_pitfall_019_empty_pieces_of_arguments_do_no_harm() -> None:
    assert kept(decode(call(0, "t", "", "{}", ""), end("tool_use")))[0]["input"] == {}


def test_pitfall_020_a_plain_body_gives_what_the_stream_gives() -> None:
    streamed = decode(thinking(0, "a", "s"), said(1, "x"), call(2, "toolu_1", '{"a":1}'), end("tool_use"))
    whole = {"content": kept(streamed), "stop_reason": "tool_use", "usage": {}}
    assert record(decode(msgspec.json.encode(whole))) == record(streamed)


def test_pitfall_027_a_tool_version_nobody_knows_is_kept_verbatim() -> None:
    start = {"type": "server_tool_use", "id": "srv_1", "name": "web_search_29990101", "input": {}}
    assert kept(decode(block(0, start), said(1, "x"), end()))[0] == start


def test_pitfall_028_and_077_cumulative_usage_is_assigned() -> None:
    opened = event("message_start", message={"usage": {"input_tokens": 10, "output_tokens": 1}})
    used = [
        delta
        for delta in decode(opened, said(0, "x"), end(input_tokens=10, output_tokens=5))
        if isinstance(delta, de.Used)
    ]
    assert used[-1].usage == de.Usage(input_tokens=10, output_tokens=5)


def test_pitfall_030_rendering_twice_gives_the_same_bytes() -> None:
    turn = Turn(CreateResponse(model="m", tools=(F,)), (USER,))
    assert DIALECT.encode(turn, target()).body == DIALECT.encode(turn, target()).body


def test_pitfall_043_a_cut_stream_is_never_a_whole_answer() -> None:
    whole = said(0, "x") + end()
    for cut in range(whole.index(b"stop_reason")):
        with pytest.raises((TruncatedStream, UpstreamFault)):
            decode(whole[:cut])


def test_pitfall_057_an_empty_call_id_stays_for_the_assembler_to_replace() -> None:
    (started,) = [delta for delta in decode(call(0, ""), end("tool_use")) if isinstance(delta, de.CallStarted)]
    assert started.call_id == ""


def test_pitfall_059_unsigned_thinking_is_never_sent() -> None:
    unsigned = msgspec.Raw(b'[{"type":"thinking","thinking":"x","signature":""}]')
    turn = ModelTurn((Message("assistant", "Hello"),), ReplayRecord("anthropic", "acc", "m", unsigned))
    assert "thinking" not in encode(USER, turn, USER).body.decode()
    assert not [
        block for block in kept(decode(thinking(0, "a", ""), said(1, "x"), end())) if block["type"] == "thinking"
    ]


def test_pitfall_060_pause_turn_finishes_nothing() -> None:
    deltas = decode(said(0, "x"), end("pause_turn"))
    assert isinstance(deltas[-1], de.Paused)
    assert not [delta for delta in deltas if isinstance(delta, de.Finished)]


def test_pitfall_061_a_developer_item_keeps_its_place() -> None:
    sent = body(USER, Message("assistant", "Hello"), Message("developer", "Be brief"), USER, model="claude-sonnet-5")
    assert "system" not in sent
    assert "Be brief" in str(sent["messages"][2])


def test_pitfall_098_a_turn_of_another_claude_still_carries_its_signature() -> None:
    turn = ModelTurn((Message("assistant", "x"),), record(decode(thinking(0, "a", "sig"), said(1, "x"), end())))
    assert b'"signature":"sig"' in encode(USER, turn, USER, model="claude-sonnet-5").body


@pytest.mark.parametrize(
    "model", ["claude-opus-4-7", "claude-sonnet-5", "claude-haiku-5-5", "claude-fable-5-2", "claude-next"]
)
def test_pitfall_103_sampling_is_left_out_where_it_is_refused(model: str) -> None:
    request = encode(USER, temperature=0.3, model=model)
    assert b"temperature" not in request.body
    assert request.dropped == ("temperature",)
    assert dict(request.headers)["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize(
    "model", ["claude-opus-4-6", "claude-sonnet-4-5-20250929", "claude-3-5-haiku-latest", "kimi-k3"]
)
def test_pitfall_103_sampling_is_sent_under_the_version_that_takes_it(model: str) -> None:
    request = encode(USER, temperature=0.3, model=model)
    assert msgspec.json.decode(request.body)["temperature"] == 0.3
    assert dict(request.headers)["anthropic-version"] == "2023-06-01"


# -- one writer: what is kept and what is rendered from items are the same bytes


def test_a_stored_turn_and_an_echoed_one_are_the_same_bytes() -> None:
    deltas = decode(
        thinking(0, "ab", "sig"), said(1, "Look."), call(2, "toolu_1", '{"a": 1}'), call(3, "toolu_2"), end("tool_use")
    )
    (carried,) = [delta for delta in deltas if isinstance(delta, de.Carried)]
    reasoning = Reasoning((SummaryText("ab"),))
    items = (
        Message("assistant", "Look."),
        FunctionCall("toolu_1", "f", '{"a": 1}'),
        FunctionCall("toolu_2", "f", "{}"),
    )
    outputs = (FunctionCallOutput("1", "toolu_1"), FunctionCallOutput("2", "toolu_2"))
    stored = encode(USER, ModelTurn((reasoning, *items), record(deltas)), *outputs, tools=(F,))
    alone = ReplayRecord("anthropic", "acc", "claude-opus-4-8", carried.blocks)
    echoed = encode(USER, ReplayedReasoning(reasoning, alone), *items, *outputs, tools=(F,))
    assert stored.body == echoed.body
    assert stored.removed == echoed.removed == ()


def test_each_turn_begins_with_the_bytes_of_the_last() -> None:
    turn = ModelTurn((Message("assistant", "x"),), record(decode(thinking(0, "a", "s"), said(1, "x"), end())))
    first, second = (
        msgspec.json.decode(encode(*context).body)["messages"] for context in ((USER,), (USER, turn, USER))
    )
    assert second[: len(first)] == first


def test_calls_with_ids_of_our_own_go_back_under_the_upstreams() -> None:
    blocks = record(decode(call(0, "call_0", "{}"), end("tool_use"))).blocks
    turn = ModelTurn(
        (FunctionCall("call_new", "f", "{}"),),
        ReplayRecord("anthropic", "acc", "m", blocks, call_ids={"call_new": "call_0"}),
    )
    messages = body(USER, turn, FunctionCallOutput("1", "call_new"), tools=(F,))["messages"]
    assert messages[2]["content"][0]["tool_use_id"] == "call_0"


def test_a_call_whose_output_is_lost_gets_one_that_says_so() -> None:
    messages = body(USER, FunctionCall("toolu_1", "f", "{}"), USER, tools=(F,))["messages"]
    assert messages[2]["content"][0] == {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": "[no output]",
        "is_error": True,
    }


def test_an_answer_is_never_the_last_message() -> None:
    assert body(USER, Message("assistant", "x"))["messages"][-1]["role"] == "user"


def test_what_openai_kinds_of_requests_become_is_of_the_sdks_type() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsStreaming)
    tools = (F, CustomTool("patch"), NamespaceTool("ns", (F,)))
    context = (
        Message("developer", "Be brief"),
        Message("user", (InputText("See"), InputImage(image_url="data:image/png;base64,AAAA"))),
        AdditionalTools((FunctionTool("late"),)),
        FunctionCall("a", "f", "{}"),
        CustomToolCall("b", "patch", "*** x"),
        FunctionCallOutput("1", "a"),
        CustomToolCallOutput("b", (InputText("2"),)),
    )
    for choice in ("auto", "none", "required"):
        sent = body(*context, tools=tools, tool_choice=choice, reasoning=ReasoningSettings("low"), user="u")
        adapter.validate_python(sent)
        assert {tool["name"] for tool in sent["tools"]} == {"f", "patch", "ns__f", "late"}


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_blank_text_is_never_sent_as_a_block(text: str) -> None:
    sent = body(Message("user", (InputText(text), InputText("x"))), Message("assistant", text), Message("user", text))
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "x"}]}]


def test_a_file_id_names_the_way_out() -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(Message("user", (InputImage(file_id="file-1"),)))
    assert caught.value.param == "input.content[0].file_id"
