"""Everything of one store into another, whatever their engines: table by table, in batches of bounded size.

Rows are read by key range and written with ON CONFLICT DO NOTHING, so that an interrupted copy can be run again. Both
servers must be stopped. The installation's secret is not in a store: it has to go along, or keys and sealed content do
not work on the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from antiphon.protocol.errors import ConfigError

from .engine import Row, Script, Sql
from .store import Store

_BATCH_ROWS: Final = 200
_BATCH_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Table:
    """A table, its primary key and its other columns."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def all_columns(self) -> tuple[str, ...]:
        return (*self.key, *self.columns)


def _table(name: str, key: str, columns: str) -> Table:
    return Table(name, tuple(key.split()), tuple(columns.split()))


TABLES: Final = (
    _table("projects", "id", "name created_at"),
    _table("keys", "hash", "id project hint created_at revoked_at"),
    _table("key_projects", "key_id project", ""),
    _table(
        "responses",
        "id",
        "project previous_response_id status model created_at expires_at body input turns "
        "conversation conversation_position",
    ),
    _table("echoes", "project hash", "used_at body"),
    _table("response_echoes", "response_id", "project instructions_hash tools_hash"),
    _table(
        "usage",
        "response_id",
        "project key_id model target created_at status input_tokens cached_tokens cache_write_tokens output_tokens "
        "reasoning_tokens cost_nano_usd",
    ),
    _table(
        "background",
        "id",
        "project key_id request checkpoint queued_at lease_owner lease_until attempts is_cancelled",
    ),
    _table("events", "response_id first", "count lines expires_at"),
    _table("conversations", "id", "project created_at metadata next_position holes removals holder held_until"),
    _table("conversation_items", "conversation position", "id body turn turn_size record carried"),
    _table("prompts", "id", "project name created_at default_version latest_version"),
    _table("prompt_versions", "prompt version", "body created_at"),
    _table(
        "webhook_endpoints", "id", "project name url event_types secret hint created_at updated_at old_secret old_until"
    ),
    _table(
        "webhook_deliveries",
        "id",
        "event_id endpoint project event_type payload created_at attempts next_at state log expires_at",
    ),
    _table("idempotency", "project key", "holder fingerprint held_until expires_at response_id kind answer"),
    _table("rate_limits", "project kind", "full_at"),
)
"""Every table of the schema, those first that others refer to."""


async def copy_store(source: Store, target: Store, *, resume: bool, on_rows: Callable[[str, int], None]) -> int:
    """Copy all rows; how many there are now. `on_rows` hears of each table's progress.

    Raises ConfigError if the target holds something already and `resume` is False, or if rows are missing in the end.
    """
    if not resume and any([await count(target, table) for table in TABLES]):
        raise ConfigError(
            "the target holds data already: name an empty database, or add --resume to go on with a copy that was "
            "interrupted"
        )
    total = 0
    for table in TABLES:
        await _copy_table(source, target, table, on_rows)
        rows, there = await count(source, table), await count(target, table)
        if there < rows:
            raise ConfigError(
                f"{table.name}: {rows} rows to copy and {there} arrived; run the command again with --resume"
            )
        total += there
    return total


async def count(store: Store, table: Table) -> int:
    """How many rows a table has."""

    def script() -> Script[int]:
        rows = yield Sql(f"SELECT count(*) FROM {table.name}")  # noqa: S608 - a name of TABLES
        return int(rows[0][0])

    return await store.engine.read(script)


async def _copy_table(source: Store, target: Store, table: Table, on_rows: Callable[[str, int], None]) -> None:
    last: Row | None = None
    copied = 0
    while rows := await _read(source, table, last):
        await _write(target, table, rows)
        last = rows[-1][: len(table.key)]
        copied += len(rows)
        on_rows(table.name, copied)


async def _read(store: Store, table: Table, after: Row | None) -> list[Row]:
    """The next rows in the order of the key: a batch, or fewer where they are large."""
    keys = ", ".join(table.key)
    order = f"ORDER BY {keys} LIMIT $1"
    if after is None:
        condition, values = "", ()
    else:
        marks = ", ".join(f"${number + 2}" for number in range(len(table.key)))
        condition, values = f"WHERE ({keys}) > ({marks})", tuple(after)
    limit = _BATCH_ROWS

    def script() -> Script[list[Row]]:
        return (
            yield Sql(f"SELECT {', '.join(table.all_columns)} FROM {table.name} {condition} {order}", (limit, *values))  # noqa: S608
        )

    rows = await store.engine.read(script)
    size_bytes = 0
    for position, row in enumerate(rows):
        size_bytes += sum(len(value) for value in row if isinstance(value, bytes))
        if size_bytes > _BATCH_BYTES:
            return rows[: position + 1]
    return rows


async def _write(store: Store, table: Table, rows: Sequence[Row]) -> None:
    names = ", ".join(table.all_columns)
    marks = ", ".join(f"${number + 1}" for number in range(len(table.all_columns)))
    text = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - names of TABLES

    def script() -> Script[None]:
        for row in rows:
            yield Sql(text, tuple(row))

    await store.engine.write(script)
