"""Background runs whose process is killed: nothing acknowledged is lost, and who follows sees one legal stream."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
from tests.harness.client import Client, Json
from tests.harness.follow import GONE, Follower
from tests.harness.postgres import Postgres
from tests.harness.process import ServerProcess

SEED = 20261121
RUNS_A_ROUND = 50
ROUNDS = 4
QUICK = {"ANTIPHON_LEASE_S": "0.6", "ANTIPHON_BACKGROUND_ATTEMPTS": "50", "ANTIPHON_BACKGROUND_CONCURRENCY": "20"}
SECRET = {"ANTIPHON_SECRET": "one secret for all replicas of a test"}
TOOL: Json = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
WORK = (
    "#sim slow 8ms\n#sim words 12",
    "#sim slow 8ms\n#sim reason high\n#sim words 6",
    '#sim slow 8ms\n#sim call look {"city":"a town with a rather long name"}',
    "#sim slow 8ms\n#sim think\n#sim words 4",
    "#sim stall for 150ms\n#sim words 3",
)


@dataclass
class Round:
    """What the clients of one round were promised."""

    polled: list[str] = field(default_factory=list)
    followed: list[Follower] = field(default_factory=list)


async def ask(client: Client, http: aiohttp.ClientSession, seen: Round, number: int) -> None:
    """One background request, polled or followed; ends when the server is gone."""
    body: Json = {"model": "sim/standard", "input": WORK[number % len(WORK)], "tools": [TOOL]}
    with contextlib.suppress(*GONE):
        if number % 2:
            answer = await client.post(body | {"background": True})
            assert answer.status == 200, answer.body
            seen.polled.append(answer.body["id"])
            return
        follower = Follower(http)
        seen.followed.append(follower)
        await follower.create(client, body)


async def ended(client: Client, response_id: str) -> Json:
    """The response once it has ended."""
    async with asyncio.timeout(30):
        while True:
            answer = await client.get(f"/responses/{response_id}")
            assert answer.status == 200, f"{response_id} was acknowledged and is lost: {answer.body}"
            if answer.body["status"] not in ("queued", "in_progress"):
                return answer.body
            await asyncio.sleep(0.03)  # polling is what a client without a stream does


async def check(client: Client, seen: Round) -> int:
    """Every promise of a round, at a living server; how many there were."""
    there = asyncio.Event()
    there.set()
    known = [follower for follower in seen.followed if follower.response_id]
    async with asyncio.TaskGroup() as group:
        for follower in known:
            group.create_task(follower.until_over(lambda: client, there))
        polled = [group.create_task(ended(client, response_id)) for response_id in seen.polled]
    for task in polled:
        assert task.result()["status"] == "completed", task.result()
    for follower in known:
        response = follower.check()
        assert response["status"] == "completed", response
        assert (await client.get(f"/responses/{follower.response_id}")).body == response
        again = Follower(follower._http, follower.response_id)
        await again.resume(client)
        assert again.events == follower.events, "a second reader saw another stream"
    return len(known) + len(polled)


async def a_round(server: ServerProcess, http: aiohttp.ClientSession, seen: Round, moments: random.Random) -> None:
    """Load, and a SIGKILL in the middle of it."""
    client = Client(http, server.url)
    async with asyncio.TaskGroup() as group:
        for number in range(RUNS_A_ROUND):
            group.create_task(ask(client, http, seen, number))
        # The one wait that is a length of time: a moment under load is what the test is about.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), moments.uniform(0.1, 0.5))
        server.kill()


@pytest.mark.slow
async def test_after_a_restart_every_acknowledged_run_ends_whole(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    server = new_server(env=QUICK)
    moments = random.Random(SEED)
    total = 0
    for _ in range(ROUNDS):
        seen = Round()
        await a_round(server, http, seen, moments)
        await asyncio.to_thread(server.start)
        total += await check(Client(http, server.url), seen)
    assert total > RUNS_A_ROUND, "the load was too light to prove anything"


@pytest.mark.slow
async def test_another_process_takes_over_what_a_killed_one_had_begun(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, postgres: Postgres
) -> None:
    env = QUICK | SECRET | {"ANTIPHON_STORE": await postgres.new_database()}
    servers = [new_server(env=env), new_server(env=env)]
    moments = random.Random(SEED)
    total = 0
    for number in range(ROUNDS):
        victim, survivor = servers[number % 2], servers[(number + 1) % 2]
        seen = Round()
        await a_round(victim, http, seen, moments)
        total += await check(Client(http, survivor.url), seen)
        await asyncio.to_thread(victim.start)
    assert total > RUNS_A_ROUND, "the load was too light to prove anything"


@pytest.mark.slow
async def test_a_run_that_kills_its_workers_fails_after_its_attempts(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    server = new_server(env=QUICK | {"ANTIPHON_BACKGROUND_ATTEMPTS": "2"})
    client = Client(http, server.url)
    follower = Follower(http)
    for asked in range(2):
        async with asyncio.TaskGroup() as group, asyncio.timeout(10):
            group.create_task(_read_until_gone(follower, client))
            await follower.wait_for(asked + 1, "response.output_item.added")
            await follower.wait_for(3 * asked + 3, "response.output_text.delta")
            server.kill()
        await asyncio.to_thread(server.start)
    await asyncio.wait_for(follower.until_over(lambda: client, _set()), 10)
    response = follower.check()
    assert response["status"] == "failed"
    assert "2 times" in response["error"]["message"]
    assert [item["status"] for item in response["output"]] == ["incomplete", "incomplete"]


async def _read_until_gone(follower: Follower, client: Client) -> None:
    with contextlib.suppress(*GONE):
        if follower.events:
            await follower.resume(client)
        else:
            await follower.create(client, {"model": "sim/standard", "input": "#sim stall after 3"})


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
