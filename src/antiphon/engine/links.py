"""Stored responses that a chain was made of of late, so that its next turn reads only what is new.

    a turn reads its chain      the links that are here, then those that the store has to tell
    a turn is stored            it is a link of the chain that it follows, before anybody asks for it
    a response is removed       the store has counted one more: what is here of its project is looked for anew, once

A stored response never changes, so what is kept here is never wrong; whether it is still there, and whose it is, the
store is asked for every chain. Bounded in bytes of stored JSON (read, it takes two to three times that) and in age.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from antiphon.protocol.errors import InvalidRequest
from antiphon.store.base import Removals, StoredResponse
from antiphon.store.store import Store

from .history import Link

_MAX_BYTES: Final = 16 << 20
_MAX_AGE_S: Final = 600.0

# Where the newest link is not here, another worker may have made it: older ones may be here all the same.
_FIRST_LOOK: Final = 16


@dataclass(slots=True, eq=False)
class _Kept:
    """A response that was there when the store had counted `seen` removals; as a link once somebody needed it."""

    stored: StoredResponse
    link: Link | None
    seen: int
    used_at: float


class Links:
    """The links of this process, the least recently used first."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    async def chain(self, store: Store, project: str, response_id: str) -> list[Link] | None:
        """The response and all it follows, oldest first; None if one is absent, deleted, expired or another project's.

        One query, but for a long chain that is new to a process which knows others, and for one of whose project
        something was removed. Raises InvalidRequest (previous_response_not_finished) and StoreUnavailable.
        """
        chain: list[Link] = []
        removals: Removals | None = None
        oldest: str | None = response_id
        while oldest is not None:
            known = self._newest_of(oldest)
            if known and removals is None:
                removals = await store.removals(project)
            if removals is None or not _stand(known, project, removals):
                most = _FIRST_LOOK if self._kept and not (known or chain) else None
                found = await store.chain(project, oldest, len(known), most)
                if found is None:
                    return None
                held = {kept.stored.id for kept in known}
                read = [Link(stored) for stored in found.links if stored.id not in held]
                if not all(link.is_kept for link in read):
                    return None
                removals = found.removals
                known = self._taken(read, known, removals.count)
            links = [kept.link or _read(kept) for kept in known]
            chain[:0] = links
            oldest = links[0].stored.previous_response_id
        return chain

    def seen(self, response_id: str | None) -> int | None:
        """A count of removals by which this response was there; None where it is not here."""
        kept = None if response_id is None else self._kept.get(response_id)
        return None if kept is None else kept.seen

    def keep(self, stored: StoredResponse, seen: int) -> None:
        """Keep a response that has ended. `seen` was counted before it was stored: what removes it counts higher."""
        self._put(_Kept(stored, None, seen, self._now()))
        self._make_room()

    def forget(self, response_id: str) -> None:
        """The response was deleted."""
        kept = self._kept.pop(response_id, None)
        if kept is not None:
            self._bytes -= kept.stored.size_bytes

    def _newest_of(self, response_id: str) -> list[_Kept]:
        """The newest links of this response's chain as far as they are here without a gap, oldest first."""
        found: list[_Kept] = []
        oldest: str | None = response_id
        while oldest is not None and (kept := self._kept.get(oldest)) is not None:
            found.append(kept)
            oldest = kept.stored.previous_response_id
        found.reverse()
        now = self._now()
        for kept in found:
            kept.used_at = now
            self._kept.move_to_end(kept.stored.id)
        return found

    def _taken(self, read: Sequence[Link], known: list[_Kept], seen: int) -> list[_Kept]:
        """What the store told, and after it what is here already; all of it was there at this count."""
        now = self._now()
        new = [_Kept(link.stored, link, seen, now) for link in read]
        for kept in new:
            _check_finished(kept.stored)
            self._put(kept)
        for kept in known:
            kept.seen = seen
        self._make_room()
        return new + known

    def _put(self, kept: _Kept) -> None:
        stored = kept.stored
        if stored.size_bytes <= self._max_bytes // 4:
            self.forget(stored.id)
            self._kept[stored.id] = kept
            self._bytes += stored.size_bytes

    def _make_room(self) -> None:
        too_old = self._now() - _MAX_AGE_S
        while self._kept:
            response_id, kept = next(iter(self._kept.items()))
            if self._bytes <= self._max_bytes and kept.used_at > too_old:
                return
            self.forget(response_id)


def _read(kept: _Kept) -> Link:
    kept.link = Link(kept.stored)
    return kept.link


def _stand(known: Sequence[_Kept], project: str, removals: Removals) -> bool:
    """Nothing was removed since these were seen, none has expired, and all are this project's."""
    for kept in known:
        stored = kept.stored
        if kept.seen != removals.count or stored.project != project:
            return False
        if stored.expires_at is not None and stored.expires_at <= removals.now:
            return False
    return bool(known)


def _check_finished(stored: StoredResponse) -> None:
    if stored.status in ("queued", "in_progress"):
        raise InvalidRequest(
            f"Previous response with id '{stored.id}' is not finished: its status is {stored.status}.",
            param="previous_response_id",
            code="previous_response_not_finished",
        )
