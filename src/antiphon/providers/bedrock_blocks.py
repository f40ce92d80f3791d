"""Content blocks of the Converse wire, written in one place for the decoder, which keeps them, and the encoder.

Source: Amazon Bedrock runtime API, ContentBlock; reference of provider wires, §1.6.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from antiphon.protocol.items import ContentPart, InputAudio, InputFile, InputImage, InputText, InputVideo

from .arguments import raw_object
from .dialogue import no_files, refused, refused_image
from .history_items import plain_text
from .media import InlineData, file_data, media_type_of, split_data_url

Raw = msgspec.Raw
Fields = dict[str, object]
MAX_CACHE_POINTS: Final = 4
CACHE_POINT: Final = Raw(b'{"cachePoint":{"type":"default"}}')
_IMAGES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_VIDEOS: Final = {"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "mkv"}
_UNSAFE_NAME: Final = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
_NULL: Final = b"null"
_encode: Final = msgspec.json.Encoder().encode


def raw(block: Fields) -> Raw:
    return Raw(_encode(block))


def text_block(text: str) -> Raw:
    return raw({"text": text})


def reasoning_block(text: str, signature: str) -> Raw:
    """Reasoning that can be replayed: without its signature it could not."""
    return raw({"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}})


def redacted_block(data: str) -> Raw:
    """Reasoning that only the provider can read, in base64."""
    return raw({"reasoningContent": {"redactedContent": data}})


def tool_use_block(call_id: str, name: str, arguments: str) -> Raw:
    """A call; `arguments` stay the model's own text where that is a JSON object."""
    return raw({"toolUse": {"toolUseId": call_id, "name": name, "input": raw_object(arguments)}})


def result_block(call_id: str, content: list[Raw], *, is_error: bool, has_status: bool) -> Raw:
    """What a tool gave back; only some families take a status."""
    block: Fields = {"toolUseId": call_id, "content": content or [text_block(" ")]}
    return raw({"toolResult": block | ({"status": "error"} if is_error and has_status else {})})


def content_blocks(parts: str | Sequence[ContentPart], path: str, *, caches: bool) -> list[Raw]:
    """What a user or a tool said, as blocks; text without a visible character is left out (it is a 400)."""
    if isinstance(parts, str):
        return [text_block(parts)] if parts.strip() else []
    blocks: list[Raw] = []
    for index, part in enumerate(parts):
        blocks += _block(part, f"{path}[{index}]")
        mark = getattr(part, "prompt_cache_breakpoint", None)
        if caches and isinstance(mark, Raw) and bytes(mark) != _NULL:
            blocks.append(CACHE_POINT)
    return blocks


def _block(part: ContentPart, path: str) -> list[Raw]:
    match part:
        case InputImage():
            return [_image(part, path)]
        case InputFile():
            return [_document(part, path)]
        case InputVideo():
            return [_video(part, path)]
        case InputAudio():
            raise refused(path, "audio cannot be sent to this model's provider")
        case InputText():
            return [text_block(part.text)] if part.text.strip() else []
        case _:
            text = plain_text((part,))
            return [text_block(text)] if text.strip() else []


def _image(part: InputImage, path: str) -> Raw:
    url = part.image_url
    if not url:
        raise no_files(f"{path}.file_id", "image_url")
    inline, source = _source(url, path)
    media_type = inline.media_type if inline is not None else media_type_of(url)
    if media_type not in _IMAGES:
        raise refused_image(path, media_type, _IMAGES)
    return raw({"image": {"format": _IMAGES[media_type], "source": source}})


def _document(part: InputFile, path: str) -> Raw:
    if part.file_url:
        inline, source = _source(part.file_url, path)
        media_type = inline.media_type if inline is not None else media_type_of(part.file_url)
    elif part.file_data:
        inline = file_data(part.file_data, part.filename or None)
        media_type, source = inline.media_type, {"bytes": inline.base64}
    else:
        raise no_files(f"{path}.file_id", "file_data")
    if media_type is not None and media_type.startswith("text/") and media_type not in _DOCUMENTS:
        media_type = "text/plain"
    if media_type not in _DOCUMENTS:
        raise refused(path, f"files of type {media_type} are not supported; send a PDF, text or an office document")
    stem = (part.filename or "document").rpartition(".")[0] or part.filename or "document"
    name = _UNSAFE_NAME.sub(" ", stem).strip()[:200] or "document"
    return raw({"document": {"format": _DOCUMENTS[media_type], "name": name, "source": source}})


def _video(part: InputVideo, path: str) -> Raw:
    inline, source = _source(part.video_url, path)
    media_type = inline.media_type if inline is not None else media_type_of(part.video_url)
    if media_type not in _VIDEOS:
        raise refused(path, f"videos of type {media_type} are not supported")
    return raw({"video": {"format": _VIDEOS[media_type], "source": source}})


def _source(url: str, path: str) -> tuple[InlineData | None, Fields]:
    """Bytes, or a place in S3; the wire fetches nothing else."""
    inline = split_data_url(url)
    if inline is not None:
        return inline, {"bytes": inline.base64}
    if url.startswith("s3://"):
        return None, {"s3Location": {"uri": url}}
    raise refused(path, "this model's provider fetches no URLs; send a data: URL")


def without_old_cache_points(contents: Sequence[list[Raw]]) -> None:
    """Keep the newest cache points of a body, in place: more than four are a 400."""
    left = MAX_CACHE_POINTS
    for content in reversed(contents):
        for index in reversed(range(len(content))):
            if content[index] is CACHE_POINT:
                left -= 1
                if left < 0:
                    del content[index]
