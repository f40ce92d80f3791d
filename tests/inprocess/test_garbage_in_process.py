"""What a request needed is free when it is over: nothing of it waits for the cyclic collector.

A cycle keeps a request's body, its events and its answer until Python next looks, and the looking is paid by others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.harness.garbage import nothing_left
from tests.inprocess.rig import Rig

TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
BODIES: dict[str, dict[str, Any]] = {
    "json": {"input": "Say hello"},
    "not stored": {"input": "Say hello", "store": False},
    "stream": {"input": "Say hello", "stream": True},
    "tools": {"input": "What is the weather?", "tools": [TOOL], "tool_choice": "required"},
    "background": {"input": "Say hello", "background": True},
    "followed background": {"input": "Say hello", "background": True, "stream": True},
    "of the wrong type": {"input": 3},
    "no such model": {"input": "Say hello", "model": "nobody/none"},
    "no such chain": {"input": "Say hello", "previous_response_id": "resp_none"},
    "no such chain, streamed": {"input": "Say hello", "previous_response_id": "resp_none", "stream": True},
    "refused by its provider": {"input": "#sim fail 400 before"},
    "not reached": {"model": "gone/model", "input": "Say hello"},
    "broken off by its provider": {"input": "#sim fail 500 after 2", "stream": True},
}


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig.open(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_request_leaves_no_cycles(rig: Rig, body: dict[str, Any]) -> None:
    await _settled(rig, body)
    with nothing_left():
        await _settled(rig, body)


async def test_a_client_who_leaves_leaves_no_cycles(rig: Rig) -> None:
    for _ in range(2):
        with nothing_left():
            await rig.post({"input": "#sim slow 20ms\nSay hello", "stream": True}, leave_after=1)
            await _idle(rig)


async def test_a_conversation_and_an_idempotency_key_leave_no_cycles(rig: Rig) -> None:
    made = await rig.request("POST", "/v1/conversations", b"{}")
    for turn in range(2):
        with nothing_left():
            said = {"input": "Say hello", "conversation": made.body["id"]}
            await rig.post(said, headers={"idempotency-key": f"turn-{turn}"})
            await _idle(rig)


async def _settled(rig: Rig, body: dict[str, Any]) -> None:
    for _ in range(3):
        await rig.post(body)
    await _idle(rig)


async def _idle(rig: Rig) -> None:
    """What goes on behind the answers is over too."""
    for _ in range(200):
        if not await rig.store.waiting() and not len(rig.table):
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("runs are still under way")
    for _ in range(3):  # done callbacks
        await asyncio.sleep(0)
