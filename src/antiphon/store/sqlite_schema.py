"""Opening a SQLite file: connections set up alike, migrations under the database's own lock.

`PRAGMA user_version` is the number of migrations applied. A file from a newer release is refused, never guessed at.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

import apsw

from antiphon.protocol.errors import ConfigError

BUSY_TIMEOUT_MS: Final = 10_000
_MIGRATIONS: Final = "antiphon.store.migrations"


def connect(path: Path) -> apsw.Connection:
    """A connection in WAL mode whose commits are durable when they return. Raises apsw.Error."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def migrations() -> list[str]:
    """The SQL of every migration, in order."""
    folder = resources.files(_MIGRATIONS) / "sqlite"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in files]


def open_migrated(path: Path) -> apsw.Connection:
    """The file's first connection, its schema brought up to date. Raises ConfigError with the way out."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = connect(path)
        _migrate(connection, path)
    except apsw.NotADBError as error:
        raise ConfigError(
            f"{path} is not a SQLite database: move it away or set ANTIPHON_STORE to another file"
        ) from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, OSError) as error:
        raise ConfigError(f"{path} cannot be written: {error}. Set ANTIPHON_DATA to a writable folder") from error
    except apsw.Error as error:
        raise ConfigError(f"{path} cannot be opened: {error}") from error
    return connection


def _migrate(connection: apsw.Connection, path: Path) -> None:
    steps = migrations()
    # IMMEDIATE takes the write lock first: of two processes that start at once, the second finds the work done.
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").get
        if version > len(steps):
            raise ConfigError(
                f"{path} was written by a newer release (schema {version}, this release knows {len(steps)}): "
                "start that release again, or restore a backup from before it"
            )
        for step in steps[version:]:
            connection.execute(step)
        if version < len(steps):
            connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        connection.close()
        raise
