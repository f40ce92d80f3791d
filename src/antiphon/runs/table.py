"""The run table: owns the tasks of every run of this process, so that none is lost and all can be waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial

from antiphon.engine.context_base import Origin
from antiphon.engine.ports import Ports
from antiphon.protocol.errors import Unavailable
from antiphon.protocol.ids import new_id
from antiphon.protocol.request import CreateResponse

from .run import Run, Stop, execute, keep


class RunTable:
    """Starts runs, cancels them, and drains them when the server stops."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._runs: dict[str, Run] = {}
        self._drain_began_at: float | None = None
        self.draining = asyncio.Event()
        """Set once new runs are refused."""

    @property
    def ports(self) -> Ports:
        return self._ports

    @property
    def is_draining(self) -> bool:
        return self._drain_began_at is not None

    def __len__(self) -> int:
        return len(self._tasks)

    def find(self, run_id: str) -> Run | None:
        """A run of this process."""
        return self._runs.get(run_id)

    def start(
        self,
        request: CreateResponse,
        project: str,
        key_id: str,
        *,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        origin: Origin | None = None,
    ) -> Run:
        """A new run, already on its way. Raises Unavailable while the server drains."""
        self.check_open()
        run = Run(run_id or new_id("resp"), project, key_id, request, origin=origin or Origin(project))
        run.idempotency_key = idempotency_key
        self.own(run)
        return run

    def check_open(self) -> None:
        """Raises Unavailable while the server drains."""
        if self.is_draining:
            raise Unavailable("The server is shutting down. Please try again.")

    def own(self, run: Run, on_done: Callable[[], None] = lambda: None) -> None:
        """Carry a run out; `on_done` is called when it is over, however it ended."""
        beside: list[asyncio.Task[None]] = []
        if run.request.conversation is not None or run.idempotency_key is not None:
            beside.append(self._task(keep(run, self._ports)))
        if run.recorder is not None:
            run.recorder.on_lost = partial(self._lose, run)
            beside.append(self._task(run.recorder.work()))
        task = self._task(execute(run, self._ports), name=run.id)
        self._tasks[run.id] = task
        self._runs[run.id] = run

        def end(_: asyncio.Task[None]) -> None:
            for other in beside:
                other.cancel()
            self._tasks.pop(run.id, None)
            self._runs.pop(run.id, None)
            on_done()

        task.add_done_callback(end)

    def _task(self, work: Coroutine[None, None, None], name: str | None = None) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work, name=name)

    async def cancel(self, run: Run, stop: Stop = "left") -> None:
        """Stop a run; returns when its upstream is closed and its end written."""
        task = self._stop(run, stop)
        if task is not None:
            await asyncio.wait([task])

    def _lose(self, run: Run) -> None:
        self._stop(run, "lost")

    def _stop(self, run: Run, stop: Stop) -> asyncio.Task[None] | None:
        task = self._tasks.get(run.id)
        if task is not None and not task.cancelling():
            run.stop = stop
            task.cancel()
        return task

    def begin_drain(self) -> None:
        """Refuse new runs from now on; may be called from a signal handler, and again."""
        if self._drain_began_at is None:
            self._drain_began_at = time.monotonic()
            self.draining.set()

    async def drain(self, deadline_s: float) -> int:
        """Let the runs finish until `deadline_s` seconds after the drain began, then cancel the rest.

        Background runs that are cut so go on in another process, or at the next start. Returns how many were cut.
        """
        self.begin_drain()
        if not self._tasks or self._drain_began_at is None:
            return 0
        remaining_s = max(self._drain_began_at + deadline_s - time.monotonic(), 0)
        _, late = await asyncio.wait(list(self._tasks.values()), timeout=remaining_s)
        for run in list(self._runs.values()):
            self._stop(run, "draining")
        if late:
            await asyncio.wait(late)
        return len(late)
