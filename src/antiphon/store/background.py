"""The queue of background runs: the rows of `background` are the responses that have no end yet.

    enqueue -> claim -> record* -> settle            a worker's whole life with a run
               claim <- (lease ran out) <- claim      another worker takes it up

A lease is the right to write: every write of a worker names its lease, and one that was taken over writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from antiphon.protocol.errors import AntiphonError

from .base import EventBatch, Job, Lease, LeaseLost, NewJob, StoredResponse
from .echoes import name_echoes
from .engine import Engine, Notify, Row, Script, Sql
from .responses import COLUMNS, insert

WORK: Final = "work"
"""The topic on which new runs and cancellations are told."""

_CLAIMED: Final = "id, lease_owner, attempts, project, key_id, request, checkpoint, queued_at, is_cancelled"

_CLAIM: Final = f"""
    UPDATE background SET lease_owner = $1, lease_until = now_s() + $2, attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM background WHERE lease_until <= now_s() ORDER BY queued_at LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING {_CLAIMED}"""  # noqa: S608 - a constant of this module

_CLAIM_ONE: Final = f"""
    UPDATE background SET lease_owner = $1, lease_until = now_s() + $2, attempts = attempts + 1
    WHERE id = $3 AND lease_until <= now_s() RETURNING {_CLAIMED}"""  # noqa: S608

_HOLD: Final = """
    UPDATE background SET lease_until = now_s() + $4
    WHERE id = $1 AND lease_owner = $2 AND attempts = $3 RETURNING id"""

_INSERT_EVENTS: Final = """
    INSERT INTO events (response_id, first, count, lines, expires_at) VALUES ($1, $2, $3, $4, $5)"""

_QUEUED: Final = "SELECT count(*) FROM background WHERE project = $1 AND lease_until = 0"


class QueueFull(AntiphonError):
    """As many runs of the project wait as may. `waiting` is how many that is."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} background responses are waiting")
        self.waiting = waiting


def topic_of(response_id: str) -> str:
    """The topic on which new events of a response are told."""
    return f"events:{response_id}"


def insert_events(response_id: str, batch: EventBatch, expires_at: int) -> Script[None]:
    """Add events, and wake who follows them."""
    yield Sql(_INSERT_EVENTS, (response_id, batch.first, batch.count, batch.lines, expires_at))
    yield Notify(topic_of(response_id))


def forget_events(response_id: str) -> Script[None]:
    """Events that were there only for another worker to go on from."""
    yield Sql("DELETE FROM events WHERE response_id = $1", (response_id,))
    yield Notify(topic_of(response_id))


def _holding(lease: Lease, lease_s: float) -> Sql:
    return Sql(_HOLD, (lease.response_id, lease.owner, lease.attempt, lease_s))


def hold(lease: Lease, lease_s: float) -> Script[None]:
    """Renew a lease. Raises LeaseLost."""
    if not (yield _holding(lease, lease_s)):
        raise LeaseLost(lease.response_id)


def finish(lease: Lease) -> Script[None]:
    """The run has ended: its row goes. Raises LeaseLost."""
    text = "DELETE FROM background WHERE id = $1 AND lease_owner = $2 AND attempts = $3 RETURNING id"
    if not (yield Sql(text, (lease.response_id, lease.owner, lease.attempt))):
        raise LeaseLost(lease.response_id)


def update_response(response: StoredResponse) -> Script[None]:
    """Replace what changes of a response while it runs."""
    rows = yield Sql(
        "UPDATE responses SET status = $2, expires_at = $3, body = $4, input = $5, turns = $6 WHERE id = $1 "
        "RETURNING id",
        (response.id, response.status, response.expires_at, response.body, response.input, response.turns),
    )
    if rows:  # it may have expired
        yield from name_echoes(response)


def enqueue_job(response: StoredResponse, job: NewJob) -> Script[Lease | None]:
    """The queued response with its first events, claimed at once where `job.owner` says. Raises QueueFull."""
    if job.owner is None:
        rows = yield Sql(_QUEUED, (response.project,))
        if rows[0][0] >= job.max_queued:
            raise QueueFull(int(rows[0][0]))
    yield from insert(response, None)
    lease = None if job.owner is None else Lease(response.id, job.owner, 1)
    yield Sql(
        "INSERT INTO background (id, project, key_id, request, checkpoint, queued_at, lease_owner, attempts, "
        "is_cancelled, lease_until) VALUES ($1, $2, $3, $4, $5, now_s() + CAST($9 AS DOUBLE PRECISION), $6, $7, 0, "
        "CASE WHEN CAST($8 AS DOUBLE PRECISION) > 0 THEN now_s() + $8 ELSE 0 END)",
        (
            response.id,
            response.project,
            job.key_id,
            job.request,
            b"",
            job.owner,
            0 if lease is None else 1,
            0.0 if lease is None else job.lease_s,
            job.delay_s,
        ),
    )
    yield from insert_events(response.id, job.events, job.events_expire_at)
    if lease is None:
        yield Notify(WORK)
    return lease


def _jobs(rows: list[Row]) -> Script[list[Job]]:
    jobs: list[Job] = []
    for response_id, owner, attempt, project, key_id, request, checkpoint, queued_at, is_cancelled in rows:
        found = yield Sql(f"SELECT {COLUMNS} FROM responses WHERE id = $1", (response_id,))  # noqa: S608
        if not found:  # deleted while it waited
            yield Sql("DELETE FROM background WHERE id = $1", (response_id,))
            continue
        lease = Lease(response_id, owner, attempt)
        response = StoredResponse(*found[0])
        jobs.append(Job(lease, project, key_id, request, checkpoint, queued_at, bool(is_cancelled), response))
    return jobs


class BackgroundTable:
    """Runs without an end, their leases and their events."""

    engine: Engine

    async def claim(self, owner: str, limit: int, lease_s: float) -> list[Job]:
        """Up to `limit` runs that nobody works on, oldest first, now this worker's."""

        def script() -> Script[list[Job]]:
            rows = yield Sql(_CLAIM, (owner, lease_s, limit))
            return (yield from _jobs(sorted(rows, key=lambda row: row[7])))

        return await self.engine.write(script)

    async def claim_one(self, response_id: str, owner: str, lease_s: float) -> Job | None:
        """This run, if nobody works on it."""

        def script() -> Script[Job | None]:
            jobs = yield from _jobs((yield Sql(_CLAIM_ONE, (owner, lease_s, response_id))))
            return jobs[0] if jobs else None

        return await self.engine.write(script)

    async def beat(self, leases: Sequence[Lease], lease_s: float) -> set[Lease]:
        """Renew leases; those that are still held. A lease that nobody renews runs out, whoever it belongs to."""

        def script() -> Script[set[Lease]]:
            held: set[Lease] = set()
            for lease in leases:
                if (yield _holding(lease, lease_s)):
                    held.add(lease)
            return held

        return await self.engine.write(script)

    async def cancelled_of(self, owner: str) -> list[str]:
        """Runs of a worker that are to be cancelled."""

        def script() -> Script[list[str]]:
            rows = yield Sql("SELECT id FROM background WHERE lease_owner = $1 AND is_cancelled = 1", (owner,))
            return [str(row[0]) for row in rows]

        return await self.engine.read(script)

    async def release(self, lease: Lease) -> None:
        """Give a run back, for another worker to take at once; the attempt does not count."""

        def script() -> Script[None]:
            yield Sql(
                "UPDATE background SET lease_owner = NULL, lease_until = 0, attempts = attempts - 1 "
                "WHERE id = $1 AND lease_owner = $2 AND attempts = $3",
                (lease.response_id, lease.owner, lease.attempt),
            )
            yield Notify(WORK)

        await self.engine.write(script)

    async def record(
        self,
        lease: Lease,
        batch: EventBatch | None,
        *,
        expires_at: int,
        lease_s: float,
        checkpoint: bytes | None = None,
        response: StoredResponse | None = None,
    ) -> None:
        """Write what a run has come to since the last time. Raises LeaseLost, and then nothing was written."""

        def script() -> Script[None]:
            yield from hold(lease, lease_s)
            if checkpoint is not None:
                yield Sql("UPDATE background SET checkpoint = $2 WHERE id = $1", (lease.response_id, checkpoint))
            if response is not None:
                yield from update_response(response)
            if batch is not None:
                yield from insert_events(lease.response_id, batch, expires_at)

        await self.engine.write(script, 0 if batch is None else len(batch.lines))

    async def events(self, response_id: str, after: int = 0) -> list[EventBatch]:
        """The recorded events from sequence number `after` on; the first batch may begin before it."""

        def script() -> Script[list[EventBatch]]:
            rows = yield Sql(
                "SELECT first, count, lines FROM events WHERE response_id = $1 AND first + count > $2 ORDER BY first",
                (response_id, after),
            )
            return [EventBatch(*row) for row in rows]

        return await self.engine.read(script)

    async def background_request(self, response_id: str) -> bytes | None:
        """The request of a run that has no end yet."""

        def script() -> Script[bytes | None]:
            rows = yield Sql("SELECT request FROM background WHERE id = $1", (response_id,))
            return bytes(rows[0][0]) if rows else None

        return await self.engine.read(script)

    async def request_cancel(self, project: str, response_id: str) -> bool:
        """Ask whoever works on a run to stop; False if it has ended."""

        def script() -> Script[bool]:
            rows = yield Sql(
                "UPDATE background SET is_cancelled = 1 WHERE id = $1 AND project = $2 RETURNING id",
                (response_id, project),
            )
            yield Notify(WORK)
            return bool(rows)

        return await self.engine.write(script)

    async def overdue(self, max_age_s: float, limit: int, owner: str, lease_s: float) -> list[Job]:
        """Up to `limit` runs that have waited longer than they may, claimed to be ended."""

        def script() -> Script[list[Job]]:
            rows = yield Sql(
                f"UPDATE background SET lease_owner = $1, lease_until = now_s() + $2, attempts = attempts + 1 "  # noqa: S608
                "WHERE id IN (SELECT id FROM background WHERE lease_until <= now_s() AND attempts = 0 "
                "AND queued_at < now_s() - $4 ORDER BY queued_at LIMIT $3 FOR UPDATE SKIP LOCKED) "
                f"RETURNING {_CLAIMED}",
                (owner, lease_s, limit, max_age_s),
            )
            return (yield from _jobs(rows))

        return await self.engine.write(script)

    async def waiting(self) -> int:
        """How many runs nobody works on."""

        def script() -> Script[int]:
            rows = yield Sql("SELECT count(*) FROM background WHERE lease_until <= now_s()")
            return int(rows[0][0])

        return await self.engine.read(script)
