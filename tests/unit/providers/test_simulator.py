"""The dialect: what of a turn goes up, replay of its own turns, and refusals by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.providers.simulator_play import VENDOR, WEATHER, encoded, play, raw

from antiphon.protocol.deltas import CallStarted, Carried, Kept
from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputText,
    InputVideo,
    Item,
    ItemReference,
    Message,
    Opaque,
    OutputText,
    Reasoning,
    RefusalPart,
    ToolSearchCall,
)
from antiphon.protocol.request import CreateResponse, InputItem, ReasoningSettings
from antiphon.providers import simulator_wire as wire
from antiphon.providers.base import ModelTurn, ReplayedReasoning, ReplayRecord, Target, Turn
from antiphon.providers.simulator import URL, Simulator

THINK = {"reasoning": ReasoningSettings("low", "auto")}


def transcript(*context: Any, **settings: Any) -> list[dict[str, Any]]:
    return msgspec.json.decode(encoded(*context, **settings).body).get("transcript", [])


async def test_a_turn_of_its_own_goes_back_byte_for_byte() -> None:
    first = await play("Weather in Rome?", tools=(WEATHER,), **THINK)
    body = encoded("Weather in Rome?", first.as_turn(), *first.outputs("mild"), tools=(WEATHER,), **THINK).body
    (kept,) = first.all(Kept)
    assert kept.essential
    assert bytes(kept.blocks)[1:-1] in body
    assert [block["type"] for block in msgspec.json.decode(kept.blocks)] == ["reasoning", "call"]


async def test_a_client_that_keeps_its_history_sends_the_same_transcript() -> None:
    first = await play("Weather in Rome?", tools=(WEATHER,), **THINK)
    (carried,) = first.all(Carried)
    turn = first.as_turn()
    record = ReplayRecord("sim", "here", "standard", carried.blocks)
    stored = encoded("Weather in Rome?", turn, *first.outputs("mild"), tools=(WEATHER,))
    own = ("Weather in Rome?", ReplayedReasoning(Reasoning(id="rs_1"), record), *turn.items, *first.outputs("mild"))
    assert encoded(*own, tools=(WEATHER,)).body == stored.body


async def test_recall_tells_whether_the_reasoning_came_back() -> None:
    first = await play("hi", **THINK)
    kept = first.as_turn()
    assert "reasoning intact: 1, reasoning damaged: 0" in (await play("hi", kept, "#sim recall")).text
    assert kept.record is not None
    damaged = msgspec.Raw(bytes(kept.record.blocks).replace(b"The user", b"A user"))
    broken = ModelTurn(kept.items, msgspec.structs.replace(kept.record, blocks=damaged))
    assert "reasoning intact: 0, reasoning damaged: 1" in (await play("hi", broken, "#sim recall")).text
    lost = ModelTurn(kept.items)
    said = (await play("hi", lost, "#sim recall")).text
    assert said == (
        "I see user messages: 2, assistant messages: 1, tool calls: 0, tool outputs: 0, "
        "reasoning intact: 0, reasoning damaged: 0."
    )


@pytest.mark.parametrize(("family", "scope"), [("anthropic", "here"), ("sim", "elsewhere")])
async def test_reasoning_of_others_is_left_out_and_named(family: str, scope: str) -> None:
    record = ReplayRecord(family, scope, "m", raw([]))
    items = (Reasoning(id="rs_1"), Message("assistant", "yes"))
    request = encoded("hi", ModelTurn(items, record), ReplayedReasoning(Reasoning(id="rs_2"), record), Reasoning())
    assert [item_id for item_id, _ in request.removed] == ["rs_1", "rs_2", ""]
    assert transcript("hi", ModelTurn(items, record)) == [
        {"type": "message", "role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "yes"}]},
    ]


async def test_outputs_use_the_call_ids_of_the_turn_that_called() -> None:
    blocks = raw([{"type": "call", "call_id": "call_up", "name": "get_weather", "text": "{}", "kind": "function"}])
    record = ReplayRecord("sim", "here", "standard", blocks, call_ids={"call_public": "call_up"})
    turn = ModelTurn((FunctionCall("call_public", "get_weather", "{}"),), record)
    sent = transcript("hi", turn, FunctionCallOutput("mild", "call_public"), tools=(WEATHER,))
    assert [block["call_id"] for block in sent[1:]] == ["call_up", "call_up"]


def test_foreign_turns_are_rendered_from_their_items() -> None:
    items: tuple[Item, ...] = (
        Message("assistant", (OutputText("a"), RefusalPart("b"))),
        FunctionCall("c1", "f", "{}", namespace="crm"),
        CustomToolCall("c2", "g", "text"),
        Opaque("web_search_call", "ws_1", raw({})),
        ToolSearchCall(raw({"query": "x"})),
    )
    request = encoded(
        "hi", ModelTurn(items), FunctionCallOutput((InputVideo("https://e/v"),)), CustomToolCallOutput("c2", "o")
    )
    assert request.dropped == ("context.web_search_call",)
    assert msgspec.json.decode(request.body)["transcript"][1:] == [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}, {"type": "refusal", "text": "b"}],
        },
        {"type": "call", "call_id": "c1", "name": "crm__f", "text": "{}", "kind": "function"},
        {"type": "call", "call_id": "c2", "name": "g", "text": "text", "kind": "custom"},
        {"type": "call", "call_id": "", "name": "tool_search", "text": '{"query":"x"}', "kind": "function"},
        {"type": "output", "call_id": "", "content": [{"type": "video", "url": "https://e/v"}]},
        {"type": "output", "call_id": "c2", "content": [{"type": "text", "text": "o"}]},
    ]


async def test_a_video_in_an_output_is_named() -> None:
    assert "a video (at https://e/v)" in (await play("hi", FunctionCallOutput((InputVideo("https://e/v"),), "c"))).text


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (Opaque("computer_call", "cu_1", raw({})), "input[1].type"),
        (ItemReference("msg_1"), "input[1].type"),
        (Message("user", (InputText("hear"), InputAudio(raw({})))), "input[1].content[1].type"),
        (FunctionCallOutput((InputAudio(raw({})),), "c"), "input[1].output[0].type"),
    ],
)
def test_an_item_that_cannot_be_read_is_refused_at_its_place(item: Item, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encoded("earlier", ModelTurn((Message("assistant", "yes"),)), "hi", item)
    assert (caught.value.param, caught.value.code) == (param, "unsupported_value")


def test_an_item_of_the_chain_that_cannot_be_read_is_refused_by_the_chain() -> None:
    message = Message("user", "hi")
    request = CreateResponse(model="sim/standard", input=(InputItem(message, raw({})),))
    turn = Turn(request, (Opaque("computer_call", None, raw({})), message))
    with pytest.raises(InvalidRequest) as caught:
        Simulator().encode(turn, Target(VENDOR, "standard"))
    assert caught.value.param == "previous_response_id"


def test_what_only_tunes_is_left_out_and_named() -> None:
    assert encoded("hi", temperature=0.0, top_p=1.0, service_tier="flex").dropped == (
        "temperature",
        "top_p",
        "service_tier",
    )


def test_the_call_goes_to_the_simulator_and_there_is_no_list_of_models() -> None:
    request = encoded("hi")
    assert (request.method, request.url) == ("POST", URL)
    assert Simulator().models_request(VENDOR) is None


def test_faults_are_classified_like_any_others() -> None:
    assert Simulator().fault(429, {}, b"").kind == "rate_limit"


async def test_call_ids_differ_between_turns_and_calls() -> None:
    first = await play("Weather in Rome and Oslo?", tools=(WEATHER,))
    second = await play("Weather in Rome and Oslo!", tools=(WEATHER,))
    ids = [call.call_id for answer in (first, second) for call in answer.all(CallStarted)]
    assert len(set(ids)) == len(ids) == 4


def test_a_signature_is_of_the_text_to_the_letter() -> None:
    assert wire.is_intact(wire.ReasoningBlock("a", wire.signature_of("a")))
    assert not wire.is_intact(wire.ReasoningBlock("a ", wire.signature_of("a")))
