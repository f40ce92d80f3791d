"""The store on one SQLite file: a writer thread with group commit, readers on connections of their own.

WAL lets every reader see the last commit while the writer works, in this process and in others on the same file.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import apsw

from .base import KeyRow, StoredResponse, StoreUnavailable, UsageRow
from .sqlite_schema import connect, open_migrated
from .sqlite_writer import Writer

T = TypeVar("T")

_READERS: Final = 2
_COLUMNS: Final = "id, project, previous_response_id, status, model, created_at, expires_at, body, input, turns"
_INSERT_RESPONSE: Final = f"INSERT INTO responses ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 - constants
_INSERT_USAGE: Final = "INSERT INTO usage VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
_LIVE: Final = "r.project = :project AND (r.expires_at IS NULL OR r.expires_at > :now)"
_LOAD: Final = f"SELECT {_COLUMNS} FROM responses r WHERE r.id = :id AND {_LIVE}"  # noqa: S608 - constants
_CHAIN: Final = f"""
WITH RECURSIVE chain (depth, row, previous) AS (
    SELECT 0, r.rowid, r.previous_response_id FROM responses r WHERE r.id = :id AND {_LIVE}
    UNION ALL
    SELECT depth + 1, r.rowid, r.previous_response_id FROM chain
    JOIN responses r ON r.id = chain.previous AND {_LIVE}
)
SELECT {_COLUMNS} FROM chain JOIN responses ON responses.rowid = chain.row ORDER BY depth DESC
"""  # noqa: S608 - constants
_PURGE: Final = """
DELETE FROM responses
WHERE rowid IN (SELECT rowid FROM responses WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""
_KEY_COLUMNS: Final = "k.id, k.project, p.name, k.hash, k.hint, k.created_at, k.revoked_at"
_KEYS: Final = f"SELECT {_KEY_COLUMNS} FROM keys k JOIN projects p ON p.id = k.project"  # noqa: S608 - constants


class SqliteStore:
    """Implements `Store`. Make one with `open`."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._writer = Writer(connection)
        self._readers = ThreadPoolExecutor(_READERS, "antiphon-sqlite-reader")
        self._local = threading.local()
        self._is_closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open and migrate. Raises ConfigError that names the file and the way out."""
        return cls(path, await asyncio.to_thread(open_migrated, path))

    async def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._with_reader, work)
        except apsw.Error as error:
            raise StoreUnavailable(f"the database did not answer: {error}") from error

    def _with_reader(self, work: Callable[[apsw.Connection], T]) -> T:
        connection = getattr(self._local, "connection", None)
        if not isinstance(connection, apsw.Connection):
            connection = self._local.connection = connect(self._path)
        return work(connection)

    async def save(self, response: StoredResponse | None, usage: UsageRow) -> None:
        """See `Store.save`."""

        def work(connection: apsw.Connection) -> None:
            if response is not None:
                connection.execute(_INSERT_RESPONSE, _response_row(response))
            connection.execute(_INSERT_USAGE, _usage_row(usage))

        await self._writer.write(work)

    async def load(self, project: str, response_id: str) -> StoredResponse | None:
        """See `Store.load`."""
        parameters = {"id": response_id, "project": project, "now": int(time.time())}
        rows = await self._read(lambda connection: list(connection.execute(_LOAD, parameters)))
        return _response(rows[0]) if rows else None

    async def chain(self, project: str, response_id: str) -> list[StoredResponse] | None:
        """See `Store.chain`."""
        parameters = {"id": response_id, "project": project, "now": int(time.time())}
        rows = await self._read(lambda connection: list(connection.execute(_CHAIN, parameters)))
        links = [_response(row) for row in rows]
        return links if links and links[0].previous_response_id is None else None

    async def delete(self, project: str, response_id: str) -> bool:
        """See `Store.delete`."""
        query = "DELETE FROM responses WHERE id = ? AND project = ?"

        def work(connection: apsw.Connection) -> bool:
            connection.execute(query, (response_id, project))
            return connection.changes() > 0

        return bool(await self._writer.write(work))

    async def purge(self, now: int, limit: int = 1000) -> int:
        """See `Store.purge`."""

        def work(connection: apsw.Connection) -> int:
            connection.execute(_PURGE, (now, limit))
            return connection.changes()

        purged = await self._writer.write(work)
        return purged if isinstance(purged, int) else 0

    async def add_key(self, key: KeyRow) -> None:
        """See `Store.add_key`."""

        def work(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO projects VALUES (?,?,?) ON CONFLICT DO NOTHING",
                (key.project, key.project_name, key.created_at),
            )
            connection.execute(
                "INSERT INTO keys (hash, id, project, hint, created_at, revoked_at) VALUES (?,?,?,?,?,?)",
                (key.hash, key.id, key.project, key.hint, key.created_at, key.revoked_at),
            )

        await self._writer.write(work)

    async def find_key(self, key_hash: str) -> KeyRow | None:
        """See `Store.find_key`."""
        query = f"{_KEYS} WHERE k.hash = ?"
        rows = await self._read(lambda connection: list(connection.execute(query, (key_hash,))))
        return _key(rows[0]) if rows else None

    async def list_keys(self) -> list[KeyRow]:
        """See `Store.list_keys`."""
        query = f"{_KEYS} ORDER BY k.created_at, k.id"
        return [_key(row) for row in await self._read(lambda connection: list(connection.execute(query)))]

    async def project_id(self, name: str) -> str | None:
        """See `Store.project_id`."""
        query = "SELECT id FROM projects WHERE name = ?"
        rows = await self._read(lambda connection: list(connection.execute(query, (name,))))
        return _text(rows[0][0]) if rows else None

    async def revoke_key(self, key_id: str, now: int) -> bool:
        """See `Store.revoke_key`."""

        def work(connection: apsw.Connection) -> bool:
            connection.execute("UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (now, key_id))
            return connection.changes() > 0

        return bool(await self._writer.write(work))

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._read(lambda connection: list(connection.execute("SELECT 1 FROM responses LIMIT 1")))

    async def close(self) -> None:
        """See `Store.close`."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.shutdown)


Value = None | int | float | str | bytes
Row = tuple[Value, ...]


def _response_row(response: StoredResponse) -> tuple[Value, ...]:
    return (
        response.id,
        response.project,
        response.previous_response_id,
        response.status,
        response.model,
        response.created_at,
        response.expires_at,
        response.body,
        response.input,
        response.turns,
    )


def _usage_row(usage: UsageRow) -> tuple[Value, ...]:
    return (
        usage.response_id,
        usage.project,
        usage.key_id,
        usage.model,
        usage.target,
        usage.created_at,
        usage.status,
        usage.input_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )


def _text(value: Value) -> str:
    assert isinstance(value, str), "STRICT tables hold the type they declare"
    return value


def _number(value: Value) -> int:
    assert isinstance(value, int), "STRICT tables hold the type they declare"
    return value


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes), "STRICT tables hold the type they declare"
    return value


def _response(row: Row) -> StoredResponse:
    return StoredResponse(
        id=_text(row[0]),
        project=_text(row[1]),
        previous_response_id=None if row[2] is None else _text(row[2]),
        status=_text(row[3]),
        model=_text(row[4]),
        created_at=_number(row[5]),
        expires_at=None if row[6] is None else _number(row[6]),
        body=_bytes(row[7]),
        input=_bytes(row[8]),
        turns=_bytes(row[9]),
    )


def _key(row: Row) -> KeyRow:
    revoked_at = None if row[6] is None else _number(row[6])
    return KeyRow(
        _text(row[0]), _text(row[1]), _text(row[2]), _text(row[3]), _text(row[4]), _number(row[5]), revoked_at
    )
