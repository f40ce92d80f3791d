"""A log as server-sent events: what it gains in one turn of the loop is sent at the turn's end, in one write.

The streams of a process are sent one directly after the other: whoever reads them is then woken once for many. Nothing
of it takes a task, for a `send` that need not wait is over at once, or in its first step. Only a client who reads
slower than the model writes gets one, until it has caught up; meanwhile the log goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Final

from antiphon.protocol.sse import DONE, HEARTBEAT
from antiphon.runs.log import Reader

from .asgi import SENT, Exchange, Headers

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
STREAM_HEADERS: Final = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))
_MOST_EVENTS: Final = 256
"""In one write: what a slow client is owed stays in the log, and is not encoded all at once."""


class Outlet:
    """The streams of one loop that have something to send."""

    def __init__(self) -> None:
        self._due: dict[EventStream, None] = {}
        self._ready: list[tuple[EventStream, bytes]] = []

    def note(self, stream: EventStream) -> None:
        """Send this stream's news at the end of this turn."""
        if not self._due:
            asyncio.get_running_loop().call_soon(self._flush)
        self._due[stream] = None

    def _flush(self) -> None:
        try:
            while self._due:
                stream, _ = self._due.popitem()
                self._ready.append((stream, stream.take()))
            while self._ready:
                stream, frames = self._ready.pop()
                stream.push(frames)
        finally:
            if self._due or self._ready:  # one of them raised: it is no other's fault
                asyncio.get_running_loop().call_soon(self._flush)


class EventStream:
    """One answer. Its block tells the client that the model is silent, every `heartbeat_s` seconds.

    `headers` is asked when the first event is there: until then the answer may still become an error.
    """

    def __init__(
        self,
        exchange: Exchange,
        log: Reader,
        *,
        heartbeat_s: float,
        is_padded: bool,
        after: int = 0,
        headers: Callable[[], Headers] = lambda: (),
    ) -> None:
        self._exchange = exchange
        self._log = log
        self._sent = after
        self._heartbeat_s = heartbeat_s
        self._is_padded = is_padded
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._has_started = False
        self._has_more = False
        self._is_writing = False
        self._written_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._catching_up: asyncio.Task[None] | None = None

    async def __aenter__(self) -> EventStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._catching_up is not None:
            self._catching_up.cancel()

    def take(self) -> bytes:
        """The frames of what has come since; those after the end of the log are for `finish`."""
        if self._is_writing or self._log.is_closed:
            return b""
        return self._next()

    def _next(self) -> bytes:
        """So many of the frames that wait as may wait in the client's connection instead."""
        first = self._sent
        frames, self._sent = self._log.frames(first, _MOST_EVENTS, is_padded=self._is_padded)
        self._has_more = self._sent - first == _MOST_EVENTS
        return frames

    def push(self, frames: bytes) -> None:
        """Send frames now, and what follows too if the client is slow."""
        while frames:
            writing = self._writing(frames)
            if writing is not SENT and (rest := _rest_of(writing)):
                self._is_writing = True
                self._catching_up = self._loop.create_task(self._catch_up(rest))
                return
            frames = self.take() if self._has_more else b""

    def _writing(self, frames: bytes, *, is_last: bool = False) -> Awaitable[None]:
        self._written_at = self._loop.time()
        if self._has_started:
            return self._exchange.write(frames, is_last=is_last)
        self._has_started = True
        self._timer = self._loop.call_at(self._written_at + self._heartbeat_s, self._look)
        return self._begin(frames, is_last=is_last)

    async def _begin(self, frames: bytes, *, is_last: bool) -> None:
        await self._exchange.start(200, EVENT_STREAM, (*STREAM_HEADERS, *self._headers()))
        await self._exchange.write(frames, is_last=is_last)

    async def _catch_up(self, rest: Awaitable[None]) -> None:
        await self._write(rest)
        while frames := self.take():
            await self._write(self._writing(frames))
        self._catching_up = None

    async def _write(self, writing: Awaitable[None]) -> None:
        self._is_writing = True
        await writing
        self._is_writing = False

    def _look(self) -> None:
        """One timer serves all silences: it is moved on only when it fires."""
        due = self._written_at + self._heartbeat_s
        if self._loop.time() >= due:
            if not (self._is_writing or self._log.is_closed):
                self.push(HEARTBEAT)
            due = self._loop.time() + self._heartbeat_s
        self._timer = self._loop.call_at(due, self._look)

    async def follow(self) -> None:
        """Send what is read piece by piece, to its end."""
        await self._write(self._writing(b""))
        while not (self._exchange.is_gone or self._log.is_closed):
            await self._log.wait(self._sent)
            if frames := self.take():
                await self._write(self._writing(frames))
        await self.finish()

    async def finish(self) -> None:
        """The log is closed: send what is left of it, and the end."""
        if self._catching_up is not None:
            await self._catching_up
        frames = self._next()
        while self._has_more and not self._exchange.is_gone:
            await self._write(self._writing(frames))
            frames = self._next()
        if not self._exchange.is_gone:
            await self._write(self._writing(frames + DONE, is_last=True))


def _rest_of(writing: Awaitable[None]) -> Awaitable[None] | None:
    """What is left of it after its first step, if that has come to wait for something."""
    steps = writing.__await__()
    try:
        return _Rest(steps, next(steps))
    except StopIteration:
        return None


class _Rest:
    """What is left of `steps`, whose first one has come to wait for `waits_for`."""

    def __init__(self, steps: Generator[Any, Any, None], waits_for: object) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        yield self._waits_for
        yield from self._steps
