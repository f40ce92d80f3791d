"""Idempotency-Key: carried out once, answered as the first time, refused for another body, free after a refusal."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from tests.harness.client import Client, Json
from tests.harness.process import KEY, ServerProcess
from tests.upstream.script import Failure, Say, Script
from tests.upstream.server import Upstream


def under(key: str | None = None) -> dict[str, dict[str, str]]:
    return {"headers": {"idempotency-key": key or str(uuid4())}}


async def streamed(http: aiohttp.ClientSession, client: Client, body: Json, key: str) -> tuple[bytes, str | None]:
    headers = {"authorization": f"Bearer {KEY}", "idempotency-key": key}
    async with http.post(f"{client.url}/responses", json=body | {"stream": True}, headers=headers) as answer:
        assert answer.status == 200, await answer.read()
        return await answer.read(), answer.headers.get("idempotent-replayed")


@pytest.mark.parametrize("store", [True, False])
async def test_a_repeated_request_gets_the_first_answer(client: Client, upstream: Upstream, store: bool) -> None:
    again = under()
    body = {"model": "chat/m1", "input": "hi", "store": store}
    first, second = await client.post(body, **again), await client.post(body, **again)
    assert first.body == second.body
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert len(upstream.requests("m1")) == 1


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_obfuscation": False}}])
async def test_a_repeated_stream_has_the_same_bytes(
    client: Client, upstream: Upstream, http: aiohttp.ClientSession, options: Json
) -> None:
    key = str(uuid4())
    body = {"model": "chat/m1", "input": "hi"} | options
    first, second = [await streamed(http, client, body, key) for _ in range(2)]
    assert first[0] == second[0]
    assert (first[1], second[1]) == (None, "true")
    assert len(upstream.requests("m1")) == 1


async def test_a_repeated_background_request_is_the_same_response(client: Client, upstream: Upstream) -> None:
    again = under()
    body = {"model": "chat/m1", "input": "hi", "background": True}
    first, second = await client.post(body, **again), await client.post(body, **again)
    assert first.body["id"] == second.body["id"]
    async with asyncio.timeout(5):
        while (await client.post(body, **again)).body["status"] != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # polling is what the API offers
    assert len(upstream.requests("m1")) == 1


async def test_another_body_under_the_key_is_409(client: Client) -> None:
    again = under()
    await client.post({"model": "sim/standard", "input": "one"}, **again)
    other = await client.post({"model": "sim/standard", "input": "two"}, **again)
    assert (other.status, other.error["code"]) == (409, "idempotency_key_reused")
    assert other.headers["x-should-retry"] == "false"
    elsewhere = await client.request("POST", "/conversations", json={}, **again)
    assert elsewhere.error["code"] == "idempotency_key_reused"


async def test_while_the_first_runs_the_second_is_told_to_wait(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    again = under()
    body = {"model": "chat/m1", "input": "hi"}
    async with asyncio.TaskGroup() as group:
        first = group.create_task(client.post(body, **again))
        async with asyncio.timeout(5):
            while not upstream.requests("m1"):  # noqa: ASYNC110 - until the model is asked
                await asyncio.sleep(0.01)
        second = await client.post(body, **again)
        assert (second.status, second.error["code"]) == (409, "idempotency_key_in_use")
        assert int(second.headers["retry-after"]) > 0
        upstream.release()
    assert (await client.post(body, **again)).body == first.result().body


async def test_a_crowd_under_one_key_asks_the_model_once(client: Client, upstream: Upstream) -> None:
    again = under()
    body = {"model": "chat/m1", "input": "hi"}
    answers = await asyncio.gather(*(client.post(body, **again) for _ in range(20)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert len(upstream.requests("m1")) == 1
    assert len({answer.body["id"] for answer in answers if answer.status == 200}) == 1


async def test_a_refused_request_leaves_the_key_free(client: Client, upstream: Upstream) -> None:
    again = under()
    upstream.queue("m1", Script(refuse=Failure(400, "invalid_request_error")))
    body = {"model": "chat/m1", "input": "hi"}
    assert (await client.post(body, **again)).status == 400
    assert (await client.post(body | {"temperature": 9}, **again)).status == 400
    assert (await client.post(body, **again)).status == 200


async def test_a_client_that_leaves_leaves_the_key_free(
    client: Client, upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    key = str(uuid4())
    body = {"model": "chat/m1", "input": "hi", "stream": True}
    headers = {"authorization": f"Bearer {KEY}", "idempotency-key": key}
    async with http.post(f"{client.url}/responses", json=body, headers=headers) as answer:
        await answer.content.readany()
        answer.close()
    async with asyncio.timeout(5):
        while True:
            async with http.post(f"{client.url}/responses", json=body, headers=headers) as answer:
                if answer.status == 200:
                    assert b"response.completed" in await answer.read()
                    return
                assert answer.status == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/conversations", {"metadata": {"a": "b"}}),
        ("/prompts", {"name": "x", "template": {"input": "x"}}),
        ("/responses/compact", {"model": "sim/standard", "input": [{"role": "user", "content": "x"}]}),
    ],
)
async def test_every_other_post_keeps_its_answer_too(client: Client, path: str, body: Any) -> None:
    again = under()
    first = await client.request("POST", path, json=body, **again)
    second = await client.request("POST", path, json=body, **again)
    assert (first.status, first.body) == (second.status, second.body) == (200, second.body)
    assert second.headers["idempotent-replayed"] == "true"
    third = await client.request("POST", path, json=body, **under())
    assert third.body["id"] != first.body["id"]


async def test_keys_of_two_projects_never_meet(client: Client, antiphon_server: ServerProcess) -> None:
    again = under()
    body = {"model": "sim/standard", "input": "hi"}
    first = await client.post(body, **again)
    made = await asyncio.to_thread(antiphon_server.command, "key", "create", "--project", f"other-{uuid4()}")
    other = await client.with_key(made.strip()).post(body, **again)
    assert (other.status, other.body["id"] == first.body["id"]) == (200, False)


async def test_deleting_the_response_deletes_its_kept_answer(client: Client) -> None:
    again = under()
    body = {"model": "sim/standard", "input": "hi"}
    first = await client.post(body, **again)
    await client.delete(f"/responses/{first.body['id']}")
    second = await client.post(body, **again)
    assert second.body["id"] != first.body["id"]


@pytest.mark.parametrize("key", ["x" * 256, "caf\u00e9"])
async def test_a_key_that_is_none_is_400(client: Client, key: str) -> None:
    answer = await client.post({"model": "sim/standard", "input": "hi"}, headers={"idempotency-key": key})
    assert (answer.status, "Idempotency-Key" in answer.error["message"]) == (400, True)
