"""The threads that talk to SQLite: one that writes in groups, some that read.

    asyncio      submit -> queue ------+                                      +-> futures, one wake-up per loop
    writer       take all that queued -> BEGIN .. SAVEPOINT each .. COMMIT ---+
    readers      take one -> run ---------------------------------------------+

What queued while one group was committed is the next group. Work that comes alone is done at once; while it comes
from several sides the writer rests REST_S between groups, for a group costs its wake-ups and its sync, whatever its
size (measured at eight callers: a quarter of a request's CPU). A piece of work that fails is undone alone; if the group
itself fails, its pieces are tried one by one. A future that was cancelled before its work began is skipped; after that
the work is done whole, whoever waits for it or not.
"""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 does not have: bound values are partly unknown.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

import apsw
import msgspec

from antiphon.protocol.errors import AntiphonError

from .base import REST_S, StoreUnavailable
from .sqlite_connections import unavailable

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]

MAX_QUEUED: Final = 10_000
MAX_QUEUED_BYTES: Final = 256 * 1024 * 1024
_MAX_GROUP: Final = 512

# What a row can do wrong by itself: constraints and types, text that is no UTF-8, integers over 64 bits.
_FAULTS: Final = (apsw.Error, ValueError, TypeError, OverflowError)


class _Job(msgspec.Struct, eq=False):
    work: Work[Any]  # Any: the result goes back through `future`, whose type submit() fixes
    size_bytes: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: object = None
    error: AntiphonError | None = None


class Lane:
    """Threads that take work from one bounded queue. The connections are theirs, and they close them."""

    def __init__(self, connections: Sequence[apsw.Connection], path: str, *, is_writing: bool) -> None:
        self._path = path
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._queued_bytes = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        serve = self._write if is_writing else self._read
        self._threads = [
            threading.Thread(target=self._live, args=(serve, connection), name="antiphon-sqlite", daemon=True)
            for connection in connections
        ]
        self._alive = len(self._threads)
        for thread in self._threads:
            thread.start()

    async def run(self, work: Work[T], size_bytes: int = 0) -> T:
        """Have the work done in the lane. Raises StoreUnavailable, and then it left nothing behind."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(work, size_bytes, loop, future)
        with self._lock:
            if self._closing.is_set() or not self._alive:
                raise StoreUnavailable(f"{self._path}: the store is closed")
            queued = self._queue.qsize()
            if queued and (queued >= MAX_QUEUED or self._queued_bytes + size_bytes > MAX_QUEUED_BYTES):
                raise StoreUnavailable(f"{self._path}: the disk does not keep up, {queued} operations wait")
            self._queue.put(job)
            self._queued_bytes += size_bytes
        return await future

    def close(self) -> None:
        """Finish what is queued and end the threads. Blocks; idempotent."""
        with self._lock:
            self._closing.set()
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _take(self, most: int) -> list[_Job]:
        """Up to `most` jobs, waiting for the first; none when the lane is closed and empty."""
        taken: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            taken.append(job)
            if len(taken) == most or (job := self._next()) is None:
                break
        size_bytes = sum([job.size_bytes for job in taken])
        with self._lock:
            self._queued_bytes -= size_bytes
        return taken

    def _next(self) -> _Job | None:
        """A job that waits already."""
        try:
            job = self._queue.get_nowait()
        except Empty:
            return None
        if job is None:
            self._queue.put(None)  # the end, for the next look
        return job

    def _live(self, serve: Callable[[apsw.Connection], None], connection: apsw.Connection) -> None:
        try:
            serve(connection)
        finally:
            connection.close()
            self._leave()

    def _leave(self) -> None:
        """The last thread out fails what nobody will serve, so that a bug here hangs no one."""
        left: list[_Job] = []
        with self._lock:
            self._alive -= 1
            if not self._alive:
                while job := self._next():
                    left.append(job)
        for job in left:
            job.error = StoreUnavailable(f"{self._path}: the store is closed")
        _deliver(left)

    def _read(self, connection: apsw.Connection) -> None:
        while jobs := self._take(1):
            try:
                self._attempt(jobs[0], connection)
            finally:
                _deliver(jobs)

    def _write(self, connection: apsw.Connection) -> None:
        while jobs := self._take(_MAX_GROUP):
            live = [job for job in jobs if not job.future.cancelled()]
            try:
                self._commit(live, connection)
            finally:
                _deliver(live)
            if len(jobs) > 1 or not self._queue.empty():
                self._closing.wait(REST_S)

    def _commit(self, jobs: list[_Job], connection: apsw.Connection) -> None:
        """One transaction for all; each alone if that fails, so that one bad row or a full disk costs only its own."""
        try:
            self._transact(jobs, connection)
        except apsw.Error as error:
            if len(jobs) == 1:
                jobs[0].error = unavailable(error, self._path)
                return
            if isinstance(error, apsw.BusyError):  # each alone would wait as long again
                for job in jobs:
                    job.error = unavailable(error, self._path)
                return
            for job in jobs:
                self._commit([job], connection)

    def _transact(self, jobs: list[_Job], connection: apsw.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                job.error = None
                connection.execute("SAVEPOINT job")
                self._attempt(job, connection)
                if not connection.in_transaction:  # SQLite undid it all: disk full, I/O error, no memory
                    raise apsw.FullError(str(job.error))
                if job.error is not None:
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _attempt(self, job: _Job, connection: apsw.Connection) -> None:
        try:
            job.result = job.work(connection)
        except AntiphonError as error:  # the work's own refusal: undone like a fault, and told as it is
            job.error = error
        except _FAULTS as error:
            job.error = unavailable(error, self._path)


def _deliver(jobs: Sequence[_Job]) -> None:
    """Wake each event loop once for all of its futures."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, done in by_loop.items():
        if not loop.is_closed():
            _wake(loop, done)


def _wake(loop: asyncio.AbstractEventLoop, jobs: list[_Job]) -> None:
    try:
        loop.call_soon_threadsafe(_resolve, jobs)
    except RuntimeError:  # the loop closed meanwhile: nobody waits any more
        return


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
