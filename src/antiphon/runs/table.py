"""The run table: knows every run of this process, so that none is lost and all can be stopped and waited for.

A run whose client waits is carried out in the task that answers the client; any other has a task of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import msgspec

from antiphon.engine.context_base import Origin
from antiphon.engine.ports import Ports
from antiphon.protocol.errors import Overloaded, Unavailable
from antiphon.protocol.ids import new_id
from antiphon.protocol.request import CreateResponse

from .run import Run, Stop, execute, keep


class _Live(msgspec.Struct, eq=False):
    """A run, the task that carries it out, and those that work beside it. `over` is made for who waits for its end."""

    run: Run
    task: asyncio.Task[None]
    beside: list[asyncio.Task[None]]
    over: asyncio.Future[None] | None = None
    is_stopped: bool = False


class RunTable:
    """Starts runs, cancels them, and drains them when the server stops."""

    def __init__(self, ports: Ports, most: int = 4_000) -> None:
        """`most`: so many runs at once; who asks for another is refused."""
        self._ports = ports
        self._most = most
        self._live: dict[str, _Live] = {}
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
        return len(self._live)

    def find(self, run_id: str) -> Run | None:
        """A run of this process."""
        live = self._live.get(run_id)
        return None if live is None else live.run

    def admit(
        self,
        request: CreateResponse,
        project: str,
        key_id: str,
        *,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        origin: Origin | None = None,
    ) -> Run:
        """A new run, to be carried out. Raises Overloaded, and Unavailable while the server drains."""
        self.check_open()
        if len(self._live) >= self._most:
            raise Overloaded(f"The server makes {self._most:,} responses at once and no more. Please try again.")
        run = Run(run_id or new_id("resp"), project, key_id, request, origin=origin or Origin(project))
        run.idempotency_key = idempotency_key
        return run

    def check_open(self) -> None:
        """Raises Unavailable while the server drains."""
        if self.is_draining:
            raise Unavailable("The server is shutting down. Please try again.")

    async def carry(self, run: Run) -> None:
        """Carry a run out in the task that calls; returns when it is over, also where it was stopped."""
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        live = self._enter(run, task)
        try:
            await execute(run, self._ports)
        except asyncio.CancelledError:
            if not live.is_stopped:
                raise
            task.uncancel()  # it was the run that was stopped, not who waits for it
        finally:
            self._leave(live)

    def own(self, run: Run, on_done: Callable[[], None] = lambda: None) -> None:
        """Carry a run out in a task of its own; `on_done` is called when it is over, however it ended."""
        live = self._enter(run, asyncio.get_running_loop().create_task(execute(run, self._ports), name=run.id))

        def end(_: asyncio.Task[None]) -> None:
            self._leave(live)
            on_done()

        live.task.add_done_callback(end)

    def _enter(self, run: Run, task: asyncio.Task[None]) -> _Live:
        loop = asyncio.get_running_loop()
        beside: list[asyncio.Task[None]] = []
        if run.request.conversation is not None or run.idempotency_key is not None:
            beside.append(loop.create_task(keep(run, self._ports)))
        if run.recorder is not None:
            beside.append(loop.create_task(run.recorder.work(partial(self._lose, run))))
        live = self._live[run.id] = _Live(run, task, beside)
        return live

    def _leave(self, live: _Live) -> None:
        self._live.pop(live.run.id, None)
        for other in live.beside:
            other.cancel()
        if live.over is not None:
            live.over.set_result(None)

    async def cancel(self, run: Run, stop: Stop = "left") -> None:
        """Stop a run; returns when its upstream is closed and its end written."""
        live = self._stop(run, stop)
        if live is not None:
            await asyncio.wait([self._end_of(live)])

    def _lose(self, run: Run) -> None:
        self._stop(run, "lost")

    def _stop(self, run: Run, stop: Stop) -> _Live | None:
        live = self._live.get(run.id)
        if live is not None and not live.is_stopped:
            live.is_stopped = True
            run.stop = stop
            # Not at once: a task that is cancelled before its first step never takes it, and nobody ends the run.
            asyncio.get_running_loop().call_soon(self._interrupt, live)
        return live

    def _interrupt(self, live: _Live) -> None:
        if self._live.get(live.run.id) is live:
            live.task.cancel()

    @staticmethod
    def _end_of(live: _Live) -> asyncio.Future[None]:
        if live.over is None:
            live.over = asyncio.get_running_loop().create_future()
        return live.over

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
        if not self._live or self._drain_began_at is None:
            return 0
        remaining_s = max(self._drain_began_at + deadline_s - time.monotonic(), 0)
        _, late = await asyncio.wait([self._end_of(live) for live in self._live.values()], timeout=remaining_s)
        for live in list(self._live.values()):
            self._stop(live.run, "draining")
        if late:
            await asyncio.wait(late)
        return len(late)
