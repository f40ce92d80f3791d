"""What others make of an object, made once and forgotten with it; and of bytes and text that come again.

For objects that come again with every request of an agent, such as its tools: whoever translates them keeps the result
on them, and so nowhere longer than they are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final, Generic, TypeVar, TypeVarTuple

_SAMPLES: Final = 256
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


class _Sampled:
    """A name that is told from others by a sample first: to hash all of what may be long costs more than to compare."""

    __slots__ = ("_hash", "written")

    def __init__(self, written: str | bytes) -> None:
        self.written = written
        self._hash = hash(written[:: len(written) // _SAMPLES + 1])

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sampled) and self.written == other.written


class Kept(Generic[K, T]):
    """What was made of bytes or text, for those that came last: of `most` in length altogether. Any thread may ask."""

    def __init__(self, make: Callable[[K], T], most: int) -> None:
        self._make = make
        self._most = most
        self._made: OrderedDict[_Sampled, T] = OrderedDict()
        self._length = 0
        self._lock = Lock()

    def of(self, written: K) -> T:
        """What `make` gave for this very one, or gives now; nobody may change it. Raises as `make`."""
        name = _Sampled(written)
        with self._lock:
            known = self._made.get(name)
            if known is not None:
                self._made.move_to_end(name)
                return known
        made = self._make(written)
        with self._lock:
            if name not in self._made:  # by another thread, meanwhile
                self._length += len(written)
                self._made[name] = made
            while self._length > self._most:
                self._length -= len(self._made.popitem(last=False)[0].written)
            return self._made.get(name, made)
