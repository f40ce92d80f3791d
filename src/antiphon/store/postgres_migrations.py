"""Steps of the PostgreSQL schema: migrations/postgres/NNNN_what.sql, applied in order, each once, under a lock.

A step that was released is never edited: databases that ran it will not run it again.
"""

from __future__ import annotations

from typing import Any, Final

from antiphon.protocol.errors import ConfigError

from .migrations import steps

_LOCK: Final = 0x616E7469  # one number for all Antiphons: processes that start at once migrate one after the other
_VERSION: Final = "SELECT coalesce(max(version), 0) FROM antiphon_schema"


async def migrate(connection: Any, place: str) -> int:  # Any: asyncpg is an extra, and may be absent
    """Bring the database to the newest version in one transaction; how many steps were applied.

    Raises ConfigError if a newer release wrote it.
    """
    known = steps("postgres")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS antiphon_schema (version BIGINT NOT NULL PRIMARY KEY)")
        version: int = await connection.fetchval(_VERSION)
        check_version(version, place)
        due = [step for step in known if step.version > version]
        for step in due:
            await connection.execute(step.sql)
            await connection.execute("INSERT INTO antiphon_schema (version) VALUES ($1)", step.version)
        return len(due)


async def schema_version(connection: Any, place: str) -> int:  # Any: as above
    """The database's version, 0 where there is no schema yet. Raises ConfigError if a newer release wrote it."""
    is_there = await connection.fetchval("SELECT to_regclass('antiphon_schema') IS NOT NULL")
    version: int = await connection.fetchval(_VERSION) if is_there else 0
    check_version(version, place)
    return version


def check_version(version: int, place: str) -> None:
    """Raises ConfigError if a newer release wrote the database."""
    newest = steps("postgres")[-1].version
    if version > newest:
        raise ConfigError(
            f"{place} has schema version {version} and this release knows {newest}: a newer Antiphon wrote it. "
            "Start that release again, or restore the backup made before it"
        )
