"""Steps of the SQLite schema: migrations/sqlite/NNNN_what.sql, applied in order, each once.

The version of a database is the number of its last step, in `PRAGMA user_version`. A step that was released is never
edited: databases that ran it will not run it again.
"""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 does not have: bound values are partly unknown.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import apsw

from antiphon.protocol.errors import ConfigError

from .migrations import steps


def migrate(connection: apsw.Connection, path: str) -> None:
    """Bring the database to the newest version in one transaction; a process that comes second finds it done.

    Raises ConfigError if a newer release wrote it, and apsw.Error.
    """
    known = steps("sqlite")
    newest = newest_version()
    if _version(connection) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = checked_version(connection, path)
        for step in known:
            if step.version > version:
                connection.execute(step.sql)
        connection.pragma("user_version", newest)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def newest_version() -> int:
    """The number of the last step."""
    return steps("sqlite")[-1].version


def checked_version(connection: apsw.Connection, path: str) -> int:
    """The database's version. Raises ConfigError if a newer release wrote it."""
    version, newest = _version(connection), newest_version()
    if version > newest:
        raise ConfigError(
            f"{path} has schema version {version} and this release knows {newest}: a newer Antiphon wrote it. "
            "Start that release again, or restore the backup made before it"
        )
    return version


def _version(connection: apsw.Connection) -> int:
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    return version
