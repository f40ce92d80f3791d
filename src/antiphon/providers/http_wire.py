"""HTTP/1.1 from the client's side, over connections that aiohttp's pool keeps: one `Wire` per connection.

aiohttp resolves, connects, speaks TLS, goes through proxies and pools. What goes over a connection is written and read
here, with httptools, the parser that the server's own side uses: a piece of an answer goes straight from the socket to
whoever pours it, with no queue between and no task woken (decision 0022). Must never look into a body.
"""

from __future__ import annotations

import asyncio
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import httptools

from antiphon.protocol.errors import ApiError, TruncatedStream, UpstreamFault

MAX_ANSWER_BYTES: Final = 128 << 20
"""Of one model turn; a run's log holds two to three times as much. Half a million tokens, each an event of its own."""
_MAX_HEADERS: Final = 256
_MAX_HEADER_BYTES: Final = 64 << 10
_COMPRESSED: Final = (b"gzip", b"x-gzip", b"deflate")
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS

Sink = Callable[[bytes], bool]
"""Takes the next bytes of a body, and says whether it wants more."""


class _Inflater(Protocol):
    """What `zlib.decompressobj` makes."""

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. `first_byte_s` and `idle_s` bound the wait for the next bytes, `total_s` the whole call."""

    connect_s: float = 10.0
    first_byte_s: float = 120.0
    idle_s: float = 120.0
    total_s: float = 1800.0


class Reply(ABC):
    """An answer whose body is still to be read. `headers` have lower-case names."""

    status: int

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]: ...

    @abstractmethod
    async def pour(self, sink: Sink) -> None:
        """Hand the body on as it comes, until it ends or `sink` has enough.

        Raises UpstreamFault (transport, timeout), and the ApiError or TruncatedStream that `sink` raises.
        """

    @abstractmethod
    def hang_up(self) -> None:
        """End the pouring where it stands."""

    async def read(self, limit_bytes: int) -> bytes:
        """The body's first `limit_bytes`."""
        body = bytearray()

        def take(data: bytes) -> bool:
            body.extend(data)
            return len(body) < limit_bytes

        await self.pour(take)
        return bytes(body[:limit_bytes])


class Wire(Reply, asyncio.Protocol):
    """One connection's reading side, for one call after another.

    `keeper` is the protocol the pool knows the connection by: it hears of the connection's end. One timer serves all
    waits of all calls: it is moved on only when it fires (a timer a wait costs more than the wait's own work).
    """

    def __init__(self, keeper: asyncio.BaseProtocol, transport: asyncio.Transport, deadlines: Deadlines) -> None:
        self.status = 0
        self._keeper = keeper
        self._transport = transport
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(  # a server of one's own may be sloppy
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._inflater: _Inflater | None = None
        self._error: Exception | None = None
        self._is_busy = False
        self._has_head = False
        self._is_whole = False
        self._has_enough = False
        self._is_reusable = False
        self._left_bytes = self._head_bytes = 0
        self._heard_at = self._ends_at = 0.0

    # -- one call

    def begin(self, head: bytes, body: bytes) -> None:
        """Send a request: its head up to the empty line, and its body."""
        self._headers.clear()
        self._pieces.clear()
        self._error = self._inflater = None
        self._is_busy = True
        self._has_head = self._is_whole = self._is_reusable = False
        self._left_bytes, self._head_bytes = MAX_ANSWER_BYTES, 0
        self._heard_at = self._loop.time()
        self._ends_at = self._heard_at + self._deadlines.total_s
        self._watch()
        if self._parser is None:
            self._fail(unreachable())
        else:
            self._transport.writelines((head, body) if body else (head,))  # asyncio's never ends with an empty piece

    async def answered(self) -> None:
        """Until the status and the headers are here. Raises UpstreamFault (transport, timeout)."""
        if not self._has_head:
            await self._wait()

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case names."""
        return {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in self._headers}

    async def pour(self, sink: Sink) -> None:
        """See Reply.pour."""
        self._sink = sink
        self._has_enough = False
        try:
            self._deliver()
            if not (self._is_whole or self._has_enough):
                await self._wait()
        finally:
            self._sink = None
        if self._error is not None:
            raise self._error

    def hang_up(self) -> None:
        """See Reply.hang_up."""
        self._has_enough = True
        self._wake()

    def end(self) -> bool:
        """The call is over; whether the connection can serve another."""
        self._is_busy = False
        self._sink = None
        return self._is_reusable and self._is_whole and self._error is None

    @property
    def is_whole(self) -> bool:
        """The answer has come to its end."""
        return self._is_whole

    async def _wait(self) -> None:
        if self._error is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._wake()

    # -- deadlines

    def _due(self) -> float:
        wait_s = self._deadlines.idle_s if self._has_head else self._deadlines.first_byte_s
        return min(self._heard_at + wait_s, self._ends_at)

    def _watch(self) -> None:
        """Look when the present wait is over, unless the timer looks sooner."""
        due = self._due()
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        """Whoever has waited too long hears of it; else look again when that would be so."""
        self._timer = None
        if not self._is_busy:
            return
        if self._loop.time() < self._due():
            self._watch()
        elif self._has_head:
            self._fail(fell_silent())
        else:
            self._fail(no_answer())

    # -- what the connection tells

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        if not self._is_busy or self._parser is None:
            self._transport.close()  # nobody asked for anything
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._is_reusable = False
            if not self._is_whole:
                self._fail(_broke() if self._has_head else unreachable())
        if self._has_head:  # before it, bytes that trickle in win no time
            self._heard_at = self._loop.time()
            if self._sink is not None:
                self._deliver()
            else:
                self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: an answer without a length ends so, any other is broken."""
        self._keeper.connection_lost(exc)
        self._parser = None  # it holds this object
        self._is_reusable = False
        if self._timer is not None:
            self._timer.cancel()
        if exc is not None and not isinstance(exc, OSError):
            self._fail(exc)  # ours: raised while its bytes were read, the last ones perhaps
        elif self._is_busy and not self._is_whole:
            if exc is None and self._has_head and not self._has_length():
                self._is_whole = True
                self._wake()
            else:
                self._fail(_broke() if self._has_head else unreachable())

    def _deliver(self) -> None:
        """What has come goes to the sink."""
        sink = self._sink
        if self._pieces and sink is not None and not self._has_enough:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._left_bytes -= len(data)
            try:
                if self._left_bytes < 0:
                    raise _too_long()
                self._has_enough = not sink(data if self._inflater is None else self._inflated(data))
            except (ApiError, TruncatedStream) as error:
                self._fail(error)
        if self._is_whole or self._has_enough:
            self._wake()

    def _inflated(self, data: bytes) -> bytes:
        assert self._inflater is not None, "asked for with an encoding only"
        try:
            plain = self._inflater.decompress(data, max(self._left_bytes, 1))
        except zlib.error as error:
            raise _broke() from error
        self._left_bytes -= len(plain) - len(data)
        if self._inflater.unconsumed_tail:
            raise _too_long()
        return plain

    def _has_length(self) -> bool:
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers)

    # -- what the parser tells

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._head_bytes += len(name) + len(value)
        if self._is_whole or len(self._headers) == _MAX_HEADERS or self._head_bytes > _MAX_HEADER_BYTES:
            raise ValueError("more headers than one answer has")
        if not self._has_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole; that of an interim answer (1xx) is forgotten."""
        assert self._parser is not None, "it calls"
        if self._is_whole:
            raise ValueError("a second answer to one request")
        status = self._parser.get_status_code()
        if status < 200:
            self._headers.clear()
            return
        self.status = status
        self._has_head = True
        self._is_reusable = self._parser.should_keep_alive()
        self._heard_at = self._loop.time()
        self._watch()
        for name, value in self._headers:
            if len(name) == 16 and name.lower() == b"content-encoding":
                self._decode(value.strip().lower())

    def _decode(self, encoding: bytes) -> None:
        if encoding in _COMPRESSED:
            self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif encoding not in (b"", b"identity"):
            self._fail(UpstreamFault("transport", "The model provider sent an encoding that it was not asked for."))

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._is_whole = self._has_head


def unreachable() -> UpstreamFault:
    """No answer began."""
    return UpstreamFault("transport", "The model provider could not be reached.")


def no_answer() -> UpstreamFault:
    """None in time."""
    return UpstreamFault("timeout", "The model provider did not answer in time.")


def fell_silent() -> UpstreamFault:
    """The answer stopped."""
    return UpstreamFault("timeout", "The model provider stopped sending in the middle of its answer.")


def _broke() -> UpstreamFault:
    return UpstreamFault("transport", "The connection to the model provider broke.")


def _too_long() -> UpstreamFault:
    return UpstreamFault("transport", f"The model provider sent more than {MAX_ANSWER_BYTES >> 20} MB.")
