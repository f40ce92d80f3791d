"""Server-sent events, both directions, without I/O.

`SseDecoder` takes bytes in any pieces and returns whole events; it follows the WHATWG grammar where providers use it
(LF, CRLF and CR ends, BOM, comments, `data:` with or without a space, several data lines) and ignores id and retry.
Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from .errors import UpstreamFault
from .utf8 import as_utf8

DONE: Final = b"data: [DONE]\n\n"
HEARTBEAT: Final = b": keep-alive\n\n"
MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_NAMED: Final = re.compile(rb"event: ([^\n]*)\ndata: ([^\n]*)\n\n")
_NAMED_BYTES: Final = len(b"event: \ndata: \n\n")
# Asked for a piece of bytes, `in` first tries it as a number: that raises, and costs more than to look for it.
_CR: Final = ord("\r")
_LF: Final = ord("\n")


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event: its data lines joined by newlines, and its `event:` name, "" if none."""

    data: bytes
    name: str = ""


def frame(name: str, data: bytes) -> bytes:
    """One outgoing event; `data` is JSON and so has no raw newline."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


class SseDecoder:
    """Bytes to events. Raises UpstreamFault("transport") when one event grows past MAX_EVENT_BYTES."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size_bytes = 0
        self._half_end: bytes = b""
        self._is_start = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that `chunk` completes."""
        return events_in(self.blocks(chunk))

    def blocks(self, chunk: bytes) -> bytes:
        """The blocks that `chunk` completes, each with its blank line: UTF-8, every line ended by LF."""
        if self._is_start or self._half_end or _CR in chunk:
            chunk = self._plain(chunk)
        held = self._held
        end = chunk.rfind(b"\n\n") + 2
        if end < 2 and not (held and held[-1][-1:] == chunk[:1] == b"\n"):
            if chunk:
                self._hold(chunk)
            return b""
        if held:
            chunk = b"".join((*held, chunk))
            self._held, self._size_bytes = [], 0
            end = chunk.rfind(b"\n\n") + 2
        if end < len(chunk):
            self._hold(chunk[end:])
            chunk = chunk[:end]
        return as_utf8(chunk)

    def _hold(self, rest: bytes) -> None:
        """The beginning of an event whose end has not come."""
        self._held.append(rest)
        self._size_bytes += len(rest)
        if self._size_bytes > MAX_EVENT_BYTES:
            raise UpstreamFault("transport", f"an upstream event is larger than {MAX_EVENT_BYTES} bytes")

    def _plain(self, chunk: bytes) -> bytes:
        """The bytes without a mark at their beginning, and with LF for every end of a line."""
        chunk = self._half_end + chunk
        self._half_end = b""
        if self._is_start:
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._half_end = chunk
                return b""
            chunk = chunk.removeprefix(_BOM)
            self._is_start = False
        if chunk.endswith(b"\r"):  # perhaps the first half of CRLF: it waits for the next chunk
            chunk, self._half_end = chunk[:-1], b"\r"
        # To look for CRLF where there is none takes ten times as long as to look for CR.
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if _CR in chunk else chunk

    def close(self) -> list[SseEvent]:
        """The bytes have ended: an event whose last blank line is missing is still delivered.

        The grammar discards it, but several servers end their stream right after `data: [DONE]`; a half-written JSON
        document cannot pass as a whole one, the dialect's own decoder refuses it.
        """
        return self.feed(b"\n\n") if self._held or self._half_end else []


def events_in(blocks: bytes) -> list[SseEvent]:
    """The events of whole blocks; the last blank line may be missing."""
    blocks = blocks.removesuffix(b"\n\n")
    if blocks[:6] == b"data: ":
        bodies = blocks[6:].split(b"\n\ndata: ")
        if blocks.count(b"\n") == 2 * len(bodies) - 2:  # nothing but data, a line each, as most streams are
            return [*map(SseEvent, bodies)]
    each = blocks.split(b"\n\n")
    if len(each) == 1:
        return _events_of(blocks)
    named = _named_in(blocks) if blocks[:7] == b"event: " else None
    return [event for block in each for event in _events_of(block)] if named is None else named


def _named_in(blocks: bytes) -> list[SseEvent] | None:
    """The events of blocks that are a name and a line of data each, as those of most streams with names are."""
    blocks += b"\n\n"
    found = _NAMED.findall(blocks)
    if sum([len(name) + len(data) for name, data in found]) + _NAMED_BYTES * len(found) != len(blocks):
        return None
    return [SseEvent(data, _name_of(name)) for name, data in found]


@lru_cache(maxsize=256)
def _name_of(written: bytes) -> str:
    return written.strip().decode()


def _events_of(block: bytes) -> list[SseEvent]:
    """The event that these lines are; none where they hold no data."""
    name, is_named, data = block.partition(b"\ndata: ")
    if is_named and name[:7] == b"event: " and _LF not in name and _LF not in data:  # as most are that have names
        return [SseEvent(data, _name_of(name[7:]))]
    name = b""
    lines: list[bytes] = []
    for line in block.split(b"\n"):
        if line[:5] == b"data:":
            lines.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line[:6] == b"event:":
            name = line[6:].strip()
        elif line == b"data":
            lines.append(b"")
    return [SseEvent(b"\n".join(lines), _name_of(name))] if lines else []
