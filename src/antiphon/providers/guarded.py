"""HTTP to addresses that came in requests (webhooks, media): only public ones, and the very one that was checked.

A name is resolved here, its private addresses are taken out, and the connection goes to what is left: a name that
changes between check and connect gains nothing. Posts follow no redirect, gets check every step like the first. Proxies
are not used. The operator's own vendors do not come this way. Must never log a body or a header.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from antiphon.protocol.errors import InvalidRequest, without_frames

_MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_GET_HEADERS: Final = {"user-agent": "antiphon", "accept": "*/*"}
_EMBEDDING: Final = tuple(
    ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)
"""IPv6 ranges that carry an IPv4 address inside: whatever it is, nobody publishes a receiver there."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one request: the status, or what went wrong in one word of ours."""

    status: int | None
    error: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body that was fetched, with the media type its sender gave it."""

    media_type: str
    body: bytes


class FetchError(Exception):
    """Something could not be fetched; the text says why, for a client's eyes."""


class _NotPublicError(OSError):
    """Every address of a name is private."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _EMBEDDING):
            return False
    return ip.is_global and not ip.is_multicast


def check_url(url: str, param: str, *, allow_private: bool, allow_http: bool = False) -> None:
    """Raises InvalidRequest for a URL that cannot be a public one; a name is looked up only when it is called."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    schemes = ("https", "http") if allow_private or allow_http else ("https",)
    if parts.scheme not in schemes or not host or parts.username is not None or not url.isprintable() or " " in url:
        raise InvalidRequest(
            f"Invalid '{param}': must be an {' or '.join(schemes)} URL without credentials.",
            param=param,
            code="invalid_value",
        )
    if not allow_private and (_is_private_literal(host) or host.lower().rstrip(".").endswith("localhost")):
        raise InvalidRequest(
            f"Invalid '{param}': private addresses are refused by this server. Its operator can allow them with "
            f"[{'media' if allow_http else 'webhooks'}] allow_private.",
            param=param,
            code="invalid_value",
        )


def _is_private_literal(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        pass
    try:
        # Hexadecimal, octal and shortened spellings of IPv4, which a resolver would take.
        return not is_public(socket.inet_ntoa(socket.inet_aton(host)))
    except OSError:
        return False


class _Resolver(AbstractResolver):
    """aiohttp's resolver without private addresses."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        public = [row for row in found if is_public(row["host"])]
        if not public:
            raise _NotPublicError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._inner.close()


class GuardedClient:
    """Posts to receivers and gets media. Use as an async context manager."""

    def __init__(self, *, allow_private: bool, timeout_s: float = 15.0) -> None:
        self.allow_private = allow_private
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> GuardedClient:
        resolver = None if self.allow_private else _Resolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, force_close=True, limit=100),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            skip_auto_headers=("User-Agent",),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Sent:
        """One POST; never raises for what the receiver or the network does."""
        assert self._session is not None, "GuardedClient is used inside its own `async with`"
        began_at = time.monotonic()
        status: int | None = None
        error = ""
        try:
            check_url(url, "url", allow_private=self.allow_private)
            async with asyncio.timeout(self._timeout_s):
                sending = self._session.post(url, data=body, headers=headers, allow_redirects=False)
                async with sending as answer:
                    await answer.content.read(_MAX_ANSWER_BYTES)
                    status = answer.status
        except InvalidRequest:
            error = "address_refused"
        except TimeoutError:
            error = "timeout"
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as failure:
            error = _name_of(without_frames(failure))
        return Sent(status, error, round((time.monotonic() - began_at) * 1000))

    async def get(self, url: str, limit_bytes: int, take: Callable[[int], None] = lambda size_bytes: None) -> Fetched:
        """One GET, over at most five redirects; `take` hears of bytes as they come. Raises FetchError, and as it."""
        assert self._session is not None, "GuardedClient is used inside its own `async with`"
        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(_MAX_REDIRECTS + 1):
                    check_url(url, "url", allow_private=self.allow_private, allow_http=True)
                    async with self._session.get(url, allow_redirects=False, headers=_GET_HEADERS) as answer:
                        if answer.status in _REDIRECTS and "location" in answer.headers:
                            url = urljoin(url, answer.headers["location"])
                            continue
                        return await _body_of(answer, limit_bytes, take)
                raise FetchError("it redirects too often")
        except InvalidRequest as error:
            raise FetchError("its address is private, or no http(s) URL") from error
        except TimeoutError as error:
            raise FetchError(f"it took longer than {self._timeout_s:g} s") from without_frames(error)
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as failure:
            reasons = {"address_refused": "its address is private", "dns": "its host is not known"}
            raise FetchError(reasons.get(_name_of(failure), "it cannot be reached")) from without_frames(failure)


async def _body_of(answer: aiohttp.ClientResponse, limit_bytes: int, take: Callable[[int], None]) -> Fetched:
    if answer.status != 200:
        raise FetchError(f"its server answered with HTTP {answer.status}")
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > limit_bytes:
            raise FetchError(f"it is larger than {limit_bytes} bytes")
        take(len(piece))
        pieces.append(piece)
    return Fetched(answer.content_type.lower(), b"".join(pieces))


def _name_of(failure: BaseException) -> str:
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, _NotPublicError):
            return "address_refused"
        cause = cause.__cause__ or getattr(cause, "os_error", None) or cause.__context__
    if isinstance(failure, aiohttp.ClientConnectorCertificateError | ssl.SSLError | aiohttp.ClientSSLError):
        return "tls"
    return "dns" if isinstance(failure, aiohttp.ClientConnectorDNSError) else "unreachable"
