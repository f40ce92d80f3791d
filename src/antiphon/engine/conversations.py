"""Conversations that were answered of late, so that their next turn reads only what was added since.

What is known of one stands while the store has counted no more removals of its items: items never change. Bounded in
bytes and in age.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from antiphon.protocol.recent import Recent
from antiphon.providers.base import Entry
from antiphon.store.base import ConversationItem, ConversationRow, check_context
from antiphon.store.store import Store

from .conversation_items import conversation_entries, items_bytes
from .growing import Growing, Known
from .history import Opener, grown

_MAX_BYTES: Final = 32 << 20
_COPIES: Final = 4
"""What a conversation takes in memory, as a multiple of its stored JSON: read, and as it is written for a model."""


class Said(msgspec.Struct, frozen=True):
    """What a conversation says, and what is stored of it. `known`: the same, where it is known as what goes on."""

    entries: Sequence[Entry]
    size_bytes: int
    known: Known | None = None


@dataclass(slots=True, eq=False)
class _Kept:
    """The items before `end`, as they stood when `removals` had been counted."""

    removals: int
    growing: Growing = field(default_factory=Growing)
    end: int = 0
    size_bytes: int = 0

    def add(self, items: Sequence[ConversationItem], growing: Growing, end: int) -> None:
        """The items that follow, and what is said with them; all there were before `end`, and perhaps later ones."""
        self.growing = growing
        self.end = max(end, items[-1].position + 1 if items else 0)
        self.size_bytes += items_bytes(items)


class Conversations:
    """The conversations of this process, the least recently used first."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._kept: Recent[_Kept] = Recent(max_bytes, now)

    async def read(self, store: Store, row: ConversationRow, opener: Opener) -> Said:
        """What a conversation says: as what goes on, or where its items change what others say, one by one.

        Raises as `grown`, InvalidRequest (context_length_exceeded) and StoreUnavailable.
        """
        kept = self._take(row)
        items = await store.all_items(row.id, first=kept.end) if kept.end < row.next_position else []
        entries = conversation_entries(items)
        growing = None if row.holes else grown(kept.growing, entries, opener)
        if growing is None:
            if kept.end:
                items = await store.all_items(row.id)
                entries = conversation_entries(items)
            return Said(entries, items_bytes(items))
        kept.add(items, growing, row.next_position)
        check_context(kept.size_bytes, store.max_context_bytes)
        if self._kept.fits(_COPIES * kept.size_bytes):
            self._kept.put(row.id, kept, _COPIES * kept.size_bytes)
        self._kept.make_room()
        known = kept.growing.known()
        return Said(known.entries, kept.size_bytes, known)

    def forget(self, conversation_id: str) -> None:
        """The conversation was deleted."""
        self._kept.forget(conversation_id)

    def _take(self, row: ConversationRow) -> _Kept:
        """What is known of it; nobody else grows it meanwhile."""
        kept = self._kept.forget(row.id)
        return _Kept(row.removals) if kept is None or kept.removals != row.removals else kept
