"""Bytes that should be UTF-8, and may not be. Free for ASCII, which nearly all of it is.

JSON that is taken on as it stands (tool schemas, replayed blocks) is read by nobody before it is stored or sent on; one
wrong byte in it would spoil the whole document then.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import Final

_PIECE_BYTES: Final = 1 << 16
_decoder: Final = getincrementaldecoder("utf-8")


def as_utf8(data: bytes) -> bytes:
    """The bytes, with what is not UTF-8 in them replaced by U+FFFD. Source: WHATWG HTML, server-sent events."""
    return data if data.isascii() else data.decode("utf-8", "replace").encode()


def check_utf8(data: bytes) -> None:
    """Raises UnicodeDecodeError if it is not."""
    if data.isascii():
        return
    decoder = _decoder()
    for start in range(0, len(data), _PIECE_BYTES):  # whole, it would be four times as large for a moment
        decoder.decode(data[start : start + _PIECE_BYTES])
    decoder.decode(b"", final=True)
