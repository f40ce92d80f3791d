"""Parts of Gemini contents, written in one place for the decoder, which keeps them, and the encoder, which sends them.

Source: Gemini API reference, Part; reference of provider wires, §1.4 and §2.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import MEDIA, ContentPart, InputAudio, InputFile, InputImage, InputText, InputVideo

from .arguments import raw_object
from .dialogue import no_files, refused
from .history_items import plain_text
from .media import InlineData, file_data, media_type_of, split_data_url, text_of

Raw = msgspec.Raw
Fields = dict[str, object]
SKIP_SIGNATURE: Final = "skip_thought_signature_validator"
"""What Google takes for the signature of a call that its model did not make."""
CONTINUATION: Final = "continuationToken"
_IN_RESULTS: Final = ("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain")
_encode: Final = msgspec.json.Encoder().encode


def raw(fields: Fields) -> Raw:
    return Raw(_encode(fields))


def text_part(text: str, signature: str | None = None, *, is_thought: bool = False) -> Raw:
    """Text of either side; a thought's text is marked."""
    fields: Fields = {"text": text}
    if is_thought:
        fields["thought"] = True
    return raw(fields | ({"thoughtSignature": signature} if signature else {}))


def call_part(name: str, arguments: str, call_id: str, signature: str | None) -> Raw:
    """A call; `arguments` stay the model's own text where that is a JSON object."""
    call: Fields = {"id": call_id} if call_id else {}
    call |= {"name": name, "args": raw_object(arguments)}
    part: Fields = {"functionCall": call}
    return raw(part | ({"thoughtSignature": signature} if signature else {}))


def result_part(name: str, call_id: str, output: str, media: list[Raw], *, is_error: bool) -> Raw:
    """What a function gave back, always as a string: a `$ref` inside of JSON would be read as a reference to media."""
    response: Fields = {"id": call_id} if call_id else {}
    response |= {"name": name, "response": {"error" if is_error else "output": output}}
    return raw({"functionResponse": response | ({"parts": media} if media else {})})


def content_parts(parts: str | Sequence[ContentPart], path: str) -> list[Raw]:
    """What was said, as parts; text without a character is left out."""
    if isinstance(parts, str):
        return [text_part(parts)] if parts else []
    written = [_part(part, f"{path}[{index}]") for index, part in enumerate(parts)]
    return [part for part in written if part is not None]


def split_result(
    output: str | Sequence[ContentPart], path: str, *, takes_media: bool
) -> tuple[str, list[Raw], list[Raw]]:
    """A tool's output as its text, media that may stand inside the result, and media that must follow it."""
    if isinstance(output, str):
        return output, [], []
    texts: list[str] = []
    inside: list[Raw] = []
    after: list[Raw] = []
    for index, part in enumerate(output):
        if not isinstance(part, MEDIA):
            texts.append(plain_text((part,)))
            continue
        written = _part(part, f"{path}[{index}]")
        inline = _inline_of(part)
        is_inside = takes_media and inline is not None and inline.media_type in _IN_RESULTS
        (inside if is_inside else after).append(written or text_part(""))
    return "".join(texts), inside, after


def _part(part: ContentPart, path: str) -> Raw | None:
    match part:
        case InputImage():
            return _image(part, path)
        case InputFile():
            return _file(part, path)
        case InputAudio():
            return _audio(part, path)
        case InputVideo():
            return _at(part.video_url, "video/mp4")
        case InputText():
            return text_part(part.text) if part.text else None
        case _:
            text = plain_text((part,))
            return text_part(text) if text else None


def _image(part: InputImage, path: str) -> Raw:
    if not part.image_url:
        raise no_files(f"{path}.file_id", "image_url")
    written = _at(part.image_url, "image/jpeg")
    level = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH", "original": "MEDIA_RESOLUTION_HIGH"}
    if isinstance(part.detail, str) and part.detail in level:
        return raw(msgspec.json.decode(written) | {"mediaResolution": {"level": level[part.detail]}})
    return written


def _file(part: InputFile, path: str) -> Raw:
    if part.file_url:
        return _at(part.file_url, "application/pdf")
    if not part.file_data:
        raise no_files(f"{path}.file_id", "file_data")
    inline = file_data(part.file_data, part.filename or None)
    text = text_of(inline)
    if text is not None and inline.media_type != "text/plain":
        name = f" {part.filename}" if part.filename else ""
        return text_part(f"[file{name}]\n{text}")
    if inline.media_type == "application/octet-stream":
        raise refused(path, "the kind of this file is not known: give it a filename or a data: URL with its type")
    return _inline(inline)


class _Audio(msgspec.Struct, frozen=True):
    data: str
    format: str = "wav"


def _audio(part: InputAudio, path: str) -> Raw:
    try:
        audio = msgspec.json.decode(part.input_audio, type=_Audio)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"Invalid value at '{path}.input_audio'.", param=f"{path}.input_audio") from error
    return _inline(InlineData(f"audio/{'mpeg' if audio.format == 'mp3' else audio.format}", audio.data))


def _at(url: str, guess: str) -> Raw:
    inline = split_data_url(url)
    if inline is not None:
        return _inline(inline)
    return raw({"fileData": {"mimeType": media_type_of(url) or guess, "fileUri": url}})


def _inline(inline: InlineData) -> Raw:
    return raw({"inlineData": {"mimeType": inline.media_type, "data": inline.base64}})


def _inline_of(part: ContentPart) -> InlineData | None:
    match part:
        case InputImage():
            return split_data_url(part.image_url or "")
        case InputFile():
            return file_data(part.file_data, part.filename or None) if part.file_data else None
        case _:
            return None
