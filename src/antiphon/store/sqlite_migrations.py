"""Steps of the SQLite schema: migrations/sqlite/NNNN_what.sql, applied in order, each once.

The version of a database is the number of its last step, in `PRAGMA user_version`. A step that was released is never
edited: databases that ran it will not run it again.
"""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 does not have: bound values are partly unknown.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from importlib import resources
from typing import Final, NamedTuple

import apsw

from antiphon.protocol.errors import ConfigError

_FOLDER: Final = resources.files("antiphon.store.migrations") / "sqlite"


class Step(NamedTuple):
    """One file: its number and its statements."""

    version: int
    sql: str


def steps() -> tuple[Step, ...]:
    """Every step, in order."""
    names = sorted(file.name for file in _FOLDER.iterdir() if file.name.endswith(".sql"))
    return tuple(Step(int(name[:4]), _FOLDER.joinpath(name).read_text("utf-8")) for name in names)


def migrate(connection: apsw.Connection, path: str) -> None:
    """Bring the database to the newest version in one transaction; a process that comes second finds it done.

    Raises ConfigError if a newer release wrote it, and apsw.Error.
    """
    known = steps()
    newest = known[-1].version
    if _version(connection) == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version > newest:
            raise ConfigError(
                f"{path} has schema version {version} and this release knows {newest}: a newer Antiphon wrote it. "
                "Start that release again, or restore the backup made before it"
            )
        for step in known:
            if step.version > version:
                connection.execute(step.sql)
        connection.pragma("user_version", newest)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: apsw.Connection) -> int:
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    return version
