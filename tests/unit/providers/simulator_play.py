"""Asks the simulator as the engine does: encode, send, decode. Waiting is written down, not waited."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from antiphon.protocol.deltas import (
    CallArguments,
    CallStarted,
    Delta,
    Failed,
    Finished,
    Kept,
    Refusal,
    Summary,
    Text,
    Thought,
    Usage,
    Used,
)
from antiphon.protocol.items import FunctionCall, FunctionCallOutput, Item, Message
from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.protocol.tools import FunctionTool
from antiphon.providers.base import Entry, HttpRequest, ModelTurn, ReplayRecord, Target, Turn, Vendor
from antiphon.providers.simulator import Simulator
from antiphon.providers.simulator_upstream import SimulatorUpstream

DeltaT = TypeVar("DeltaT")
VENDOR = Vendor("sim", "sim", "sim://local", auth="none", scope="here")
STRING = {"type": "string"}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def function(name: str, description: str = "", **properties: Any) -> FunctionTool:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return FunctionTool(name, description, raw(schema))


WEATHER = function("get_weather", "Get the current weather", location=STRING)
CLOCK = function("get_time", "Tell the time somewhere", city=STRING)


@dataclass
class Play:
    """One answer: its deltas, what was sent for it, and the silences in it."""

    request: HttpRequest
    deltas: list[Delta]
    waits: list[float] = field(default_factory=list)

    def all(self, kind: type[DeltaT]) -> list[DeltaT]:
        return [delta for delta in self.deltas if isinstance(delta, kind)]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.all(Text))

    @property
    def refusal(self) -> str:
        return "".join(delta.text for delta in self.all(Refusal))

    @property
    def summary(self) -> str:
        return "".join(delta.text for delta in self.all(Summary))

    @property
    def thought(self) -> str:
        return "".join(delta.text for delta in self.all(Thought))

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Name and arguments of each call."""
        arguments = {call.key: "" for call in self.all(CallStarted)}
        for delta in self.all(CallArguments):
            arguments[delta.key] += delta.text
        return [(call.name, arguments[call.key]) for call in self.all(CallStarted)]

    @property
    def usage(self) -> Usage:
        return self.all(Used)[-1].usage

    @property
    def reason(self) -> str | None:
        (finished,) = self.all(Finished)
        return finished.reason

    @property
    def failure(self) -> Failed:
        (failed,) = self.all(Failed)
        return failed

    def kept(self, model: str = "standard") -> ReplayRecord:
        (kept,) = self.all(Kept)
        return ReplayRecord("sim", "here", model, kept.blocks, kept.essential)

    def as_turn(self) -> ModelTurn:
        """This answer as a past turn of a chain."""
        items: list[Item] = [Message("assistant", self.text)] if self.text else []
        for call, (name, arguments) in zip(self.all(CallStarted), self.calls, strict=True):
            items.append(FunctionCall(call.call_id, name, arguments))
        return ModelTurn(tuple(items), self.kept())

    def outputs(self, *texts: str) -> list[Entry]:
        """Outputs for this answer's calls."""
        return [
            FunctionCallOutput(text, call.call_id) for call, text in zip(self.all(CallStarted), texts, strict=False)
        ]


def turn_of(*context: Entry | str, model: str = "standard", **settings: Any) -> Turn:
    """Strings are user messages."""
    entries = tuple(Message("user", entry) if isinstance(entry, str) else entry for entry in context)
    own = tuple(InputItem(item, raw({})) for item in _last_items(entries))
    return Turn(CreateResponse(model=f"sim/{model}", input=own, **settings), entries)


def _last_items(entries: tuple[Entry, ...]) -> list[Item]:
    own: list[Item] = []
    for entry in reversed(entries):
        if isinstance(entry, ModelTurn) or not isinstance(entry, msgspec.Struct):
            break
        own.insert(0, entry)
    return own


def encoded(*context: Entry | str, model: str = "standard", **settings: Any) -> HttpRequest:
    return Simulator().encode(turn_of(*context, model=model, **settings), Target(VENDOR, model))


async def play(*context: Entry | str, model: str = "standard", **settings: Any) -> Play:
    """Ask; an HTTP error is raised as the dialect classifies it, a cut stream as TruncatedStream."""
    dialect, target = Simulator(), Target(VENDOR, model)
    request = encoded(*context, model=model, **settings)
    played = Play(request, [])

    async def note(seconds: float) -> None:
        played.waits.append(seconds)

    reply = await SimulatorUpstream(note).answer(request)
    if reply.status != 200:
        body = b"".join([chunk async for chunk in reply.chunks])
        raise dialect.fault(reply.status, reply.headers, body)
    decoder = dialect.decoder(target, request)
    async for chunk in reply.chunks:
        played.deltas += decoder.feed(chunk)
    played.deltas += decoder.close()
    return played
