"""What a Responses-speaking upstream sends, as lenient types: nothing here may fail on a value we do not interpret.

Upstreams differ in what they leave out, null or invent, so every field has a default, polymorphic fields stay raw, and
unknown enum values are plain strings. Only a wrong JSON type in a field we must read is refused.
Source: OpenAI OpenAPI `ResponseStreamEvent`; reference of stream events; pitfalls 62, 71, 75.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import UpstreamFault

_ABSENT: Final = msgspec.Raw(b"")
_T = TypeVar("_T")

TEXT: Final = "response.output_text.delta"
Place = tuple[int | None, str | None, int | None]
"""What an event about a part of a message names it by: output_index, item_id, content_index."""


class StreamEvent(msgspec.Struct, frozen=True, gc=False):
    """Any streamed event. `sequence_number` is not read: a gap in it says nothing that the bytes do not."""

    type: str = ""
    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    summary_index: int | None = None
    name: str | None = None
    delta: msgspec.Raw = _ABSENT
    text: str | None = None
    refusal: str | None = None
    arguments: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    logprobs: msgspec.Raw = _ABSENT
    annotation: msgspec.Raw = _ABSENT
    part: msgspec.Raw = _ABSENT
    item: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


class TextEvent(msgspec.Struct, frozen=True, gc=False):
    """A delta of a message's text, as most events are."""

    type: str
    delta: str
    output_index: int | None = None
    item_id: str | None = None
    content_index: int | None = None
    logprobs: tuple[msgspec.Raw, ...] | None = None


class Part(msgspec.Struct, frozen=True, gc=False):
    """A part of a message's or a reasoning item's content, or of a summary."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    annotations: tuple[msgspec.Raw, ...] | None = None
    logprobs: msgspec.Raw = _ABSENT


class OutputItem(msgspec.Struct, frozen=True, gc=False):
    """What is read of an output item; the item itself travels as its own bytes."""

    type: str = ""
    id: str | None = None
    status: str | None = None
    phase: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    content: tuple[Part, ...] | str | None = None
    summary: tuple[Part, ...] | None = None
    encrypted_content: str | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts; some engines write a message's content as one string."""
        if isinstance(self.content, str):
            return (Part("output_text", self.content),)
        return self.content or ()


class _CachedTokens(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: float | None = 0
    cache_write_tokens: float | None = 0


class _ReasoningTokens(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: float | None = 0


class WireUsage(msgspec.Struct, frozen=True, gc=False):
    """Token counts; details may be null or missing (pitfall 71)."""

    input_tokens: float | None = 0
    input_tokens_details: _CachedTokens | None = None
    output_tokens: float | None = 0
    output_tokens_details: _ReasoningTokens | None = None

    def counted(self) -> Usage:
        cached = self.input_tokens_details or _CachedTokens()
        reasoning = self.output_tokens_details or _ReasoningTokens()
        return Usage(
            input_tokens=int(self.input_tokens or 0),
            cached_tokens=int(cached.cached_tokens or 0),
            cache_write_tokens=int(cached.cache_write_tokens or 0),
            output_tokens=int(self.output_tokens or 0),
            reasoning_tokens=int(reasoning.reasoning_tokens or 0),
        )


class _Incomplete(msgspec.Struct, frozen=True, gc=False):
    reason: str | None = None


class WireResponse(msgspec.Struct, frozen=True, gc=False):
    """A response object, in an event or as the whole body."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    service_tier: str | None = None
    error: msgspec.Raw = _ABSENT
    incomplete_details: _Incomplete | None = None
    output: tuple[msgspec.Raw, ...] | None = None
    usage: WireUsage | None = None


class WireError(msgspec.Struct, frozen=True, gc=False):
    """The telling fields of an error; its message is read by `faults_report`, which knows nested bodies."""

    code: str | int | None = None
    type: str | None = None


decode_event: Final = msgspec.json.Decoder(StreamEvent).decode
decode_part: Final = msgspec.json.Decoder(Part).decode
decode_item: Final = msgspec.json.Decoder(OutputItem).decode
decode_response: Final = msgspec.json.Decoder(WireResponse).decode
decode_error: Final = msgspec.json.Decoder(WireError).decode
_decode_text_event: Final = msgspec.json.Decoder(TextEvent).decode
_decode_text: Final = msgspec.json.Decoder(str | None).decode


def read(decode: Callable[[bytes | msgspec.Raw], _T], value: bytes | msgspec.Raw) -> _T:
    """`value` decoded. Raises UpstreamFault("transport") when it is not JSON of that shape."""
    try:
        return decode(value)
    except msgspec.DecodeError as error:
        raise UpstreamFault("transport", f"The provider sent an event that cannot be read: {error}") from error


def is_present(value: msgspec.Raw) -> bool:
    """Whether a raw field was sent and is not null."""
    return bytes(value) not in (b"", b"null")


def text_of(value: msgspec.Raw) -> str:
    """A string field; null and absent are "", and an object (arguments sent as JSON) is its own text."""
    try:
        return (_decode_text(value) or "") if value else ""
    except msgspec.ValidationError:
        return bytes(value).decode()


def text_at(place: Place, data: bytes) -> str:
    """The text of an event that says nothing but more text at this place; "" of any other."""
    try:
        event = _decode_text_event(data)
    except msgspec.DecodeError:
        return ""
    is_there = event.type == TEXT and (event.output_index, event.item_id, event.content_index) == place
    return event.delta if is_there and not event.logprobs else ""
