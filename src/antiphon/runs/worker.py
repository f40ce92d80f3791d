"""Background runs: taken on, claimed, kept alive, cancelled and given up, by one worker in each process.

    submit    validated, committed as queued, then begun here if there is room
    work      a loop that claims what nobody works on, tells that it lives, and hears of cancellations
    cancel    wherever the run is: here, in another process, or nowhere

The queue is the store's (decision 0012); the worker holds only leases. Must never answer before the commit.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from antiphon.engine.context import build_context
from antiphon.engine.context_base import Origin
from antiphon.engine.history import encode_input
from antiphon.engine.holding import Holding
from antiphon.engine.recovery import decode_checkpoint
from antiphon.engine.respond import Progress, Recovered
from antiphon.engine.upstream import check_encodable
from antiphon.protocol.errors import ApiError, RateLimited, ServerFault
from antiphon.protocol.events import ResponseCreated, ResponseQueued
from antiphon.protocol.ids import new_id
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.response import Response, new_response
from antiphon.store.background import WORK, QueueFull, topic_of
from antiphon.store.base import EventBatch, Job, Lease, LeaseLost, NewJob, StoredResponse, StoreUnavailable
from antiphon.store.engine import Watch

from .intake import Intake
from .log import EventLog
from .recorder import Recorder
from .run import POLLED_S, Run, admit, end_without_model, hold_conversation
from .table import RunTable

logger: Final = logging.getLogger("antiphon.runs")
_CONVERSATION_S: Final = 86_400.0
"""A queued run keeps its conversation, however long it waits; its end gives it back."""
_CANCEL_S: Final = 10.0
_OVERDUE_BATCH: Final = 50
_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency` runs at once in this process; `queue` runs of a project may wait, for `queue_age_s` at most.

    No request's body has more than `body_bytes`.
    """

    concurrency: int = 100
    queue: int = 1_000
    queue_age_s: float = 3_600.0
    attempts: int = 3
    body_bytes: int = 64 << 20

    def age_s(self, request: CreateResponse) -> float:
        """How long a request may wait: who names a window for its completion can wait so long."""
        return max(self.queue_age_s, request.completion_window_s)


class Worker:
    """The background runs of this process."""

    def __init__(self, table: RunTable, limits: Limits, intake: Intake) -> None:
        self.owner: Final = new_id("wrk")
        self.table: Final = table
        self.intake: Final = intake
        self._ports = table.ports
        self._store = table.ports.store
        self._limits = limits
        self._active: dict[str, Run] = {}
        self._beat_at = 0.0

    # -- taking on

    async def submit(
        self,
        request: CreateResponse,
        body: bytes,
        project: str,
        key_id: str,
        idempotency: tuple[str, str] | None = None,
    ) -> StoredResponse:
        """The queued response, committed. Raises every ApiError that a foreground request would before its start."""
        self.table.check_open()
        admission = await admit(project, request, self._ports)
        try:
            return await self._take_on(request, body, project, key_id, idempotency)
        except BaseException:
            admission.settle(0)
            raise

    async def _take_on(
        self, request: CreateResponse, body: bytes, project: str, key_id: str, idempotency: tuple[str, str] | None
    ) -> StoredResponse:
        response_id = idempotency[1] if idempotency is not None else new_id("resp")
        origin = Origin(project)
        if request.conversation is not None:
            row = await hold_conversation(project, request.conversation, response_id, self._ports, _CONVERSATION_S)
            origin = Origin(project, row)
        try:
            stored = await self._queued(request, response_id, origin)
            await self._enqueue(stored, request, body, key_id, idempotency)
        except BaseException:
            if request.conversation is not None:
                await self._store.unlock_conversation(request.conversation, response_id)
            raise
        return stored

    async def _queued(self, request: CreateResponse, response_id: str, origin: Origin) -> StoredResponse:
        targets = self._ports.resolve(request.model)
        with Holding(self._ports.room) as holding:
            context = await build_context(request, self._ports, origin, holding)
            is_strict = self._ports.is_strict is not None and await self._ports.is_strict(origin.project)
            await check_encodable(context.turn(request), targets, self._ports, holding, is_strict=is_strict)
        now = int(self._ports.now())
        response = new_response(request, response_id, now)
        retention_s = self._ports.retention_s if request.store else int(self._limits.age_s(request)) + 2 * POLLED_S
        return StoredResponse(
            id=response_id,
            project=origin.project,
            previous_response_id=request.previous_response_id,
            status="queued",
            model=request.model,
            created_at=now,
            expires_at=None if retention_s is None else now + retention_s,
            body=_encode(response),
            input=encode_input(context.own_input, response_id),
            turns=b"[]",
            conversation=None if origin.conversation is None else origin.conversation.id,
            conversation_position=None if origin.conversation is None else origin.conversation.next_position,
        )

    async def _enqueue(
        self,
        stored: StoredResponse,
        request: CreateResponse,
        body: bytes,
        key_id: str,
        idempotency: tuple[str, str] | None,
    ) -> None:
        log = EventLog()
        log.append(ResponseCreated(msgspec.Raw(stored.body)))
        log.append(ResponseQueued(msgspec.Raw(stored.body)))
        events = log.batch(0)
        assert events is not None, "two events were appended"
        has_room = self._room() > 0
        job = NewJob(
            key_id=key_id,
            request=body,
            events=events,
            events_expire_at=int(self._ports.now()) + self._ports.events_s,
            owner=self.owner if has_room else None,
            lease_s=self._ports.lease_s,
            max_queued=self._limits.queue,
            delay_s=self._limits.age_s(request) - self._limits.queue_age_s,
        )
        try:
            lease = await self._store.enqueue(stored, job, idempotency)
        except QueueFull as error:
            raise RateLimited(
                f"{error.waiting} background responses of this project are waiting already. Try again later, or wait "
                "for some of them to finish.",
                retry_after_s=10,
                code="background_queue_full",
            ) from error
        if lease is not None:
            claimed = Job(lease, stored.project, key_id, body, b"", self._ports.now(), False, stored)
            self._begin(claimed, request, [events])

    # -- carrying out

    def _begin(self, job: Job, request: CreateResponse, batches: list[EventBatch]) -> None:
        run = self._run_of(job, request, batches)
        self._active[run.id] = run
        size_bytes = len(job.request)
        self.intake.hold(size_bytes)
        self.table.own(run, lambda: self._ended(run, size_bytes))

    def _run_of(self, job: Job, request: CreateResponse, batches: list[EventBatch]) -> Run:
        lines = [line for batch in batches for line in batch.lines.split(b"\n")]
        log = EventLog(len(lines), is_shared=True)
        progress = Progress()
        checkpoint = decode_checkpoint(job.checkpoint)
        progress.checkpoint = checkpoint
        run = Run(job.response.id, job.project, job.key_id, request, log, progress, Origin(job.project))
        run.created_at = job.response.created_at
        run.recovered = Recovered(lines, checkpoint)
        run.recorder = Recorder(job.lease, log, progress, _in_progress(job.response), self._ports)
        run.queued = job.response
        return run

    def _ended(self, run: Run, size_bytes: int) -> None:
        self._active.pop(run.id, None)
        self.intake.give_back(size_bytes)
        self._store.engine.wakes.wake(WORK)  # there is room for another

    async def work(self) -> None:
        """Look after background runs; while the server drains, only after those that it still has."""
        with self._store.watch(WORK) as watch:
            while True:
                try:
                    await self._look()
                except StoreUnavailable as error:
                    logger.error("worker cannot reach the store", extra={"reason": str(error)})
                    await self._ports.sleep(_RETRY_S)
                await self._pause(watch)

    async def _pause(self, watch: Watch) -> None:
        await watch.wait(self._ports.lease_s / 3)

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        cancelled = await self._store.cancelled_of(self.owner) if self._active else []
        for response_id in cancelled:
            if (run := self._active.get(response_id)) is not None:
                await self.table.cancel(run, "cancelled")
        if now - self._beat_at >= self._ports.lease_s / 3:
            self._beat_at = now
            await self._beat()
            await self._give_up_overdue()
        while (room := self._room()) > 0 and await self._store.waiting():
            jobs = await self._store.claim(self.owner, room, self._ports.lease_s)
            for job in jobs:
                await self._take_up(job)
            if not jobs:  # others are about to have what waits
                break

    def _room(self) -> int:
        """How many runs may be claimed now."""
        if self.table.is_draining:
            return 0
        return min(self._limits.concurrency - len(self._active), self.intake.spare(self._limits.body_bytes))

    async def _give_up_overdue(self) -> None:
        age_s, count = self._limits.queue_age_s, max(1, min(_OVERDUE_BATCH, self.intake.spare(self._limits.body_bytes)))
        for job in await self._store.overdue(age_s, count, self.owner, self._ports.lease_s):
            request = parse_request(job.request)
            most_s = round(self._limits.age_s(request))
            await self._finish(job, request, ServerFault(f"The response waited for a worker for more than {most_s} s."))

    async def _beat(self) -> None:
        """Renew the leases of what is carried out here, and of nothing else: what was dropped is for others to take."""
        leases = {run.recorder.lease: run for run in self._active.values() if run.recorder is not None}
        held = await self._store.beat(tuple(leases), self._ports.lease_s) if leases else set[Lease]()
        for lease, run in leases.items():
            if lease not in held and run.id in self._active and not run.log.is_closed:
                await self.table.cancel(run, "lost")

    async def _take_up(self, job: Job) -> None:
        """A run that was queued, or whose worker was lost."""
        request = parse_request(job.request)
        if job.is_cancelled:
            await self._finish(job, request, None)
        elif job.lease.attempt > self._limits.attempts:
            tried = f"{self._limits.attempts} times" if self._limits.attempts > 1 else "once"
            error = ServerFault(f"The response was begun {tried}, and each time its worker was lost before the end.")
            await self._finish(job, request, error)
        else:
            if job.lease.attempt > 1:
                logger.warning("run taken up again", extra={"run": job.response.id, "attempt": job.lease.attempt})
            batches = await self._store.events(job.response.id)
            self._begin(job, request, batches)

    async def _finish(self, job: Job, request: CreateResponse, error: ApiError | None) -> None:
        """End a run as failed, or as cancelled, without asking a model."""
        run = self._run_of(job, request, await self._store.events(job.response.id))
        try:
            await end_without_model(run, error, self._ports)
        except LeaseLost:
            logger.warning("run was taken over by another worker", extra={"run": run.id})

    # -- cancelling

    async def cancel(self, project: str, response_id: str) -> StoredResponse | None:
        """Stop a run wherever it is, and answer how it ended; None if there is no such response.

        Raises ServerFault if it did not end in time; the cancellation stands.
        """
        run = self._active.get(response_id)
        if run is not None:
            await self.table.cancel(run, "cancelled")
        with self._store.watch(topic_of(response_id)) as watch:
            deadline = asyncio.get_running_loop().time() + max(_CANCEL_S, 2 * self._ports.lease_s)
            while await self._store.request_cancel(project, response_id):
                job = await self._store.claim_one(response_id, self.owner, self._ports.lease_s)
                if job is not None:
                    await self._finish(job, parse_request(job.request), None)
                    break
                if asyncio.get_running_loop().time() > deadline:
                    raise ServerFault("The response is being cancelled and has not ended yet. Please look again.")
                await watch.wait(self._ports.lease_s / 3)
        return await self._store.load(project, response_id)


def _encode(response: Response) -> bytes:
    return msgspec.json.encode(response)


def _in_progress(stored: StoredResponse) -> StoredResponse:
    """The row as it is seen while the run is under way."""
    fields = msgspec.json.decode(stored.body, type=dict[str, msgspec.Raw])
    body = msgspec.json.encode(fields | {"status": msgspec.Raw(b'"in_progress"')})
    return replace(stored, status="in_progress", body=body)
