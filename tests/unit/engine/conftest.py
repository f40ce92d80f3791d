"""A store of each test's own, and the clock that it goes by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.store.sqlite import open_sqlite
from antiphon.store.store import Store


class Clock:
    """Unix seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    opened = await open_sqlite(tmp_path / "a.db", now=clock)
    yield opened
    await opened.close()
