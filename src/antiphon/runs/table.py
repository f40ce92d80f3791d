"""The run table: owns the task of every run of this process, so that none is lost and all can be waited for."""

from __future__ import annotations

import asyncio
import time

from antiphon.engine.ports import Ports
from antiphon.protocol.errors import Unavailable
from antiphon.protocol.ids import new_id
from antiphon.protocol.request import CreateResponse

from .run import Run, execute


class RunTable:
    """Starts runs, cancels them, and drains them when the server stops."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._drain_began_at: float | None = None

    @property
    def ports(self) -> Ports:
        return self._ports

    @property
    def is_draining(self) -> bool:
        return self._drain_began_at is not None

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, request: CreateResponse, project: str, key_id: str) -> Run:
        """A new run, already on its way. Raises Unavailable while the server drains."""
        if self.is_draining:
            raise Unavailable("The server is shutting down. Please try again.")
        run = Run(new_id("resp"), project, key_id, request)
        task = asyncio.get_running_loop().create_task(execute(run, self._ports), name=run.id)
        self._tasks[run.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run.id, None))
        return run

    async def cancel(self, run: Run) -> None:
        """Stop a run; returns when its upstream is closed."""
        task = self._tasks.get(run.id)
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])

    def begin_drain(self) -> None:
        """Refuse new runs from now on; may be called from a signal handler, and again."""
        if self._drain_began_at is None:
            self._drain_began_at = time.monotonic()

    async def drain(self, deadline_s: float) -> int:
        """Let the runs finish until `deadline_s` seconds after the drain began, then cancel the rest.

        Returns how many were cancelled.
        """
        self.begin_drain()
        if not self._tasks or self._drain_began_at is None:
            return 0
        remaining_s = max(self._drain_began_at + deadline_s - time.monotonic(), 0)
        _, late = await asyncio.wait(list(self._tasks.values()), timeout=remaining_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        return len(late)
