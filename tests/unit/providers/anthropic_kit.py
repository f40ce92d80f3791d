"""Short ways to say a turn, a target and an answer in the tests of the anthropic dialect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from tests.harness.spread import spread

from antiphon.protocol.deltas import CallArguments, CallStarted, Carried, Delta, Finished, Kept, Text, Used
from antiphon.protocol.parsing import parse_request
from antiphon.providers.anthropic import Anthropic
from antiphon.providers.base import Entry, HttpRequest, ModelTurn, ReplayRecord, Target, Turn, Vendor
from antiphon.providers.quirks import AnthropicQuirks, Quirks

DIALECT = Anthropic()
MODEL = "claude-sonnet-4-6"
BINDING = "claude-sonnet-5-5"
WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
NOW = {"type": "function", "name": "now"}
HI = {"role": "user", "content": "Hi"}


def target(model: str = MODEL, *, scope: str = "account", quirks: AnthropicQuirks | None = None) -> Target:
    vendor = Vendor(
        "anthropic",
        "anthropic",
        "https://api.anthropic.com",
        auth="x-api-key",
        api_key="key",
        scope=scope,
        quirks=Quirks(anthropic=quirks or AnthropicQuirks()),
    )
    return Target(vendor, model)


def encode(
    *past: Entry,
    model: str = MODEL,
    quirks: AnthropicQuirks | None = None,
    pending: tuple[ReplayRecord, ...] = (),
    **fields: Any,
) -> HttpRequest:
    """A request as the client writes it (`input` and all), after this past."""
    request = parse_request(msgspec.json.encode({"model": model, "input": [HI]} | fields))
    context = (*past, *(entry.item for entry in request.input))
    return DIALECT.encode(Turn(request, context, pending), target(model, quirks=quirks))


def body(*past: Entry, **fields: Any) -> dict[str, Any]:
    return msgspec.json.decode(encode(*past, **fields).body)


def messages(*past: Entry, **fields: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(message["role"], message["content"]) for message in body(*past, **fields)["messages"]]


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def record(blocks: bytes, *, scope: str = "account", model: str = MODEL, **ids: str) -> ReplayRecord:
    return ReplayRecord("anthropic", scope, model, msgspec.Raw(blocks), call_ids=ids)


def turn(blocks: bytes, *items: dict[str, Any], **options: Any) -> ModelTurn:
    """A past model turn of this account; its public items matter only to who cannot read its blocks."""
    request = parse_request(msgspec.json.encode({"model": "m", "input": list(items)}))
    return ModelTurn(tuple(entry.item for entry in request.input), record(blocks, **options))


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode({"type": kind} | fields))


def begun(**usage: Any) -> bytes:
    message = {"id": "msg_1", "model": MODEL, "role": "assistant", "content": [], "usage": usage}
    return event("message_start", message=message)


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    frames = [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    opened = event("content_block_start", index=index, content_block=start)
    return b"".join([opened, *frames, event("content_block_stop", index=index)])


def text_block(index: int, *pieces: str) -> bytes:
    return block(index, said(""), *({"type": "text_delta", "text": piece} for piece in pieces))


def thinking_block(index: int, *pieces: str, signature: str = "sig") -> bytes:
    deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    signed = [{"type": "signature_delta", "signature": signature}] if signature else []
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *deltas, *signed)


def call_block(index: int, call_id: str, name: str, *pieces: str) -> bytes:
    start = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return block(index, start, *({"type": "input_json_delta", "partial_json": piece} for piece in pieces))


def stopped(reason: str = "end_turn", usage: dict[str, Any] | None = None, **details: Any) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None} | details
    return event("message_delta", delta=delta, usage=usage or {"output_tokens": 1}) + event("message_stop")


def decode(*frames: bytes, request: HttpRequest | None = None) -> list[Delta]:
    """The deltas of an answer. Raises what the decoder raises."""
    decoder = DIALECT.decoder(target(), request or encode())
    return [delta for frame in frames for delta in decoder.feed(frame)] + decoder.close()


def text(deltas: Iterable[Delta]) -> str:
    return "".join(delta.text for delta in spread(deltas) if isinstance(delta, Text))


def calls(deltas: Iterable[Delta]) -> list[tuple[str, str, str]]:
    """(call_id, name, arguments) of each call, in order."""
    found = list(deltas)
    pieces = [delta for delta in found if isinstance(delta, CallArguments)]
    return [
        (call.call_id, call.name, "".join(piece.text for piece in pieces if piece.key == call.key))
        for call in found
        if isinstance(call, CallStarted)
    ]


def kept(deltas: Iterable[Delta]) -> Kept:
    (found,) = [delta for delta in deltas if isinstance(delta, Kept)]
    return found


def carried(deltas: Iterable[Delta]) -> list[bytes]:
    return [bytes(delta.blocks) for delta in deltas if isinstance(delta, Carried)]


def finished(deltas: Iterable[Delta]) -> Finished:
    (found,) = [delta for delta in deltas if isinstance(delta, Finished)]
    return found


def usage(deltas: Iterable[Delta]) -> Any:
    """The last counts."""
    return [delta.usage for delta in deltas if isinstance(delta, Used)][-1]
