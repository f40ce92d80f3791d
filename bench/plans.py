"""How SQLite goes about the store's statements: those that ran on connections made while this was on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

_PLANNED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


class Plans:
    """What was executed, with the values of the last time."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def note(self, cursor: object, statement: str, bindings: Any) -> bool:
        """An exec tracer of apsw's: everything may run."""
        del cursor
        if statement.lstrip().upper().startswith(_PLANNED):
            self._seen[statement] = bindings
        return True

    def forget(self) -> None:
        """Begin anew: what brought the schema up to date does not count."""
        self._seen.clear()

    def of(self, file: Path) -> dict[str, list[str]]:
        """The statements and the steps of their plans, by the statistics and indexes of this file."""
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        connection.create_scalar_function("now_s", lambda *_: 0.0, 0)
        try:
            return {
                " ".join(statement.split()): [
                    str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", bindings)
                ]
                for statement, bindings in self._seen.items()
            }
        finally:
            connection.close()


@contextmanager
def traced() -> Iterator[Plans]:
    """Connections made inside tell what they execute, as long as they live."""
    plans = Plans()

    def hook(connection: apsw.Connection) -> None:
        connection.exec_trace = plans.note

    apsw.connection_hooks.append(hook)
    try:
        yield plans
    finally:
        apsw.connection_hooks.remove(hook)
