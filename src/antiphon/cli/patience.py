"""How long the client of a connection may be silent before it has sent what it began."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar


class Patient(ABC):
    """Beside one of uvicorn's protocols, whose connection it bounds.

    One timer serves all silences: it is moved on only when it fires.
    """

    silence_s: ClassVar[float] = 60.0
    __slots__ = ()
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _heard_at: float
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

    @abstractmethod
    def _awaits_client(self) -> bool:
        """Whether it is the client who keeps us waiting."""

    @abstractmethod
    def _end_silence(self) -> None:
        """It has lasted too long."""
