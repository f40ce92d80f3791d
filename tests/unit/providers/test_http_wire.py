"""Upstream connections byte by byte: what a server may send, how it may fail, and which connections are used again."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from antiphon.protocol.errors import UpstreamFault
from antiphon.providers.base import HttpRequest
from antiphon.providers.transport import Deadlines, Transport

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n"
PART = b"3\r\none\r\n"
WHOLE = PART + b"0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
SOON = Deadlines(connect_s=1, first_byte_s=0.3, idle_s=0.3, total_s=5)


class Peer:
    """A server that sends the bytes it is told to, and keeps what it was sent. `None` closes the connection."""

    def __init__(self, *script: bytes | float | None) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.closed = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                for step in self.script:
                    if step is None:
                        return
                    if isinstance(step, float):
                        await asyncio.sleep(step)
                    else:
                        writer.write(step)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.closed.set()


@asynccontextmanager
async def peer(*script: bytes | float | None) -> AsyncIterator[Peer]:
    told = Peer(*script)
    server = await asyncio.start_server(told.serve, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat?x=%2F"
    try:
        yield told
    finally:
        server.close()


def post(url: str, body: bytes = b"{}", headers: tuple[tuple[str, str], ...] = ()) -> HttpRequest:
    return HttpRequest("POST", url, (("content-type", "application/json"), *headers), body)


async def fetched(*script: bytes | float | None, deadlines: Deadlines = SOON) -> bytes:
    async with peer(*script) as told, Transport(deadlines) as transport:
        status, body = await transport.fetch(post(told.url))
        assert status == 200
        return body


async def test_a_request_is_written_as_it_was_asked_for() -> None:
    async with peer(OK, b"body") as told, Transport(SOON) as transport:
        async with transport.send(post(told.url, b'{"a":1}', (("x-key", "käse"),))) as reply:
            assert (reply.status, await reply.read(99)) == (200, b"body")
            assert reply.headers == {"content-type": "application/json", "content-length": "4"}
        head, _, body = told.requests[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /v1/chat?x=%2F HTTP/1.1"
        assert body == b'{"a":1}'
        assert b"content-length: 7" in lines
        assert "x-key: käse".encode() in lines
        assert f"Host: {told.url.split('/')[2]}".encode() in lines


async def test_a_header_of_the_request_takes_the_place_of_ours() -> None:
    async with peer(OK, b"body") as told, Transport(SOON) as transport:
        await transport.fetch(post(told.url, headers=(("host", "models.example"), ("Accept", "text/event-stream"))))
        names = [line.split(b":")[0].lower() for line in told.requests[0].split(b"\r\n")[1:]]
        assert names.count(b"host") == names.count(b"accept") == 1
        assert b"host: models.example" in told.requests[0]


async def test_a_request_without_a_body_announces_none() -> None:
    async with peer(OK, b"body") as told, Transport(SOON) as transport:
        await transport.fetch(HttpRequest("GET", told.url, (), b""))
        await transport.fetch(post(told.url, b""))
        assert b"content-length" not in told.requests[0].lower()
        assert b"content-length: 0\r\n" in told.requests[1]


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b"])
async def test_a_header_cannot_become_two(value: str) -> None:
    async with peer(OK, b"body") as told, Transport(SOON) as transport:
        with pytest.raises(UpstreamFault, match="could not be reached"):
            await transport.fetch(post(told.url, headers=(("x-key", value),)))
        assert told.requests == []


async def test_a_connection_serves_one_call_after_another() -> None:
    async with peer(OK, b"body") as told, Transport(SOON) as transport:
        for _ in range(3):
            assert (await transport.fetch(post(told.url)))[1] == b"body"
        assert told.connections == 1


async def test_calls_side_by_side_have_connections_of_their_own() -> None:
    async with peer(OK, 0.1, b"body") as told, Transport(SOON) as transport:
        answers = await asyncio.gather(*(transport.fetch(post(told.url)) for _ in range(3)))
        assert answers == [(200, b"body")] * 3
        assert told.connections == 3


@pytest.mark.parametrize(
    ("script", "body"),
    [
        ((CHUNKED, b"3\r\none\r\n", 0.02, b"5\r\ntwo 3\r\n0\r\n\r\n"), b"onetwo 3"),
        ((CHUNKED + b"3\r\none\r\n0\r\ntrailer: 1\r\n\r\n",), b"one"),
        ((b"HTTP/1.1 200 OK\r\n\r\nto the ", 0.02, b"end", None), b"to the end"),
        ((b"HTTP/1.0 200 OK\r\n\r\nold", None), b"old"),
        (
            (b"HTTP/1.1 100 Continue\r\n\r\n", 0.02, b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK + b"body"),
            b"body",
        ),
        ((b"HTTP/1.1 200 OK\ncontent-length: 4\n\nbody",), b"body"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",), b""),
        (tuple(bytes([byte]) for byte in OK + b"body"), b"body"),
    ],
)
async def test_answers_are_read_in_every_form(script: tuple[bytes | float | None, ...], body: bytes) -> None:
    assert await fetched(*script) == body


@pytest.mark.parametrize(
    ("name", "pack"), [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_compressed_answer_is_opened_although_none_was_asked_for(
    name: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(b"text " * 1000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {name}\r\ncontent-length: {len(packed)}\r\n\r\n".encode()
    assert await fetched(head, packed[:9], 0.02, packed[9:]) == b"text " * 1000


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ((None,), "transport", "could not be reached"),
        ((b"HTTP/1.1 200 OK\r\ncontent-", None), "transport", "could not be reached"),
        ((b"SMTP ready\r\n",), "transport", "could not be reached"),
        ((b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",), "transport", "not be reached"),
        ((b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx",), "transport", "not asked for"),
        ((b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"\r\n",), "transport", "could not be reached"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",), "transport", "could not be reached"),
        ((1.0,), "timeout", "did not answer in time"),
        ((b"HTTP/1.1 200", 1.0), "timeout", "did not answer in time"),
        ((OK + b"bo", None), "transport", "broke"),
        ((CHUNKED + b"3\r\none\r\n", None), "transport", "broke"),
        ((CHUNKED + b"3\r\none\r\n", 0.02, b"no chunk\r\n"), "transport", "broke"),
        ((CHUNKED + b"3\r\none\r\n", 1.0), "timeout", "stopped sending"),
        ((b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nxyz",), "transport", "broke"),
    ],
)
async def test_a_server_that_fails_is_a_fault(
    script: tuple[bytes | float | None, ...], kind: str, message: str
) -> None:
    with pytest.raises(UpstreamFault, match=message) as caught:
        await fetched(*script)
    assert caught.value.kind == kind


async def test_a_slow_answer_is_no_fault_while_it_goes_on() -> None:
    pieces = [step for _ in range(7) for step in (b"1\r\nx\r\n", 0.2)]
    patient = Deadlines(first_byte_s=1.0, idle_s=1.0)
    assert await fetched(CHUNKED, *pieces, b"0\r\n\r\n", deadlines=patient) == b"xxxxxxx"


async def test_the_deadline_between_bytes_may_be_the_shorter_one() -> None:
    with pytest.raises(UpstreamFault, match="stopped sending"):
        await fetched(CHUNKED, 1.0, deadlines=Deadlines(first_byte_s=30, idle_s=0.1))


async def test_a_head_that_trickles_in_wins_no_time() -> None:
    drops = [step for byte in OK for step in (bytes([byte]), 0.05)]
    with pytest.raises(UpstreamFault, match="did not answer in time"):
        await fetched(*drops)


async def test_the_whole_call_has_a_bound_however_busy() -> None:
    pieces = [step for _ in range(20) for step in (b"1\r\nx\r\n", 0.05)]
    with pytest.raises(UpstreamFault, match="stopped sending"):
        await fetched(CHUNKED, *pieces, deadlines=Deadlines(first_byte_s=0.3, idle_s=0.3, total_s=0.4))


@pytest.mark.parametrize("ending", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"])
async def test_a_connection_that_was_closed_or_says_more_than_asked_is_not_used_again(ending: bytes) -> None:
    steps: tuple[bytes | float | None, ...] = (OK + b"body" + ending,) if ending else (OK, b"body", None)
    async with peer(*steps) as told, Transport(SOON) as transport:
        for _ in range(2):
            assert (await transport.fetch(post(told.url)))[1] == b"body"
            await asyncio.wait_for(told.closed.wait(), 2)
            for _ in range(2):  # what the peer did is read in the loop's next turn
                await asyncio.sleep(0)
        assert told.connections == 2


async def test_what_comes_uncalled_for_closes_the_connection() -> None:
    async with peer(OK, b"body", 0.05, b"and more") as told, Transport(SOON) as transport:
        assert (await transport.fetch(post(told.url)))[1] == b"body"
        await asyncio.wait_for(told.closed.wait(), 2)
        assert (await transport.fetch(post(told.url)))[1] == b"body"
        assert told.connections == 2


async def test_whoever_stops_reading_is_given_a_moment_for_the_last_bytes() -> None:
    async with peer(CHUNKED, b"3\r\none\r\n", 0.05, b"0\r\n\r\n") as told, Transport(SOON) as transport:
        for _ in range(2):
            async with transport.send(post(told.url)) as reply:
                assert await reply.read(3) == b"one"
        assert told.connections == 1


async def test_an_answer_left_in_the_middle_closes_its_connection() -> None:
    async with peer(CHUNKED, b"3\r\none\r\n", 3.0) as told, Transport(Deadlines()) as transport:
        async with transport.send(post(told.url)) as reply:
            assert await reply.read(3) == b"one"
        await asyncio.wait_for(told.closed.wait(), 5)


async def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    async with peer(3.0) as told, Transport(Deadlines()) as transport:
        task = asyncio.get_running_loop().create_task(transport.fetch(post(told.url)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(told.closed.wait(), 5)


async def test_hanging_up_ends_the_pouring() -> None:
    async with peer(CHUNKED, b"3\r\none\r\n", 3.0) as told, Transport(Deadlines()) as transport:
        async with transport.send(post(told.url)) as reply:
            heard: list[bytes] = []

            def take(data: bytes) -> bool:
                heard.append(data)
                asyncio.get_running_loop().call_soon(reply.hang_up)
                return True

            await asyncio.wait_for(reply.pour(take), 2)
        assert heard == [b"one"]


@pytest.mark.parametrize("error", [UpstreamFault("server", "no such event"), ZeroDivisionError("ours")])
@pytest.mark.parametrize("pause_s", [0.0, 0.05])
@pytest.mark.parametrize("said", [PART, WHOLE])
async def test_what_the_sink_raises_is_raised_to_who_pours(error: Exception, pause_s: float, said: bytes) -> None:
    def take(data: bytes) -> bool:
        raise error

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with peer(CHUNKED, pause_s, said, 3.0) as told, Transport(Deadlines()) as transport:
        with pytest.raises(type(error), match=str(error)):
            async with transport.send(post(told.url)) as reply:
                await asyncio.wait_for(reply.pour(take), 2)
        if said == PART:
            await asyncio.wait_for(told.closed.wait(), 5)


async def test_a_large_body_goes_out_whole() -> None:
    body = b"x" * (8 << 20)
    async with peer(OK, b"body") as told, Transport(Deadlines()) as transport:
        assert (await transport.fetch(post(told.url, body)))[1] == b"body"
        assert told.requests[0].endswith(body)


@pytest.mark.parametrize(
    "scene",
    [
        test_a_connection_serves_one_call_after_another,
        test_a_call_that_is_cancelled_closes_its_connection,
        test_an_answer_left_in_the_middle_closes_its_connection,
        test_a_large_body_goes_out_whole,
        test_what_comes_uncalled_for_closes_the_connection,
    ],
)
def test_the_loop_of_the_server_behaves_the_same(scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def test_what_a_sink_raises_is_raised_on_the_loop_of_the_server() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for pause_s in (0.0, 0.05):
            for said in (PART, WHOLE):
                runner.run(test_what_the_sink_raises_is_raised_to_who_pours(ZeroDivisionError("ours"), pause_s, said))
