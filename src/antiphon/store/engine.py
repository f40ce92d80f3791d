"""What a database engine does for the store: run scripts, and carry wake-ups between processes.

The store's operations are written once, as scripts: generators that yield statements and are sent their rows. An engine
runs a script in one transaction, on a thread (SQLite) or over a socket (PostgreSQL), so both have the same SQL and the
same meaning. Statements use what the two share: `$1` parameters, RETURNING, ON CONFLICT, recursive CTEs, and the
function `now_s()`, which is the database's own clock in seconds. ` FOR UPDATE SKIP LOCKED` and ` FOR UPDATE` are left
out where a writer is alone anyway. A script may be run more than once: it must have no effect but its statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

import msgspec

from .base import Echo, StoredResponse, UsageRow

T = TypeVar("T")
Value = str | int | float | bytes | None
Row = Sequence[Any]  # Any: a database's values; the columns' types are fixed by the schema
NOW: Final = "now_s()"


class Sql(msgspec.Struct, frozen=True):
    """One statement and its values; `$n` stands for `values[n - 1]`."""

    text: str
    values: tuple[Value, ...] = ()


class Notify(msgspec.Struct, frozen=True):
    """Wake those who watch `topic`, in every process, once the transaction is committed."""

    topic: str


Script = Generator[Sql | Notify, list[Row], T]


class Watch:
    """A wait for wake-ups on one topic. Read after each `wait`: several wake-ups may come as one."""

    def __init__(self, poll_s: float) -> None:
        self._event = asyncio.Event()
        self._poll_s = poll_s

    def wake(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Until a wake-up, or as long as is wise to wait without looking; False when `timeout_s` was shorter."""
        is_short = timeout_s is not None and timeout_s < self._poll_s
        try:
            async with asyncio.timeout(timeout_s if is_short else self._poll_s):
                await self._event.wait()
        except TimeoutError:
            return not is_short
        self._event.clear()
        return True


class Wakes:
    """The watches of this process by topic. `poll_s` is how long another process's wake-up may go unheard."""

    def __init__(self, poll_s: float) -> None:
        self.poll_s = poll_s
        self._watches: dict[str, set[Watch]] = {}

    @contextmanager
    def watch(self, topic: str) -> Generator[Watch]:
        watch = Watch(self.poll_s)
        self._watches.setdefault(topic, set()).add(watch)
        try:
            yield watch
        finally:
            left = self._watches[topic]
            left.discard(watch)
            if not left:
                del self._watches[topic]

    def wake(self, topic: str) -> None:
        for watch in self._watches.get(topic, ()):
            watch.wake()

    def wake_all(self) -> None:
        """Wake-ups may have been missed: everybody looks."""
        for topic in list(self._watches):
            self.wake(topic)


class Engine(Protocol):
    """One database. Every method raises StoreUnavailable when the database cannot serve."""

    @property
    def wakes(self) -> Wakes: ...

    async def read(self, make: Callable[[], Script[T]]) -> T:
        """Run a script that only reads."""
        ...

    async def write(self, make: Callable[[], Script[T]], size_bytes: int = 0) -> T:
        """Run a script in one transaction, durable when this returns. What the script raises undoes it."""
        ...

    async def save(self, response: StoredResponse | None, usage: UsageRow, echoes: Sequence[Echo]) -> None:
        """Insert a terminal response and its ledger line, or the line alone: the hot path, in groups.

        `echoes`: those that it names and that may not be there.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued and release everything. Idempotent."""
        ...


def drive(script: Script[T], run: Callable[[Sql], list[Row]], topics: list[str]) -> T:
    """Run a script on a connection that answers at once; its wake-ups are added to `topics`."""
    try:
        step = next(script)
        while True:
            if isinstance(step, Notify):
                topics.append(step.topic)
                step = script.send([])
            else:
                step = script.send(run(step))
    except StopIteration as stop:
        result: T = stop.value
        return result
