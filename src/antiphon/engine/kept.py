"""What was read of bytes that come again, kept by these very bytes: equal bytes say the same, so it is never wrong.

For what the store hands out anew with every turn of a conversation. Bounded in bytes; what was made of them takes two
to three times that. Must only make values that nobody changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """The results of `read`, the least recently used first."""

    def __init__(self, read: Callable[[bytes], T], max_bytes: int) -> None:
        self._read = read
        self._max_bytes = max_bytes
        self._known: OrderedDict[bytes, T] = OrderedDict()
        self._size_bytes = 0

    def of(self, raw: bytes) -> T:
        """What these bytes say. Raises what `read` raises."""
        if raw in self._known:
            self._known.move_to_end(raw)
            return self._known[raw]
        made = self._read(raw)
        if len(raw) <= self._max_bytes // 64:
            self._known[raw] = made
            self._size_bytes += len(raw)
        while self._size_bytes > self._max_bytes:
            oldest, _ = self._known.popitem(last=False)
            self._size_bytes -= len(oldest)
        return made
