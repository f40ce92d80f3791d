"""The only module that does upstream I/O: send an HttpRequest, yield the answer's bytes, under four deadlines.

Leaving `send` early closes the connection, so a client that leaves stops the model. `sim:` URLs are answered by the
simulator inside this process through the same interface. Must never look into a body.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from antiphon.protocol.errors import UpstreamFault, without_frames

from .base import HttpRequest
from .credentials import Credentials, Headers
from .http_wire import Deadlines, Reply, Sink, Wire, fell_silent, no_answer, unreachable
from .simulator_upstream import LocalReply, SimulatorUpstream

_DRAIN_S: Final = 0.25
_KEEP_ALIVE_S: Final = 60.0
_MAX_ADDRESSES: Final = 1024
_OWN_HEADERS: Final = ("Host", "Accept", "Authorization", "Proxy-Authorization")


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
        self._pool: _Pool | None = None

    async def __aenter__(self) -> Transport:
        self._pool = _Pool(self._deadlines)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            await self._pool.close()

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[Reply]:
        """Open the call; the block owns the connection. Entering raises UpstreamFault (transport, timeout)."""
        if request.url.startswith("sim:"):
            return _LocalCall(self._simulator, request, self._deadlines)
        assert self._pool is not None, "Transport is used inside its own `async with`"
        return _Call(self._pool, request, self._credentials)

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


class _Opening(aiohttp.ClientRequest):
    """What aiohttp's pool knows an address by: its key is worked out once."""

    @cached_property
    def connection_key(self) -> ConnectionKey:  # pyright: ignore[reportIncompatibleMethodOverride] - a property too
        return super().connection_key


class _Address:
    """Where the requests for one URL go: worked out once, byte for byte as the URL is written.

    A model's name may hold escapes, and a signature covers the path as it stands. `opening` is what aiohttp's pool
    knows the address by; it is never sent.
    """

    def __init__(self, method: str, url: str, proxy: str | None) -> None:
        self.opening = _Opening(
            method,
            URL(url, encoded=True),
            loop=asyncio.get_running_loop(),
            proxy=None if proxy is None else URL(proxy),
        )
        parts = self.opening.url
        is_relayed = proxy is not None and parts.scheme == "http"
        self._has_body = method != "GET"
        self._line = f"{method} {parts if is_relayed else parts.raw_path_qs} HTTP/1.1\r\n"
        self._headers: Headers | None = None
        self._start = ""

    def head(self, headers: Headers, body: bytes) -> bytes:
        """The head of a request, to its empty line. Raises ValueError where a header would be more than one."""
        if headers is not self._headers:  # the same ones come with every call to a vendor
            self._start = self._line + self._block(headers)
            self._headers = headers
        length = f"content-length: {len(body)}\r\n" if body or self._has_body else ""
        return f"{self._start}{length}\r\n".encode()

    def _block(self, headers: Headers) -> str:
        given = {name.lower() for name, _ in headers}
        own = self.opening.headers  # of the URL and of the proxy's, as they are known once the connection stands
        lines = [f"{name}: {own[name]}\r\n" for name in _OWN_HEADERS if name in own and name.lower() not in given]
        lines += [f"{name}: {value}\r\n" for name, value in headers]
        block = "".join(lines)
        if block.count("\n") != len(lines) or block.count("\r") != len(lines) or "\0" in block:
            raise ValueError("a header with a line break")
        return block


class _Pool:
    """Connections that wait to be used again, by where they go."""

    def __init__(self, deadlines: Deadlines) -> None:
        self.deadlines = deadlines
        self._connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=30)
        self._timeout = aiohttp.ClientTimeout(connect=deadlines.first_byte_s, sock_connect=deadlines.connect_s)
        self._proxies = _Proxies()
        self._addresses: OrderedDict[tuple[str, str], _Address] = OrderedDict()

    def address(self, request: HttpRequest) -> _Address:
        """Where a request goes. Raises ValueError for a URL that is none."""
        key = (request.method, request.url)
        known = self._addresses.get(key)
        if known is None:
            known = self._addresses[key] = _Address(*key, self._proxies.of(request.url))
            if len(self._addresses) > _MAX_ADDRESSES:
                self._addresses.popitem(last=False)
        return known

    async def connect(self, address: _Address) -> aiohttp.connector.Connection:
        """A connection, used before or new."""
        return await self._connector.connect(address.opening, [], self._timeout)

    def wire(self, connection: aiohttp.connector.Connection) -> Wire:
        """What reads a connection: from its first call on, for as long as it stands."""
        transport, keeper = connection.transport, connection.protocol
        if transport is None or keeper is None:
            raise ConnectionResetError("lost while it was taken")
        known = transport.get_protocol()
        if isinstance(known, Wire):
            return known
        wire = Wire(keeper, transport, self.deadlines)
        transport.set_protocol(wire)
        return wire

    async def close(self) -> None:
        """Close every connection."""
        await self._connector.close()


class _Call:
    """One HTTP call as a context manager."""

    def __init__(self, pool: _Pool, request: HttpRequest, credentials: Credentials) -> None:
        self._pool = pool
        self._request: HttpRequest | None = request
        self._credentials = credentials
        self._connection: aiohttp.connector.Connection | None = None
        self._wire: Wire | None = None

    async def __aenter__(self) -> Wire:
        request = self._request
        self._request = None  # its body may be large, and it is sent once
        assert request is not None, "a call is made once"
        is_open = False
        try:
            headers = request.headers
            if request.credential is not None:
                async with asyncio.timeout(self._pool.deadlines.first_byte_s):
                    headers = await self._credentials.headers(request)
            address = self._pool.address(request)
            self._connection = await self._pool.connect(address)
            wire = self._wire = self._pool.wire(self._connection)
            wire.begin(address.head(headers, request.body), request.body)
            await wire.answered()
            is_open = True
        except TimeoutError as error:
            raise no_answer() from without_frames(error)
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            raise unreachable() from without_frames(error)
        finally:
            if not is_open:
                self._leave()
        if request.credential is not None and wire.status in (401, 403):
            self._credentials.forget(request.credential)
        return wire

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._wire is not None and not self._wire.is_whole:
            await _drain(self._wire)
        self._leave()

    def _leave(self) -> None:
        """The connection goes back to the pool if its answer was read to the end, and is closed if not."""
        is_reusable = self._wire is not None and self._wire.end()
        if self._connection is not None:
            self._connection.release() if is_reusable else self._connection.close()


async def _drain(wire: Wire) -> None:
    """Give the last chunk a moment to arrive, so that the connection can be used again."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            await wire.pour(lambda data: True)
    except (TimeoutError, UpstreamFault):
        return


class SimulatedReply(Reply):
    """The simulator's answer."""

    def __init__(self, reply: LocalReply, deadlines: Deadlines, ends_at: float) -> None:
        self.status = reply.status
        self._headers = reply.headers
        self._body = aiter(reply.chunks)
        self._idle_s = deadlines.idle_s
        self._ends_at = ends_at
        self._pouring: asyncio.Timeout | None = None
        self._has_enough = False

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    async def pour(self, sink: Sink) -> None:
        """See Reply.pour."""
        loop = asyncio.get_running_loop()
        self._has_enough = False
        try:
            async with asyncio.timeout(None) as self._pouring:
                while not self._has_enough:
                    self._pouring.reschedule(min(loop.time() + self._idle_s, self._ends_at))
                    chunk = await anext(self._body, b"")
                    if not chunk or not sink(chunk):
                        return
        except TimeoutError as error:
            if not self._has_enough:
                raise fell_silent() from error
        finally:
            self._pouring = None

    def hang_up(self) -> None:
        """See Reply.hang_up."""
        self._has_enough = True
        if self._pouring is not None:
            self._pouring.reschedule(asyncio.get_running_loop().time())


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
            raise no_answer() from error
        return SimulatedReply(reply, self._deadlines, began_at + self._deadlines.total_s)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
