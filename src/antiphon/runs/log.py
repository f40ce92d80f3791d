"""EventLog: what a run appends and readers follow. `sequence_number` is the index in the log.

One writer, any number of readers in the same loop. An event is encoded when a reader needs it; where several will, its
bytes are kept and shared. The log closes once, with an error (nothing was emitted) or without (the last event is
terminal). A log that goes on where recorded events end begins with a sequence number of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
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

    async def wait(self, after: int) -> None:
        """Until the log is longer than `after` or closed."""
        ...

    def frames(self, first: int, most: int, *, is_padded: bool) -> tuple[bytes, int]:
        """So many events from `first` on as server-sent events in one piece, and the position after the last one.

        Deltas have `obfuscation` if `is_padded`.
        """
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
        self._waiters: list[asyncio.Future[None]] = []
        self._on_news: Callable[[], None] | None = None

    def __len__(self) -> int:
        return self._first + len(self._events)

    @property
    def last(self) -> Event | None:
        return self._events[-1] if self._events else None

    def append(self, event: Event) -> None:
        """Add an event and wake the readers; they run when the writer next awaits, so a burst wakes them once."""
        self.extend((event,))

    def extend(self, events: Sequence[Event]) -> None:
        """Add events that belong together."""
        self._events += events
        if self._on_news is not None:
            self._on_news()
        if self._waiters:
            self.wake()

    def close(self, error: ApiError | None = None) -> None:
        """No more events. With `error`, the run was refused before its first event."""
        self.error = error
        self.is_closed = True
        self.wake()

    def listen(self, on_news: Callable[[], None] | None) -> None:
        """Who is told of every event when it is appended; one reader, beside those who wait."""
        self._on_news = on_news

    def wake(self) -> None:
        """Let those who wait look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, after: int) -> None:
        """See Reader.wait."""
        if len(self) <= after and not self.is_closed:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def encoded(self, number: int) -> bytes:
        """One event as JSON."""
        known = None if self._encoded is None else self._encoded.get(number)
        if known is None:
            event = self._events[number - self._first]
            event.sequence_number = number
            known = encode_event(event)
            if self._encoded is not None:
                self._encoded[number] = known
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

    def frames(self, first: int, most: int, *, is_padded: bool) -> tuple[bytes, int]:
        """See Reader.frames."""
        pieces: list[bytes] = []
        begin = first - self._first
        events = self._events[begin : begin + most]
        is_kept = self._encoded is not None
        for number, event in enumerate(events, first):
            if is_kept:
                payload = self.encoded(number)
            else:
                event.sequence_number = number
                payload = encode_event(event)
            if is_padded and isinstance(event, DELTAS):
                pieces += (DELTA_HEADS[type(event)], payload[:-1], _PADDINGS[len(event.delta) % _PAD_TO], b"\n\n")
            else:
                pieces += (frame_head(event), payload, b"\n\n")
        return b"".join(pieces), first + len(events)


def padded(payload: bytes, text: str) -> bytes:
    """A delta brought to a multiple of 16 characters, so that its length says little about its text.

    Always the same for the same delta: a resumed stream has the same bytes.
    Source: OpenAI `stream_options.include_obfuscation`.
    """
    return payload[:-1] + _PADDINGS[len(text) % _PAD_TO]
