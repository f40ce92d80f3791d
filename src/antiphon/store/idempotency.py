"""Idempotency keys: the first request under a key is carried out, a later one gets its answer."""

from __future__ import annotations

from .base import IdempotencyClaim, IdempotentAnswer
from .engine import Engine, Script, Sql


def answer(project: str, key: str, holder: str, kept: IdempotentAnswer) -> Script[None]:
    """Keep what the key's request was answered, if the key is still this holder's."""
    yield Sql(
        "UPDATE idempotency SET response_id = $4, kind = $5, answer = $6, held_until = 0 "
        "WHERE project = $1 AND key = $2 AND holder = $3",
        (project, key, holder, kept.response_id, kept.kind, kept.answer),
    )


def _claim(project: str, key: str, fingerprint: str) -> Script[IdempotencyClaim]:
    """The key as somebody else has it."""
    rows = yield Sql(
        "SELECT fingerprint, response_id, kind, answer FROM idempotency WHERE project = $1 AND key = $2",
        (project, key),
    )
    if not rows:  # given back in this very moment
        return IdempotencyClaim(is_mine=False, fingerprint=fingerprint, answer=None)
    found, response_id, kind, kept = rows[0]
    known = None if kind is None else IdempotentAnswer(response_id, kind, kept)
    return IdempotencyClaim(is_mine=False, fingerprint=found, answer=known)


class IdempotencyTable:
    """Keys of one project never meet another's."""

    engine: Engine

    async def claim_key(
        self, project: str, key: str, holder: str, fingerprint: str, lease_s: float, expires_at: int
    ) -> IdempotencyClaim:
        """Take a key that is new, expired, or whose holder died without an answer; else say what it holds."""

        def script() -> Script[IdempotencyClaim]:
            taken = yield Sql(
                "INSERT INTO idempotency (project, key, holder, fingerprint, held_until, expires_at) "
                "VALUES ($1, $2, $3, $4, now_s() + $5, $6) ON CONFLICT (project, key) DO UPDATE SET "
                "holder = excluded.holder, fingerprint = excluded.fingerprint, held_until = excluded.held_until, "
                "expires_at = excluded.expires_at, response_id = NULL, kind = NULL, answer = NULL "
                "WHERE idempotency.expires_at <= now_s() "
                "OR (idempotency.kind IS NULL AND idempotency.held_until <= now_s()) RETURNING key",
                (project, key, holder, fingerprint, lease_s, expires_at),
            )
            if taken:
                return IdempotencyClaim(is_mine=True, fingerprint=fingerprint, answer=None)
            return (yield from _claim(project, key, fingerprint))

        return await self.engine.write(script)

    async def renew_key(self, project: str, key: str, holder: str, lease_s: float) -> None:
        """The request is still being carried out."""

        def script() -> Script[None]:
            yield Sql(
                "UPDATE idempotency SET held_until = now_s() + $4 WHERE project = $1 AND key = $2 AND holder = $3",
                (project, key, holder, lease_s),
            )

        await self.engine.write(script)

    async def answer_key(self, project: str, key: str, holder: str, kept: IdempotentAnswer) -> None:
        """Keep an answer that no run's end keeps."""
        await self.engine.write(lambda: answer(project, key, holder, kept), len(kept.answer))

    async def free_key(self, project: str, key: str, holder: str) -> None:
        """The request came to nothing: the key may be used again."""

        def script() -> Script[None]:
            yield Sql(
                "DELETE FROM idempotency WHERE project = $1 AND key = $2 AND holder = $3 AND kind IS NULL",
                (project, key, holder),
            )

        await self.engine.write(script)
