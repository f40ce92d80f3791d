"""One SQLite file, shared by the workers of a machine and the command line.

Must never touch the database on the event loop, and never acknowledge what is not on the disk: writes are committed in
groups under `synchronous=FULL` by one thread (sqlite_threads), reads run beside them on connections of their own.
Other processes of the machine are not told of changes: they look every POLL_S.
Source: decision 0003; sqlite.org/wal.html, lang_with.html.
"""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 does not have: bound values are partly unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeVar

import apsw

from .base import Echo, StoredResponse, UsageRow, size_of
from .engine import Row, Script, Sql, Wakes, drive
from .responses import insert
from .sqlite_connections import open_reader, open_writer
from .sqlite_threads import Lane
from .store import Store

T = TypeVar("T")
POLL_S: Final = 0.1
ALONE_POLL_S: Final = 2.0
_READERS: Final = 2


class SqliteEngine:
    """`Engine` on SQLite. May be used from any event loop of the process."""

    def __init__(self, writer: Lane, readers: Lane, poll_s: float) -> None:
        self.writer = writer
        self.readers = readers
        self.wakes = Wakes(poll_s)

    async def read(self, make: Callable[[], Script[T]]) -> T:
        """Run a script that only reads, on a connection of its own."""
        return await self.readers.run(lambda connection: _run(connection, make(), []))

    async def write(self, make: Callable[[], Script[T]], size_bytes: int = 0) -> T:
        """Run a script on the writer's thread, in the transaction of its group."""
        topics: list[str] = []

        def work(connection: apsw.Connection) -> T:
            topics.clear()
            return _run(connection, make(), topics)

        result = await self.writer.run(work, size_bytes)
        for topic in topics:
            self.wakes.wake(topic)
        return result

    async def save(self, response: StoredResponse | None, usage: UsageRow, echoes: Sequence[Echo]) -> None:
        """Commit all or nothing."""
        await self.writer.run(partial(_save, response, usage, echoes), size_of(response, echoes))

    async def close(self) -> None:
        """Write what is queued, end the threads, close the file. Idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        # Readers first: the last connection to close folds the log into the file, and only the writer may write.
        self.readers.close()
        self.writer.close()


async def open_sqlite(path: Path, *, now: Callable[[], float] = time.time, poll_s: float = POLL_S) -> Store:
    """Open or make the file and bring its schema up to date; `now` is the database's clock.

    `poll_s`: how often to look for what other processes changed; a process that is alone need not look often.

    Raises ConfigError if it cannot be used (no permission, no database, damaged, written by a newer release) and
    StoreUnavailable if it is locked or its disk full.
    """
    return Store(await asyncio.to_thread(_open, path, now, poll_s))


def _open(path: Path, now: Callable[[], float], poll_s: float) -> SqliteEngine:
    opened: list[apsw.Connection] = []
    try:
        opened.append(open_writer(path))
        for _ in range(_READERS):
            opened.append(open_reader(path))  # noqa: PERF401 - those that opened are closed if one does not
        for connection in opened:
            connection.create_scalar_function("now_s", _scalar(now), 0)
    except BaseException:
        for connection in reversed(opened):
            connection.close()
        raise
    writer, readers = Lane(opened[:1], str(path), is_writing=True), Lane(opened[1:], str(path), is_writing=False)
    return SqliteEngine(writer, readers, poll_s)


def _scalar(now: Callable[[], float]) -> Callable[..., float]:
    """The clock as a function that SQL calls."""
    return lambda *_: now()


@cache
def _translated(text: str) -> str:
    """Numbered parameters as SQLite writes them; the one writer locks no rows."""
    return text.replace("$", "?").replace(" FOR UPDATE SKIP LOCKED", "").replace(" FOR UPDATE", "")


def _run(connection: apsw.Connection, script: Script[T], topics: list[str]) -> T:
    return drive(script, partial(_execute, connection), topics)


def _execute(connection: apsw.Connection, statement: Sql) -> list[Row]:
    return [*connection.execute(_translated(statement.text), statement.values)]


def _save(
    response: StoredResponse | None, usage: UsageRow, echoes: Sequence[Echo], connection: apsw.Connection
) -> None:
    _run(connection, insert(response, usage, echoes), [])
