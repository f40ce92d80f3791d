"""The HTTP of the server against clients who begin and do not end, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from antiphon.cli.guarded_http import MAX_HEAD_BYTES, MAX_PIPELINED, GuardedHttp
from antiphon.runs.intake import Intake

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Impatient(GuardedHttp):
    """For which a moment is a long silence."""

    silence_s = 0.15
    unread_s = 0.4


class App:
    """Answers with how large the body was; waits `answer_s` seconds first, and between its two pieces.

    One that `is_silent` waits until its client leaves.
    """

    def __init__(self) -> None:
        self.answer_s = 0.0
        self.read_after_s = 0.0
        self.is_silent = False
        self.large = b""
        self.calls = 0
        self.left = 0
        self.intake = Intake(1 << 30)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope
        self.calls += 1
        await asyncio.sleep(self.read_after_s)
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            size, more = size + len(message["body"]), message["more_body"] or self.is_silent
        await asyncio.sleep(self.answer_s)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d bytes" % size, "more_body": True})
        await asyncio.sleep(self.answer_s)
        await send({"type": "http.response.body", "body": b" read" + self.large})


class Wire:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def pour(self, piece: bytes) -> None:
        """Send a piece for as long as the server takes it. Raises ConnectionError."""
        for _ in range(10_000):
            await self.send(piece)

    async def some(self, size: int) -> bytes:
        async with asyncio.timeout(5):
            return await self._reader.read(size)

    async def rest(self) -> bytes:
        """All until the server closes."""
        async with asyncio.timeout(5):
            return await self._reader.read()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(5):
            return await self._reader.readuntil(end)


@pytest.fixture
def app() -> App:
    return App()


@asynccontextmanager
async def connected(app: App) -> AsyncIterator[Wire]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Impatient(config, state, {"intake": app.intake}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield Wire(reader, writer)
        writer.close()


def error_in(answer: bytes) -> tuple[bytes, str]:
    """The status line and the code of an answer that refuses."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"content-length: %d" % len(body) in head
    envelope = msgspec.json.decode(body)["error"]
    assert set(envelope) == {"message", "type", "param", "code"}
    return head.split(b"\r\n")[0], envelope["code"] or envelope["message"]


@pytest.mark.parametrize(
    "head", [HEAD + b"x-a: " + b"a" * 2 * MAX_HEAD_BYTES, b"GET /" + b"a" * 2 * MAX_HEAD_BYTES], ids=["header", "url"]
)
async def test_a_head_that_does_not_end_is_431(app: App, head: bytes) -> None:
    async with connected(app) as wire:
        await wire.send(head)
        assert error_in(await wire.rest()) == (
            b"HTTP/1.1 431 Request Header Fields Too Large",
            "request_header_too_large",
        )
    assert app.calls == 0


@pytest.mark.parametrize("start", [HEAD, CHUNKED + b"1\r\nx\r\n0\r\n"], ids=["headers", "trailers"])
async def test_headers_without_end_are_read_no_further(app: App, start: bytes) -> None:
    async with connected(app) as wire:
        await wire.send(start)
        with pytest.raises(ConnectionError):
            await wire.pour(b"x-a: " + b"a" * 4096 + b"\r\n")


async def test_a_head_of_many_pieces_is_read(app: App) -> None:
    async with connected(app) as wire:
        await wire.send(HEAD)
        for _ in range(10):
            await wire.send(b"x-a: " + b"a" * 4096 + b"\r\n")
            await asyncio.sleep(0.05)
        await wire.send(b"connection: close\r\n\r\n")
        assert b"0 bytes" in await wire.rest()


async def test_a_connection_on_which_nothing_is_said_is_closed(app: App) -> None:
    async with connected(app) as wire:
        assert await wire.rest() == b""


@pytest.mark.parametrize("begun", [b"P", HEAD, HEAD + b"content-length: 5\r\n\r\nxx", CHUNKED + b"5\r\nxx", CHUNKED])
async def test_a_request_that_stops_coming_is_408(app: App, begun: bytes) -> None:
    async with connected(app) as wire:
        await wire.send(begun)
        assert error_in(await wire.rest()) == (b"HTTP/1.1 408 Request Timeout", "request_timeout")
        await asyncio.sleep(0)
    assert app.left == app.calls


async def test_a_slow_body_is_read_to_its_end(app: App) -> None:
    async with connected(app) as wire:
        await wire.send(HEAD + b"connection: close\r\ncontent-length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.05)
            await wire.send(b"x")
        assert b"10 bytes" in await wire.rest()


async def test_a_client_who_waits_for_a_slow_answer_is_not_silent(app: App) -> None:
    app.answer_s = 0.4
    async with connected(app) as wire:
        await wire.send(CHUNKED + b"1\r\nx\r\n")
        await wire.send(b"0\r\n\r\n")  # the end in a packet of its own
        assert b"1 bytes" in await wire.until(b"0\r\n\r\n")
        await wire.send(GET)  # and the connection is kept
        assert b"0 bytes" in await wire.until(b"0\r\n\r\n")


async def test_a_body_that_the_server_does_not_read_yet_is_not_late(app: App) -> None:
    app.read_after_s = 0.4
    async with connected(app) as wire:
        await wire.send(HEAD + b"connection: close\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 300_000)
        await asyncio.sleep(0.3)
        await wire.send(b"x" * 700_000)
        assert b"1000000 bytes" in await wire.rest()


async def test_an_answer_on_its_way_is_not_cut_by_what_follows_it(app: App) -> None:
    app.answer_s = 0.2
    async with connected(app) as wire:
        await wire.send(GET + b"GET / HT")
        assert b" read" in await wire.until(b"0\r\n\r\n")
        await wire.send(b"TP/1.1\r\nhost: x\r\n\r\n")
        assert b" read" in await wire.until(b"0\r\n\r\n")


async def test_requests_one_behind_the_other_are_answered(app: App) -> None:
    async with connected(app) as wire:
        await wire.send(GET * MAX_PIPELINED)
        for _ in range(MAX_PIPELINED):
            assert b"0 bytes" in await wire.until(b"0\r\n\r\n")


async def test_more_requests_at_once_than_anybody_sends_end_the_connection(app: App) -> None:
    app.answer_s = 0.1
    async with connected(app) as wire:
        await wire.send(GET * 10_000)
        with suppress(ConnectionResetError):
            await wire.rest()
    assert app.calls <= MAX_PIPELINED + 1


async def test_a_large_body_before_the_answer_to_an_earlier_request_ends_the_connection(app: App) -> None:
    app.is_silent = True
    async with connected(app) as wire:
        await wire.send(GET)
        with pytest.raises(ConnectionError):
            await wire.pour(HEAD + b"content-length: 1000000\r\n\r\n" + b"x" * 1_000_000)
        await asyncio.sleep(0.05)
        assert (app.calls, app.left) == (1, 1)


@pytest.mark.parametrize("apart_s", [0.0, 0.05], ids=["in one piece", "apart"])
async def test_a_client_who_leaves_with_requests_open_is_missed(app: App, apart_s: float) -> None:
    app.is_silent = True
    async with connected(app) as wire:
        for _ in range(3):
            await wire.send(GET)
            await asyncio.sleep(apart_s)
        await asyncio.sleep(0.05)
        assert (app.calls, app.left) == (1, 0)
        wire.writer.close()
        await wire.writer.wait_closed()
        await asyncio.sleep(0.05)
        assert (app.calls, app.left) == (1, 1)


async def test_bytes_that_are_no_http_are_400_in_the_usual_shape(app: App) -> None:
    async with connected(app) as wire:
        await wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert error_in(await wire.rest()) == (b"HTTP/1.1 400 Bad Request", "Invalid HTTP request received.")


async def test_an_answer_that_nobody_reads_is_not_kept(app: App) -> None:
    app.large = b"x" * (32 << 20)  # more than the system holds by itself
    async with connected(app) as wire:
        await wire.send(GET)
        await wire.until(b" read")
        assert 1 << 20 < app.intake.held_bytes < len(app.large)
        await asyncio.sleep(1.5)
        assert app.intake.held_bytes == 0
        with suppress(ConnectionError):
            assert len(await wire.rest()) < len(app.large)


async def test_who_reads_slowly_has_all_of_it(app: App) -> None:
    app.large = b"x" * (32 << 20)
    async with connected(app) as wire:
        await wire.send(GET)
        await wire.until(b" read")
        left = len(app.large)
        while left > 1000:  # a chunk's length among it
            await asyncio.sleep(0.02)
            piece = await wire.some(min(left, 1 << 20))
            assert piece, "the rest was cut off"
            left -= len(piece)
        await wire.send(GET.replace(b"host", b"connection: close\r\nhost"))
        assert b"200 OK" in (await wire.rest())[:4000]
