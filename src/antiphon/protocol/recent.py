"""What was used of late, by name: the least recently used leaves when there are too many bytes, or after a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MAX_AGE_S: Final = 600.0
_LARGEST: Final = 4
"""The part of the room that one value may take, as 1/n."""


@dataclass(slots=True, eq=False)
class _Used(Generic[T]):
    value: T
    size_bytes: int
    used_at: float


class Recent(Generic[T]):
    """Values with a name and a size."""

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._known: OrderedDict[Hashable, _Used[T]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: Hashable) -> T | None:
        """The value, which is not thereby used."""
        used = self._known.get(name)
        return None if used is None else used.value

    def fits(self, size_bytes: int) -> bool:
        """Whether a value is small enough to be kept."""
        return size_bytes <= self._max_bytes // _LARGEST

    def use(self, name: Hashable) -> None:
        """It was needed just now."""
        self._known[name].used_at = self._now()
        self._known.move_to_end(name)

    def put(self, name: Hashable, value: T, size_bytes: int) -> None:
        """Keep a value in place of what had its name."""
        self.forget(name)
        self._known[name] = _Used(value, size_bytes, self._now())
        self._bytes += size_bytes

    def resize(self, name: Hashable, size_bytes: int) -> None:
        """The value has become larger or smaller."""
        used = self._known[name]
        self._bytes += size_bytes - used.size_bytes
        used.size_bytes = size_bytes

    def forget(self, name: Hashable) -> T | None:
        """Take the value out."""
        used = self._known.pop(name, None)
        if used is None:
            return None
        self._bytes -= used.size_bytes
        return used.value

    def make_room(self) -> list[T]:
        """Let go of what is too much, and too old; what that was."""
        too_old = self._now() - _MAX_AGE_S
        gone: list[T] = []
        while self._known:
            name, oldest = next(iter(self._known.items()))
            if self._bytes <= self._max_bytes and oldest.used_at > too_old:
                break
            self.forget(name)
            gone.append(oldest.value)
        return gone
