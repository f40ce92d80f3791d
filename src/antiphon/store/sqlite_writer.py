"""One thread that writes, many writes a commit.

The thread takes whatever has queued while the last commit ran, puts it into one transaction, and wakes every waiter of
the group with one call into the loop. If one write of a group fails, the group is rolled back and each is tried alone:
a bad row fails by itself. Nothing lingers to make groups larger.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import apsw

from .base import StoreUnavailable

MAX_GROUP: Final = 512
MAX_QUEUED: Final = 20_000

Work = Callable[[apsw.Connection], object]
Result = tuple["asyncio.Future[object]", object, Exception | None]


class _Job(NamedTuple):
    work: Work
    future: asyncio.Future[object]
    loop: asyncio.AbstractEventLoop


class Writer:
    """Owns the writing connection. `close` writes what is queued and ends the thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._queue: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="antiphon-sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work) -> object:
        """Run `work` in a transaction; returns when it is durable.

        Raises StoreUnavailable, and then nothing was written.

        A caller that stops waiting does not undo the write: it is committed whole or not at all.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        with self._ready:
            if self._is_closing:
                raise StoreUnavailable("the store is closed")
            if len(self._queue) >= MAX_QUEUED:
                raise StoreUnavailable(f"{MAX_QUEUED} writes are waiting already")
            self._queue.append(_Job(work, future, loop))
            self._ready.notify()
        return await future

    def close(self) -> None:
        """Blocks until everything queued is written."""
        with self._ready:
            self._is_closing = True
            self._ready.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._is_closing:
                    self._ready.wait()
                if not self._queue:
                    break
                group = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]
            _wake(group, self._commit(group))
        self._connection.close()

    def _commit(self, group: list[_Job]) -> list[Result]:
        try:
            return self._transaction(group)
        except Exception as error:  # noqa: BLE001 - whatever a write raised belongs to its caller, never to this thread
            if len(group) == 1:
                return [(group[0].future, None, _as_unavailable(error))]
            return [result for job in group for result in self._commit([job])]

    def _transaction(self, group: list[_Job]) -> list[Result]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            results: list[Result] = [(job.future, job.work(connection), None) for job in group]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results


def _as_unavailable(error: Exception) -> Exception:
    if isinstance(error, apsw.Error):
        unavailable = StoreUnavailable(f"the database did not take the write: {error}")
        unavailable.__cause__ = error
        return unavailable
    return error


def _wake(group: list[_Job], results: list[Result]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Result]] = {}
    for job, result in zip(group, results, strict=True):
        by_loop.setdefault(job.loop, []).append(result)
    for loop, mine in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, mine)


def _settle(results: list[Result]) -> None:
    for future, value, error in results:
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
