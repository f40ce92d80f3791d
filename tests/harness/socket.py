"""A raw WebSocket client whose every event is held to the grammar and to both OpenAPI documents, lane by lane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from tests.harness.client import WAIT_S
from tests.harness.contracts import check_error, check_event
from tests.harness.process import KEY

from antiphon.protocol.grammar import StreamChecker

Json = dict[str, Any]
ENDS = ("response.completed", "response.incomplete", "response.failed")
BESIDE = ("response.steer.pending", "response.steer.failed")


class Socket:
    """One connection. Events wait per lane until they are asked for."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.connection = connection
        self.order: list[tuple[str | None, str]] = []
        self._waiting: dict[str | None, list[Json]] = {}
        self._checkers: dict[str | None, StreamChecker] = {}

    async def send(self, message: Json | str) -> None:
        text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
        await self.connection.send_str(text)

    async def create(self, lane: str | None = None, **body: Any) -> None:
        """A response.create on a lane, by the simulator unless `body` names a model."""
        named = {} if lane is None else {"stream_id": lane}
        await self.send({"type": "response.create", "model": "sim/standard"} | named | body)

    async def event(self, lane: str | None = None) -> Json:
        """The next event of a lane."""
        while not self._waiting.get(lane):
            message = await asyncio.wait_for(self.connection.receive(), WAIT_S)
            assert message.type == aiohttp.WSMsgType.TEXT, message
            self._take(msgspec.json.decode(message.data))
        return self._waiting[lane].pop(0)

    def _take(self, event: Json) -> None:
        lane = event.pop("stream_id", None)
        self.order.append((lane, event["type"]))
        self._waiting.setdefault(lane, []).append(event)
        if event["type"] == "error":
            assert set(event) == {"type", "status", "error"}, event
            check_error({"error": event["error"]})
        elif event["type"] not in BESIDE:
            if event["type"] != "response.steer.accepted":
                check_event(event)
            checker = self._checkers.setdefault(lane, StreamChecker())
            checker.feed(event)
            if event["type"] in ENDS:
                checker.finish()
                del self._checkers[lane]

    async def until(self, event_type: str, lane: str | None = None) -> Json:
        """Read a lane up to an event of a type; an unasked error is a failure."""
        while True:
            event = await self.event(lane)
            if event["type"] == event_type:
                return event
            assert event["type"] not in ("error", *ENDS), event

    async def response(self, lane: str | None = None) -> Json:
        """The next terminal response of a lane."""
        while True:
            event = await self.event(lane)
            assert event["type"] != "error", event
            if event["type"] in ENDS:
                return event["response"]

    async def error(self, lane: str | None = None) -> Json:
        """The error that comes next on a lane, with its status."""
        event = await self.event(lane)
        assert event["type"] == "error", event
        return event["error"] | {"status": event["status"]}


@asynccontextmanager
async def connect(http: aiohttp.ClientSession, url: str, key: str | None = KEY) -> AsyncIterator[Socket]:
    """A connection to a server's /responses; `url` ends in /v1."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    address = url.replace("http", "ws", 1) + "/responses"
    async with http.ws_connect(address, headers=headers, max_msg_size=0) as connection:
        yield Socket(connection)
