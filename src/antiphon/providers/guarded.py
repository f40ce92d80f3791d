"""HTTP to addresses that came in requests (webhook receivers): only public ones, and the very one that was checked.

A name is resolved here, its private addresses are taken out, and the connection goes to what is left: a name that
changes between check and connect gains nothing. Redirects are not followed and proxies not used. The operator's own
vendors do not come this way. Must never log a body or a header.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from antiphon.protocol.errors import InvalidRequest

_MAX_ANSWER_BYTES: Final = 64 * 1024
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


def check_url(url: str, param: str, *, allow_private: bool) -> None:
    """Raises InvalidRequest for a URL that cannot be a public receiver; a name is looked up only when it is called."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes or not host or parts.username is not None or not url.isprintable() or " " in url:
        raise InvalidRequest(
            f"Invalid '{param}': must be an {' or '.join(schemes)} URL without credentials.",
            param=param,
            code="invalid_value",
        )
    if not allow_private and (_is_private_literal(host) or host.lower().rstrip(".").endswith("localhost")):
        raise InvalidRequest(
            f"Invalid '{param}': receivers on private addresses are refused by this server. Its operator can allow "
            "them with [webhooks] allow_private.",
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
    """Posts to receivers. Use as an async context manager."""

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
            error = _name_of(failure)
        return Sent(status, error, round((time.monotonic() - began_at) * 1000))


def _name_of(failure: BaseException) -> str:
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, _NotPublicError):
            return "address_refused"
        cause = cause.__cause__ or getattr(cause, "os_error", None) or cause.__context__
    if isinstance(failure, aiohttp.ClientConnectorCertificateError | ssl.SSLError | aiohttp.ClientSSLError):
        return "tls"
    return "dns" if isinstance(failure, aiohttp.ClientConnectorDNSError) else "unreachable"
