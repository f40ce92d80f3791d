"""Calls and their outputs, read along a context from its beginning: each must have the other, as OpenAI demands."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import CALL_OUTPUTS, CALLS, Message
from antiphon.providers.base import Entry, ModelTurn


class Pairs:
    """The calls that were made, and which of them have no output so far."""

    def __init__(self) -> None:
        self.call_ids: set[str] = set()
        self._answered: set[str] = set()
        self._owed: dict[str, bool] = {}

    def copy(self) -> Pairs:
        """The same, to be read on from independently."""
        copied = Pairs()
        copied.call_ids = self.call_ids.copy()
        copied._answered = self._answered.copy()
        copied._owed = self._owed.copy()
        return copied

    def read(self, entries: Sequence[Entry]) -> None:
        """Entries that follow those before. Raises InvalidRequest for an output without its call."""
        for entry in entries:
            for item in entry.items if type(entry) is ModelTurn else (entry,):
                if type(item) is not Message:  # as most of a long history is
                    self._read(item)

    def _read(self, item: Entry) -> None:
        if isinstance(item, CALLS):
            self.call_ids.add(item.call_id)
            if item.call_id not in self._answered:
                self._owed[item.call_id] = item.async_ is True
        elif isinstance(item, CALL_OUTPUTS) and isinstance(item.call_id, str):
            if item.call_id not in self.call_ids:
                raise InvalidRequest(
                    f"No tool call found for function call output with call_id {item.call_id}.", param="input"
                )
            self._answered.add(item.call_id)
            self._owed.pop(item.call_id, None)

    def check(self) -> None:
        """The context is over. Raises InvalidRequest for a call without its output, but for one that may come later."""
        for call_id, may_come_later in self._owed.items():
            if not may_come_later:
                raise InvalidRequest(f"No tool output found for function call {call_id}.", param="input")
