"""The recorded events of a background response, followed from any process, by the signature of the local log.

    async with follow(store, project, response_id, after) as log:
        await log.wait(after); log.frames(after, most, ...)

Only what is recorded is ever shown, so a reader never saw what a lost worker did not leave behind. What was sent is
forgotten: the memory of a reader is one batch.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from antiphon.protocol.errors import ApiError
from antiphon.protocol.events import DELTA_TYPES, TERMINAL_TYPES
from antiphon.protocol.sse import frame
from antiphon.store.background import topic_of
from antiphon.store.engine import Watch
from antiphon.store.store import Store

from .log import padded


class _Peek(msgspec.Struct, frozen=True):
    type: str
    delta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_peek: Final = msgspec.json.Decoder(_Peek).decode
_text: Final = msgspec.json.Decoder(str).decode


@asynccontextmanager
async def follow(store: Store, project: str, response_id: str, after: int = 0) -> AsyncGenerator[StoredLog]:
    """The events of a response from sequence number `after` on, as they are recorded."""
    with store.watch(topic_of(response_id)) as watch:
        yield StoredLog(store, watch, project, response_id, after)


class StoredLog:
    """Implements `Reader` on the store."""

    def __init__(self, store: Store, watch: Watch, project: str, response_id: str, after: int) -> None:
        self.error: ApiError | None = None
        self.is_closed = False
        self._store = store
        self._watch = watch
        self._project = project
        self._id = response_id
        self._first = after
        self._lines: list[bytes] = []

    def __len__(self) -> int:
        return self._first + len(self._lines)

    async def wait(self, after: int) -> None:
        """See Reader.wait; events before `after` are forgotten. A response that was deleted ends its log."""
        self._forget(after)
        while True:
            await self._load()
            if len(self) > after or self.is_closed:
                return
            await self._watch.wait()

    def close(self) -> None:
        """Nobody reads any more: who waits is let go."""
        self.is_closed = True
        self._watch.wake()

    def _forget(self, before: int) -> None:
        if before > self._first:
            del self._lines[: before - self._first]
            self._first = before

    async def _load(self) -> None:
        if self.is_closed:
            return
        # Asked before the events are: what is over then has all its events recorded.
        status = await self._store.status(self._project, self._id)
        batches = await self._store.events(self._id, len(self))
        if not batches and status not in ("queued", "in_progress"):
            self.is_closed = True  # nothing comes after the cursor, or the response was deleted
        for batch in batches:
            lines = batch.lines.split(b"\n")[len(self) - batch.first :]
            self._lines += lines
            if lines and _peek(lines[-1]).type in TERMINAL_TYPES:
                self.is_closed = True

    def payloads(self, first: int, end: int) -> list[bytes]:
        """See Reader.payloads."""
        return self._lines[first - self._first : end - self._first]

    def frames(self, first: int, most: int, *, is_padded: bool) -> tuple[bytes, int]:
        """See Reader.frames: the same bytes as the log that the events were recorded from."""
        lines = self.payloads(first, first + most)
        return b"".join(frame_of(line, is_padded=is_padded) for line in lines), first + len(lines)


def frame_of(payload: bytes, *, is_padded: bool) -> bytes:
    """One recorded event as a server-sent event."""
    event = _peek(payload)
    if is_padded and event.type in DELTA_TYPES and isinstance(event.delta, msgspec.Raw):
        payload = padded(payload, _text(event.delta))
    return frame(event.type, payload)
