"""The HTTP edge: keys, projects, headers, sizes, models, health, draining, workers."""

from __future__ import annotations

import asyncio
import io
import signal
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
import pytest
from tests.harness.client import Client, text_of
from tests.harness.process import KEY, ServerProcess
from tests.upstream.script import Script
from tests.upstream.server import Upstream


@pytest.mark.parametrize("key", [None, "", "sk-wrong", KEY + "x"])
async def test_a_missing_or_wrong_key_is_401(client: Client, key: str | None) -> None:
    answer = await client.with_key(key).post({"model": "chat/m1", "input": "hi"})
    assert answer.status == 401
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "invalid_api_key"
    assert "sk-wrong" not in answer.error["message"]


@pytest.mark.usefixtures("upstream")
async def test_x_api_key_is_a_key_too(client: Client) -> None:
    answer = await client.with_key(None).post({"model": "chat/m1", "input": "hi"}, headers={"x-api-key": KEY})
    assert answer.status == 200


@pytest.mark.usefixtures("upstream")
async def test_one_project_never_sees_anothers_response(client: Client, antiphon_server: ServerProcess) -> None:
    made = msgspec.json.decode(antiphon_server.command("key", "create", "--project", "other", "--json"))
    stranger = client.with_key(made["key"])
    mine = await client.create({"model": "chat/m1", "input": "hi"})
    path = f"/responses/{mine['id']}"
    for answer in (await stranger.get(path), await stranger.delete(path), await stranger.get(f"{path}/input_items")):
        assert answer.status == 404
        assert answer.error["message"] == f"Response with id '{mine['id']}' not found."
    follow = await stranger.post({"model": "chat/m1", "input": "on", "previous_response_id": mine["id"]})
    assert follow.error["code"] == "previous_response_not_found"
    item = {"type": "item_reference", "id": mine["output"][0]["id"]}
    assert (await stranger.post({"model": "chat/m1", "input": [item]})).status == 404
    assert (await client.get(path)).status == 200


async def test_a_revoked_key_is_401_at_once(client: Client, antiphon_server: ServerProcess) -> None:
    made = msgspec.json.decode(antiphon_server.command("key", "create", "--project", "brief", "--json"))
    assert (await client.with_key(made["key"]).get("/models")).status == 200
    antiphon_server.command("key", "revoke", made["id"])
    assert (await client.with_key(made["key"]).get("/models")).status == 401


@pytest.mark.usefixtures("upstream")
async def test_answers_and_errors_carry_openais_headers(client: Client) -> None:
    good = await client.post({"model": "chat/m1", "input": "hi"})
    bad = await client.post({"model": "chat/m1", "input": "hi", "bogus": 1})
    for answer in (good, bad):
        assert answer.headers["x-request-id"]
        assert answer.headers["openai-version"] == "2020-10-01"
        assert float(answer.headers["openai-processing-ms"]) >= 0
    assert good.headers["x-request-id"] != bad.headers["x-request-id"]


@pytest.mark.usefixtures("upstream")
async def test_the_date_is_that_of_the_answer(client: Client) -> None:
    told = parsedate_to_datetime((await client.get("/models")).headers["date"])
    assert abs(told.timestamp() - time.time()) < 3  # of a server that serves this suite for longer


async def test_streams_are_not_buffered_on_their_way(client: Client) -> None:
    streamed = await client.stream({"model": "chat/m1", "input": "hi"})
    assert streamed.headers["cache-control"] == "no-cache"
    assert streamed.headers["x-request-id"]


@pytest.mark.slow
async def test_a_body_over_64_mib_is_413_and_one_under_is_read(client: Client) -> None:
    big = b'{"model":"chat/m1","bogus":"' + b"x" * (64 * 1024 * 1024) + b'"}'
    headers = {"content-type": "application/json"}
    answer = await client.request("POST", "/responses", data=io.BytesIO(big), headers=headers)
    assert answer.status == 413
    less = b'{"model":"chat/m1","bogus":"' + b"x" * (16 * 1024 * 1024) + b'"}'
    assert (await client.request("POST", "/responses", data=io.BytesIO(less), headers=headers)).status == 400


async def test_models_are_listed_and_found(client: Client) -> None:
    listed = (await client.get("/models")).body
    assert listed["object"] == "list"
    assert all(row["object"] == "model" for row in listed["data"])
    name = listed["data"][0]["id"]
    assert (await client.get(f"/models/{name}")).body["id"] == name
    missing = await client.get("/models/nobody/nothing")
    assert missing.status == 404
    assert missing.error["code"] == "model_not_found"


async def test_wrong_paths_and_methods_have_the_envelope(client: Client) -> None:
    assert (await client.get("/nowhere")).status == 404
    assert (await client.request("PUT", "/responses", json={})).status == 405


async def test_health_and_ready_need_no_key(client: Client, antiphon_server: ServerProcess) -> None:
    for path in ("/health", "/ready"):
        assert (await client.with_key(None).get(f"{antiphon_server.origin}{path}")).status == 200


@pytest.mark.slow
async def test_on_sigterm_streams_finish_and_the_server_ends_well(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    server = new_server()
    client = Client(http, server.url)
    upstream.queue("m1", Script(stall_after=3))
    async with client.open_stream({"model": "chat/m1", "input": "hi"}) as opened:
        await opened.read_until("response.in_progress")
        server.terminate()
        upstream.release()
        streamed = await opened.read_all()
    assert text_of(streamed.response) == "Hello."
    # uvicorn ends with the signal it was given, once everything is closed; either is a clean end.
    assert await asyncio.to_thread(server.wait) in (0, -signal.SIGTERM)
    server.start()
    assert (await client.get(f"/responses/{streamed.response['id']}")).status == 200


@pytest.mark.slow
@pytest.mark.usefixtures("upstream")
async def test_two_workers_share_one_state(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    server = new_server(workers=2)
    client = Client(http, server.url)
    made = [await client.create({"model": "chat/m1", "input": f"n{number}"}) for number in range(6)]
    for response in made:  # every request is a connection of its own, so that both workers answer some
        assert (await client.get(f"/responses/{response['id']}")).body == response
        body = {"model": "chat/m1", "input": "on", "previous_response_id": response["id"]}
        assert text_of(await client.create(body)) == "Turn 2. You said: on"
