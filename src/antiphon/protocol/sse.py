"""Server-sent events, both directions, without I/O.

`SseDecoder` takes bytes in any pieces and returns whole events; it follows the WHATWG grammar where providers use it
(LF, CRLF and CR ends, BOM, comments, `data:` with or without a space, several data lines) and ignores id and retry.
Source: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

from typing import Final

import msgspec

from .errors import UpstreamFault

DONE: Final = b"data: [DONE]\n\n"
HEARTBEAT: Final = b": keep-alive\n\n"
MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event: its `event:` name ("" if none) and its data lines joined by newlines."""

    name: str
    data: bytes


def frame(name: str, data: bytes) -> bytes:
    """One outgoing event; `data` is JSON and so has no raw newline."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def as_utf8(data: bytes) -> bytes:
    """The bytes, with what is not UTF-8 in them replaced by U+FFFD, as the grammar says; free for ASCII."""
    return data if data.isascii() else data.decode("utf-8", "replace").encode()


class SseDecoder:
    """Bytes to events. Raises UpstreamFault("transport") when one event grows past MAX_EVENT_BYTES."""

    def __init__(self) -> None:
        self._tail = b""
        self._name = b""
        self._lines: list[bytes] = []
        self._size_bytes = 0
        self._is_start = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that `chunk` completes."""
        events: list[SseEvent] = []
        for line in self._lines_of(self._tail + chunk if self._tail else chunk):
            if not line:
                if self._lines:
                    events.append(self._event())
                self._name = b""
            elif line[:5] == b"data:":  # a slice: this loop is the hottest of all, and a call costs more
                self._lines.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size_bytes += len(line)
            elif line[:6] == b"event:":
                self._name = line[6:].strip()
            elif line == b"data":
                self._lines.append(b"")
                self._size_bytes += len(line)
        return events

    def _lines_of(self, buffered: bytes) -> list[bytes]:
        """The whole lines of what has come; the rest waits in `_tail`."""
        if self._is_start:
            if len(buffered) < len(_BOM) and _BOM.startswith(buffered):
                self._tail = buffered
                return []
            buffered = buffered.removeprefix(_BOM)
            self._is_start = False
        # A CR at the very end may be the first half of CRLF: keep it for the next chunk.
        held = b""
        if b"\r" in buffered:
            if buffered.endswith(b"\r"):
                buffered, held = buffered[:-1], b"\r"
            buffered = buffered.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = buffered.split(b"\n")
        self._tail = lines.pop() + held
        if len(self._tail) + self._size_bytes > MAX_EVENT_BYTES:
            raise UpstreamFault("transport", f"an upstream event is larger than {MAX_EVENT_BYTES} bytes")
        return lines

    def _event(self) -> SseEvent:
        lines, self._lines = self._lines, []
        self._size_bytes = 0
        joined = lines[0] if len(lines) == 1 else b"\n".join(lines)
        name = self._name.decode("utf-8", "replace") if self._name else ""
        return SseEvent(name, joined if joined.isascii() else as_utf8(joined))

    def close(self) -> list[SseEvent]:
        """The bytes have ended: an event whose last blank line is missing is still delivered.

        The grammar discards it, but several servers end their stream right after `data: [DONE]`; a half-written JSON
        document cannot pass as a whole one, the dialect's own decoder refuses it.
        """
        return self.feed(b"\n\n") if self._tail or self._lines else []
