"""/v1/responses/compact and /v1/responses/input_tokens: a context made short, and measured."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from antiphon.engine.compaction import compact_whole, compaction_item
from antiphon.engine.context import build_context
from antiphon.engine.context_base import Context, Origin
from antiphon.engine.estimate import turn_tokens
from antiphon.engine.history import encode_input
from antiphon.engine.holding import Holding
from antiphon.engine.ports import Ports
from antiphon.engine.upstream import readable
from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import ApiError, InvalidRequest, NotFound
from antiphon.protocol.explain import unknown_parameter
from antiphon.protocol.ids import new_id, output_item_id
from antiphon.protocol.items import Message
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.protocol.request_schema import RequestWire
from antiphon.protocol.response import ResponseUsage
from antiphon.runs.run import admit
from antiphon.store.base import Settlement, UsageRow

from .routes import Call, Route, decode_body

_encode: Final = msgspec.json.Encoder().encode
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_raws: Final = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode
COMPACTED: Final = (
    "model",
    "input",
    "instructions",
    "previous_response_id",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "service_tier",
    "image",
)
COUNTED: Final = (
    "conversation",
    "input",
    "instructions",
    "model",
    "parallel_tool_calls",
    "personality",
    "previous_response_id",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
    "truncation",
)
_MAX_ANSWER_BYTES: Final = 1 << 20
_NO_MODEL: Final = "estimate"
"""Stands for the model where none is named: the count is then our estimate."""


class Compacted(msgspec.Struct, frozen=True):
    """A compacted context: the user's messages and one compaction item, to be passed on as they are."""

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: list[msgspec.Raw]
    usage: ResponseUsage


class InputTokens(msgspec.Struct, frozen=True):
    """A count; the header `antiphon-input-tokens` says whether the provider `counted` or it is `estimated` here."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class _Object(msgspec.Struct):
    """Any JSON object."""


class CountingEndpoint:
    """Calls about a context, beside the answer to it."""

    def __init__(self, ports: Ports, max_body_bytes: int) -> None:
        self._ports = ports
        self._max_body_bytes = max_body_bytes

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "POST",
                "/v1/responses/compact",
                self.compact,
                "Compact a context into an item that carries it on.",
                body=RequestWire,
                answer=Compacted,
            ),
            Route(
                "POST",
                "/v1/responses/input_tokens",
                self.count,
                "Count the input tokens of a request.",
                body=RequestWire,
                answer=InputTokens,
            ),
        )

    async def _read(self, call: Call, known: tuple[str, ...], *, needs_model: bool) -> CreateResponse | None:
        """The request behind a body that has only some of its parameters."""
        body = await call.exchange.body(self._max_body_bytes)
        if call.exchange.is_gone:
            return None
        decode_body(body, _Object)
        fields = _fields(body)
        for name in fields:
            if name not in known:
                raise unknown_parameter(name, known)
        fields.pop("personality", None)
        has_model = bytes(fields.get("model", b"null")) != b"null"
        if not has_model and not needs_model:
            fields["model"] = _raw(_NO_MODEL)
        if not needs_model and "previous_response_id" not in fields and "conversation" not in fields:
            fields.setdefault("input", msgspec.Raw(b"[]"))
        return parse_request(_encode(fields))

    async def _context(self, call: Call, request: CreateResponse, holding: Holding) -> Context:
        row = None
        if request.conversation is not None:
            row = await self._ports.store.load_conversation(call.project, request.conversation)
            if row is None:
                raise NotFound(f"Conversation with id '{request.conversation}' not found.")
        return await build_context(request, self._ports, Origin(call.project, row), holding)

    async def compact(self, call: Call) -> None:
        """POST /v1/responses/compact."""
        request = await self._read(call, COMPACTED, needs_model=True)
        if request is None:
            return
        targets = self._ports.resolve(request.model)
        admission = await admit(call.project, request, self._ports)
        used = Usage()
        try:
            with Holding(self._ports.room) as holding:
                context = await self._context(call, request, holding)
                if not context.entries:
                    raise InvalidRequest("There is nothing to compact: 'input' is empty.", param="input")
                compacted = await compact_whole(request, context, targets, self._ports, call.project)
                used = compacted.usage
        finally:
            admission.settle(used.total_tokens)
        compaction_id, now = new_id("resp"), int(self._ports.now())
        row = UsageRow(
            compaction_id,
            call.project,
            call.principal.key_id,
            request.model,
            targets[0].name,
            now,
            "completed",
            compacted.usage.input_tokens,
            compacted.usage.cached_tokens,
            compacted.usage.cache_write_tokens,
            compacted.usage.output_tokens,
            compacted.usage.reasoning_tokens,
            self._ports.cost(targets[0].name, compacted.usage),
        )
        await self._ports.store.settle(Settlement(response=None, usage=row))
        words = _user_messages(context, compaction_id)
        item = compaction_item(output_item_id(compaction_id, "compaction", len(words)), compacted.encrypted_content)
        shown = Compacted(compaction_id, "response.compaction", now, [*words, item], ResponseUsage.of(compacted.usage))
        await call.exchange.answer(200, _encode(shown), admission.headers)

    async def count(self, call: Call) -> None:
        """POST /v1/responses/input_tokens."""
        request = await self._read(call, COUNTED, needs_model=False)
        if request is None:
            return
        with Holding(self._ports.room) as holding:
            context = await self._context(call, request, holding)
            counted = await self._counted(request, context, holding)
        tokens = self._estimated(request, context) if counted is None else counted
        how = "estimated" if counted is None else "counted"
        body = _encode(InputTokens("response.input_tokens", tokens))
        await call.exchange.answer(200, body, (("antiphon-input-tokens", how),))

    def _estimated(self, request: CreateResponse, context: Context) -> int:
        estimate = turn_tokens(context.turn(request))
        if request.model == _NO_MODEL:
            return estimate
        return self._ports.learned.corrected(self._ports.resolve(request.model)[0].name, estimate)

    async def _counted(self, request: CreateResponse, context: Context, holding: Holding) -> int | None:
        """The provider's own count; None where it has no counter, or its counter does not answer."""
        if request.model == _NO_MODEL:
            return None
        target = self._ports.resolve(request.model)[0]
        dialect = self._ports.dialects[target.vendor.dialect]
        turn = await readable(context.turn(request), target, self._ports, holding)
        asked = dialect.count_request(turn, target)
        if asked is None:
            return None
        try:
            async with self._ports.send(asked) as reply:
                body = await reply.read(_MAX_ANSWER_BYTES)
                return dialect.read_count(body) if reply.status == 200 else None
        except ApiError:
            return None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _user_messages(context: Context, response_id: str) -> list[msgspec.Raw]:
    """The user's messages of the whole context, with ids."""
    entries = [entry for entry in context.entries if isinstance(entry, Message) and entry.role == "user"]
    items = [InputItem(entry, _raw(entry)) for entry in entries]
    return list(_raws(encode_input(items, response_id)))
