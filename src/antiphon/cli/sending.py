"""What an answer is sent by: uvicorn's `send`, with its two commonest steps made without a coroutine.

The head is written in one piece and looked through once; uvicorn looks through each of its lines twice. A piece of a
stream is handed to the connection by a plain call. All else is left to uvicorn: whatever has to wait, the end of an
answer, and what it would refuse.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from antiphon.server.asgi import SENT, Message, Receive, Scope, Send

_CONTROLS: Final = bytes(set(range(0x20)) - set(b"\t")) + b"\x7f"
"""What no header's value holds; the end of each line is two of them (RFC 9110, 5.5)."""
_CR: Final = ord("\r")
_BODILESS: Final = frozenset({204, 304})
_line: Final = b"%b: %b\r\n".__mod__


class Sending:
    """An application as it answers one request."""

    __slots__ = ("_app", "_cycle", "_is_chunked")

    def __init__(self, app: Any, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._is_chunked = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """The application's answer, as ASGI has it: `send` is what uvicorn sends by."""
        return self._app(scope, receive, self.send)

    def send(self, message: Message) -> Awaitable[None]:
        """Send one message, to be awaited. Raises what uvicorn raises."""
        cycle = self._cycle
        if not (cycle.flow.write_paused or cycle.disconnected or cycle.response_complete):
            if not cycle.response_started:
                if head := self._head(message):
                    cycle.transport.write(head)
                    return SENT
            elif self._is_chunked and message.get("more_body") and (piece := message.get("body")):
                cycle.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                return SENT
        return cycle.send(message)  # pyright: ignore[reportArgumentType] -- uvicorn has a type for each message

    def _head(self, message: Message) -> bytes:
        """The answer's head, and it is begun; none where uvicorn is to decide."""
        cycle = self._cycle
        status = message.get("status")
        if status is None or status in _BODILESS or cycle.scope["method"] == "HEAD":
            return b""
        headers = (*cycle.default_headers, *message.get("headers", ()))
        head = STATUS_LINE[status] + b"".join(map(_line, headers))
        is_sound = len(head) - len(head.translate(None, _CONTROLS)) == 2 * len(headers) + 2
        if not is_sound or head.find(b"\r\nconnection: ") >= 0 or head.find(b"\r\ntransfer-encoding: ") >= 0:
            return b""
        _, found, rest = head.partition(b"\r\ncontent-length: ")
        cycle.expected_content_length = int(rest[: rest.index(_CR)]) if found else 0
        cycle.chunked_encoding = self._is_chunked = not found
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        framing = b"transfer-encoding: chunked\r\n" if self._is_chunked else b""
        return b"%b%b%b\r\n" % (head, b"" if cycle.keep_alive else b"connection: close\r\n", framing)
