"""Made-up chains of stored responses with all that a turn can hold, the same ones for the same seed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace
from tests.store.conformance import response

from antiphon.access.secret import Secret
from antiphon.app import dialects
from antiphon.engine.carrier import Sealer
from antiphon.engine.compaction import Summary, compaction_item, expand
from antiphon.engine.history import Link, StoredTurn
from antiphon.engine.links import Links
from antiphon.engine.ports import Ports
from antiphon.protocol.ids import output_item_id
from antiphon.protocol.items import Reasoning
from antiphon.providers.base import DialectName, Entry, ReplayRecord
from antiphon.store.base import StoredResponse
from antiphon.store.store import Store

Json = dict[str, Any]
PROJECT = "proj_a"
SEALER = Sealer(Secret.of(b"the tests' own secret, 32 bytes!").sealing)
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
_encode = msgspec.json.encode


def ports_of(store: Store, links: Links) -> Ports:
    """What contexts are built of, without models."""

    def nothing(*_: object) -> Any:
        raise AssertionError("no context needs it")

    return Ports(
        store=store,
        resolve=nothing,
        dialects=dialects(),
        send=nothing,
        sealer=SEALER,
        now=time.time,
        sleep=asyncio.sleep,
        retention_s=None,
        links=links,
    )


class Opened:
    """As the contexts of this project open what they have sealed, but for reasoning."""

    def at_once(self, item: Reasoning) -> Entry | None:
        return None

    def expanded(self, before: Sequence[Entry], entries: Sequence[Entry]) -> list[Entry]:
        return expand(entries, SEALER, PROJECT, before)


OPENER = Opened()


def compaction(summary: Summary, family: str = "compaction", blocks: bytes = b"") -> Json:
    """A compaction item of ours with a summary, or with what a provider has made."""
    record = ReplayRecord(family, "", "", msgspec.Raw(blocks or _encode(summary)))
    made: Json = msgspec.json.decode(compaction_item("cmp_1", SEALER.seal(record, PROJECT)))
    return made


@dataclass
class Told:
    """A response, and the calls it leaves for the client to answer: (call_id, whether it is a custom tool's)."""

    row: StoredResponse
    owed: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])


class Teller:
    """Tells what happens next. `family` and `scope` are of the account whose records are among the turns."""

    def __init__(self, random: Random, family: DialectName, scope: str, model: str = "m") -> None:
        self._random = random
        self._family = family
        self._scope = scope
        self._model = model
        self._count = 0
        self._marked = random.choice([0.0, 0.0, 0.5])
        self.abandons = False
        """Whether there are turns whose worker was lost; clients may answer their calls though no model asked."""

    def _new(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count}"

    def _says(self, chance: float) -> bool:
        return self._random.random() < chance

    def asked(self, owed: list[tuple[str, bool]]) -> list[Json]:
        """New input that answers what is owed."""
        items: list[Json] = []
        if self._says(0.08):
            role = self._random.choice(["system", "developer"])
            items.append({"type": "message", "role": role, "content": self._new("rule")})
        for call_id, is_custom in owed:
            kind = "custom_tool_call_output" if is_custom else "function_call_output"
            parts = [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PNG}]
            output: Any = parts if self._says(0.1) else self._new("result")
            items.append({"type": kind, "call_id": call_id, "output": output})
            if self._says(0.1):
                items.append(self._user())
        if not items or self._says(0.6):
            items.append(self._user())
        if self._says(0.15):
            items.append({"type": "message", "role": "assistant", "content": self._new("said before")})
        if self._says(0.05):
            tool = {"type": "function", "name": self._new("loaded"), "parameters": {"type": "object"}}
            items.append({"type": "additional_tools", "role": "developer", "tools": [tool]})
        return items

    def _user(self) -> Json:
        text: Json = {"type": "input_text", "text": self._new("text")}
        if self._says(self._marked):
            text["prompt_cache_breakpoint"] = {"mode": "explicit"}
        image = [{"type": "input_image", "image_url": PNG}] if self._says(0.1) else []
        return {"type": "message", "role": "user", "content": [text, *image]}

    def answered(self) -> tuple[list[Json], list[tuple[str, bool]]]:
        """Items of one model turn, and the calls among them."""
        items: list[Json] = []
        owed: list[tuple[str, bool]] = []
        if self._says(0.3):
            items.append({"type": "reasoning", "summary": []})
        if self._says(0.8):
            content = [{"type": "output_text", "text": self._new("answer"), "annotations": []}]
            message = {"type": "message", "role": "assistant", "status": "completed"}
            items.append(message | {"content": content})
        for _ in range(self._random.choice([0, 0, 0, 1, 2])):
            call_id, is_custom = self._new("call"), self._says(0.2)
            call: Json = {"call_id": call_id, "name": "look", "status": "completed"}
            more = {"type": "custom_tool_call", "input": "x"} if is_custom else {"arguments": '{"a":1}'}
            items.append({"type": "function_call"} | call | more)
            owed.append((call_id, is_custom))
        if self._says(0.05):
            items.append({"type": "web_search_call", "status": "completed"})
        return items, owed

    def told(self, previous: Told | None, asked: list[Json] | None = None) -> Told:
        """A response that follows another."""
        row = response(previous.row.id if previous else None)
        output, turns = list[Json](), list[StoredTurn]()
        items, owed = self.answered() if self._says(0.9) else ([], [])
        for index, item in enumerate(items):
            item["id"] = output_item_id(row.id, item["type"], index)
        if self.abandons and self._says(0.08):  # the worker was lost, and the turn was asked again
            call_id = self._new("call")
            output.append(
                {"type": "function_call", "call_id": call_id, "name": "look", "arguments": "{}", "id": self._new("fc")}
            )
            turns.append(StoredTurn(0, 1, None, is_abandoned=True))
            owed += [(call_id, False)] if self._says(0.5) else []
        if items:
            output += items
            turns.append(
                StoredTurn(len(output) - len(items), len(output), self._record(items) if self._says(0.8) else None)
            )
        input_items = self.asked(previous.owed if previous else []) if asked is None else asked
        row = replace(row, body=_encode({"output": output}), input=_encode(input_items), turns=_encode(turns))
        return Told(row, owed)

    def _record(self, items: list[Json]) -> ReplayRecord:
        scope = self._scope if self._says(0.8) else "another account"
        calls = [item for item in items if "call_id" in item]
        own = {call["call_id"]: f"up_{call['call_id']}" for call in calls} if self._says(0.4) else {}
        texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
        blocks = _BLOCKS[self._family](texts, [(own.get(one["call_id"], one["call_id"]), one["name"]) for one in calls])
        return ReplayRecord(self._family, scope, self._model, msgspec.Raw(_encode(blocks)), call_ids=own)


def _chat(texts: list[str], calls: list[tuple[str, str]]) -> Any:
    message: Json = {"role": "assistant", "content": "".join(texts)}
    if calls:
        function = [
            {"id": one, "type": "function", "function": {"name": name, "arguments": "{}"}} for one, name in calls
        ]
        message["tool_calls"] = function
    return message


def _claude(texts: list[str], calls: list[tuple[str, str]]) -> Any:
    thinking = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    uses = [{"type": "tool_use", "id": one, "name": name, "input": {}} for one, name in calls]
    return [*thinking, *({"type": "text", "text": text} for text in texts), *uses]


def _native(texts: list[str], calls: list[tuple[str, str]]) -> Any:
    said = [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": one}]} for one in texts
    ]
    uses = [{"type": "function_call", "call_id": one, "name": name, "arguments": "{}"} for one, name in calls]
    return [{"type": "reasoning", "id": "r", "encrypted_content": "e", "summary": []}, *said, *uses]


def _gemini(texts: list[str], calls: list[tuple[str, str]]) -> Any:
    uses = [{"functionCall": {"id": one, "name": name, "args": {}}, "thoughtSignature": "s"} for one, name in calls]
    return [*({"text": text} for text in texts), *uses]


def _bedrock(texts: list[str], calls: list[tuple[str, str]]) -> Any:
    uses = [{"toolUse": {"toolUseId": one, "name": name, "input": {}}} for one, name in calls]
    return [*({"text": text} for text in texts), *uses]


_BLOCKS = {
    "chat_completions": _chat,
    "anthropic": _claude,
    "responses": _native,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "cohere": lambda texts, calls: [_chat(texts, calls)],
    "sim": lambda texts, calls: {},
}


def entries_of(told: Told) -> tuple[Entry, ...]:
    """What the response adds to every later context."""
    return Link(told.row).entries
