"""What a worker has done to its process by the time it says that it serves."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.app import create_app, prepare
from antiphon.config import load_settings


@pytest.fixture
def process() -> Iterator[None]:
    """Whatever is done to the collector and the signals is undone."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("process")
async def test_the_collector_works_once_a_server_stands_and_leaves_alone_what_it_began_with(tmp_path: Path) -> None:
    settings = load_settings({"data": str(tmp_path)}, {})
    await prepare(settings)
    gc.disable()  # as `antiphon serve` begins
    stands, stops = asyncio.Event(), asyncio.Event()
    messages: list[dict[str, Any]] = [{"type": "lifespan.startup"}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await stops.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        assert message["type"] in ("lifespan.startup.complete", "lifespan.shutdown.complete")
        stands.set()

    serving = asyncio.get_running_loop().create_task(create_app(settings)({"type": "lifespan"}, receive, send))
    async with asyncio.timeout(10):
        await stands.wait()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > 10_000, "requests under way are walked again and again"
        stops.set()
        await serving
