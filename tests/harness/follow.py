"""A reader of a background response that comes back wherever it was cut, and keeps what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import msgspec
from tests.harness.client import WAIT_S, Client, Json
from tests.harness.contracts import check_event
from tests.harness.process import KEY

from antiphon.protocol.grammar import StreamChecker
from antiphon.protocol.sse import SseDecoder

GONE = (aiohttp.ClientError, ConnectionError, TimeoutError)
ENDS = ("response.completed", "response.incomplete", "response.failed")


class Follower:
    """The events of one response, in the order they came, over any number of connections."""

    def __init__(self, http: aiohttp.ClientSession, response_id: str = "") -> None:
        self.response_id = response_id
        self.events: list[Json] = []
        self.raw = b""
        self.connections = 0
        self._http = http
        self._news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] in ENDS

    async def create(self, client: Client, body: Json) -> None:
        """Ask for a background stream and read it until it ends or breaks."""
        url = f"{client.url}/responses"
        await self._read("POST", url, json=body | {"background": True, "stream": True})

    async def resume(self, client: Client) -> None:
        """Read on after the last event that came, until the end or a break."""
        after = f"&starting_after={self.events[-1]['sequence_number']}" if self.events else ""
        await self._read("GET", f"{client.url}/responses/{self.response_id}?stream=true{after}")

    async def until_over(self, client: Callable[[], Client], pause: asyncio.Event) -> None:
        """Resume again and again; `pause` is set while there is a server to ask."""
        while not self.is_over:
            await asyncio.wait_for(pause.wait(), 20)
            try:
                await self.resume(client())
            except GONE:
                await asyncio.sleep(0.02)  # a server that was killed is noticed by its port alone

    async def _read(self, method: str, url: str, **more: Json) -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        decoder = SseDecoder()
        self.connections += 1
        async with self._http.request(method, url, headers=headers, **more) as answer:
            if answer.status == 503:
                raise ConnectionError("draining")
            assert answer.status == 200, await answer.read()
            while chunk := await answer.content.readany():
                for event in decoder.feed(chunk):
                    if event.data != b"[DONE]":
                        self._take(msgspec.json.decode(event.data))
                self.raw += chunk
        if not self.is_over:
            raise ConnectionError("the stream was cut")

    def _take(self, event: Json) -> None:
        check_event(event)
        if event["type"] == "response.created":
            self.response_id = event["response"]["id"]
        self.events.append(event)
        self._news.set()

    async def wait_for(self, count: int, event_type: str) -> None:
        """Until so many events of a type have come."""
        async with asyncio.timeout(WAIT_S):
            while sum(event["type"] == event_type for event in self.events) < count:
                self._news.clear()
                await self._news.wait()

    def check(self) -> Json:
        """Every event once, in a legal order; returns the terminal response."""
        checker = StreamChecker()
        for event in self.events:
            checker.feed(event)
        return dict(checker.finish())
