"""AWS event streams, without I/O: binary frames to their headers and payload, both checksums held.

    u32 total length | u32 headers length | u32 CRC of these | headers | payload | u32 CRC of all before

Headers that matter are text (type 7); others are skipped by their length. Source: AWS "Event stream encoding".
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from antiphon.protocol.errors import UpstreamFault

MAX_FRAME_BYTES: Final = 24 * 1024 * 1024
_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_U16: Final = struct.Struct(">H")
_LEAST: Final = _PRELUDE.size + _CRC.size
_TEXT: Final = 7
_BYTES: Final = 6
_FIXED: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type: booleans, numbers, a timestamp, a UUID."""


class Frame(msgspec.Struct, frozen=True):
    """One frame; `headers` has those of type text."""

    headers: dict[str, str]
    payload: bytes


class FrameDecoder:
    """Bytes in any pieces to frames. Raises UpstreamFault("transport") for bytes that are no event stream."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_partial(self) -> bool:
        """Whether a frame has begun and not ended: then the stream was cut."""
        return bool(self._buffer)

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes."""
        self._buffer += chunk
        frames: list[Frame] = []
        start = 0
        while len(self._buffer) - start >= _PRELUDE.size:
            total, headers, crc = _PRELUDE.unpack_from(self._buffer, start)
            if zlib.crc32(self._buffer[start : start + 8]) != crc or not _LEAST + headers <= total <= MAX_FRAME_BYTES:
                raise _broken()
            if len(self._buffer) - start < total:
                break
            whole = bytes(self._buffer[start : start + total])
            if zlib.crc32(whole[: -_CRC.size]) != _CRC.unpack_from(whole, total - _CRC.size)[0]:
                raise _broken()
            body = _PRELUDE.size + headers
            frames.append(Frame(_headers(whole[_PRELUDE.size : body]), whole[body : -_CRC.size]))
            start += total
        del self._buffer[:start]
        return frames


def _headers(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    try:
        while place < len(block):
            name_end = place + 1 + block[place]
            name, kind = block[place + 1 : name_end].decode(), block[name_end]
            place = name_end + 1
            if kind in (_TEXT, _BYTES):
                (length,) = _U16.unpack_from(block, place)
                value = block[place + 2 : place + 2 + length]
                place += 2 + length
                if kind == _TEXT:
                    found[name] = value.decode()
            else:
                place += _FIXED[kind]
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise _broken() from error
    return found


def _broken() -> UpstreamFault:
    return UpstreamFault("transport", "The model provider sent bytes that are not an event stream.")
