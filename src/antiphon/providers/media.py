"""Inline media: `data:` URLs taken apart and put together, and what counts as text.

Dialects spell inline bytes differently (one URL, a media type beside base64, a text part); this module knows the one
form that clients send. It never fetches anything.
Source: RFC 2397; OpenAI "Images and vision", "File inputs".
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

_TEXT_TYPES: Final = frozenset(
    {
        "application/json",
        "application/javascript",
        "application/sql",
        "application/toml",
        "application/x-sh",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
    }
)
_UNKNOWN: Final = "application/octet-stream"


class InlineData(NamedTuple):
    """Bytes in base64 and their media type, lower case and without parameters."""

    media_type: str
    base64: str

    @property
    def url(self) -> str:
        return f"data:{self.media_type};base64,{self.base64}"


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def split_data_url(url: str) -> InlineData | None:
    """The parts of a `data:` URL; percent-encoded data becomes base64. None for any other URL, or a broken one."""
    head, comma, payload = url.partition(",")
    if not comma or not is_data_url(head):
        return None
    media_type, *parameters = head[5:].split(";")
    if not any(parameter.strip().lower() == "base64" for parameter in parameters):
        payload = base64.b64encode(unquote_to_bytes(payload)).decode()
    return InlineData(media_type.strip().lower() or "text/plain", payload.strip())


def file_data(data: str, filename: str | None) -> InlineData:
    """`input_file.file_data`, a data: URL or bare base64; the media type of the latter is told by the file's name."""
    inline = split_data_url(data)
    if inline is not None and inline.media_type != _UNKNOWN:
        return inline
    guessed = mimetypes.guess_type(filename)[0] if filename else None
    return InlineData(guessed or _UNKNOWN, inline.base64 if inline else data)


def text_of(inline: InlineData) -> str | None:
    """The text of inline data that is text; None for binary formats and for bytes that are not UTF-8."""
    if not inline.media_type.startswith("text/") and inline.media_type not in _TEXT_TYPES:
        return None
    try:
        return base64.b64decode(inline.base64, validate=False).decode("utf-8-sig")
    except (binascii.Error, UnicodeDecodeError):
        return None


def media_type_of(url: str) -> str | None:
    """The media type that a URL's path tells by its ending, or None."""
    return mimetypes.guess_type(url.partition("?")[0].partition("#")[0])[0]
