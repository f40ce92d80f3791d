"""What others make of an object, made once and forgotten with it.

For objects that come again with every request of an agent, such as its tools: whoever translates them keeps the result
on them, and so nowhere longer than they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Memory:
    """Results by the object that they were made for."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[int, tuple[object, Any]] = {}  # Any: of what type a result is, its maker knows

    def once(self, purpose: object, make: Callable[[], T]) -> T:
        """What `make` gave for this very `purpose` the first time; nobody may change it."""
        known = self._made.get(id(purpose))
        if known is None:
            known = self._made[id(purpose)] = (purpose, make())  # held, so that its id stays its own
        result: T = known[1]
        return result
