"""Content parts as Chat Completions writes them, and what a target that lacks a kind of part gets instead.

A part that cannot be sent is refused by its path, never left out: the model would answer about something else.
Text files are put into the prompt as text where the target takes no files.
Source: OpenAI "Chat Completions" content parts; reference of provider wires, §1.2 and §2.7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    ContentPart,
    InputAudio,
    InputFile,
    InputImage,
    InputText,
    InputVideo,
)

from .history_items import plain_text
from .media import file_data, is_data_url, text_of
from .quirks import ChatQuirks

MAX_CACHE_CONTROLS = 4
_NULL = msgspec.Raw(b"null")
_EPHEMERAL = msgspec.Raw(b'{"type":"ephemeral"}')


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    prompt_cache_breakpoint: msgspec.Raw | UnsetType = UNSET
    cache_control: msgspec.Raw | UnsetType = UNSET


class TextPart(_Part, frozen=True, tag="text", tag_field="type"):
    text: str


class ImageUrl(msgspec.Struct, frozen=True):
    url: str
    detail: str | UnsetType = UNSET


class ImagePart(_Part, frozen=True, tag="image_url", tag_field="type"):
    image_url: ImageUrl


class FileBody(msgspec.Struct, frozen=True):
    filename: str | UnsetType = UNSET
    file_data: str | UnsetType = UNSET


class FilePart(_Part, frozen=True, tag="file", tag_field="type"):
    file: FileBody


class Audio(msgspec.Struct, frozen=True):
    data: str
    format: str


class AudioPart(_Part, frozen=True, tag="input_audio", tag_field="type"):
    input_audio: Audio


class VideoUrl(msgspec.Struct, frozen=True):
    url: str


class VideoPart(_Part, frozen=True, tag="video_url", tag_field="type"):
    video_url: VideoUrl


WirePart = TextPart | ImagePart | FilePart | AudioPart | VideoPart


class SaidMessage(msgspec.Struct, frozen=True):
    """A system, developer or user message, or an assistant's plain text."""

    role: str
    content: str | list[WirePart]


def content(parts: str | Sequence[ContentPart], where: Callable[[], str], quirks: ChatQuirks) -> str | list[WirePart]:
    """A message's content: one text as a plain string, the form every server takes, anything else as a list.

    `where` tells its path, which a message of one text does not need.
    """
    if isinstance(parts, str):
        return parts
    if len(parts) == 1 and isinstance(parts[0], InputText) and parts[0].prompt_cache_breakpoint is UNSET:
        return parts[0].text  # as most messages are
    path = where()
    written = [wire_part(part, f"{path}[{index}]", quirks) for index, part in enumerate(parts)]
    told = [part for part in written if not isinstance(part, TextPart) or part.text] or written[:1]
    if not told:
        return ""
    first = told[0]
    if len(told) == 1 and isinstance(first, TextPart) and first == TextPart(text=first.text):
        return first.text
    return told


def wire_part(part: ContentPart, path: str, quirks: ChatQuirks) -> WirePart:
    """One part. Raises InvalidRequest for what the target cannot take."""
    match part:
        case InputText():
            return msgspec.structs.replace(TextPart(text=part.text), **_cache(part, quirks))
        case InputImage():
            return msgspec.structs.replace(_image(part, path, quirks), **_cache(part, quirks))
        case InputFile():
            return msgspec.structs.replace(_file(part, path, quirks), **_cache(part, quirks))
        case InputAudio():
            return _audio(part, path, quirks)
        case InputVideo():
            _require("video", path, quirks)
            return VideoPart(video_url=VideoUrl(part.video_url))
        case _:
            return TextPart(text=plain_text((part,)))


def _image(part: InputImage, path: str, quirks: ChatQuirks) -> ImagePart:
    url = part.image_url
    if not url:
        raise _unresolved("image_url", path)
    _require("image" if is_data_url(url) else "image_url", path, quirks)
    detail = part.detail or UNSET
    if detail == "original" and not quirks.has_original_detail:
        detail = "high"
    return ImagePart(image_url=ImageUrl(url, detail))


def _file(part: InputFile, path: str, quirks: ChatQuirks) -> FilePart | TextPart:
    filename = part.filename or None
    if part.file_url:
        _require("file_url", path, quirks)
        return FilePart(file=FileBody(filename or UNSET, part.file_url))
    if not part.file_data:
        raise _unresolved("file_data", path)
    inline = file_data(part.file_data, filename)
    if "file" not in quirks.inputs:
        text = text_of(inline)
        if text is not None:
            return TextPart(text=f"<file name={filename or 'file'!r}>\n{text}\n</file>")
    _require("file", path, quirks)
    return FilePart(file=FileBody(filename or "file", inline.url))


def _audio(part: InputAudio, path: str, quirks: ChatQuirks) -> AudioPart:
    _require("audio", path, quirks)
    try:
        audio = msgspec.json.decode(part.input_audio, type=Audio)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f"Invalid input_audio: {error}.", param=f"{path}.input_audio", code="invalid_value"
        ) from error
    if quirks.audio_as_data_url and not is_data_url(audio.data):
        audio = Audio(f"data:audio/{audio.format};base64,{audio.data}", audio.format)
    return AudioPart(input_audio=audio)


def _cache(part: InputText | InputImage | InputFile, quirks: ChatQuirks) -> dict[str, msgspec.Raw]:
    breakpoint_ = part.prompt_cache_breakpoint
    if breakpoint_ is UNSET or breakpoint_ == _NULL or quirks.prompt_cache_breakpoint == "none":
        return {}
    if quirks.prompt_cache_breakpoint == "native":
        return {"prompt_cache_breakpoint": breakpoint_}
    return {"cache_control": _EPHEMERAL}


def is_marked(part: WirePart) -> bool:
    """Whether a part bears a cache control."""
    return part.cache_control is not UNSET


def drop_old_cache_controls(contents: Sequence[list[WirePart]]) -> None:
    """Keep the newest MAX_CACHE_CONTROLS of a body's cache controls: more are a 400 (pitfalls 38, 76)."""
    marked = [(parts, index) for parts in contents for index, part in enumerate(parts) if is_marked(part)]
    for parts, index in marked[:-MAX_CACHE_CONTROLS]:
        parts[index] = msgspec.structs.replace(parts[index], cache_control=UNSET)


_NAMES = {
    "image": "inline images",
    "image_url": "images by URL (send a data: URL)",
    "audio": "audio",
    "video": "video",
    "file": "files of this type",
    "file_url": "files by URL (send file_data)",
}


def _require(
    kind: Literal["image", "image_url", "audio", "video", "file", "file_url"], path: str, quirks: ChatQuirks
) -> None:
    if kind not in quirks.inputs:
        raise InvalidRequest(
            f"The model's provider does not take {_NAMES[kind]}.", param=path, code="unsupported_value"
        )


def _unresolved(field: str, path: str) -> InvalidRequest:
    return InvalidRequest(
        f"This server keeps no files: send {field} in place of file_id.",
        param=f"{path}.file_id",
        code="unsupported_value",
    )
