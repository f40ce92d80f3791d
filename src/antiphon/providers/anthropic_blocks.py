"""Content blocks of the Messages wire, written in one place.

The decoder writes what it keeps with these functions and the encoder writes history with the same ones, so a turn that
comes back as items gives the bytes that were kept (decision record 0008).
Source: Anthropic Messages API, content blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    MEDIA,
    ContentPart,
    InputAudio,
    InputFile,
    InputImage,
    InputText,
    InputVideo,
)

from .arguments import raw_object
from .dialogue import refused_image
from .history_items import plain_text
from .media import file_data, split_data_url, text_of

Raw = msgspec.Raw
Block = dict[str, object]

IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_NULL: Final = b"null"
_encode: Final = msgspec.json.Encoder().encode
_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_rows: Final = msgspec.json.Decoder(list[Raw]).decode


def raw(block: Block) -> Raw:
    """A block as the bytes that are sent and kept."""
    return Raw(_encode(block))


def text_block(text: str, citations: Sequence[Raw] = ()) -> Raw:
    """Text; `citations` only on what the model itself cited."""
    block: Block = {"type": "text", "text": text}
    return raw(block | {"citations": list(citations)} if citations else block)


def thinking_block(thinking: str, signature: str) -> Raw:
    """A thinking block; without its signature it could not be replayed."""
    return raw({"type": "thinking", "thinking": thinking, "signature": signature})


def redacted_block(data: str) -> Raw:
    """Thinking that only the provider can read."""
    return raw({"type": "redacted_thinking", "data": data})


def tool_use_block(call_id: str, name: str, arguments: str) -> Raw:
    """A call; `arguments` stay the model's own text where that is a JSON object."""
    return raw({"type": "tool_use", "id": call_id, "name": name, "input": raw_object(arguments)})


def result_block(call_id: str, content: str | list[Raw], *, is_error: bool = False) -> Raw:
    """What a tool gave back."""
    block: Block = {"type": "tool_result", "tool_use_id": call_id, "content": content}
    return raw(block | {"is_error": True} if is_error else block)


def content_blocks(parts: str | Sequence[ContentPart], path: str) -> list[Raw]:
    """What a user or a tool said, as blocks; text without a visible character is left out (it is a 400)."""
    if isinstance(parts, str):
        return [text_block(parts)] if parts.strip() else []
    blocks: list[Raw] = []
    for index, part in enumerate(parts):
        block = _block(part, f"{path}[{index}]")
        if block is not None:
            blocks.append(block)
    return blocks


def _block(part: ContentPart, path: str) -> Raw | None:
    match part:
        case InputImage():
            return _marked(_image(part, path), part)
        case InputFile():
            return _marked(_document(part, path), part)
        case InputAudio() | InputVideo():
            raise _refused(path, "audio and video cannot be sent to this model's provider")
        case InputText():
            return _marked({"type": "text", "text": part.text}, part) if part.text.strip() else None
        case _:
            text = plain_text((part,))
            return text_block(text) if text.strip() else None


def text_alone(parts: str | Sequence[ContentPart], path: str) -> str:
    """The text of content that may be nothing but text, such as a developer's. Raises InvalidRequest for media."""
    for index, part in enumerate(() if isinstance(parts, str) else parts):
        if isinstance(part, MEDIA):
            raise _refused(f"{path}[{index}]", "system and developer messages can hold only text here")
    return plain_text(parts)


def _marked(block: Block, part: InputText | InputImage | InputFile) -> Raw:
    mark = part.prompt_cache_breakpoint
    if isinstance(mark, Raw) and bytes(mark) != _NULL:
        ttl = {"ttl": "1h"} if b"12h" in bytes(mark) else {}
        return raw(block | {"cache_control": {"type": "ephemeral"} | ttl})
    return raw(block)


def _image(part: InputImage, path: str) -> Block:
    url = part.image_url
    if not url:
        raise _no_files(f"{path}.file_id", "image_url")
    inline = split_data_url(url)
    if inline is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    if inline.media_type not in IMAGE_TYPES:
        raise refused_image(path, inline.media_type, IMAGE_TYPES)
    return {"type": "image", "source": _base64(inline.media_type, inline.base64)}


def _document(part: InputFile, path: str) -> Block:
    title: Block = {"title": part.filename} if part.filename else {}
    if part.file_url:
        return {"type": "document", "source": {"type": "url", "url": part.file_url}} | title
    if not part.file_data:
        raise _no_files(f"{path}.file_id", "file_data")
    inline = file_data(part.file_data, part.filename or None)
    if inline.media_type == "application/pdf":
        return {"type": "document", "source": _base64(inline.media_type, inline.base64)} | title
    text = text_of(inline)
    if text is None:
        raise _refused(path, f"files of type {inline.media_type} are not supported; send a PDF or text")
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}} | title


def _base64(media_type: str, data: str) -> Block:
    return {"type": "base64", "media_type": media_type, "data": data}


def _refused(path: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid value at '{path}': {why}.", param=path, code="unsupported_value")


def _no_files(path: str, instead: str) -> InvalidRequest:
    return InvalidRequest(
        f"This server keeps no files: send {instead} in place of file_id.", param=path, code="unsupported_value"
    )


def without_old_cache_controls(blocks: Sequence[list[Raw]], most: int) -> None:
    """Keep the newest `most` cache controls of a body, in place: more than four are a 400 (pitfalls 38, 76)."""
    left = most
    for row in reversed(blocks):
        for index in reversed(range(len(row))):
            marks = _marks(row[index])
            if marks > left:
                row[index] = _unmarked(row[index])
            else:
                left -= marks


def is_marked(block: Raw) -> bool:
    """Whether a block bears a cache control."""
    return _marks(block) > 0


def _marks(block: Raw) -> int:
    """How many cache controls a block bears, those inside a tool's result among them."""
    if b'"cache_control":' not in bytes(block):
        return 0
    fields = _fields(block)
    return ("cache_control" in fields) + sum(_marks(inner) for inner in _inner_blocks(fields))


def _unmarked(block: Raw) -> Raw:
    fields = _fields(block)
    fields.pop("cache_control", None)
    inner = _inner_blocks(fields)
    if inner:
        fields["content"] = Raw(_encode([_unmarked(part) for part in inner]))
    return Raw(_encode(fields))


def _inner_blocks(fields: dict[str, Raw]) -> list[Raw]:
    content = fields.get("content")
    is_result = bytes(fields["type"]) == b'"tool_result"'
    return _rows(content) if is_result and content is not None and bytes(content)[:1] == b"[" else []
