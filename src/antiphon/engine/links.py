"""Stored responses that were read of late, so that the next turn of a chain reads only what is new.

A stored response never changes, so what is kept here is never wrong; whether it is still there, and whose it is, the
store is asked for every chain. Bounded in bytes of stored JSON (read, it takes two to three times that) and in age.
Must never be asked for anything but the links of a chain whose newest links the store has then confirmed.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from .history import Link

_MAX_BYTES: Final = 16 << 20
_MAX_AGE_S: Final = 600.0


class Links:
    """The links of this process, the least recently used first."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._links: OrderedDict[str, tuple[Link, float]] = OrderedDict()
        self._bytes = 0

    def newest_of(self, response_id: str | None) -> list[Link]:
        """The newest links of this response's chain as far as they are here without a gap, oldest first."""
        found: list[Link] = []
        now = self._now()
        while response_id is not None and (known := self._links.get(response_id)) is not None:
            link = known[0]
            found.append(link)
            self._links[response_id] = (link, now)
            self._links.move_to_end(response_id)
            response_id = link.stored.previous_response_id
        found.reverse()
        return found

    def keep(self, link: Link) -> None:
        """Keep a link of a response that has ended."""
        stored = link.stored
        if stored.id not in self._links and stored.size_bytes <= self._max_bytes // 4:
            self._bytes += stored.size_bytes
            self._links[stored.id] = (link, self._now())
        self._make_room()

    def forget(self, response_id: str) -> None:
        """The response was deleted."""
        known = self._links.pop(response_id, None)
        if known is not None:
            self._bytes -= known[0].stored.size_bytes

    def _make_room(self) -> None:
        too_old = self._now() - _MAX_AGE_S
        while self._links:
            response_id, (_, used_at) = next(iter(self._links.items()))
            if self._bytes <= self._max_bytes and used_at > too_old:
                return
            self.forget(response_id)
