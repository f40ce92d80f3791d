"""The WebSocket of the server against clients who begin and do not end, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from antiphon.cli.guarded_http import GuardedHttp
from antiphon.cli.guarded_socket import GuardedSocket
from antiphon.runs.intake import Intake

WAIT_S = 30.0
"""For what comes sooner or never; a hundred thousand frames take seconds where the machine is busy."""
UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
ROOM = 1 << 20


class Impatient(GuardedSocket):
    """For which a moment is a long silence."""

    silence_s = 0.2


class App:
    """Answers each message with how large it was; the upgrade once it `may_answer`, reads once it `may_read`."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_refusing = False
        self.received: list[bytes] = []
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await self.may_answer.wait()
        if self.is_refusing:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no"})
            return
        with suppress(OSError):
            await send({"type": "websocket.accept"})
        await self.may_read.wait()
        while (message := await receive())["type"] != "websocket.disconnect":
            self.received.append(message["bytes"])
            with suppress(OSError):
                await send({"type": "websocket.send", "text": f"{len(message['bytes'])} bytes"})
        self.left.set()


class Wire:
    """One client's connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def upgrade(self) -> None:
        self.writer.write(UPGRADE)
        assert b" 101 " in await self._reader.readuntil(b"\r\n\r\n")

    async def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))
        await self.writer.drain()

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        async with asyncio.timeout(WAIT_S):
            first, size = await self._reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self._reader.readexactly(2), "big")
            return first & 15, await self._reader.readexactly(size)

    async def rest(self) -> bytes:
        """All until the server closes."""
        async with asyncio.timeout(WAIT_S):
            return await self._reader.read()

    async def refusal(self) -> tuple[int, str, int]:
        """Status and message of the error event that comes, and the code of the close after it."""
        opcode, payload = await self.frame()
        assert opcode == TEXT
        event = msgspec.json.decode(payload)
        assert event["type"] == "error"
        return event["status"], event["error"]["message"], await self.close()

    async def close(self) -> int:
        """The code of the close that comes, after which nothing does."""
        opcode, payload = await self.frame()
        assert opcode == CLOSE
        self.writer.write_eof()
        assert await self.rest() == b""
        return int.from_bytes(payload[:2], "big")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, announced: int | None = None) -> bytes:
    """A client's frame, which may announce more than it holds. Its mask changes nothing."""
    size = len(payload) if announced is None else announced
    head = bytes([opcode | (fin << 7)])
    if size < 126:
        head += bytes([size | 128])
    elif size < 1 << 16:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    return head + bytes(4) + payload


class Stage:
    """A server of one application, and who is connected to it."""

    def __init__(self, kind: type[GuardedSocket]) -> None:
        self.app = App()
        self.intake = Intake(ROOM)
        self.config = uvicorn.Config(self.app, lifespan="off", log_config=None, access_log=False, ws=kind)
        self.config.load()

    @asynccontextmanager
    async def connected(self, clients: int = 1, *, receive_bytes: int = 1 << 20) -> AsyncIterator[list[Wire]]:
        state, loop = ServerState(), asyncio.get_running_loop()
        known = {"intake": self.intake}
        server = await loop.create_server(lambda: GuardedHttp(self.config, state, known), "127.0.0.1", 0)
        async with server:
            wires: list[Wire] = []
            for _ in range(clients):
                ours = socket.socket()
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
                ours.setblocking(False)
                await loop.sock_connect(ours, server.sockets[0].getsockname())
                wires.append(Wire(*await asyncio.open_connection(sock=ours, limit=receive_bytes)))
                if self.app.may_answer.is_set():
                    await wires[-1].upgrade()
            try:
                yield wires
            finally:
                for wire in wires:
                    wire.writer.transport.abort()
                async with asyncio.timeout(WAIT_S):
                    while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn tells nobody
                        await asyncio.sleep(0.01)

    async def holds(self, size_bytes: int) -> None:
        """Wait until the process holds so much."""
        async with asyncio.timeout(WAIT_S):
            while self.intake.held_bytes != size_bytes:  # noqa: ASYNC110 - a count tells nobody that it changed
                await asyncio.sleep(0.01)


@pytest.fixture
async def stage() -> Stage:
    return Stage(GuardedSocket)


@pytest.fixture
async def impatient() -> Stage:
    return Stage(Impatient)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_the_pieces_of_a_message_become_one(stage: Stage, opcode: int) -> None:
    pieces = [b"a" * 70_000, b"", "ä".encode()[:1], "ä".encode()[1:], b"b" * 3]
    async with stage.connected() as (wire,):
        await wire.send(frame(opcode, pieces[0], fin=False))
        for piece in pieces[1:-1]:
            await wire.send(frame(CONTINUED, piece, fin=False), frame(PING, b"?"))
            assert await wire.frame() == (PONG, b"?")
        await wire.send(frame(CONTINUED, pieces[-1]), frame(TEXT, b"next"))
        assert await wire.frame() == (TEXT, b"70005 bytes")
        assert await wire.frame() == (TEXT, b"4 bytes")
    assert stage.app.received == [b"".join(pieces), b"next"]


@pytest.mark.parametrize("payload", [b"", b"x"])
async def test_a_message_of_many_pieces_is_as_large_as_what_it_says(stage: Stage, payload: bytes) -> None:
    count = 100_000
    async with stage.connected() as (wire,):
        await wire.send(frame(TEXT, b"x", fin=False))
        tracemalloc.start()
        for _ in range(count // 1000):
            await wire.send(*[frame(CONTINUED, payload, fin=False)] * 1000)
        await wire.send(frame(PING))
        await wire.frame()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert grown < 4 * count
        await wire.send(frame(CONTINUED, b"x"))
        assert await wire.frame() == (TEXT, b"%d bytes" % (count * len(payload) + 2))


async def test_what_is_begun_is_held_until_it_has_been_taken(stage: Stage) -> None:
    stage.app.may_read.clear()
    async with stage.connected() as (wire,):
        await wire.send(frame(TEXT, b"x" * 1000, fin=False), frame(CONTINUED, b"x" * 200, announced=300))
        await stage.holds(1200)
        await wire.send(b"x" * 100)
        await stage.holds(1300)
        stage.app.may_read.set()
        assert await wire.frame() == (TEXT, b"1300 bytes")
        await stage.holds(0)
        await wire.send(frame(BINARY, b"x" * 500, announced=501))
        await stage.holds(500)
    await stage.holds(0)


async def test_what_a_client_leaves_behind_is_given_back_once(stage: Stage) -> None:
    stage.app.may_read.clear()
    stage.config.ws_ping_interval = stage.config.ws_ping_timeout = 0.2  # nobody answers them
    async with stage.connected() as (wire,):
        await wire.send(frame(TEXT, b"x" * 900), frame(TEXT, b"x" * 100, announced=200))
        await stage.holds(1000)
        await stage.holds(0)
        stage.app.may_read.set()
        await asyncio.wait_for(stage.app.left.wait(), 5)
        assert stage.intake.held_bytes == 0


async def test_a_message_that_finds_no_room_is_refused_before_it_is_whole(stage: Stage) -> None:
    async with stage.connected(3) as (first, second, third):
        await first.send(frame(TEXT, b"x" * (ROOM - 100_000), announced=2 * ROOM))
        await stage.holds(ROOM - 100_000)
        await third.send(frame(TEXT, b"x" * 50_000, announced=50_001))
        await stage.holds(ROOM - 50_000)
        await second.send(frame(TEXT, b"x" * 200_000, announced=2 * ROOM))
        status, message, code = await second.refusal()
        assert (status, code) == (503, 1013)
        assert "Please try again" in message
        await third.send(b"x")
        assert await third.frame() == (TEXT, b"50001 bytes")
        await stage.holds(ROOM - 100_000)
        await asyncio.wait_for(stage.app.left.wait(), 5)


async def test_a_refusal_is_read_by_a_client_that_still_sends(stage: Stage) -> None:
    async with stage.connected() as (wire,):
        await wire.send(frame(TEXT, b"x" * (8 * ROOM), announced=16 * ROOM))
        assert (await wire.refusal())[0] == 503
    await stage.holds(0)


@pytest.mark.parametrize("begun", [b"\x81", frame(TEXT, b"x", announced=9), frame(TEXT, b"x", fin=False)])
async def test_a_message_that_stops_coming_is_408(impatient: Stage, begun: bytes) -> None:
    async with impatient.connected() as (wire,):
        await wire.send(begun)
        status, message, code = await wire.refusal()
    assert (status, code) == (408, 1008)
    assert message == "The message was not sent to its end: 0.2 seconds without a byte."


async def test_a_slow_message_is_read_and_a_quiet_connection_stays(impatient: Stage) -> None:
    async with impatient.connected() as (wire,):
        for piece in (frame(TEXT, b"x", announced=8), *[b"x"] * 7):
            await asyncio.sleep(0.1)
            await wire.send(piece)
        assert await wire.frame() == (TEXT, b"8 bytes")
        await asyncio.sleep(0.5)
        await wire.send(frame(TEXT, b"x"))
        assert await wire.frame() == (TEXT, b"1 bytes")


async def test_who_waits_for_the_application_is_not_blamed(impatient: Stage) -> None:
    impatient.app.may_read.clear()
    async with impatient.connected() as (wire,):
        await wire.send(frame(TEXT, b"first"), frame(TEXT, b"x", announced=3))
        await asyncio.sleep(0.5)
        impatient.app.may_read.set()
        assert await wire.frame() == (TEXT, b"5 bytes")
        await wire.send(b"xx")
        assert await wire.frame() == (TEXT, b"3 bytes")


@pytest.mark.parametrize("text", [b"\xff", "ä".encode()[:1]])
async def test_text_that_is_not_utf_8_ends_the_connection_and_is_no_fault(
    stage: Stage, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.connected() as (wire,):
        await wire.send(frame(TEXT, text))
        assert await wire.close() == 1007
        await asyncio.wait_for(stage.app.left.wait(), 5)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert stage.app.received == []


@pytest.mark.parametrize("is_refusing", [False, True])
async def test_what_is_no_frame_before_the_upgrade_is_answered_is_no_fault(
    stage: Stage, caplog: pytest.LogCaptureFixture, is_refusing: bool
) -> None:
    stage.app.may_answer.clear()
    stage.app.is_refusing = is_refusing
    async with stage.connected() as (wire,):
        await wire.send(UPGRADE)
        await asyncio.sleep(0.1)
        await wire.send(b"\x07\xff\xff\xff")
        await asyncio.sleep(0.1)
        stage.app.may_answer.set()
        assert await wire.rest() == b""
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_pings_of_a_client_that_reads_nothing_are_not_all_kept(stage: Stage) -> None:
    count = 200_000
    async with stage.connected(receive_bytes=1 << 14) as (wire,):
        for number in range(0, count, 1000):
            await wire.send(*[frame(PING, b"%100d" % (number + each)) for each in range(1000)])
        await wire.send(frame(TEXT, b"last"))
        answers = [await wire.frame()]
        while answers[-1][0] == PONG:
            answers.append(await wire.frame())
        if answers[-2][1] != b"%100d" % (count - 1):
            answers.append(await wire.frame())
    assert answers[-1] in ((TEXT, b"4 bytes"), (PONG, b"%100d" % (count - 1)))
    assert len(answers) < count
