"""What responses echo of their requests and many have in common, instructions and tools, stored once: decision 0030.

    a response is stored     without long echoes that came before: their hashes instead, and each that may not be there
    a response is loaded     its echoes stand in it again, byte for byte
    a chain is read          without them: no later turn needs them
    the store is swept       what no response names any more goes

A process stores an echo again only where it has not done so of late, and nothing is taken that was stored of late. So
none is taken while a response that names it is on its way, and no request has to look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from .base import Echo, StoredResponse
from .engine import Engine, Row, Script, Sql

_KNOWN_S: Final = 300
_UNUSED_S: Final = 900
"""When an unnamed echo may go: long after every process has stopped to trust that it is there."""
_MOST_KNOWN: Final = 4096

_hash_of: Final = attrgetter("hash")
PUT: Final = "INSERT INTO echoes (project, hash, body, used_at)"
AGAIN: Final = "ON CONFLICT (project, hash) DO UPDATE SET used_at = excluded.used_at"
NAME: Final = "INSERT INTO response_echoes (response_id, project, instructions_hash, tools_hash)"


def _body_of(name: str) -> str:
    return (
        "(SELECT e.body FROM response_echoes n JOIN echoes e "  # noqa: S608 - own names
        f"ON e.project = n.project AND e.hash = n.{name} WHERE n.response_id = r.id)"
    )


# Of a response `r`.
ECHO_COLUMNS: Final = f"{_body_of('instructions_hash')}, {_body_of('tools_hash')}"

# What another process stores at this moment is passed over, not waited for.
_DUE: Final = f"""
    (project, hash) IN (
        SELECT project, hash FROM echoes WHERE used_at <= (SELECT now_s()) - {_UNUSED_S}
        ORDER BY used_at LIMIT $1 FOR UPDATE SKIP LOCKED)"""  # noqa: S608 - constants of this module


def _is_named_as(name: str) -> str:
    """For each echo by itself: a million responses may name it."""
    return (
        f"(SELECT 1 FROM response_echoes n WHERE n.project = echoes.project AND n.{name} = echoes.hash LIMIT 1) "  # noqa: S608
        "IS NOT NULL"
    )


_NAMED: Final = f"({_is_named_as('instructions_hash')} OR {_is_named_as('tools_hash')})"
_KEEP: Final = f"UPDATE echoes SET used_at = now_s() WHERE {_DUE} AND {_NAMED} RETURNING hash"  # noqa: S608
_TAKE: Final = f"DELETE FROM echoes WHERE {_DUE} AND NOT {_NAMED} RETURNING hash"  # noqa: S608


def put(project: str, echoes: Sequence[Echo]) -> Script[None]:
    """Store echoes, before the response that names them; in one order, so that nobody waits in a ring."""
    for echo in sorted(echoes, key=_hash_of):
        yield Sql(f"{PUT} VALUES ($1, $2, $3, now_s()) {AGAIN}", (project, echo.hash, echo.body))


def name_echoes(response: StoredResponse) -> Script[None]:
    """Say what a response lacks, if it does."""
    if has_names(response):
        yield Sql(f"{NAME} VALUES ($1, $2, $3, $4)", names_of(response))


def has_names(response: StoredResponse) -> bool:
    """Whether its body lacks an echo."""
    return response.instructions_hash is not None or response.tools_hash is not None


def names_of(response: StoredResponse) -> tuple[str | bytes | None, ...]:
    """A row of response_echoes."""
    return (response.id, response.project, response.instructions_hash, response.tools_hash)


def whole(row: Row) -> StoredResponse:
    """A response with its echoes in it, from its own columns and ECHO_COLUMNS."""
    *own, instructions, tools = row
    stored = StoredResponse(*own)
    if instructions is None and tools is None:
        return stored
    fields = msgspec.json.decode(stored.body, type=dict[str, msgspec.Raw])
    for name, echo in (("instructions", instructions), ("tools", tools)):
        if echo is not None:
            fields[name] = msgspec.Raw(echo)
    return replace(stored, body=msgspec.json.encode(fields))


class EchoTable:
    """What is stored once for many."""

    engine: Engine

    async def sweep(self, limit: int = 1000) -> int:
        """Take what no response names any more, of the echoes that are due; how many were looked at.

        Up to `limit` are taken, and up to `limit` are named and put off until they are due again.
        """

        def script() -> Script[int]:
            kept = yield Sql(_KEEP, (limit,))
            taken = yield Sql(_TAKE, (limit,))
            return len(kept) + len(taken)

        return await self.engine.write(script)


class KnownEchoes:
    """What has come to this process, and what it has stored of late.

    `now`: seconds of a clock that goes on while the machine sleeps.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._met: set[tuple[str, Hashable]] = set()
        self._stored: dict[tuple[str, bytes], float] = {}

    def __len__(self) -> int:
        return len(self._stored)

    def meet(self, project: str, mark: Hashable) -> bool:
        """Note a mark; True if it came before. What comes once is cheaper where it is, in its response."""
        if (project, mark) in self._met:
            return True
        if len(self._met) >= _MOST_KNOWN:
            self._met.clear()
        self._met.add((project, mark))
        return False

    def lacking(self, project: str, echoes: Sequence[Echo]) -> tuple[Echo, ...]:
        """Those that may not be in the store, or not for long."""
        now = self.now()
        return tuple(echo for echo in echoes if not 0 <= now - self._stored.get((project, echo.hash), 0) < _KNOWN_S)

    def add(self, project: str, echoes: Sequence[Echo], at: float) -> None:
        """They were stored, by a write that began then."""
        if len(self._stored) >= _MOST_KNOWN:
            self._stored.clear()  # those that are still used are stored again
        for echo in echoes:
            self._stored[project, echo.hash] = at
