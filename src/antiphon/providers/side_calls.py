"""Calls beside the answer: counting a turn's tokens, compacting its context. Each takes a part of the turn's body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import UpstreamFault

from .base import HttpRequest

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class _Count(msgspec.Struct, frozen=True):
    input_tokens: int


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class _Used(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Tagged(msgspec.Struct, frozen=True):
    type: str = ""


class _Compacted(msgspec.Struct, frozen=True):
    output: tuple[msgspec.Raw, ...]
    usage: _Used | None = None


def side_call(
    request: HttpRequest, url: str, fields: frozenset[str], more: Mapping[str, str] | None = None
) -> HttpRequest:
    """A call that takes some fields of the turn's body, and `more`, and answers with one JSON object."""
    kept: dict[str, object] = {name: value for name, value in _fields(request.body).items() if name in fields}
    kept |= more or {}
    return as_json_call(request, url, _encode(kept))


def as_json_call(request: HttpRequest, url: str, body: bytes) -> HttpRequest:
    """The same call elsewhere, answered with one JSON object instead of a stream."""
    headers = tuple((name, "application/json" if name == "accept" else value) for name, value in request.headers)
    return replace(request, url=url, body=body, headers=headers)


def read_count(body: bytes) -> int:
    """`{"input_tokens": N}`, as OpenAI and Anthropic both answer."""
    try:
        return msgspec.json.decode(body, type=_Count).input_tokens
    except msgspec.MsgspecError as error:
        raise UpstreamFault("server", "The model provider's token count could not be read.") from error


def read_compaction(body: bytes) -> tuple[msgspec.Raw, Usage]:
    """The `compaction` item of a compacted context, and what making it has used."""
    try:
        answer = msgspec.json.decode(body, type=_Compacted)
        items = [raw for raw in answer.output if msgspec.json.decode(raw, type=_Tagged).type == "compaction"]
    except msgspec.MsgspecError as error:
        raise UpstreamFault("server", "The model provider's compaction could not be read.") from error
    if not items:
        raise UpstreamFault("server", "The model provider's compaction holds no compaction item.")
    used = answer.usage or _Used()
    into, out = used.input_tokens_details or _Details(), used.output_tokens_details or _Details()
    usage = Usage(
        used.input_tokens, into.cached_tokens, into.cache_write_tokens, used.output_tokens, out.reasoning_tokens
    )
    return items[-1], usage.sane()


def no_such_call(body: bytes) -> UpstreamFault:
    """For dialects that never make the call, and so are never asked to read its answer."""
    return UpstreamFault("server", f"An answer of {len(body)} bytes to a call that was not made.")
