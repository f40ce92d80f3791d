"""An agent's tools and instructions come back with every response, and stand in the store once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.inprocess.rig import Json, Rig

from antiphon.store.engine import Script, Sql

LONG = 'Be kind, \u00e4\u20ac\U0001f600 "quote" \\ and brief. ' * 60
TOOLS: list[Json] = [
    {"type": "function", "name": f"tool_{n}", "description": LONG, "parameters": {"type": "object", "properties": {}}}
    for n in range(10)
]
SMALL = "SELECT length(body) < 3000 FROM responses ORDER BY created_at, id"
AGENT: Json = {"instructions": LONG, "tools": TOOLS}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig.open(tmp_path) as opened:
        yield opened


async def count(rig: Rig, what: str) -> list[int]:
    """Numbers that a statement finds in the store."""

    def script() -> Script[list[int]]:
        return [int(row[0]) for row in (yield Sql(what))]

    return await rig.store.engine.read(script)


@pytest.mark.parametrize(
    "own", [AGENT, {"instructions": LONG}, {"tools": TOOLS}, {"tools": TOOLS[:1], "instructions": "Be brief."}, {}]
)
async def test_a_response_is_shown_as_it_was_sent_whatever_it_echoes(rig: Rig, own: Json) -> None:
    for _ in range(2):
        made = await rig.post({"input": "Hi"} | own)
        assert (await rig.get(f"/responses/{made.response['id']}")).raw == made.raw
        streamed = (await rig.post({"input": "Hi", "stream": True} | own)).response
        assert (await rig.get(f"/responses/{streamed['id']}")).response == streamed
        assert [tool["name"] for tool in streamed["tools"]] == [tool["name"] for tool in own.get("tools", [])]
        assert streamed["instructions"] == own.get("instructions")


async def test_what_a_background_response_echoes_is_there_before_and_after_its_end(rig: Rig) -> None:
    await rig.post({"input": "Hi"} | AGENT)
    made = (await rig.post({"input": "Hi", "background": True} | AGENT)).response
    shown = made
    async with asyncio.timeout(5):
        while shown["status"] in ("queued", "in_progress"):
            await asyncio.sleep(0.01)  # polling is what the API offers
            shown = (await rig.get(f"/responses/{made['id']}")).response
            assert (shown["tools"], shown["instructions"]) == (made["tools"], LONG)
    assert shown["status"] == "completed"
    assert await count(rig, SMALL) == [0, 1]


async def test_an_agents_conversation_is_stored_without_what_every_turn_repeats(rig: Rig) -> None:
    previous: Json = {}
    for turn in range(8):
        said = "My name is Ada." if turn == 0 else "What is my name?"
        response = (await rig.post({"input": said} | AGENT | previous)).response
        previous = {"previous_response_id": response["id"]}
    assert "Ada" in str(response["output"])
    assert await count(rig, SMALL) == [0, *[1] * 7]
    assert await count(rig, "SELECT length(body) > 1000 FROM echoes") == [1, 1]
    # Nor does it count as context, whoever reads it.
    rig.store.max_context_bytes = 60_000
    rig.table.ports.links.forget(response["id"])
    assert "Ada" in str((await rig.post({"input": "What is my name?"} | AGENT | previous)).response["output"])
    assert (await rig.get(f"/responses/{response['id']}/input_items")).status == 200


async def test_what_is_not_kept_leaves_nothing(rig: Rig) -> None:
    for _ in range(3):
        await rig.post({"input": "Hi", "store": False} | AGENT)
    assert await count(rig, "SELECT 1 FROM echoes") == []


async def test_what_comes_once_stays_in_its_response(rig: Rig) -> None:
    for number in range(3):
        await rig.post({"input": "Hi", "instructions": f"{number} {LONG}"})
    assert await count(rig, SMALL) == [0, 0, 0]
    assert await count(rig, "SELECT 1 FROM echoes") == []


async def test_very_long_tools_and_instructions_are_shared_too(rig: Rig) -> None:
    agent = {"instructions": LONG * 40, "tools": [TOOLS[0] | {"description": LONG * 40}]}
    made = [await rig.post({"input": "Hi"} | agent) for _ in range(3)]
    assert await count(rig, SMALL) == [0, 1, 1]
    for one in made:
        assert (await rig.get(f"/responses/{one.response['id']}")).raw == one.raw


async def test_a_key_used_again_is_answered_with_the_same_bytes(rig: Rig) -> None:
    headers = {"idempotency-key": "once"}
    made = await rig.post({"input": "Hi"} | AGENT, headers=headers)
    again = await rig.post({"input": "Hi"} | AGENT, headers=headers)
    assert again.raw == made.raw == (await rig.get(f"/responses/{made.response['id']}")).raw


async def test_a_failed_response_shows_its_echoes_too(rig: Rig) -> None:
    await rig.post({"input": "Hi"} | AGENT)
    made = (await rig.post({"input": "#sim fail after 2", "stream": True} | AGENT)).response
    assert made["status"] == "failed"
    assert (await rig.get(f"/responses/{made['id']}")).response == made
    assert await count(rig, SMALL) == [0, 1]
