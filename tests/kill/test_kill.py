"""Killed at random moments under load: what was acknowledged is there after restart, and nothing is there by half."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
from tests.harness.client import Client, Json
from tests.harness.process import ServerProcess
from tests.upstream.server import Upstream

KILLS = 8
READERS = 6
SEED = 20261121
GONE = (aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass
class Seen:
    """What the clients of one round saw: whole answers by id, and ids of answers that had only begun."""

    whole: dict[str, Json] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)


async def ask_until_killed(client: Client, seen: Seen, name: str) -> None:
    """Ask again and again, JSON and streamed by turns, each following the last; ends when the server is gone."""
    previous: Json = {}
    for number in range(10_000):
        word = f"{name}.{number}"
        body: Json = {"model": "chat/m1", "input": word, "reasoning": {"effort": "low"}} | previous
        try:
            response = await (_streamed(client, body, seen) if number % 2 else client.create(body))
        except GONE:
            return
        seen.whole[response["id"]] = response
        seen.asked[response["id"]] = word
        previous = {"previous_response_id": response["id"]} if number % 5 else {}


async def _streamed(client: Client, body: Json, seen: Seen) -> Json:
    async with client.open_stream(body) as opened:
        created = await opened.read_until("response.created")
        seen.begun.add(created["response"]["id"])
        while not opened.answer.content.at_eof():
            for event in await opened.read_some():
                if event["type"] == "response.completed":
                    return event["response"]
    raise ConnectionError("cut")


async def check(client: Client, seen: Seen) -> None:
    """Every acknowledged response, its body and its own input; begun ones whole or absent."""
    for identity, response in seen.whole.items():
        answer = await client.get(f"/responses/{identity}")
        assert answer.status == 200, f"{identity} was acknowledged and is lost"
        assert answer.body == response
        items = (await client.get(f"/responses/{identity}/input_items?limit=1")).body["data"]
        assert items[0]["content"][0]["text"] == seen.asked[identity]
    for identity in seen.begun - set(seen.whole):
        answer = await client.get(f"/responses/{identity}")
        assert answer.status == 404 or answer.body["status"] == "completed"


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_and_nothing_is_half(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, shared_upstream: Upstream
) -> None:
    server = new_server()
    client = Client(http, server.url)
    moments = random.Random(SEED)
    total = 0
    for kill in range(KILLS):
        seen = Seen()
        async with asyncio.TaskGroup() as group:
            for reader in range(READERS):
                group.create_task(ask_until_killed(client, seen, f"k{kill}r{reader}"))
            # The one wait that is a length of time: a moment under load is what the test is about.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), moments.uniform(0.15, 0.8))
            server.kill()
        await asyncio.to_thread(server.start)
        await check(client, seen)
        total += len(seen.whole)
        shared_upstream.forget()
    assert total > KILLS, "the load was too light to prove anything"
