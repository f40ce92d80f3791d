"""EventLog: what a run appends and readers follow. `sequence_number` is the index in the log.

One writer, any number of readers in the same loop. An event is encoded at most once, when the first reader needs it,
and its bytes are shared. The log closes once, with an error (nothing was emitted) or without (the last event is
terminal).
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from antiphon.protocol.errors import ApiError
from antiphon.protocol.events import DELTAS, Event, encode_event, type_of
from antiphon.protocol.sse import frame

_PADDING: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_PAD_TO: Final = 16


class EventLog:
    """The events of one run, in order."""

    def __init__(self) -> None:
        self.error: ApiError | None = None
        self.is_closed = False
        self._events: list[Event] = []
        self._encoded: list[bytes | None] = []
        self._waiters: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._events)

    @property
    def last(self) -> Event | None:
        return self._events[-1] if self._events else None

    def append(self, event: Event) -> None:
        """Add an event and wake the readers; they run when the writer next awaits, so a burst wakes them once."""
        event.sequence_number = len(self._events)
        self._events.append(event)
        self._encoded.append(None)
        self._wake()

    def close(self, error: ApiError | None = None) -> None:
        """No more events. With `error`, the run was refused before its first event."""
        self.error = error
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, after: int, timeout_s: float | None = None) -> bool:
        """Until the log is longer than `after` or closed; False when `timeout_s` passed first."""
        if len(self._events) > after or self.is_closed:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        return True

    def encoded(self, index: int) -> bytes:
        """One event as JSON."""
        known = self._encoded[index]
        if known is None:
            known = self._encoded[index] = encode_event(self._events[index])
        return known

    def frames(self, first: int, end: int, *, is_padded: bool) -> bytes:
        """Events `[first, end)` as server-sent events in one piece, deltas with `obfuscation` if `is_padded`."""
        pieces: list[bytes] = []
        for index in range(first, end):
            event = self._events[index]
            payload = self.encoded(index)
            if is_padded and isinstance(event, DELTAS):
                payload = payload[:-1] + b',"obfuscation":"' + _padding(event.delta) + b'"}'
            pieces.append(frame(type_of(event), payload))
        return b"".join(pieces)


def _padding(text: str) -> bytes:
    """Random characters that bring a delta to a multiple of 16, so that its length says little about its text.

    Source: OpenAI `stream_options.include_obfuscation`.
    """
    length = _PAD_TO - len(text) % _PAD_TO
    return "".join(_PADDING[byte % len(_PADDING)] for byte in secrets.token_bytes(length)).encode()
