"""The reader of a background run's log that writes it down: events, the checkpoint, and the sign that it lives.

What queued while one batch was written is the next batch. A lost lease cancels the run: another worker has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from antiphon.engine.ports import Ports
from antiphon.engine.recovery import Checkpoint, encode_checkpoint
from antiphon.engine.respond import Progress
from antiphon.store.base import EventBatch, Lease, LeaseLost, StoredResponse, StoreUnavailable

from .log import EventLog

logger: Final = logging.getLogger("antiphon.runs")
_RETRY_S: Final = 0.5


class Recorder:
    """Writes one run's log. `written` is the sequence number up to which the store has it."""

    def __init__(self, lease: Lease, log: EventLog, progress: Progress, begun: StoredResponse, ports: Ports) -> None:
        """`begun` is the response's row as others see it while it runs."""
        self.lease = lease
        self.written = len(log)
        self._log = log
        self._progress = progress
        self._begun: StoredResponse | None = begun
        self._checkpoint = progress.checkpoint
        self._ports = ports
        self._is_stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def work(self, on_lost: Callable[[], None]) -> None:
        """Until `stop`, or the run is lost, and then `on_lost` is told."""
        while not self._is_stopping:
            await self._log.wait(self.written)
            if self._is_stopping or self._log.is_closed:
                return
            self._idle.clear()
            try:
                await self._write()
            except LeaseLost:
                self._is_stopping = True
                on_lost()
            except StoreUnavailable as error:
                logger.error("events not recorded", extra={"run": self.lease.response_id, "reason": str(error)})
                await asyncio.sleep(_RETRY_S)
            finally:
                self._idle.set()

    async def _write(self) -> None:
        batch: EventBatch | None = self._log.batch(self.written)
        checkpoint: Checkpoint = self._progress.checkpoint
        begun = self._begun
        await self._ports.store.record(
            self.lease,
            batch,
            expires_at=int(self._ports.now()) + self._ports.events_s,
            lease_s=self._ports.lease_s,
            checkpoint=None if checkpoint is self._checkpoint else encode_checkpoint(checkpoint),
            response=begun,
        )
        self.written += 0 if batch is None else batch.count
        self._checkpoint = checkpoint
        self._begun = None

    async def stop(self) -> None:
        """Write no more; returns once nothing is under way. What is left belongs to the run's settlement."""
        self._is_stopping = True
        self._log.wake()
        await self._idle.wait()

    async def hand_over(self) -> None:
        """The process ends: write what there is, and let another worker go on at once. Raises LeaseLost."""
        await self.stop()
        await self._write()
        await self._ports.store.release(self.lease)
