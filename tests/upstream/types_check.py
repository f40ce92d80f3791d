"""Upstream bodies against the providers' own SDK types.

A TypedDict ignores keys it does not know, so that the check of inner keys is each wire's own; here the types
of all values that the SDK names are checked, to the leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from tests.upstream.script import Json, RefusedError


@cache
def _params(wire: str) -> Any:
    # Imported where needed: each of these takes about a second.
    if wire == "chat_completions":
        from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

        return CompletionCreateParamsStreaming
    if wire == "responses":
        from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

        return ResponseCreateParamsStreaming
    from anthropic.types.message_create_params import MessageCreateParamsStreaming

    return MessageCreateParamsStreaming


@cache
def _adapter(wire: str) -> TypeAdapter[Any]:
    return TypeAdapter(_params(wire))


@cache
def known_fields(wire: str) -> frozenset[str]:
    """The top-level parameters that the provider's SDK knows."""
    return frozenset(_params(wire).__annotations__)


def check_types(wire: str, body: Json) -> None:
    """Raises RefusedError where a value is not of the type that the provider's SDK gives it."""
    try:
        _exhaust(_adapter(wire).validate_python(_filled(body) if wire == "responses" else body))
    except ValidationError as error:
        first = error.errors(include_url=False)[:3]
        raise RefusedError(f"not of the SDK's type: {first}") from error


def _filled(body: Json) -> Json:
    """The types require what the API does not: ids of output items, `strict` of functions, `detail` of images."""
    items = body["input"]
    if not isinstance(items, str):
        items = [_filled_item(item) for item in items]
    tools = [{"strict": None, "parameters": None} | tool for tool in body.get("tools") or ()]
    return body | {"input": items, "tools": tools}


def _filled_item(item: Json) -> Json:
    if item.get("type") == "reasoning":
        return {"id": "rs_absent"} | item
    if item.get("role") == "assistant":
        return {"id": "msg_absent", "status": "completed"} | item
    if isinstance(item.get("content"), list):
        return item | {"content": [_filled_part(part) for part in item["content"]]}
    return item


def _filled_part(part: Json) -> Json:
    return {"detail": "auto"} | part if part.get("type") == "input_image" else part


def _exhaust(value: Any) -> None:
    """Iterables are validated as they are read."""
    if isinstance(value, Mapping):
        for part in value.values():
            _exhaust(part)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for part in value:
            _exhaust(part)
