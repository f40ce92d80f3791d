"""Connections to one SQLite file: how they are opened, how they wait for each other, what their errors mean."""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 does not have: bound values are partly unknown.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Final

import apsw

from antiphon.protocol.errors import ConfigError

from .base import StoreUnavailable
from .sqlite_migrations import checked_version, migrate, newest_version

BUSY_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.01

_ADVICE: Final[tuple[tuple[type[apsw.Error], str], ...]] = (
    (apsw.BusyError, f"another process has held it locked for {BUSY_S:.0f} s"),
    (apsw.LockedError, "it is locked"),
    (apsw.FullError, "the disk is full; free space and go on, nothing that was acknowledged is lost"),
    (apsw.ReadOnlyError, "it is read-only; mend the owner or mode of the file and its folder"),
    (apsw.NotADBError, "it is not an SQLite database; name another file, or move this one away"),
    (apsw.CorruptError, "it is damaged; stop the server and restore a backup, or try `sqlite3 FILE .recover`"),
    (apsw.CantOpenError, "it cannot be opened; check the folder, its owner and mode"),
    (apsw.IOError, "the disk reports an input/output error"),
)


def explain(error: Exception, path: str) -> str:
    """One sentence on what is wrong with the file and what helps; SQLite's own words last, they hold no content."""
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return f"{path}: {advice} ({error})"
    return f"{path}: {type(error).__name__} ({error})"


def unavailable(error: Exception, path: str) -> StoreUnavailable:
    """The port's error for an error of the database."""
    return StoreUnavailable(explain(error, path))


def open_writer(path: Path) -> apsw.Connection:
    """The connection that writes, with the schema at its newest version.

    Raises ConfigError if the file cannot be used at all, StoreUnavailable if it is only locked or full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite makes files by the umask and gives -wal and -shm the mode of the main file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be opened: {error.strerror}; mend its owner, or choose another with ANTIPHON_STORE"
        ) from error
    return _prepared(path, apsw.SQLITE_OPEN_READWRITE)


def open_reader(path: Path) -> apsw.Connection:
    """A connection that only reads. Raises as `open_writer`."""
    return _prepared(path, apsw.SQLITE_OPEN_READONLY)


def sqlite_schema(path: Path) -> tuple[int, int]:
    """The file's schema version, 0 if there is no file, and the newest. Raises ConfigError."""
    if not path.exists():
        return 0, newest_version()
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return checked_version(connection, str(path)), newest_version()
        finally:
            connection.close()
    except apsw.Error as error:
        raise ConfigError(explain(error, str(path))) from error


def _prepared(path: Path, flags: int) -> apsw.Connection:
    try:
        connection = apsw.Connection(str(path), flags=flags)
        try:
            _prepare(connection, path, is_writer=flags == apsw.SQLITE_OPEN_READWRITE)
        except BaseException:
            connection.close()
            raise
    except (apsw.BusyError, apsw.LockedError, apsw.FullError) as error:
        raise unavailable(error, str(path)) from error
    except apsw.Error as error:
        raise ConfigError(explain(error, str(path))) from error
    return connection


def _prepare(connection: apsw.Connection, path: Path, *, is_writer: bool) -> None:
    connection.set_busy_handler(_Patience().wait)
    # Else a statement that joins is planned anew for every value that is bound to it (sqlite.org/queryplanner-ng.html).
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    if is_writer:
        _enter_wal(connection)
        connection.pragma("synchronous", "FULL")
        connection.pragma("secure_delete", True)  # what a client deleted is overwritten, not only unlinked
        connection.pragma("journal_size_limit", 64 * 1024 * 1024)
        migrate(connection, str(path))
    connection.pragma("cache_size", -16_384)


def _enter_wal(connection: apsw.Connection) -> None:
    """SQLite does not ask the busy handler while another process changes the journal mode (sqlite.org/wal.html)."""
    patience = _Patience()
    tries = 0
    while True:
        try:
            connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if not patience.wait(tries):
                raise
            tries += 1
        else:
            return


class _Patience:
    """A busy handler that asks often: SQLite's own backs off to 100 ms and starves beside a busy neighbour."""

    def __init__(self) -> None:
        self._deadline = 0.0
        self._pause = threading.Event()

    def wait(self, tries: int) -> bool:
        """Pause; False when BUSY_S have gone since the first try."""
        if tries == 0:
            self._deadline = time.monotonic() + BUSY_S
        self._pause.wait(min(_FIRST_PAUSE_S * (tries + 1), _LONGEST_PAUSE_S))
        return time.monotonic() < self._deadline
