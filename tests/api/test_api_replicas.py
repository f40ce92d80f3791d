"""Two servers on one PostgreSQL: what is begun on one is resumed, cancelled and continued on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from tests.harness.client import Client, text_of
from tests.harness.follow import Follower
from tests.harness.postgres import Postgres
from tests.harness.process import ServerProcess
from tests.upstream.script import Say, Script
from tests.upstream.server import Upstream

pytestmark = pytest.mark.slow


@pytest.fixture
async def pair(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, postgres: Postgres
) -> tuple[Client, Client]:
    env = {
        "ANTIPHON_STORE": await postgres.new_database(),
        "ANTIPHON_SECRET": "one secret for all replicas of a test",
    }
    servers = [await asyncio.to_thread(new_server, env=env) for _ in range(2)]
    return Client(http, servers[0].url), Client(http, servers[1].url)


async def test_one_server_follows_live_what_the_other_runs(
    pair: tuple[Client, Client], upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    here, there = pair
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    first, second = Follower(http), Follower(http)
    async with asyncio.TaskGroup() as group:
        group.create_task(first.create(here, {"model": "chat/m1", "input": "hi"}))
        await first.wait_for(1, "response.output_text.delta")
        second.response_id = first.response_id
        group.create_task(second.resume(there))
        await second.wait_for(1, "response.output_text.delta")
        upstream.release()
    assert second.events == first.events
    assert text_of(second.check()) == "Hello there, world."


async def test_one_server_cancels_what_the_other_runs(
    pair: tuple[Client, Client], upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    here, there = pair
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    follower = Follower(http)
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.create(here, {"model": "chat/m1", "input": "hi"}))
        await follower.wait_for(1, "response.output_text.delta")
        answer = await there.request("POST", f"/responses/{follower.response_id}/cancel")
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    assert await asyncio.to_thread(upstream.requests("m1")[-1].left.wait, 5)
    assert follower.check() == answer.body


async def test_a_chain_and_a_conversation_go_to_and_fro(pair: tuple[Client, Client]) -> None:
    here, there = pair
    first = await here.create({"model": "sim/standard", "input": "My name is Ann"})
    second = await there.create(
        {"model": "sim/standard", "input": "What is my name?", "previous_response_id": first["id"]}
    )
    assert "Ann" in text_of(second)
    conversation = (await here.request("POST", "/conversations", json={})).body["id"]
    await there.create({"model": "sim/standard", "input": "My name is Bo", "conversation": conversation})
    last = await here.create({"model": "sim/standard", "input": "What is my name?", "conversation": conversation})
    assert "Bo" in text_of(last)


async def test_a_deletion_on_one_server_ends_the_chains_that_the_other_knows(
    pair: tuple[Client, Client], upstream: Upstream
) -> None:
    here, there = pair
    turns: list[str] = []
    for number in range(40):
        link = {"previous_response_id": turns[-1]} if turns else {}
        made = await pair[number % 2].create({"model": "chat/m1", "input": f"line {number}"} | link)
        turns.append(made["id"])
        said = [one["content"] for one in upstream.requests("m1")[-1].body["messages"] if one["role"] == "user"]
        assert said == [f"line {earlier}" for earlier in range(number + 1)]
    count = len(upstream.requests("m1"))
    assert (await here.delete(f"/responses/{turns[20]}")).status == 200
    for client in (there, here, there):
        for turn in (turns[-1], turns[21], turns[20]):
            refused = await client.post({"model": "chat/m1", "input": "go on", "previous_response_id": turn})
            assert (refused.status, refused.error["code"]) == (400, "previous_response_not_found")
        await client.create({"model": "sim/standard", "input": "go on", "previous_response_id": turns[19]})
    assert len(upstream.requests("m1")) == count


async def test_only_one_of_two_servers_may_hold_a_conversation(pair: tuple[Client, Client], upstream: Upstream) -> None:
    here, there = pair
    conversation = (await here.request("POST", "/conversations", json={})).body["id"]
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    body = {"model": "chat/m1", "input": "hi", "conversation": conversation}
    async with here.open_stream(body) as opened:
        await opened.read_until("response.output_text.delta")
        busy = await there.post(body)
        assert (busy.status, busy.error["code"]) == (400, "conversation_locked")
        upstream.release()
        await opened.read_all()
    assert (await there.post(body)).status == 200


async def test_one_key_is_carried_out_once_on_two_servers(pair: tuple[Client, Client], upstream: Upstream) -> None:
    body = {"model": "chat/m1", "input": "hi"}
    answers = await asyncio.gather(*(client.post(body, headers={"idempotency-key": "k"}) for client in (*pair, *pair)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert len(upstream.requests("m1")) == 1
    again = await pair[1].post(body, headers={"idempotency-key": "k"})
    assert again.status == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert again.body in [answer.body for answer in answers]
