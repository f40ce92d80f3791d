"""A Responses-speaking upstream's words, for the tests of its decoder."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.harness.spread import spread

from antiphon.protocol.deltas import Delta, Kept, Text
from antiphon.providers.base import ToolName
from antiphon.providers.responses_decoder import ResponsesDecoder

Json = dict[str, Any]


def sse(*events: Json) -> bytes:
    """The events as a stream."""
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), msgspec.json.encode(e)) for e in events)


def created(**fields: Any) -> Json:
    return {"type": "response.created", "response": {"id": "resp_up", "model": "m", "status": "in_progress"} | fields}


def completed(*output: Json, status: str = "completed", **fields: Any) -> Json:
    response = {"id": "resp_up", "model": "m", "status": status, "output": list(output)} | fields
    return {"type": f"response.{status}", "response": response}


def added(index: int, **item: Any) -> Json:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, **item: Any) -> Json:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def text_delta(index: int, delta: str, **fields: Any) -> Json:
    return {"type": "response.output_text.delta", "output_index": index, "content_index": 0, "delta": delta} | fields


def arguments_delta(index: int, delta: str, **fields: Any) -> Json:
    return {"type": "response.function_call_arguments.delta", "output_index": index, "delta": delta} | fields


def message(text: str, **fields: Any) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content} | fields


def call(name: str, call_id: str, arguments: str, **fields: Any) -> Json:
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    } | fields


def understood(*events: Json, names: tuple[ToolName, ...] = ()) -> list[Delta]:
    """The deltas of a whole stream; raises as `close` does."""
    return understood_bytes(sse(*events), names=names)


def understood_bytes(body: bytes, *, names: tuple[ToolName, ...] = ()) -> list[Delta]:
    decoder = ResponsesDecoder(names)
    return list(spread(decoder.feed(body) + decoder.close()))


def of(kind: type, deltas: list[Delta]) -> list[Any]:
    return [delta for delta in deltas if isinstance(delta, kind)]


def told(deltas: list[Delta], key: int | None = None) -> str:
    """All visible text."""
    return "".join(delta.text for delta in deltas if isinstance(delta, Text) and key in (None, delta.key))


def kept(deltas: list[Delta]) -> list[Json]:
    """The blocks of the replay record."""
    (record,) = of(Kept, deltas)
    return msgspec.json.decode(record.blocks)
