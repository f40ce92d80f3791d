"""Terminal responses in groups: what queued while one group was written is the next group, one statement each.

What comes alone is written at once; between groups of several the writer rests REST_S, as SQLite's does. A group that
fails is written one by one, so that a row that cannot be stored fails alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import msgspec

from .base import REST_S, Echo, StoredResponse, StoreUnavailable, UsageRow, size_of
from .echoes import AGAIN, NAME, PUT, has_names, names_of
from .responses import COLUMNS, usage_values, values_of

MAX_QUEUED: Final = 10_000
MAX_QUEUED_BYTES: Final = 256 * 1024 * 1024
_MAX_GROUP: Final = 256
_MAX_GROUP_BYTES: Final = 32 * 1024 * 1024
_RESPONSE_TYPES: Final = (
    "text", "text", "text", "text", "text", "bigint", "bigint", "bytea", "bytea", "bytea", "text", "bigint",
)  # fmt: skip
_USAGE_TYPES: Final = ("text", "text", "text", "text", "text", "bigint", "text", *["bigint"] * 6)
_NAME_TYPES: Final = ("text", "text", "bytea", "bytea")
_ECHO_TYPES: Final = ("text", "bytea", "bytea")


def _unnest(types: Sequence[str], first: int) -> str:
    return ", ".join(f"${first + offset}::{kind}[]" for offset, kind in enumerate(types))


def _group() -> str:
    first, rows = 1, list[str]()
    for types in (_RESPONSE_TYPES, _NAME_TYPES, _ECHO_TYPES, _USAGE_TYPES):
        rows.append(f"FROM unnest({_unnest(types, first)})")
        first += len(types)
    responses, names, echoes, lines = rows
    return (
        f"WITH stored AS (INSERT INTO responses ({COLUMNS}) SELECT * {responses}), "
        f"named AS ({NAME} SELECT * {names}), "
        f"echoed AS ({PUT} SELECT *, now_s() {echoes} {AGAIN}) "
        f"INSERT INTO usage SELECT * {lines} ON CONFLICT (response_id) DO NOTHING"
    )


INSERT_GROUP: Final = _group()
Column = list[str | int | bytes | None]


class Save(msgspec.Struct, frozen=True):
    """What is saved together. `echoes`: those that the response names and that may not be there."""

    response: StoredResponse | None
    usage: UsageRow
    echoes: Sequence[Echo]


def columns_of(group: Sequence[Save]) -> list[Column]:
    """The group as arrays for INSERT_GROUP, a column each."""
    responses = [save.response for save in group if save.response is not None]
    # Each once, and in one order, so that nobody waits in a ring.
    echoes = {(save.usage.project, echo.hash): echo.body for save in group for echo in save.echoes}
    return [
        *_turned(map(values_of, responses), len(_RESPONSE_TYPES)),
        *_turned(map(names_of, filter(has_names, responses)), len(_NAME_TYPES)),
        *_turned(((*key, body) for key, body in sorted(echoes.items())), len(_ECHO_TYPES)),
        *_turned((usage_values(save.usage) for save in group), len(_USAGE_TYPES)),
    ]


def _turned(rows: Iterable[Sequence[str | int | bytes | None]], width: int) -> list[Column]:
    """Rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


class Batches:
    """Collects saves while a group is being written. `write` writes one group, all or nothing."""

    def __init__(self, write: Callable[[Sequence[Save]], Awaitable[None]]) -> None:
        self._write = write
        self._queue: deque[tuple[Save, int, asyncio.Future[None]]] = deque()
        self._queued_bytes = 0
        self._task: asyncio.Task[None] | None = None

    async def save(self, save: Save) -> None:
        """Returns once it is committed. Raises StoreUnavailable."""
        size_bytes = size_of(save.response, save.echoes)
        if self._queue and (len(self._queue) >= MAX_QUEUED or self._queued_bytes + size_bytes > MAX_QUEUED_BYTES):
            raise StoreUnavailable(f"the database does not keep up, {len(self._queue)} responses wait")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._queue.append((save, size_bytes, future))
        self._queued_bytes += size_bytes
        if self._task is None:
            self._task = loop.create_task(self._drain(), name="antiphon-postgres-batches")
        await future

    async def close(self) -> None:
        """Returns once what is queued is written."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        try:
            while self._queue:
                group = self._take()
                await self._flush(group)
                if len(group) > 1 or self._queue:
                    await asyncio.sleep(REST_S)
        finally:
            self._task = None
            for _, _, future in self._queue:
                if not future.done():
                    future.set_exception(StoreUnavailable("the store is closed"))

    def _take(self) -> list[tuple[Save, asyncio.Future[None]]]:
        group: list[tuple[Save, asyncio.Future[None]]] = []
        size_bytes = 0
        while self._queue and len(group) < _MAX_GROUP and size_bytes < _MAX_GROUP_BYTES:
            save, size, future = self._queue.popleft()
            self._queued_bytes -= size
            size_bytes += size
            if not future.cancelled():
                group.append((save, future))
        return group

    async def _flush(self, group: Sequence[tuple[Save, asyncio.Future[None]]]) -> None:
        if not group:
            return
        try:
            await self._write([save for save, _ in group])
        except StoreUnavailable as error:
            if len(group) > 1:
                for one in group:
                    await self._flush([one])
                return
            _settle(group[0][1], error)
            return
        for _, future in group:
            _settle(future, None)


def _settle(future: asyncio.Future[None], error: StoreUnavailable | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
