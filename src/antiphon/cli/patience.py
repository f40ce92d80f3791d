"""How long the client of a connection may be silent before it has sent what it began, and what is held for it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from antiphon.runs.intake import Intake


class Patient(ABC):
    """Beside one of uvicorn's protocols, whose connection it bounds.

    One timer serves all silences: it is moved on only when it fires. `app_state` is the lifespan's state, with the
    `intake` of the process in it; `_held_bytes` is what counts there for this connection.
    """

    silence_s: ClassVar[float] = 60.0
    __slots__ = ()
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    app_state: dict[str, Any]
    _heard_at: float
    _held_bytes: int
    _watch: asyncio.TimerHandle | None

    def _expect_more(self) -> None:
        """Something has come, and there is more to it."""
        self._heard_at = self.loop.time()
        if self._watch is None:
            self._watch = self.loop.call_later(self.silence_s, self._look)

    def _expect_nothing(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        self._watch = None
        if self.transport.is_closing():
            return
        if not self._awaits_client():
            self._expect_more()
            return
        left_s = self._heard_at + self.silence_s - self.loop.time()
        if left_s > 0:
            self._watch = self.loop.call_later(left_s, self._look)
        else:
            self._end_silence()

    def _hold(self, size_bytes: int) -> None:
        """So much is held for this connection, in place of what was."""
        intake: Intake = self.app_state["intake"]
        intake.hold(size_bytes - self._held_bytes)
        self._held_bytes = size_bytes

    @abstractmethod
    def _awaits_client(self) -> bool:
        """Whether it is the client who keeps us waiting."""

    @abstractmethod
    def _end_silence(self) -> None:
        """It has lasted too long."""
