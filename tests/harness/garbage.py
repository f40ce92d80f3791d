"""Holds a block to leaving nothing of the server's to the cyclic collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from types import CoroutineType, FrameType, GeneratorType
from typing import Any


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fails if the block leaves cycles of the server's objects, which only a collection frees."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        found = {name for one in gc.garbage if (name := _name(one)).startswith("antiphon")}
        assert not found, f"left to the collector: {sorted(found)}"
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _name(one: Any) -> str:
    if isinstance(one, FrameType):
        return f"{one.f_globals.get('__name__', '')}, frame of {one.f_code.co_qualname}"
    if isinstance(one, CoroutineType | GeneratorType):
        return f"antiphon, {one.__qualname__}" if "/antiphon/" in str(one) else ""
    return f"{type(one).__module__}.{type(one).__qualname__}"
