"""The store on one SQLite file, shared by the workers of a machine and the command line.

Must never touch the database on the event loop, and never acknowledge what is not on the disk: writes are committed in
groups under `synchronous=FULL` by one thread (sqlite_threads), reads run beside them on connections of their own.
Source: decision 0003; sqlite.org/wal.html, lang_with.html.
"""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 does not have: bound values are partly unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from .base import KeyRow, StoredResponse, UsageRow
from .sqlite_connections import open_reader, open_writer
from .sqlite_threads import Lane

_READERS: Final = 2
_LONGEST_CHAIN: Final = 100_000

_COLUMNS: Final = "id, project, previous_response_id, status, model, created_at, expires_at, body, input, turns"
_KEY_COLUMNS: Final = "k.id, k.project, p.name, k.hash, k.hint, k.created_at, k.revoked_at"
_ALIVE: Final = "(expires_at IS NULL OR expires_at > :now)"

# Constants of this module stand in these texts, never a value: values are bound.
_INSERT_RESPONSE: Final = f"INSERT INTO responses ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608

# The first line of a response stands: a run that is cut while its save is under way meters itself again.
_INSERT_USAGE: Final = """
    INSERT INTO usage (response_id, project, key_id, model, target, created_at, status,
                       input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (response_id) DO NOTHING"""

_LOAD: Final = f"SELECT {_COLUMNS} FROM responses WHERE id = :id AND project = :project AND {_ALIVE}"  # noqa: S608

_CHAIN: Final = f"""
    WITH RECURSIVE link (depth, row, previous) AS (
        SELECT 0, rowid, previous_response_id FROM responses WHERE id = :id AND project = :project AND {_ALIVE}
        UNION ALL
        SELECT depth + 1, responses.rowid, previous_response_id
        FROM link CROSS JOIN responses ON responses.id = link.previous
        WHERE project = :project AND {_ALIVE} AND depth < {_LONGEST_CHAIN}
    )
    SELECT {_COLUMNS} FROM link CROSS JOIN responses ON responses.rowid = link.row ORDER BY depth DESC"""  # noqa: S608

_DELETE: Final = f"DELETE FROM responses WHERE id = :id AND project = :project AND {_ALIVE}"  # noqa: S608

_PURGE: Final = """
    DELETE FROM responses WHERE rowid IN (
        SELECT rowid FROM responses WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"""

_INSERT_PROJECT: Final = "INSERT INTO projects (id, name, created_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"

# The project is taken by its name: of two processes that make it at once, one has the id that stands.
_INSERT_KEY: Final = """
    INSERT INTO keys (id, project, hash, hint, created_at, revoked_at)
    SELECT ?, id, ?, ?, ?, ? FROM projects WHERE name = ?
    ON CONFLICT (hash) DO NOTHING"""

_KEYS: Final = f"SELECT {_KEY_COLUMNS} FROM keys k JOIN projects p ON p.id = k.project"  # noqa: S608
_REVOKE: Final = "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"

Row = tuple[Any, ...]  # Any: SQLite's values; the columns' types are STRICT in the schema


class SqliteStore:
    """`Store` on SQLite. May be used from any event loop of the process."""

    def __init__(self, writer: Lane, readers: Lane, now: Callable[[], float]) -> None:
        self._writer = writer
        self._readers = readers
        self._now = now

    @classmethod
    async def open(cls, path: Path, *, now: Callable[[], float] = time.time) -> SqliteStore:
        """Open or make the file and bring its schema up to date.

        Raises ConfigError if it cannot be used (no permission, no database, damaged, written by a newer release) and
        StoreUnavailable if it is locked or its disk full.
        """
        return await asyncio.to_thread(cls._open, path, now)

    @classmethod
    def _open(cls, path: Path, now: Callable[[], float]) -> SqliteStore:
        writing = open_writer(path)
        reading: list[apsw.Connection] = []
        try:
            for _ in range(_READERS):
                reading.append(open_reader(path))  # noqa: PERF401 - those that opened are closed if one does not
        except BaseException:
            for connection in (*reading, writing):
                connection.close()
            raise
        return cls(Lane([writing], str(path), is_writing=True), Lane(reading, str(path), is_writing=False), now)

    async def save(self, response: StoredResponse | None, usage: UsageRow) -> None:
        """Commit both or neither. A second ledger line for one response is ignored; the first stands."""
        line = _usage_values(usage)
        stored = None if response is None else _response_values(response)

        def write(connection: apsw.Connection) -> None:
            if stored is not None:
                connection.execute(_INSERT_RESPONSE, stored)
            connection.execute(_INSERT_USAGE, line)

        size = 0 if response is None else len(response.body) + len(response.input) + len(response.turns)
        await self._writer.run(write, size)

    async def load(self, project: str, response_id: str) -> StoredResponse | None:
        """One response, or None."""
        rows = await self._select(_LOAD, self._key(project, response_id))
        return StoredResponse(*rows[0]) if rows else None

    async def chain(self, project: str, response_id: str) -> list[StoredResponse] | None:
        """The response and all it follows, oldest first, or None if a link is missing."""
        rows = await self._select(_CHAIN, self._key(project, response_id))
        chain = [StoredResponse(*row) for row in rows]
        # The walk ends where a link is absent, deleted, expired or foreign: then the oldest still names another.
        return chain if chain and chain[0].previous_response_id is None else None

    async def delete(self, project: str, response_id: str) -> bool:
        """Remove the response, body and all; False if it was not there."""
        key = self._key(project, response_id)
        return await self._writer.run(lambda connection: _changes(connection, _DELETE, key)) > 0

    async def purge(self, now: int, limit: int = 1000) -> int:
        """Remove up to `limit` responses that have expired at `now`; how many went."""
        return await self._writer.run(lambda connection: _changes(connection, _PURGE, (now, limit)))

    async def add_key(self, key: KeyRow) -> None:
        """Store a key, and its project if it is new. A key whose hash is stored already is left as it is."""

        def write(connection: apsw.Connection) -> None:
            connection.execute(_INSERT_PROJECT, (key.project, key.project_name, key.created_at))
            row = (key.id, key.hash, key.hint, key.created_at, key.revoked_at, key.project_name)
            connection.execute(_INSERT_KEY, row)

        await self._writer.run(write)

    async def find_key(self, key_hash: str) -> KeyRow | None:
        """The key with this full hash, revoked or not."""
        rows = await self._select(_KEYS + " WHERE k.hash = ?", (key_hash,))
        return KeyRow(*rows[0]) if rows else None

    async def list_keys(self) -> list[KeyRow]:
        """Every key, oldest first."""
        return [KeyRow(*row) for row in await self._select(_KEYS + " ORDER BY k.created_at, k.id", ())]

    async def project_id(self, name: str) -> str | None:
        """The id of a project by its name."""
        rows = await self._select("SELECT id FROM projects WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    async def revoke_key(self, key_id: str, now: int) -> bool:
        """Mark a key revoked; False if there is none by that id or it already was."""
        return await self._writer.run(lambda connection: _changes(connection, _REVOKE, (now, key_id))) > 0

    async def ping(self) -> None:
        """Ask for a write lock and for a row. Raises StoreUnavailable when one of them is not to be had."""
        await self._writer.run(lambda connection: None)
        await self._select("SELECT 1 FROM responses LIMIT 1", ())

    async def close(self) -> None:
        """Write what is queued, end the threads, close the file. Idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        # Readers first: the last connection to close folds the log into the file, and only the writer may write.
        self._readers.close()
        self._writer.close()

    def _key(self, project: str, response_id: str) -> dict[str, str | int]:
        return {"id": response_id, "project": project, "now": int(self._now())}

    async def _select(self, sql: str, values: dict[str, str | int] | tuple[str, ...]) -> list[Row]:
        return await self._readers.run(lambda connection: connection.execute(sql, values).fetchall())


def _changes(connection: apsw.Connection, sql: str, values: dict[str, str | int] | tuple[int | str, ...]) -> int:
    connection.execute(sql, values)
    return connection.changes()


def _response_values(row: StoredResponse) -> tuple[str | int | bytes | None, ...]:
    return (
        row.id,
        row.project,
        row.previous_response_id,
        row.status,
        row.model,
        row.created_at,
        row.expires_at,
        row.body,
        row.input,
        row.turns,
    )


def _usage_values(row: UsageRow) -> tuple[str | int, ...]:
    return (
        row.response_id,
        row.project,
        row.key_id,
        row.model,
        row.target,
        row.created_at,
        row.status,
        row.input_tokens,
        row.cached_tokens,
        row.cache_write_tokens,
        row.output_tokens,
        row.reasoning_tokens,
    )
