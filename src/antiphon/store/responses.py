"""Responses and their ledger: load, chain, delete, purge, and the end of a run in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from .base import Chain, Echo, Removals, StoredResponse, UsageRow, UsageSum, check_context
from .echoes import ECHO_COLUMNS, name_echoes, put, whole
from .engine import Engine, Row, Script, Sql

COLUMNS: Final = (
    "id, project, previous_response_id, status, model, created_at, expires_at, body, input, turns, "
    "conversation, conversation_position"
)
_QUALIFIED: Final = ", ".join(f"r.{name}" for name in COLUMNS.split(", "))
_ALIVE: Final = "(expires_at IS NULL OR expires_at > now_s())"
_LONGEST_CHAIN: Final = 100_000
_depth: Final = itemgetter(-4)

# Constants of this module stand in these texts, never a value: values are bound.
INSERT_RESPONSE: Final = f"INSERT INTO responses ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"  # noqa: S608

_USAGE_COLUMNS: Final = (
    "response_id, project, key_id, model, target, created_at, status, "
    "input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano_usd"
)

# The first line of a response stands: a run that is cut while its save is under way meters itself again.
INSERT_USAGE: Final = f"""
    INSERT INTO usage ({_USAGE_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (response_id) DO NOTHING"""  # noqa: S608

_LOAD: Final = f"""
    SELECT {COLUMNS}, {ECHO_COLUMNS} FROM responses r WHERE id = $1 AND project = $2 AND {_ALIVE}"""  # noqa: S608

# A walk asks for the time once, not for every row.
_ALIVE_LINK: Final = "(r.expires_at IS NULL OR r.expires_at > (SELECT now_s()))"
_COUNT: Final = "COALESCE((SELECT count FROM removals WHERE project = $1), 0), (SELECT now_s())"

# The size of a value is told by its row: it is not read. One link may be larger than what is left to it.
_SIZE: Final = "length(r.body) + length(r.input) + length(r.turns)"

_CHAIN: Final = f"""
    WITH RECURSIVE link (depth, id, previous, size) AS (
        SELECT 0, r.id, r.previous_response_id, CAST({_SIZE} AS BIGINT)
        FROM responses r WHERE r.id = $2 AND r.project = $1 AND {_ALIVE_LINK}
        UNION ALL
        SELECT link.depth + 1, r.id, r.previous_response_id, link.size + {_SIZE}
        FROM link JOIN responses r ON r.id = link.previous
        WHERE r.project = $1 AND {_ALIVE_LINK} AND link.depth < $4
            AND link.size <= $5
    )
    SELECT {_QUALIFIED}, link.depth, link.size, {_COUNT} FROM link JOIN responses r ON r.id = link.id
    WHERE link.depth >= $3 OR link.previous IS NULL"""  # noqa: S608

_DELETE: Final = f"DELETE FROM responses WHERE id = $1 AND project = $2 AND {_ALIVE} RETURNING id"  # noqa: S608

_SUMS: Final = """
    SELECT p.name, u.target, COUNT(*), SUM(u.input_tokens), SUM(u.cached_tokens), SUM(u.output_tokens),
        COALESCE(SUM(u.cost_nano_usd), 0), COUNT(*) - COUNT(u.cost_nano_usd)
    FROM usage u JOIN projects p ON p.id = u.project
    WHERE u.created_at >= $1 GROUP BY p.name, u.target ORDER BY p.name, u.target"""

_PURGE: Final = """
    DELETE FROM responses WHERE id IN (
        SELECT id FROM responses WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2) RETURNING id"""


def values_of(row: StoredResponse) -> tuple[str | int | bytes | None, ...]:
    """A response in the order of COLUMNS."""
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
        row.conversation,
        row.conversation_position,
    )


def usage_values(row: UsageRow) -> tuple[str | int | None, ...]:
    """A ledger line in the order of its columns."""
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
        row.cost_nano_usd,
    )


def insert(response: StoredResponse | None, usage: UsageRow | None, echoes: Sequence[Echo] = ()) -> Script[None]:
    """A response and its ledger line, or one of them; and echoes that it names, if they may not be there."""
    if response is not None:
        yield from put(response.project, echoes)
        yield Sql(INSERT_RESPONSE, values_of(response))
        yield from name_echoes(response)
    if usage is not None:
        yield Sql(INSERT_USAGE, usage_values(usage))


def load_response(project: str, response_id: str) -> Script[StoredResponse | None]:
    rows = yield Sql(_LOAD, (response_id, project))
    return whole(rows[0]) if rows else None


class ResponseTable:
    """Finished responses, and those that a background run is still writing."""

    engine: Engine
    max_context_bytes: int

    async def load(self, project: str, response_id: str) -> StoredResponse | None:
        """One response, or None if it is absent, deleted, expired, or another project's."""
        return await self.engine.read(lambda: load_response(project, response_id))

    async def status(self, project: str, response_id: str) -> str | None:
        """The status of a response, or None as `load`."""

        def script() -> Script[str | None]:
            rows = yield Sql(
                f"SELECT status FROM responses WHERE id = $1 AND project = $2 AND {_ALIVE}",  # noqa: S608
                (response_id, project),
            )
            return str(rows[0][0]) if rows else None

        return await self.engine.read(script)

    async def usage_since(self, begin: int) -> list[UsageSum]:
        """The ledger since a moment (Unix seconds), by project and target."""

        def script() -> Script[list[UsageSum]]:
            rows = yield Sql(_SUMS, (begin,))
            return [UsageSum(str(row[0]), str(row[1]), *(int(value) for value in row[2:])) for row in rows]

        return await self.engine.read(script)

    async def removals(self, project: str) -> Removals:
        """How many responses of the project have been removed. A chain seen whole is whole while that has not changed.

        What expires is not counted before it is purged.
        """

        def script() -> Script[Removals]:
            rows = yield Sql(f"SELECT {_COUNT}", (project,))
            return Removals(*rows[0])

        return await self.engine.read(script)

    async def chain(self, project: str, response_id: str, held: int = 0, most: int | None = None) -> Chain | None:
        """The response and all it follows, oldest first and without echoes, in one query; or the newest `most` of it.

        The newest `held` links are looked for, but come only if one of them is the oldest of all; not with `most`. None
        if the response or any link of it is absent, deleted, expired or another project's. Raises InvalidRequest
        (context_length_exceeded).
        """
        assert most is None or not held
        depth = _LONGEST_CHAIN if most is None else most - 1

        def script() -> Script[Chain | None]:
            rows = yield Sql(_CHAIN, (project, response_id, held, depth, self.max_context_bytes))
            return _whole(rows, most, self.max_context_bytes)

        return await self.engine.read(script)

    async def delete(self, project: str, response_id: str) -> bool:
        """Remove the response's content, its events and kept answers at once; False if it was not there."""

        def script() -> Script[bool]:
            rows = yield Sql(_DELETE, (response_id, project))
            if rows:
                yield Sql("DELETE FROM background WHERE id = $1", (response_id,))
                yield Sql("DELETE FROM events WHERE response_id = $1", (response_id,))
                yield Sql("DELETE FROM idempotency WHERE response_id = $1", (response_id,))
            return bool(rows)

        return await self.engine.write(script)

    async def purge(self, now: int, limit: int = 1000) -> int:
        """Remove up to `limit` responses, and as many of every other expired thing; how many responses went."""

        def script() -> Script[int]:
            rows = yield Sql(_PURGE, (now, limit))
            for statement in _PURGE_OTHERS:
                yield Sql(statement, (now, limit))
            return len(rows)

        return await self.engine.write(script)


def _whole(rows: Sequence[Row], most: int | None, max_bytes: int) -> Chain | None:
    """The walk ends where a link is absent, deleted, expired or foreign: then the oldest still names another."""
    if not rows:
        return None
    oldest_first = sorted(rows, key=_depth, reverse=True)  # by the database it would copy every body once more
    check_context(int(oldest_first[0][-3]), max_bytes)
    chain = Chain([StoredResponse(*row[:-4]) for row in oldest_first], Removals(*rows[0][-2:]))
    is_whole = chain.links[0].previous_response_id is None or len(rows) == most
    return chain if is_whole else None


def _purge_of(table: str, key: str) -> str:
    return (
        f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} "  # noqa: S608 - own names
        "WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)"
    )


_PURGE_OTHERS: Final = (
    _purge_of("events", "response_id, first"),
    _purge_of("idempotency", "project, key"),
    _purge_of("webhook_deliveries", "id"),
)
