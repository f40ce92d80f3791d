"""Whole conversations with an upstream that answers 400 wherever OpenAI would."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.unit.providers.responses_upstream import of
from tests.upstream.native_wire import NativeWire
from tests.upstream.script import Call, Say, Script, Step, Think
from tests.upstream.types_check import check_types

from antiphon.protocol.deltas import Carried, Delta, Finished, Kept
from antiphon.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    OutputText,
    Reasoning,
)
from antiphon.protocol.request import CreateResponse, ReasoningSettings
from antiphon.protocol.tools import CustomTool, FunctionTool
from antiphon.providers.base import Entry, ModelTurn, ReplayedReasoning, ReplayRecord, Target, Turn, Vendor
from antiphon.providers.responses import Responses

TARGET = Target(Vendor("up", "responses", "http://up", api_key="k", scope="account"), "m")
TOOLS = (FunctionTool("weather", parameters=msgspec.Raw(b"{}")), CustomTool("patch"))
THOUGHTFUL = ReasoningSettings("high", "auto")


class Talk:
    """One conversation; `say` asks the upstream, which raises RefusedError where OpenAI would refuse."""

    def __init__(self) -> None:
        self._wire = NativeWire("k")
        self.context: list[Entry] = []

    def say(self, *steps: Step) -> list[Delta]:
        request = CreateResponse(model="up/m", tools=TOOLS, reasoning=THOUGHTFUL)
        sent = Responses().encode(Turn(request, tuple(self.context)), TARGET)
        body: dict[str, Any] = msgspec.json.decode(sent.body)
        self._wire.check(dict(sent.headers), body)
        check_types("responses", body)
        decoder = Responses().decoder(TARGET, sent)
        stream = b"".join(frame.rstrip(b"\n") + b"\n\n" for frame in self._wire.frames(Script(steps), body))
        deltas = decoder.feed(stream) + decoder.close()
        assert deltas[-1] == Finished()
        return deltas

    def remember(self, deltas: list[Delta], *items: Item) -> None:
        """What our own store keeps of the turn."""
        (last,) = of(Kept, deltas)
        self.context.append(ModelTurn(items, ReplayRecord("responses", "account", "m", last.blocks, last.essential)))

    def echo(self, deltas: list[Delta], *items: Item) -> None:
        """What a client that keeps its own history sends back: its items, each reasoning with its own blocks."""
        carried = iter(of(Carried, deltas))
        for item in items:
            if isinstance(item, Reasoning):
                record = ReplayRecord("responses", "account", "m", next(carried).blocks)
                self.context.append(ReplayedReasoning(item, record))
            else:
                self.context.append(item)


THINK_AND_CALL = (Think("Look it up."), Call("weather", '{"city": "Oslo"}'), Call("patch", "x", "custom"))
ITEMS = (
    Reasoning(id="rs_ours"),
    FunctionCall("call_00000100001", "weather", '{"city": "Oslo"}', "fc_ours", "completed"),
    CustomToolCall("call_00000100002", "patch", "x", "ctc_ours"),
)


def call_ids(deltas: list[Delta]) -> list[str]:
    (last,) = of(Kept, deltas)
    return [block["call_id"] for block in msgspec.json.decode(last.blocks) if "call_id" in block]


def outputs(deltas: list[Delta]) -> tuple[Item, Item]:
    first, second = call_ids(deltas)
    return FunctionCallOutput("4", first, "fco_ours"), CustomToolCallOutput(second, "ok", "ctco_ours")


def test_tool_loop_kept_by_us_is_accepted() -> None:
    talk = Talk()
    talk.context.append(Message("user", "Weather?", "msg_ours", "completed"))
    deltas = talk.say(*THINK_AND_CALL)
    talk.remember(deltas, *ITEMS)
    talk.context += outputs(deltas)
    deltas = talk.say(Think("Cold."), Say("4 degrees."))
    talk.remember(deltas, Reasoning(id="rs_2"), Message("assistant", (OutputText("4 degrees."),), "msg_2"))
    talk.context.append(Message("user", "Thanks"))
    talk.say(Say("Welcome."))


def test_tool_loop_kept_by_the_client_is_accepted() -> None:
    talk = Talk()
    talk.context.append(Message("user", "Weather?"))
    deltas = talk.say(*THINK_AND_CALL)
    first, second = call_ids(deltas)
    reasoning, call, custom = ITEMS
    talk.echo(
        deltas,
        reasoning,
        msgspec.structs.replace(call, call_id=first),
        msgspec.structs.replace(custom, call_id=second),
    )
    talk.context += outputs(deltas)
    deltas = talk.say(Think("Cold."), Say("4 degrees."))
    talk.echo(deltas, Reasoning(id="rs_2"), Message("assistant", (OutputText("4 degrees."),), "msg_2", "completed"))
    talk.context.append(Message("user", "Thanks"))
    talk.say(Say("Welcome."))


def test_turn_that_was_cut_off_in_its_reasoning_does_not_spoil_the_next() -> None:
    talk = Talk()
    talk.context.append(Message("user", "Weather?"))
    deltas = talk.say(Think("Hm."))
    talk.remember(deltas, Reasoning(id="rs_ours"))
    talk.echo(deltas, Reasoning(id="rs_ours"))
    talk.context.append(Message("user", "And?"))
    talk.say(Say("Cold."))
