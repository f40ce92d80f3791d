"""The ASGI vocabulary this edge uses, and the few ways a request is read and an answer is sent.

Source: ASGI HTTP specification 2.4.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from antiphon import __version__
from antiphon.protocol.errors import ApiError, InvalidRequest, TooLarge
from antiphon.protocol.ids import new_id
from antiphon.runs.intake import Intake

# The ASGI specification types scope and messages as dicts of anything.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[str, str]]


class _Sent:
    """What there is to await of a message that is sent."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


SENT: Final = _Sent()
"""What a `send` may return that need not wait: then it can be known without a step of a coroutine."""
OPENAI_VERSION: Final = "2020-10-01"
_SAID_ALWAYS: Final = (
    (b"server", f"antiphon/{__version__}".encode()),
    (b"openai-version", OPENAI_VERSION.encode()),
)
_MAX_REQUEST_ID: Final = 128
_LARGE_BYTES: Final = 64 << 10


class Exchange:
    """One HTTP request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, intake: Intake) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        """As they came; names in lower case."""
        self.receive = receive
        self.request_id = new_id("req")
        self.status = 0
        self.is_gone = False
        self.before_answer: Callable[[int, bytes], Awaitable[None]] | None = None
        """Told of a whole answer before it is sent."""
        self._body: bytes | None = None
        self._intake = intake
        self._held_bytes = 0
        self._query: bytes = scope["query_string"]
        self._send = send
        self._started_at = time.perf_counter()

    @staticmethod
    def now() -> int:
        """Unix seconds, for what a client sees of time."""
        return int(time.time())

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(self._query.decode("latin-1"), keep_blank_values=True)

    @property
    def elapsed_ms(self) -> int:
        return round((time.perf_counter() - self._started_at) * 1000)

    @property
    def client_request_id(self) -> str | None:
        """The caller's own X-Client-Request-Id, for the log."""
        given = self.headers.get(b"x-client-request-id")
        return given[:_MAX_REQUEST_ID].decode("latin-1") if given else None

    async def body(self, limit_bytes: int) -> bytes:
        """The whole body, also a second time.

        Raises TooLarge past `limit_bytes`, Overloaded if this process has no room for it, InvalidRequest for an encoded
        one.
        """
        if self._body is None:
            self._body = await self._read_body(limit_bytes)
        return self._body

    def forget_body(self) -> None:
        """It was read for the last time."""
        self._body = None

    def hold(self, size_bytes: int) -> None:
        """Hold so many bytes beside the body until the request is over. Raises Overloaded."""
        self._intake.take(size_bytes)
        self._held_bytes += size_bytes

    def end(self) -> None:
        """The request is over: there is room for another body."""
        self._intake.give_back(self._held_bytes)
        self._held_bytes = 0

    async def _read_body(self, limit_bytes: int) -> bytes:
        self._check_encoding()
        announced = self.headers.get(b"content-length", b"")
        refusal = self._refusal(int(announced), limit_bytes) if announced.isdigit() else None
        if refusal is not None:
            if b"expect" not in self.headers:  # else the client waits to be told before it sends any of it
                await self._discard(2 * limit_bytes)
            raise refusal
        pieces: list[bytes] = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self.is_gone = True
                return b""
            piece: bytes = message.get("body", b"")
            refusal = self._refusal(len(piece), limit_bytes)
            if refusal is not None:
                if message.get("more_body", False):
                    await self._discard(2 * limit_bytes - self._held_bytes - len(piece))
                raise refusal
            self._intake.hold(len(piece))
            self._held_bytes += len(piece)
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _refusal(self, more_bytes: int, limit_bytes: int) -> ApiError | None:
        """Why so many bytes more are not taken."""
        if self._held_bytes + more_bytes > limit_bytes:
            return _too_large(limit_bytes)
        return self._intake.refusal(more_bytes)

    async def _discard(self, limit_bytes: int) -> None:
        """Read about `limit_bytes` more and drop them.

        A client that is still sending when the connection closes gets a reset, and never reads why (RFC 9112, 9.6).
        """
        left_bytes = limit_bytes
        while left_bytes > 0:
            message = await self.receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return
            left_bytes -= len(message.get("body", b""))

    def _check_encoding(self) -> None:
        given = self.headers.get(b"content-encoding")
        if given is None:
            return
        encoding = given.decode("latin-1").strip().lower()
        if encoding not in ("", "identity"):
            raise InvalidRequest(
                f"Content-Encoding {encoding!r} is not supported: send the JSON body uncompressed.",
                code="unsupported_content_encoding",
            )

    async def start(self, status: int, content_type: str, extra: Headers = (), length: int | None = None) -> None:
        """Send the status and headers."""
        self.status = status
        headers = [
            (b"content-type", content_type.encode()),
            *_SAID_ALWAYS,
            (b"x-request-id", self.request_id.encode()),
            (b"openai-processing-ms", b"%d" % self.elapsed_ms),
        ]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in extra]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, body: bytes, *, is_last: bool = False) -> Awaitable[None]:
        """Send a piece of the body; to be awaited."""
        return self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def answer(
        self, status: int, body: bytes, extra: Headers = (), content_type: str = "application/json"
    ) -> None:
        """Send a whole answer. Raises Overloaded where nothing is lost by it: for a large one that can be had again."""
        if self.method == "GET" and len(body) > _LARGE_BYTES:
            self.hold(len(body))  # until the connection has taken it, and counts what its client leaves unread
        if self.before_answer is not None:
            await self.before_answer(status, body)
        await self.start(status, content_type, extra, len(body))
        await self.write(body, is_last=True)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(
        f"The request body is larger than {limit_bytes // (1024 * 1024)} MB. "
        "Send large files by URL, or split the request."
    )
