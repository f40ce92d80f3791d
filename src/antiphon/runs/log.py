"""EventLog: what a run appends and readers follow. `sequence_number` is the index in the log.

One writer, any number of readers in the same loop. An event is encoded when a reader needs it; where several will, its
bytes are kept and shared. The log closes once, with an error (nothing was emitted) or without (the last event is
terminal). A log that goes on where recorded events end begins with a sequence number of its own.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

from antiphon.protocol.errors import ApiError
from antiphon.protocol.events import DELTA_HEADS, DELTAS, Event, encode_event, frame_head
from antiphon.store.base import EventBatch

_PAD_TO: Final = 16
_PADDINGS: Final = tuple(
    b',"obfuscation":"' + b"antiphon-padding"[: _PAD_TO - length] + b'"}' for length in range(_PAD_TO)
)
"""The end of a delta's JSON, by the length of its text."""


class Reader(Protocol):
    """A log as those see it who send it on: positions are sequence numbers."""

    @property
    def error(self) -> ApiError | None: ...

    @property
    def is_closed(self) -> bool: ...

    def __len__(self) -> int: ...

    async def wait(self, after: int, timeout_s: float | None = None) -> bool:
        """Until the log is longer than `after` or closed; False when `timeout_s` passed first."""
        ...

    def frames(self, first: int, end: int, *, is_padded: bool) -> bytes:
        """Events `[first, end)` as server-sent events in one piece, deltas with `obfuscation` if `is_padded`."""
        ...

    def payloads(self, first: int, end: int) -> list[bytes]:
        """Events `[first, end)` as JSON."""
        ...


class EventLog:
    """The events of one run, in order; `first` is the sequence number of the first of them.

    `is_shared`: several will read it, so what was encoded for one is kept for the others.
    """

    def __init__(self, first: int = 0, *, is_shared: bool = False) -> None:
        self.error: ApiError | None = None
        self.is_closed = False
        self._first = first
        self._events: list[Event] = []
        self._encoded: dict[int, bytes] | None = {} if is_shared else None
        self._waiters: list[tuple[asyncio.Future[bool], float]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf
        self._closing: list[asyncio.Future[bool]] = []

    def __len__(self) -> int:
        return self._first + len(self._events)

    @property
    def last(self) -> Event | None:
        return self._events[-1] if self._events else None

    def append(self, event: Event) -> None:
        """Add an event and wake the readers; they run when the writer next awaits, so a burst wakes them once."""
        event.sequence_number = self._first + len(self._events)
        self._events.append(event)
        if self._waiters:
            self.wake()

    def close(self, error: ApiError | None = None) -> None:
        """No more events. With `error`, the run was refused before its first event."""
        self.error = error
        self.is_closed = True
        closing, self._closing = self._closing, []
        for waiter in closing:
            _release(waiter)
        self.wake()
        if self._timer is not None:
            self._timer.cancel()

    def wake(self) -> None:
        """Let those who wait look again."""
        waiters, self._waiters = self._waiters, []
        for waiter, _ in waiters:
            _release(waiter)

    async def ended(self) -> None:
        """Until the log is closed, whatever is appended meanwhile."""
        if not self.is_closed:
            waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._closing.append(waiter)
            await waiter

    async def wait(self, after: int, timeout_s: float | None = None) -> bool:
        """See Reader.wait."""
        if len(self) > after or self.is_closed:
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        if timeout_s is None:
            self._waiters.append((waiter, math.inf))
        else:
            due = loop.time() + timeout_s
            self._waiters.append((waiter, due))
            if due < self._looks_at:
                self._look_at(due)
        return await waiter

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = due
        self._timer = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        """Tell those who have waited too long. One timer serves all waits: one for each event of a slow stream, started
        and stopped, costs as much as reading the event."""
        self._timer, self._looks_at = None, math.inf
        now, left = asyncio.get_running_loop().time(), self._waiters
        self._waiters = [(waiter, due) for waiter, due in left if due > now]
        for waiter, due in left:
            if due <= now:
                _release(waiter, has_news=False)
        soonest = min((due for _, due in self._waiters), default=math.inf)
        if soonest < math.inf:
            self._look_at(soonest)

    def encoded(self, number: int) -> bytes:
        """One event as JSON."""
        if self._encoded is None:
            return encode_event(self._events[number - self._first])
        known = self._encoded.get(number)
        if known is None:
            known = self._encoded[number] = encode_event(self._events[number - self._first])
        return known

    def payloads(self, first: int, end: int) -> list[bytes]:
        """See Reader.payloads."""
        return [self.encoded(number) for number in range(first, end)]

    def preview(self, event: Event) -> bytes:
        """An event as JSON as it will be once it is appended next."""
        event.sequence_number = len(self)
        return encode_event(event)

    def batch(self, first: int) -> EventBatch | None:
        """Everything from sequence number `first` on as the store keeps it; None if there is nothing."""
        if first >= len(self):
            return None
        return EventBatch(first, len(self) - first, b"\n".join(self.payloads(first, len(self))))

    def frames(self, first: int, end: int, *, is_padded: bool) -> bytes:
        """See Reader.frames."""
        pieces: list[bytes] = []
        events = self._events[first - self._first : end - self._first]
        is_kept = self._encoded is not None
        for number, event in enumerate(events, first):
            payload = self.encoded(number) if is_kept else encode_event(event)
            if is_padded and isinstance(event, DELTAS):
                pieces += (DELTA_HEADS[type(event)], payload[:-1], _PADDINGS[len(event.delta) % _PAD_TO], b"\n\n")
            else:
                pieces += (frame_head(event), payload, b"\n\n")
        return b"".join(pieces)


def _release(waiter: asyncio.Future[bool], *, has_news: bool = True) -> None:
    if not waiter.done():
        waiter.set_result(has_news)


def padded(payload: bytes, text: str) -> bytes:
    """A delta brought to a multiple of 16 characters, so that its length says little about its text.

    Always the same for the same delta: a resumed stream has the same bytes.
    Source: OpenAI `stream_options.include_obfuscation`.
    """
    return payload[:-1] + _PADDINGS[len(text) % _PAD_TO]
