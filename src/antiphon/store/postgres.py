"""One PostgreSQL database, shared by every replica.

Scripts run in a transaction on a pooled connection; finished responses are inserted in groups (postgres_batches).
Wake-ups travel by LISTEN/NOTIFY on one channel; while that connection is down, everybody looks every POLL_S.
asyncpg is an extra: `pip install 'antiphon[postgres]'`.
"""

# asyncpg's functions have no annotations; what crosses this module's border has.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from antiphon.protocol.errors import ConfigError

from .base import Echo, StoredResponse, StoreUnavailable, UsageRow
from .engine import Notify, Row, Script, Sql, Wakes
from .migrations import steps
from .postgres_batches import INSERT_GROUP, Batches, Save, columns_of
from .postgres_migrations import migrate, schema_version
from .store import Store

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
logger: Final = logging.getLogger("antiphon.store")
POLL_S: Final = 2.0
CHANNEL: Final = "antiphon"
_POOL: Final = 10
_COMMAND_S: Final = 30.0
_MIGRATE_S: Final = 3600.0
_CONNECT_S: Final = 10
_RELISTEN_S: Final = 1.0
_TRIES: Final = 3


class PostgresEngine:
    """`Engine` on PostgreSQL. Belongs to the event loop that opened it."""

    def __init__(self, url: str, pool: asyncpg.Pool) -> None:
        self.wakes = Wakes(POLL_S)
        self._url = url
        self._place = place_of(url)
        self._pool = pool
        self._batches = Batches(self._insert)
        self._is_closed = False
        self._listener = asyncio.get_running_loop().create_task(self._listen(), name="antiphon-postgres-listen")

    async def read(self, make: Callable[[], Script[T]]) -> T:
        """Run a script that only reads; each statement sees what was committed before it."""
        return await self._attempt(make, is_writing=False)

    async def write(self, make: Callable[[], Script[T]], size_bytes: int = 0) -> T:
        """Run a script in one transaction; again if it and another stood in each other's way."""
        del size_bytes
        return await self._attempt(make, is_writing=True)

    async def save(self, response: StoredResponse | None, usage: UsageRow, echoes: Sequence[Echo]) -> None:
        """Commit all or nothing, together with what others save at this moment."""
        self._check_open()
        await self._batches.save(Save(response, usage, echoes))

    async def close(self) -> None:
        """Finish what is queued and give the connections back. Idempotent."""
        if self._is_closed:
            return
        await self._batches.close()
        self._is_closed = True
        self._listener.cancel()
        await asyncio.wait([self._listener])
        await self._pool.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable(f"{self._place}: the store is closed")

    async def _attempt(self, make: Callable[[], Script[T]], *, is_writing: bool) -> T:
        import asyncpg

        self._check_open()
        conflicts: tuple[type[Exception], ...] = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
        if not is_writing:  # a read may be asked again on another connection; of a write nobody knows what became
            conflicts += (asyncpg.ConnectionDoesNotExistError, asyncpg.InternalClientError, OSError)
        for attempt in range(_TRIES):
            try:
                async with self._pool.acquire(timeout=_CONNECT_S) as connection:
                    if not is_writing:
                        return await _run(connection, make())
                    async with connection.transaction():
                        return await _run(connection, make())
            except conflicts as error:
                if attempt == _TRIES - 1:
                    raise self._unavailable(error) from error
            except _faults() as error:
                raise self._unavailable(error) from error
        raise AssertionError("the last try returns or raises")

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        # PostgreSQL's own words name the constraint, never the row.
        return StoreUnavailable(f"{self._place}: {type(error).__name__} ({str(error).splitlines()[:1]})")

    async def _insert(self, group: Sequence[Save]) -> None:
        try:
            async with self._pool.acquire(timeout=_CONNECT_S) as connection:
                await connection.execute(INSERT_GROUP, *columns_of(group))
        except _faults() as error:
            raise self._unavailable(error) from error

    async def _listen(self) -> None:
        """Keep one connection that hears; whoever waits looks by itself while there is none."""
        while True:
            try:
                await self._hear()
            except _faults() as error:
                logger.warning("not listening", extra={"store": self._place, "reason": type(error).__name__})
            self.wakes.wake_all()
            await asyncio.sleep(_RELISTEN_S)

    async def _hear(self) -> None:
        import asyncpg

        ended = asyncio.Event()
        connection = await asyncpg.connect(self._url, timeout=_CONNECT_S, command_timeout=_COMMAND_S)
        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(CHANNEL, self._on_notify)
            self.wakes.wake_all()  # what was told before we listened
            await ended.wait()
        finally:
            connection.terminate()

    def _on_notify(self, connection: object, pid: int, channel: str, payload: object) -> None:
        del connection, pid, channel
        self.wakes.wake(str(payload))


async def _run(connection: Any, script: Script[T]) -> T:  # Any: asyncpg's pool proxies have no type of their own
    try:
        step = next(script)
        while True:
            if isinstance(step, Notify):
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, step.topic)
                step = script.send([])
            else:
                step = script.send(await _fetch(connection, step))
    except StopIteration as stop:
        result: T = stop.value
        return result


async def _fetch(connection: Any, statement: Sql) -> list[Row]:  # Any: as above
    rows: list[Row] = [tuple(record) for record in await connection.fetch(statement.text, *statement.values)]
    return rows


def _faults() -> tuple[type[Exception], ...]:
    import asyncpg

    # ValueError covers values that cannot be encoded (text that is no Unicode, integers over 64 bits).
    # InternalClientError is what asyncpg says when a connection ends under a statement being prepared.
    return (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
        ValueError,
    )


def place_of(url: str) -> str:
    """The database without its password."""
    parts = urlsplit(url)
    return f"postgresql://{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"


async def open_postgres(url: str) -> Store:
    """Connect, and bring the schema up to date. Raises ConfigError, with the way out."""
    async with _connected(url) as connection:
        await migrate(connection, place_of(url))
    import asyncpg

    try:
        pool = await asyncpg.create_pool(
            url, min_size=1, max_size=_POOL, timeout=_CONNECT_S, command_timeout=_COMMAND_S
        )
    except _faults() as error:
        raise _unusable(url, error) from error
    return Store(PostgresEngine(url, pool))


async def postgres_schema(url: str) -> tuple[int, int]:
    """The database's schema version, 0 where there is none yet, and the newest. Raises ConfigError."""
    async with _connected(url) as connection:
        return await schema_version(connection, place_of(url)), steps("postgres")[-1].version


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[Any]:  # Any: asyncpg's connections are not typed
    """One connection for a task of the operator's. Raises ConfigError for everything that goes wrong in it."""
    try:
        import asyncpg
    except ImportError as error:
        raise ConfigError("the store is PostgreSQL, which needs asyncpg: pip install 'antiphon[postgres]'") from error
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_S, command_timeout=_MIGRATE_S)
        try:
            yield connection
        finally:
            await connection.close()
    except _faults() as error:
        raise _unusable(url, error) from error


def _unusable(url: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{place_of(url)} cannot be used: {type(error).__name__} ({error}); check the address, the user and password "
        "in ANTIPHON_STORE, and that the user may create tables"
    )
