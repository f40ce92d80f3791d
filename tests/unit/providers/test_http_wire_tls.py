"""Upstream connections through TLS, and through a proxy's tunnel to it, on both event loops."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp.connector
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from antiphon.protocol.errors import UpstreamFault
from antiphon.providers.base import HttpRequest
from antiphon.providers.transport import Deadlines, Transport

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
SOON = Deadlines(connect_s=2, first_byte_s=2, idle_s=2)
BODY = b"x" * 300_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "upstream")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "upstream.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@asynccontextmanager
async def upstream(certificate: Path) -> AsyncIterator[tuple[str, list[int]]]:
    """A TLS server that says its request's body again; its URL, and its connections."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line)
                body = await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat", connections
    finally:
        server.close()


@asynccontextmanager
async def tunnel() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that opens tunnels; its URL, and what it was asked for."""
    asked: list[bytes] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        host, _, port = head.split()[1].decode().partition(":")
        beyond, to = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Established\r\n\r\n")
        async with asyncio.TaskGroup() as group:
            group.create_task(relay(reader, to))
            group.create_task(relay(beyond, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://user:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    context = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", context)
    return certificate


@pytest.mark.parametrize("loop", LOOPS)
def test_calls_go_over_one_tls_connection(loop: Callable[[], asyncio.AbstractEventLoop], trusted: Path) -> None:
    async def run() -> None:
        async with upstream(trusted) as (url, connections), Transport(SOON) as transport:
            for _ in range(3):
                assert await transport.fetch(HttpRequest("POST", url, (), BODY)) == (200, BODY)
            assert connections == [0]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


@pytest.mark.parametrize("loop", LOOPS)
def test_calls_go_through_a_proxys_tunnel(
    loop: Callable[[], asyncio.AbstractEventLoop], trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def run() -> None:
        async with upstream(trusted) as (url, connections), tunnel() as (proxy, asked):
            monkeypatch.setenv("https_proxy", proxy)
            async with Transport(SOON) as transport:
                for _ in range(2):
                    assert await transport.fetch(HttpRequest("POST", url, (), BODY)) == (200, BODY)
            assert connections == [0]
            assert len(asked) == 1
            assert asked[0].startswith(b"CONNECT 127.0.0.1:")
            assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in asked[0]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async with upstream(certificate) as (url, _), Transport(SOON) as transport:
        with pytest.raises(UpstreamFault, match="could not be reached"):
            await transport.fetch(HttpRequest("POST", url, (), BODY))
