"""What others make of an object, made once and forgotten with it; and of bytes and text that come again.

For objects that come again with every request of an agent, such as its tools: whoever translates them keeps the result
on them, and so nowhere longer than they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar, TypeVarTuple

T = TypeVar("T")
Given = TypeVarTuple("Given")
K = TypeVar("K", str, bytes)


def exact(encoded: bytes) -> bytes:
    """What msgspec encoded, to be kept: without the room that it leaves behind, of half the size or less."""
    return bytes(memoryview(encoded))


class Memory:
    """Results by the object that they were made for."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[int, tuple[object, Any]] = {}  # Any: of what type a result is, its maker knows

    def once(self, purpose: object, make: Callable[[*Given], T], *given: *Given) -> T:
        """What `make` gave, with what is given, for this very `purpose` the first time; nobody may change it."""
        known = self._made.get(id(purpose))
        if known is None:
            known = self._made[id(purpose)] = (purpose, make(*given))  # held, so that its id stays its own
        result: T = known[1]
        return result


class Kept(Generic[K, T]):
    """What was made of bytes or text, for those that came last: of `most` in length altogether. Any thread may ask."""

    def __init__(self, make: Callable[[K], T], most: int) -> None:
        self._make = make
        self._most = most
        self._made: OrderedDict[K, T] = OrderedDict()
        self._length = 0
        self._lock = Lock()

    def of(self, written: K) -> T:
        """What `make` gave for this very one, or gives now; nobody may change it. Raises as `make`."""
        with self._lock:
            if written in self._made:
                self._made.move_to_end(written)
                return self._made[written]
        made = self._make(written)
        with self._lock:
            if written not in self._made:  # by another thread, meanwhile
                self._length += len(written)
                self._made[written] = made
            while self._length > self._most:
                self._length -= len(self._made.popitem(last=False)[0])
            return self._made.get(written, made)
