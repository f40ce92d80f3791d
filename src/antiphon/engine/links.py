"""Stored responses that a chain was made of of late, so that its next turn reads only what is new.

    a turn reads its chain      the links that are here, then those that the store has to tell
    a turn is stored            it is a link of the chain that it follows, before anybody asks for it
    a response is removed       the store has counted one more: what is here of its project is looked for anew, once

A stored response never changes, so what is kept here is never wrong; whether it is still there, and whose it is, the
store is asked for every chain. Bounded in bytes of stored JSON (read, it takes two to three times that) and in age.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.recent import Recent
from antiphon.store.base import Removals, StoredResponse, check_context
from antiphon.store.store import Store

from .growing import Growing, Known
from .history import Link, Opener, followed

_MAX_BYTES: Final = 64 << 20
_LINK_BYTES: Final = 1024
"""What a link takes beside what is stored of it."""
_COPIES: Final = 3
"""What a whole chain may hold of its responses' bytes: its links where nothing else does, and what is written of it."""

# Where the newest link is not here, another worker may have made it: older ones may be here all the same.
_FIRST_LOOK: Final = 16


class Chain(msgspec.Struct, frozen=True):
    """Links, oldest first, and what is stored of them. `known`: what they say, where it is known as what goes on."""

    links: Sequence[Link]
    size_bytes: int = 0
    known: Known | None = None


@dataclass(slots=True, eq=False)
class _Whole:
    """A chain from its first response on, none of which changes what another says; until when it is there."""

    links: list[Link] = field(default_factory=list)
    growing: Growing = field(default_factory=Growing)
    expires_at: float = math.inf
    size_bytes: int = 0

    def add(self, links: Sequence[Link], size_bytes: int, opener: Opener) -> bool:
        """The links that follow, of which so much is stored; False if the chain does not go on with one of them."""
        growing = followed(self.growing, links, opener)
        if growing is None:
            return False
        self.growing = growing
        self.links += links
        self.size_bytes += _COPIES * size_bytes
        ends = [link.stored.expires_at for link in links if link.stored.expires_at is not None]
        self.expires_at = min([self.expires_at, *ends])
        return True


@dataclass(slots=True, eq=False)
class _Kept:
    """A response that was there when the store had counted `seen` removals; as a link once somebody needed it.

    `whole` is the chain that it ends; it goes over to the response that follows.
    """

    stored: StoredResponse
    link: Link | None
    seen: int
    whole: _Whole | None = None

    @property
    def size_bytes(self) -> int:
        return _LINK_BYTES + self.stored.size_bytes + (0 if self.whole is None else self.whole.size_bytes)


class Links:
    """The links of this process, the least recently used first."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._kept: Recent[_Kept] = Recent(max_bytes, now)

    async def chain(self, store: Store, project: str, response_id: str, opener: Opener) -> Chain | None:
        """The response and all it follows; None if one of them is absent, deleted, expired or another project's.

        One query, but for a long chain that is new to a process which knows others, and for one of whose project
        something was removed. Raises as `grown`, InvalidRequest (previous_response_not_finished,
        context_length_exceeded) and StoreUnavailable.
        """
        removals: Removals | None = None
        whole = self._whole(response_id, project, opener)
        if whole is not None:
            removals = await store.removals(project)
            if whole is not self._whole(response_id, project, opener):  # it has gone over to a response that follows
                whole = None
        if whole is None or removals is None or not self._is_there(response_id, whole, project, removals):
            links = await self._walk(store, project, response_id, removals)
            if links is None:
                return None
            size_bytes = sum(link.stored.size_bytes for link in links)
            check_context(size_bytes, store.max_context_bytes)
            whole = self._whole(response_id, project, opener) or self._made_whole(links, size_bytes, opener)
            if whole is None:
                return Chain(links, size_bytes)
        size_bytes = whole.size_bytes // _COPIES
        check_context(size_bytes, store.max_context_bytes)
        return Chain(tuple(whole.links), size_bytes, whole.growing.known())

    async def _walk(self, store: Store, project: str, response_id: str, removals: Removals | None) -> list[Link] | None:
        """The links one by one, oldest first; `removals` if they were asked for already."""
        chain: list[Link] = []
        oldest: str | None = response_id
        while oldest is not None:
            known = self._newest_of(oldest)
            if known and removals is None:
                removals = await store.removals(project)
            if removals is None or not _stand(known, project, removals):
                most = _FIRST_LOOK if len(self._kept) and not (known or chain) else None
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
        self._put(_Kept(stored, None, seen))
        self._kept.make_room()

    def _whole(self, response_id: str, project: str, opener: Opener) -> _Whole | None:
        """The chain that this response ends, if it or the one before it is known whole."""
        kept = self._kept.get(response_id)
        if kept is None or kept.whole is not None:
            return kept and kept.whole
        before = self._kept.get(kept.stored.previous_response_id or "")
        if before is None or before.whole is None:
            return None
        if before.seen != kept.seen or before.stored.project != project:
            return None
        link = kept.link or _read(kept)
        whole = before.whole
        self._give(before, None)
        if whole.add([link], link.stored.size_bytes, opener):
            self._give(kept, whole)
        return kept.whole

    def _made_whole(self, links: Sequence[Link], size_bytes: int, opener: Opener) -> _Whole | None:
        """These links as a chain that is kept with the last of them, if it can be."""
        kept = self._kept.get(links[-1].stored.id)
        if kept is None or not self._kept.fits(_COPIES * size_bytes):
            return None
        whole = _Whole()
        if not whole.add(links, size_bytes, opener):
            return None
        self._give(kept, whole)
        self._kept.make_room()
        return whole

    def _is_there(self, response_id: str, whole: _Whole, project: str, removals: Removals) -> bool:
        """Nothing of the chain has been removed since it was seen, or has expired."""
        kept = self._kept.get(response_id)
        assert kept is not None, "a chain is whole with its last response"
        self._kept.use(response_id)
        return _stand([kept], project, removals) and whole.expires_at > removals.now

    def _give(self, kept: _Kept, whole: _Whole | None) -> None:
        kept.whole = whole if whole is not None and self._kept.fits(whole.size_bytes) else None
        self._kept.resize(kept.stored.id, kept.size_bytes)

    def forget(self, response_id: str) -> None:
        """The response was deleted."""
        self._kept.forget(response_id)

    def _newest_of(self, response_id: str) -> list[_Kept]:
        """The newest links of this response's chain as far as they are here without a gap, oldest first."""
        found: list[_Kept] = []
        oldest: str | None = response_id
        while oldest is not None and (kept := self._kept.get(oldest)) is not None:
            found.append(kept)
            oldest = kept.stored.previous_response_id
        found.reverse()
        for kept in found:
            self._kept.use(kept.stored.id)
        return found

    def _taken(self, read: Sequence[Link], known: list[_Kept], seen: int) -> list[_Kept]:
        """What the store told, and after it what is here already; all of it was there at this count."""
        new = [_Kept(link.stored, link, seen) for link in read]
        for kept in new:
            _check_finished(kept.stored)
            self._put(kept)
        for kept in known:
            kept.seen = seen
        self._kept.make_room()
        return new + known

    def _put(self, kept: _Kept) -> None:
        if self._kept.fits(kept.stored.size_bytes):
            self._kept.put(kept.stored.id, kept, kept.size_bytes)


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
