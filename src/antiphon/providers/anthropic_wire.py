"""The events of a Messages stream as they stand on the wire: only the fields that are read.

Unknown fields are ignored and unknown blocks stay raw: the wire grows monthly. Counts may be null.
Source: Anthropic "Streaming messages", API version 2026-10-21.
"""

from __future__ import annotations

from typing import Final

import msgspec

Raw = msgspec.Raw


class Details(msgspec.Struct, frozen=True, gc=False):
    thinking_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True, gc=False):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: Details | None = None


class Transformation(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    reason: str = ""


class Container(msgspec.Struct, frozen=True, gc=False):
    id: str = ""


class Message(msgspec.Struct, frozen=True, gc=False):
    id: str = ""
    container: Container | None = None
    model: str = ""
    usage: Usage | None = None
    content: tuple[Raw, ...] = ()
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    input_transformations: tuple[Transformation, ...] | None = None


class StopDetails(msgspec.Struct, frozen=True, gc=False):
    category: str | None = None
    explanation: str | None = None


class Start(msgspec.Struct, frozen=True, gc=False):
    """The fields of any block as it opens; a citation's and a result's stay in the raw block."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str | None = None
    data: str = ""
    id: str = ""
    tool_use_id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")


class Delta(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    citation: Raw = Raw(b"null")
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class _Tag(msgspec.Struct, frozen=True, gc=False):
    type: str = ""


class Error(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    message: str = ""


class Event(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    index: int = 0
    message: Raw = Raw(b"{}")
    content_block: Raw = Raw(b'{"type":""}')
    delta: Raw = Raw(b"{}")
    usage: Usage | None = None
    error: Error | None = None
    input_transformations: tuple[Transformation, ...] | None = None


class Citation(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    url: str | None = None
    source: str | None = None
    title: str | None = None


decode_event: Final = msgspec.json.Decoder(Event).decode
decode_message: Final = msgspec.json.Decoder(Message).decode
_decode_start: Final = msgspec.json.Decoder(Start).decode
_decode_delta: Final = msgspec.json.Decoder(Delta).decode
_decode_tag: Final = msgspec.json.Decoder(_Tag).decode


def read_start(block: Raw) -> Start:
    """A block as it opens; of a type that uses our field names for other values only the type."""
    try:
        return _decode_start(block)
    except msgspec.ValidationError:
        return Start(_decode_tag(block).type)


def read_delta(delta: Raw) -> Delta:
    """A delta, read as leniently as the start of a block."""
    try:
        return _decode_delta(delta)
    except msgspec.ValidationError:
        return Delta(_decode_tag(delta).type)
