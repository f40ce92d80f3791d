"""What is left of the projects' limits, as all processes together have used them.

A limit is a bucket that fills evenly within a minute. One figure tells how full it is: when it will be full again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .engine import Engine, Script, Sql


class Spent(NamedTuple):
    """What was taken from one of a project's limits, as the seconds that it takes to fill up again."""

    project: str
    kind: str
    refill_s: float


class RateLimitTable:
    """Buckets of one project never meet another's."""

    engine: Engine

    async def spend(self, spent: Sequence[Spent]) -> list[float]:
        """Take from buckets, or give back to them; the seconds until each is full, none or less for a full one."""

        def script() -> Script[list[float]]:
            owed_s: list[float] = []
            for one in spent:
                rows = yield Sql(
                    "INSERT INTO rate_limits (project, kind, full_at) VALUES ($1, $2, now_s() + $3) "
                    "ON CONFLICT (project, kind) DO UPDATE SET full_at = $3 + "
                    "CASE WHEN rate_limits.full_at > now_s() THEN rate_limits.full_at ELSE now_s() END "
                    "RETURNING full_at - now_s()",
                    one,
                )
                owed_s.append(float(rows[0][0]))
            return owed_s

        return await self.engine.write(script)
