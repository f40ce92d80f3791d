"""A crowd that begins, leaves, cancels and deletes at random: afterwards nothing runs, waits or is held."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import aiohttp
import pytest
from tests.harness.client import Client, Json
from tests.harness.process import KEY, ServerProcess

ACTORS = 12
ACTIONS = 40
INPUTS = ("hi", "#sim stall", "#sim slow 5ms\n#sim words 20", "#sim slow 20ms\n#sim words 20")


class Crowd:
    """`ids` and `conversations` are what was made, deleted or not."""

    def __init__(self, client: Client, http: aiohttp.ClientSession, seed: int) -> None:
        self.ids: list[str] = []
        self.conversations: list[str] = []
        self._client = client
        self._http = http
        self._random = random.Random(seed)
        self._actions = (self._leave, self._leave, self._submit, self._submit, self._cancel, self._cancel, self._delete)

    async def act(self) -> None:
        for _ in range(ACTIONS):
            await self._random.choice(self._actions)()

    async def converse(self) -> None:
        made = await self._client.request("POST", "/conversations", json={})
        self.conversations.append(made.body["id"])

    def _body(self) -> Json:
        body: Json = {"model": "sim/standard", "input": self._random.choice(INPUTS), "stream": True}
        if self._random.random() < 0.4:
            body["conversation"] = self._random.choice(self.conversations)
        return body

    async def _leave(self) -> None:
        """In the foreground or in the background, and gone after a moment."""
        body = self._body()
        body["background"] = "stall" not in body["input"] and self._random.random() < 0.5  # or it stalls for ever
        url, headers = f"{self._client.url}/responses", {"authorization": f"Bearer {KEY}"}
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(self._random.choice((0.001, 0.01, 0.05, 0.2))),
                self._http.post(url, json=body, headers=headers) as answer,
            ):
                assert answer.status < 500
                await answer.read()

    async def _submit(self) -> None:
        answer = await self._client.post(self._body() | {"background": True, "stream": False})
        assert answer.status in (200, 400, 429), answer.body  # a conversation is held, or the queue full
        if answer.status == 200:
            self.ids.append(answer.body["id"])

    async def _cancel(self) -> None:
        if self.ids:
            answer = await self._client.request("POST", f"/responses/{self._random.choice(self.ids[-8:])}/cancel")
            assert answer.status in (200, 404), answer.body

    async def _delete(self) -> None:
        if self.ids:
            answer = await self._client.delete(f"/responses/{self._random.choice(self.ids)}")
            assert answer.status in (200, 404), answer.body


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_crowd_leaves_nothing_behind(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, workers: int
) -> None:
    limits = {"ANTIPHON_BACKGROUND_CONCURRENCY": "3", "ANTIPHON_BACKGROUND_QUEUE": "20"}
    client = Client(http, new_server(env=limits, workers=workers).url)
    crowd = Crowd(client, http, seed=workers)
    for _ in range(6):
        await crowd.converse()
    async with asyncio.TaskGroup() as group:
        for _ in range(ACTORS):
            group.create_task(crowd.act())
    for response_id in crowd.ids:
        ended = await client.request("POST", f"/responses/{response_id}/cancel")
        assert ended.status == 404 or ended.body["status"] in ("completed", "failed", "cancelled"), ended.body
    async with asyncio.timeout(10):  # what was begun in the background by those who left ends by itself
        for conversation in crowd.conversations:
            body: Json = {"model": "sim/standard", "input": "hi", "conversation": conversation}
            while (answer := await client.post(body)).status != 200:
                assert answer.error["code"] == "conversation_locked", answer.body
                await asyncio.sleep(0.05)
