"""`truncation: auto`: whole exchanges are dropped from the beginning of the context until it fits.

An exchange begins with a message of the user and holds all that answers it, so a call keeps its output and reasoning
its item. What stands before the first message of the user, system and developer messages everywhere, and the last
exchange are never dropped. Source: OpenAI `truncation`; reference "Tools and limits".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from antiphon.protocol.errors import UpstreamFault
from antiphon.protocol.items import CALL_OUTPUTS, CALLS, Message
from antiphon.providers.base import Entry, ModelTurn, Target, Turn

from .estimate import tokens_of, turn_tokens

_LIMIT: Final = re.compile(
    r"(?:maximum|limit|window)\D{0,60}?(\d{4,8})|(\d{4,8})\s*(?:maximum|token limit)", re.IGNORECASE
)
_SHARE_AFTER_REFUSAL: Final = 0.6
"""Of what was sent or of the window the provider names: its tokenizer counts differently than we do."""


class Trimmer:
    """Shortens one turn's context, where its request allows it."""

    def __init__(self, turn: Turn, corrected: Callable[[int], int] = lambda estimate: estimate) -> None:
        self._turn = turn
        self._corrected = corrected
        self._is_allowed = turn.request.truncation == "auto"

    def fit(self, targets: Sequence[Target]) -> Turn:
        """The turn cut to the smallest window that is known of its targets."""
        if not self._is_allowed:
            return self._turn
        windows = [window for target in targets if (window := window_of(target)) is not None]
        if windows:
            room = min(windows) - (self._turn.request.max_output_tokens or 0)
            self._turn = self._cut(room) or self._turn
        return self._turn

    def shorten(self, fault: UpstreamFault) -> Turn | None:
        """The turn cut further, after a model said that it is too long; None if it may not or cannot be."""
        if not self._is_allowed or fault.kind != "context_overflow":
            return None
        sent = self._corrected(turn_tokens(self._turn))
        return self._cut(int(min(sent, _named_limit(fault.message) or sent) * _SHARE_AFTER_REFUSAL))

    def _cut(self, room: int) -> Turn | None:
        """The turn without its oldest exchanges; None if nothing was dropped."""
        entries = self._turn.context
        size = self._corrected(turn_tokens(self._turn))
        starts = exchange_starts(entries)
        dropped: set[int] = set()
        for start, end in pairwise(starts):
            if size <= room:
                break
            for index in range(start, end):
                if not _is_standing(entries[index]):
                    dropped.add(index)
                    size -= self._corrected(tokens_of(entries[index]))
        if not dropped:
            return None
        kept = [entry for index, entry in enumerate(entries) if index not in dropped]
        return replace(self._turn, context=tuple(without_orphans(kept)), past=None)


def window_of(target: Target) -> int | None:
    """Tokens that fit: as the vendor's row says, else as the model's."""
    return target.vendor.quirks.limits.context_window or target.able.context_window


def _named_limit(message: str) -> int | None:
    found = _LIMIT.search(message.replace(",", ""))
    return int(found[1] or found[2]) if found else None


def _is_standing(entry: Entry) -> bool:
    return isinstance(entry, Message) and entry.role in ("system", "developer")


def exchange_starts(entries: Sequence[Entry]) -> list[int]:
    """Where exchanges begin: at the first of each run of messages of the user."""
    starts: list[int] = []
    was_user = False
    for index, entry in enumerate(entries):
        is_user = isinstance(entry, Message) and entry.role == "user"
        if is_user and not was_user:
            starts.append(index)
        was_user = is_user
    return starts


def without_orphans(entries: Sequence[Entry]) -> list[Entry]:
    """The entries without outputs whose call was dropped (calls that were answered only in a later exchange)."""
    calls: set[str] = set()
    kept: list[Entry] = []
    for entry in entries:
        items = entry.items if isinstance(entry, ModelTurn) else (entry,)
        calls |= {item.call_id for item in items if isinstance(item, CALLS)}
        is_output = isinstance(entry, CALL_OUTPUTS)
        if not is_output or not isinstance(entry.call_id, str) or entry.call_id in calls:
            kept.append(entry)
    return kept
