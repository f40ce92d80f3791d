"""Event streams: what is sent when, one after another, to clients that keep up and to those who do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest

from antiphon.protocol.events import OutputTextDelta, ResponseCompleted
from antiphon.protocol.sse import DONE, HEARTBEAT
from antiphon.runs.intake import Intake
from antiphon.runs.log import EventLog
from antiphon.server.asgi import Exchange, Message
from antiphon.server.stream import EventStream, Outlet


class Client:
    """An ASGI send that may be told to wait, and what came through it."""

    def __init__(self, order: list[str] | None = None, name: str = "") -> None:
        self.can_write = asyncio.Event()
        self.can_write.set()
        self.messages: list[Message] = []
        self.fails = False
        self._order = [] if order is None else order
        self._name = name
        scope = {"method": "POST", "path": "/", "headers": [], "query_string": b""}
        self.exchange = Exchange(scope, self._receive, self.send, Intake(1))

    async def _receive(self) -> Message:
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.fails:
            raise RuntimeError("broken")
        await self.can_write.wait()
        self.messages.append(message)
        self._order.append(self._name)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.messages if message["type"] == "http.response.body"]


def stream_of(client: Client, log: EventLog, heartbeat_s: float = 60) -> EventStream:
    return EventStream(client.exchange, log, heartbeat_s=heartbeat_s, is_padded=False)


def say(log: EventLog, *texts: str) -> None:
    for text in texts:
        log.append(OutputTextDelta("msg_1", 0, 0, text))


def texts(bodies: list[bytes]) -> list[str]:
    frames = [frame for frame in b"".join(bodies).split(b"\n\n") if b"data: {" in frame]
    return [msgspec.json.decode(frame.split(b"data: ", 1)[1])["delta"] for frame in frames]


def live(outlet: Outlet, client: Client) -> tuple[EventLog, EventStream]:
    log = EventLog()
    stream = stream_of(client, log)
    log.listen(lambda: outlet.note(stream))
    return log, stream


@asynccontextmanager
async def stalled() -> AsyncIterator[tuple[Client, EventLog, EventStream]]:
    """A stream whose client has read its first event, and reads no more for now."""
    client = Client()
    log, stream = live(Outlet(), client)
    async with stream:
        say(log, "a")
        await asyncio.sleep(0)
        client.can_write.clear()
        yield client, log, stream


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never was")


async def test_what_comes_in_one_turn_of_the_loop_is_one_write() -> None:
    client = Client()
    log, stream = live(Outlet(), client)
    async with stream:
        say(log, "a", "b")
        assert client.messages == []
        await asyncio.sleep(0)
        say(log, "c")
        await asyncio.sleep(0)
    assert [texts([body]) for body in client.bodies] == [["a", "b"], ["c"]]
    assert [message["type"] for message in client.messages][:2] == ["http.response.start", "http.response.body"]


async def test_the_end_sends_what_is_left_and_done() -> None:
    client = Client()
    log, stream = live(Outlet(), client)
    async with stream:
        say(log, "a")
        log.append(ResponseCompleted(msgspec.Raw(b"{}")))
        log.close()
        await asyncio.sleep(0)
        assert client.messages == []
        await stream.finish()
    (body,) = client.bodies
    assert body.endswith(DONE)
    assert b"response.completed" in body
    assert client.messages[-1]["more_body"] is False


async def test_streams_are_written_one_directly_after_the_other() -> None:
    outlet, order = Outlet(), list[str]()
    clients = [Client(order, name) for name in "xyz"]
    logs = [live(outlet, client)[0] for client in clients]
    for log in logs:
        say(log, "a")
    await asyncio.sleep(0)
    assert sorted(order) == sorted("xxyyzz")  # the head and the first event of each
    assert all(texts(client.bodies) == ["a"] for client in clients)


async def test_a_stream_that_breaks_stops_no_other() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    outlet = Outlet()
    clients = [Client() for _ in range(5)]
    clients[2].fails = True
    for client in clients:
        say(live(outlet, client)[0], "a")
    await asyncio.sleep(0.01)
    assert [texts(client.bodies) for client in clients] == [["a"], ["a"], [], ["a"], ["a"]]


async def test_a_slow_client_gets_everything_once_and_in_order() -> None:
    async with stalled() as (client, log, _):
        for text in "bcde":
            say(log, text)
            await asyncio.sleep(0)
        assert texts(client.bodies) == ["a"]
        client.can_write.set()
        await until(lambda: len(texts(client.bodies)) == 5)
        assert len(client.bodies) == 3, "what waited is one write"
        say(log, "f")
        await asyncio.sleep(0)
        assert texts(client.bodies) == [*"abcdef"]


async def test_the_end_waits_for_a_slow_client() -> None:
    client = Client()
    log, stream = live(Outlet(), client)
    async with stream, asyncio.TaskGroup() as group:
        client.can_write.clear()
        say(log, "a")
        await asyncio.sleep(0)
        say(log, "b")
        log.close()
        end = group.create_task(stream.finish())
        await asyncio.sleep(0.01)
        assert not end.done()
        client.can_write.set()
    assert texts(client.bodies) == ["a", "b"]
    assert client.bodies[-1].endswith(DONE)


async def test_silence_is_told_between_events_and_not_before_the_first() -> None:
    client = Client()
    log = EventLog()
    outlet = Outlet()
    async with stream_of(client, log, heartbeat_s=0.03) as stream:
        log.listen(lambda: outlet.note(stream))
        await asyncio.sleep(0.08)
        assert client.messages == []
        say(log, "a")
        await until(lambda: client.bodies.count(HEARTBEAT) == 2)
        client.can_write.clear()
        await asyncio.sleep(0.1)
        client.can_write.set()
        await until(lambda: client.bodies.count(HEARTBEAT) >= 3)
    heard = len(client.bodies)
    await asyncio.sleep(0.08)
    assert len(client.bodies) == heard, "nothing is said after the block"


async def test_a_client_that_has_gone_is_sent_no_end() -> None:
    client = Client()
    log, stream = live(Outlet(), client)
    async with stream:
        say(log, "a")
        await asyncio.sleep(0)
        client.exchange.is_gone = True
        log.close()
        await stream.finish()
    assert client.messages[-1]["more_body"] is True


@pytest.mark.parametrize(
    ("count", "is_closed", "writes"), [(1000, False, 5), (1000, True, 5), (1024, False, 5), (1024, True, 6)]
)
async def test_a_long_backlog_is_sent_in_pieces(count: int, is_closed: bool, writes: int) -> None:
    async with stalled() as (client, log, stream):
        said = [str(number) for number in range(count)]
        for text in said:
            say(log, text)
        await asyncio.sleep(0)
        if is_closed:
            log.close()
        client.can_write.set()
        await (stream.finish() if is_closed else until(lambda: len(texts(client.bodies)) == 1 + count))
    assert texts(client.bodies) == ["a", *said]
    assert len(client.bodies) == writes
    assert max(body.count(b"data: {") for body in client.bodies) == 256
