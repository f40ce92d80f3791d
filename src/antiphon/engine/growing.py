"""What the contexts of a chain begin with: entries that only ever become more, and what is known of all of them.

A turn adds a few entries to hundreds: what was found out about these, and what a dialect has written of them, is kept
beside them, so that a turn costs what it adds. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.providers.base import Counted, Entry, Past, Rendered

from .pairs import Pairs
from .shown import showing


class Known(msgspec.Struct, frozen=True):
    """The entries as they stood when a turn asked for them. `pairs` are for this turn to read on."""

    entries: tuple[Entry, ...]
    past: Past
    pairs: Pairs


class Growing:
    """Entries of which none will ever be changed by what follows."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._pairs = Pairs()
        self._kinds = frozenset[type]()
        self._shows_media = False
        self._rendered = Rendered()
        self._counted = Counted()

    def add(self, entries: Sequence[Entry]) -> None:
        """What follows. Raises as `Pairs.read`, and then nothing more may be asked of it."""
        self._pairs.read(entries)
        self._entries += entries
        self._kinds |= frozenset(map(type, entries))
        self._shows_media = self._shows_media or bool(showing(entries))

    @property
    def entries(self) -> Sequence[Entry]:
        """All of them until now."""
        return self._entries

    def known(self) -> Known:
        """All of it until now."""
        past = Past(len(self._entries), self._kinds, self._shows_media, self._rendered, self._counted)
        return Known(tuple(self._entries), past, self._pairs.copy())
