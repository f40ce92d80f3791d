"""Input that begins with what was sent before: a client that keeps its conversation sends all of it with every turn.

    [a]                   is read, and its bytes are kept
    [a, b, c]             begins with the very bytes of that: somebody goes on, and what was read is kept, too
    [a, b, c, d, e]       d and e are read, and all of it is kept in its place

Told by bytes alone, so nothing can be found that is not there; and among what the same sender has sent, so that nobody
can tell by the time an answer takes what others say. What is made of a history is kept in its memory.
Inputs that came once have a room of their own: however many of them come, they drive out nobody who goes on.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from operator import attrgetter
from threading import Lock
from typing import Final

from msgspec import Raw

from .memory import Memory
from .recent import Recent
from .request import InputItem

_MAX_BYTES: Final = 32 << 20
_NEW_SHARE: Final = 8
"""The part of it that is for inputs which came once, as 1/n: they are bytes alone."""
_COPIES: Final = 5
"""What a history takes whose items are kept, as a multiple of its JSON: read, rendered, and to be compared."""
Read = Callable[[Raw, int], tuple[InputItem, ...]]
"""Reads an array of items, of which the first stands at that position of the input. Raises InvalidRequest."""


class History:
    """A conversation's longest input so far: its array but for the closing bracket, and its items if they are kept."""

    __slots__ = ("items", "memory", "sender", "written")

    def __init__(self, sender: str) -> None:
        self.sender = sender
        self.written = b""
        self.items: tuple[InputItem, ...] = ()
        self.memory = Memory()


class Resent(tuple[InputItem, ...]):
    """An input of which the first `known` items have come before, as the first of `history`."""

    history: History
    known: int

    def __new__(cls, items: Iterable[InputItem], history: History, known: int) -> Resent:
        made = super().__new__(cls, items)
        made.history, made.known = history, known
        return made


class Histories:
    """What was sent of late, up to so many bytes of memory. Any thread may ask."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        new_bytes = max_bytes // _NEW_SHARE
        self._lock = Lock()
        self._sorted: list[History] = []
        self._new: Recent[History] = Recent(new_bytes, now)  # by identity
        self._kept: Recent[History] = Recent((max_bytes - new_bytes) // _COPIES, now)

    def __len__(self) -> int:
        return len(self._sorted)

    def read(self, sender: str, array: Raw, read: Read) -> Resent:
        """The input of this array. Raises as `read`."""
        written = bytes(memoryview(array)[:-1]).rstrip()
        with self._lock:
            history = self._take(sender, written)
        known = len(history.items)
        try:
            if not history.written:
                items = read(array, 0)
            else:  # from bytes of its own: what is kept must not hold the whole request
                items = (*history.items, *_rest(written, len(history.written) if known else 0, read, known))
        except BaseException:
            with self._lock:
                self._put(history)  # as it was
            raise
        if history.written:
            history.items = items
        history.written = written if items else b""
        with self._lock:
            self._put(history)
        return Resent(items, history, known)

    def _take(self, sender: str, written: bytes) -> History:
        """The history that this goes on with, which is nobody else's from here on; a new one where none is here.

        Whatever stands between a beginning of these bytes and these bytes in their order begins with it, too: so the
        one before is the longest of them, or has gone another way.
        """
        place = bisect_right(self._sorted, (sender, written), key=_order) - 1
        if place < 0 or self._sorted[place].sender != sender or not written.startswith(self._sorted[place].written):
            return History(sender)
        return self._leave(place)

    def _leave(self, place: int) -> History:
        history = self._sorted.pop(place)
        self._room_of(history).forget(id(history))
        return history

    def _put(self, history: History) -> None:
        if not history.written:
            return
        place = self._place(history)
        if place < len(self._sorted) and _order(self._sorted[place]) == _order(history):
            self._leave(place)  # two requests at the same time
        self._sorted.insert(place, history)
        room = self._room_of(history)
        room.put(id(history), history, len(history.written))
        for gone in room.make_room():
            del self._sorted[self._place(gone)]

    def _place(self, history: History) -> int:
        return bisect_left(self._sorted, _order(history), key=_order)

    def _room_of(self, history: History) -> Recent[History]:
        return self._kept if history.items else self._new


_order: Final = attrgetter("sender", "written")


def _rest(written: bytes, begun: int, read: Read, first: int) -> tuple[InputItem, ...]:
    """The items of an array, which lacks its closing bracket, from the byte on where those before have ended."""
    rest = written[begun:].lstrip()
    return read(Raw(b"[" + rest[1:] + b"]"), first) if rest else ()
