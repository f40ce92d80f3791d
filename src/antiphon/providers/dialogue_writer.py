"""A writer of messages that are made of the turns of a dialogue, each when it has ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from .base import Entry, Turn
from .dialogue import Answer, Ask, Dialogue
from .writing import Run


class DialogueWriter(ABC):
    """A `Writer` without its `rest`."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._run: Run = ()

    def begin(self, turn: Turn | None) -> None:
        """See `Writer.begin`."""
        self._dialogue.begin(turn)

    def entry(self, entry: Entry) -> None:
        """See `Writer.entry`."""
        self._dialogue.entry(entry)

    @property
    def removed(self) -> list[tuple[str, str]]:
        """As in `HttpRequest`."""
        return self._dialogue.removed

    def _take(self, turns: Sequence[Ask | Answer]) -> None:
        for one in turns:
            if isinstance(one, Ask):
                self._ask(one)
            else:
                self._answer(one)

    @abstractmethod
    def _ask(self, ask: Ask) -> None: ...

    @abstractmethod
    def _answer(self, answer: Answer) -> None: ...
