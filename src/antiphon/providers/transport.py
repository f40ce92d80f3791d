"""The only module that does upstream I/O: send an HttpRequest, yield the answer's bytes, under four deadlines.

Leaving `send` early closes the connection, so a client that leaves stops the model. `sim:` URLs are answered by the
simulator inside this process through the same interface. Must never look into a body.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from antiphon.protocol.errors import UpstreamFault

from .base import HttpRequest
from .credentials import Credentials
from .simulator_upstream import LocalReply, SimulatorUpstream

MAX_ANSWER_BYTES: Final = 128 << 20
"""Of one model turn; a run's log holds two to three times as much. Half a million tokens, each an event of its own."""
_DRAIN_S: Final = 0.25
_KEEP_ALIVE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. `first_byte_s` and `idle_s` bound the wait for the next bytes, `total_s` the whole call."""

    connect_s: float = 10.0
    first_byte_s: float = 120.0
    idle_s: float = 120.0
    total_s: float = 1800.0


class Transport:
    """A pool of upstream connections. Use as an async context manager."""

    def __init__(
        self,
        deadlines: Deadlines,
        simulator: SimulatorUpstream | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._deadlines = deadlines
        self._simulator = simulator
        self._credentials = credentials or Credentials()
        self._proxies = _Proxies()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Transport:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=30)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=1 << 18,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._deadlines.connect_s),
            skip_auto_headers=("User-Agent",),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpReply | SimulatedReply]:
        """Open the call; the block owns the connection. Entering raises UpstreamFault (transport, timeout)."""
        if request.url.startswith("sim:"):
            return _LocalCall(self._simulator, request, self._deadlines)
        assert self._session is not None, "Transport is used inside its own `async with`"
        return _Call(self._session, request, self._deadlines, self._credentials, self._proxies.of(request.url))

    async def fetch(self, request: HttpRequest, limit_bytes: int = 8 * 1024 * 1024) -> tuple[int, bytes]:
        """A whole small answer: status and at most `limit_bytes` of body."""
        async with self.send(request) as reply:
            return reply.status, await reply.read(limit_bytes)


class _Proxies:
    """The proxy that the environment names for each address, found out once.

    aiohttp's own `trust_env` asks the environment and a netrc file anew for every call, in threads.
    """

    def __init__(self) -> None:
        self._by_scheme = getproxies()
        self._known: dict[tuple[str, str], str | None] = {}

    def of(self, url: str) -> str | None:
        if not self._by_scheme:
            return None
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        if key not in self._known:
            proxy = self._by_scheme.get(parts.scheme) or self._by_scheme.get("all")
            self._known[key] = None if proxy is None or proxy_bypass(parts.hostname or "") else proxy
        return self._known[key]


class _Call:
    """One HTTP call as a context manager."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        request: HttpRequest,
        deadlines: Deadlines,
        credentials: Credentials,
        proxy: str | None,
    ) -> None:
        self._proxy = proxy
        self._session = session
        self._request: HttpRequest | None = request
        self._deadlines = deadlines
        self._credentials = credentials
        self._response: aiohttp.ClientResponse | None = None
        self._reply: HttpReply | None = None

    async def __aenter__(self) -> HttpReply:
        request, deadlines = self._request, self._deadlines
        self._request = None  # its body may be large, and it is sent once
        assert request is not None, "a call is made once"
        loop_time = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(deadlines.first_byte_s):
                headers = request.headers
                if request.credential is not None:
                    headers = await self._credentials.headers(request)
                self._response = await self._session.request(
                    request.method,
                    _as_written(request.url),
                    data=request.body or None,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxy,
                )
        except TimeoutError as error:
            raise _no_answer() from error
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            raise UpstreamFault("transport", "The model provider could not be reached.") from error
        if request.credential is not None and self._response.status in (401, 403):
            self._credentials.forget(request.credential)
        self._reply = HttpReply(self._response, deadlines, loop_time + deadlines.total_s)
        return self._reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        response = self._response
        if self._reply is not None:
            self._reply.leave()
        if response is None:
            return
        if kind is None and not response.content.at_eof():
            await _drain(response)
        response.close() if not response.content.at_eof() else response.release()


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Give the last chunk a moment to arrive, so that the connection can be used again."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            while await response.content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError):
        return


class _Reply(ABC):
    """An answer whose body is still to be read, under the deadlines: the same for HTTP and for the simulator."""

    def __init__(self, status: int, deadlines: Deadlines, ends_at: float) -> None:
        self.status = status
        self._idle_s = deadlines.idle_s
        self._ends_at = ends_at

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """By lower-case names."""

    @abstractmethod
    async def _next(self) -> bytes:
        """The next bytes, b"" at the end; raises UpstreamFault (transport, timeout)."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, in the pieces it came in; raises UpstreamFault (transport, timeout)."""
        left_bytes = MAX_ANSWER_BYTES
        while chunk := await self._next():
            left_bytes -= len(chunk)
            if left_bytes < 0:
                raise UpstreamFault("transport", f"The model provider sent more than {MAX_ANSWER_BYTES >> 20} MB.")
            yield chunk

    async def read(self, limit_bytes: int) -> bytes:
        """The body's first `limit_bytes`."""
        pieces: list[bytes] = []
        size_bytes = 0
        while size_bytes < limit_bytes and (chunk := await self._next()):
            pieces.append(chunk)
            size_bytes += len(chunk)
        return b"".join(pieces)[:limit_bytes]


class HttpReply(_Reply):
    """An HTTP answer. One timer serves all of its waits: it is moved on only when it fires (a timer a wait costs more
    than the wait's own work)."""

    def __init__(self, response: aiohttp.ClientResponse, deadlines: Deadlines, ends_at: float) -> None:
        super().__init__(response.status, deadlines, ends_at)
        self._headers = response.headers
        self._content = response.content
        self._loop = asyncio.get_running_loop()
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        return {name.lower(): value for name, value in self._headers.items()}

    async def _next(self) -> bytes:
        try:
            if chunk := self._content.read_nowait():
                return chunk
            self._due = min(self._loop.time() + self._idle_s, self._ends_at)
            if self._timer is None:
                self._timer = self._loop.call_at(self._due, self._look)
            return await self._content.readany()
        except TimeoutError as error:
            raise _fell_silent() from error
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise _broke() from error
        finally:
            self._due = None

    def _look(self) -> None:
        """Whoever has waited too long hears of it; else look again when that would be so."""
        self._timer = None
        if self._due is None:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look)
        else:
            self._content.set_exception(TimeoutError())

    def leave(self) -> None:
        """The call is over."""
        if self._timer is not None:
            self._timer.cancel()


class SimulatedReply(_Reply):
    """The simulator's answer."""

    def __init__(self, reply: LocalReply, deadlines: Deadlines, ends_at: float) -> None:
        super().__init__(reply.status, deadlines, ends_at)
        self._headers = reply.headers
        self._body = aiter(reply.chunks)

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    async def _next(self) -> bytes:
        deadline = min(asyncio.get_running_loop().time() + self._idle_s, self._ends_at)
        try:
            async with asyncio.timeout_at(deadline):
                return await anext(self._body, b"")
        except TimeoutError as error:
            raise _fell_silent() from error


class _LocalCall:
    """A call that the simulator answers."""

    def __init__(self, simulator: SimulatorUpstream | None, request: HttpRequest, deadlines: Deadlines) -> None:
        self._simulator = simulator
        self._request = request
        self._deadlines = deadlines

    async def __aenter__(self) -> SimulatedReply:
        if self._simulator is None:
            raise UpstreamFault("not_found", "The simulator is switched off on this server.")
        began_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._deadlines.first_byte_s):
                reply = await self._simulator.answer(self._request)
        except TimeoutError as error:
            raise _no_answer() from error
        return SimulatedReply(reply, self._deadlines, began_at + self._deadlines.total_s)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


@lru_cache(maxsize=1024)
def _as_written(url: str) -> URL:
    """The URL byte for byte: a model's name may hold escapes, and a signature covers the path as it stands.

    Kept, for it keeps its own parts once they were asked for.
    """
    return URL(url, encoded=True)


def _fell_silent() -> UpstreamFault:
    return UpstreamFault("timeout", "The model provider stopped sending in the middle of its answer.")


def _broke() -> UpstreamFault:
    return UpstreamFault("transport", "The connection to the model provider broke.")


def _no_answer() -> UpstreamFault:
    return UpstreamFault("timeout", "The model provider did not answer in time.")
