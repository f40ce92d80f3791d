"""What one request holds of its process's room beside its body: the stored context it continues, and fetched media.

What is counted is what is stored of a context: read, it takes two to three times that. Must be given back in the end.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from .ports import Room, Take


class Holding:
    """One request's part of the room, as a context manager; nothing is bounded where there is no room.

    `may_wait`: a background response was taken on long ago. It is never refused, but keeps the next ones waiting.
    """

    def __init__(self, room: Room | None, *, may_wait: bool = False) -> None:
        self._room: Final = room
        self._may_wait = may_wait
        self._held_bytes = 0
        self._names: set[str] = set()

    def __enter__(self) -> Holding:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._room is not None and self._held_bytes:
            self._room.give_back(self._held_bytes)
            self._held_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Hold so many bytes more. Raises Overloaded."""
        if self._room is None or not size_bytes:
            return
        if self._may_wait:
            self._room.hold(size_bytes)
        else:
            self._room.take(size_bytes)
        self._held_bytes += size_bytes

    def once(self, name: str) -> Take:
        """`take`, for what has this name; nothing to take where it was asked for before."""
        if name in self._names:
            return lambda size_bytes: None
        self._names.add(name)
        return self.take
