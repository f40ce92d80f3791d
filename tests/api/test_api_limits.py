"""What a project may use in a minute, wherever it asks: JSON, streams, WebSocket, background, compaction, processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from tests.harness.client import Answer, Client, Json, OpenStream
from tests.harness.postgres import Postgres
from tests.harness.process import DIALECTS, ServerProcess
from tests.harness.socket import connect
from tests.upstream.script import Counts, Say, Script
from tests.upstream.server import Upstream

ASK: Json = {"model": "chat/m1", "input": "Hi"}
LONG: Json = ASK | {"max_output_tokens": 900}


def limited(**limits: int) -> str:
    rows = "".join(f"{name} = {value}\n" for name, value in limits.items())
    return f'\n[[project]]\nname = "default"\n{rows}'


def left_of(headers: aiohttp.typedefs.LooseHeaders, kind: str) -> int:
    return int(dict(headers)[f"x-ratelimit-remaining-{kind}"])


def check_refused(answer: Answer, kind: str) -> None:
    assert (answer.status, answer.error["code"], answer.error["type"]) == (429, "rate_limit_exceeded", kind)
    assert 1 <= int(answer.headers["retry-after"]) <= 120
    assert f"{kind} a minute" in answer.error["message"]
    assert left_of(answer.headers, kind) < int(answer.headers[f"x-ratelimit-limit-{kind}"]) / 2


async def test_every_way_to_ask_takes_a_request_and_the_last_one_is_told(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    server = new_server(config=limited(requests_per_minute=5))
    client = Client(http, server.url)
    first = await client.post(ASK)
    assert first.headers["x-ratelimit-limit-requests"] == "5"
    assert (first.status, left_of(first.headers, "requests")) == (200, 4)
    assert "x-ratelimit-limit-tokens" not in first.headers
    assert left_of((await client.stream(ASK)).headers, "requests") == 3
    assert (await client.post(ASK | {"background": True})).status == 200
    async with connect(http, client.url) as socket:
        await socket.create(**ASK)
        await socket.response()
        compacted = await client.request("POST", "/responses/compact", json=ASK)
        assert (compacted.status, left_of(compacted.headers, "requests")) == (200, 0)
        asked = len(upstream.requests())
        await socket.create(**ASK)
        assert (await socket.error())["code"] == "rate_limit_exceeded"
    for more in ({}, {"stream": True}, {"background": True}):
        check_refused(await client.post(ASK | more), "requests")
    check_refused(await client.request("POST", "/responses/compact", json=ASK), "requests")
    assert len(upstream.requests()) == asked
    # What asks no model to answer is free, and so are other projects.
    assert (await client.get(f"/responses/{first.body['id']}")).status == 200
    assert (await client.request("POST", "/responses/input_tokens", json=ASK)).status == 200
    made = await asyncio.to_thread(server.command, "key", "create", "--project", "other", "--json")
    other = await client.with_key(msgspec.json.decode(made)["key"]).post(ASK)
    assert other.status == 200
    assert "x-ratelimit-limit-requests" not in other.headers


@pytest.mark.parametrize("vendor", list(DIALECTS))
async def test_tokens_are_those_that_the_provider_counted(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream, vendor: str
) -> None:
    client = Client(http, new_server(config=limited(tokens_per_minute=1_000)).url)
    upstream.queue("m1", *[Script((Say("Hello."),), counts=Counts(input=600, cached=0, output=390))] * 2)
    answer = await client.post(ASK | {"model": f"{vendor}/m1"})
    assert left_of(answer.headers, "tokens") > 980  # before it was counted
    check_refused(await client.post(ASK | {"model": f"{vendor}/m1", "max_output_tokens": 600}), "tokens")


@asynccontextmanager
async def half_answered(client: Client, upstream: Upstream) -> AsyncIterator[OpenStream]:
    """A stream that has reserved most of a thousand tokens, and stands still."""
    upstream.queue("m1", Script((Say("Hello there."),), stall_after=3))
    async with client.open_stream(LONG) as opened:
        await opened.read_until("response.output_text.delta")
        yield opened


async def test_a_long_answer_is_reserved_and_what_it_did_not_use_given_back(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    client = Client(http, new_server(config=limited(tokens_per_minute=1_000)).url)
    async with half_answered(client, upstream) as opened:
        refused = await client.post(LONG)
        assert refused.status == 429
        upstream.release()
        await opened.read_all()
    assert (await client.post(LONG)).status == 200


async def test_who_leaves_before_anybody_counted_has_used_what_was_reserved(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    client = Client(http, new_server(config=limited(tokens_per_minute=1_000)).url)
    async with half_answered(client, upstream):
        pass
    assert await asyncio.to_thread(upstream.requests("m1")[-1].left.wait, 5)
    check_refused(await client.post(LONG), "tokens")


async def test_what_comes_to_nothing_gives_its_tokens_back(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    client = Client(http, new_server(config=limited(tokens_per_minute=1_000)).url)
    for wrong in ({"model": "nobody/x"}, {"previous_response_id": "resp_gone"}, {"conversation": "conv_gone"}):
        for more in ({}, {"stream": True}, {"background": True}):
            assert (await client.post(LONG | wrong | more)).status in (400, 404)
    wrong = {"model": "chat/m1", "input": [], "previous_response_id": "resp_gone"}
    assert (await client.request("POST", "/responses/compact", json=wrong)).status == 400
    assert left_of((await client.post(LONG)).headers, "tokens") > 0


async def test_a_warm_up_uses_no_tokens(new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession) -> None:
    client = Client(http, new_server(config=limited(tokens_per_minute=1_000)).url)
    async with connect(http, client.url) as socket:
        for _ in range(3):
            await socket.create(**ASK, generate=False, max_output_tokens=900)
            await socket.response()
    assert left_of((await client.post(ASK)).headers, "tokens") > 900


async def test_a_background_response_is_counted_at_its_end(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    client = Client(http, new_server(config=limited(tokens_per_minute=100_000)).url)
    upstream.queue("m1", Script((Say("Hello."),), counts=Counts(input=98_000, cached=0, output=2_000)))
    async with client.open_stream(ASK | {"background": True}) as opened:
        await opened.read_all()
    check_refused(await client.post(ASK | {"max_output_tokens": 3_000}), "tokens")


async def test_a_restart_forgets_nothing(new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession) -> None:
    server = new_server(config=limited(requests_per_minute=2))
    client = Client(http, server.url)
    for _ in range(2):
        await client.create(ASK)
    server.stop()
    server.start()
    check_refused(await client.post(ASK), "requests")


@pytest.mark.slow
async def test_all_replicas_together_give_out_what_one_would(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, postgres: Postgres
) -> None:
    env = {"ANTIPHON_STORE": await postgres.new_database(), "ANTIPHON_SECRET": "one secret for all replicas of a test"}
    config = limited(requests_per_minute=40)
    servers = [await asyncio.to_thread(new_server, env=env, config=config) for _ in range(2)]
    here, there = (Client(http, server.url) for server in servers)
    assert (await there.post(ASK)).status == 200
    for _ in range(39):
        assert (await here.post(ASK)).status == 200
    async with asyncio.timeout(10):
        while (await there.post(ASK)).status == 200:  # noqa: ASYNC110 - another process has no event to wait on
            await asyncio.sleep(0.4)
