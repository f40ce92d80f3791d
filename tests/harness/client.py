"""A raw HTTP client whose every answer is held to the grammar and to both OpenAPI documents.

It adds nothing and repairs nothing: what the suites see is what came over the socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from multidict import CIMultiDictProxy
from tests.harness.contracts import check_error, check_event, check_response
from tests.harness.process import KEY

from antiphon.protocol.grammar import StreamChecker
from antiphon.protocol.sse import SseDecoder

Json = dict[str, Any]
WAIT_S = 5.0
FLEETING = ("id", "created_at", "completed_at", "call_id", "item_id", "encrypted_content")


@dataclass
class Answer:
    """One JSON answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Json

    @property
    def error(self) -> Json:
        return self.body["error"]


@dataclass
class Streamed:
    """One whole stream. `raw` is what came, byte for byte."""

    headers: CIMultiDictProxy[str]
    raw: bytes = b""
    events: list[Json] = field(default_factory=list)
    response: Json = field(default_factory=dict)
    has_done: bool = False

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


class OpenStream:
    """A stream being read; every event is checked as it arrives."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.streamed = Streamed(answer.headers)
        self._decoder = SseDecoder()
        self._checker = StreamChecker()

    async def read_some(self) -> list[Json]:
        """The events of the next bytes; an empty list at the end or for comments alone."""
        chunk = await asyncio.wait_for(self.answer.content.readany(), WAIT_S)
        self.streamed.raw += chunk
        events: list[Json] = []
        for sent in self._decoder.feed(chunk):
            if sent.data == b"[DONE]":
                self.streamed.has_done = True
                continue
            assert not self.streamed.has_done, "an event after [DONE]"
            event: Json = msgspec.json.decode(sent.data)
            assert sent.name == event["type"], "`event:` differs from `type`"
            self._checker.feed(event)
            check_event(event)
            events.append(event)
        self.streamed.events += events
        return events

    async def read_until(self, event_type: str) -> Json:
        """Read on until an event of this type came; returns it."""
        while not self.answer.content.at_eof():
            for event in await self.read_some():
                if event["type"] == event_type:
                    return event
        raise AssertionError(f"the stream ended without {event_type}: {self.streamed.types}")

    async def read_all(self) -> Streamed:
        """Read to the end; the stream must be whole."""
        while not self.answer.content.at_eof():
            await self.read_some()
        self.streamed.response = dict(self._checker.finish())
        return self.streamed


class Client:
    """Requests to one server with one key."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str | None = KEY) -> None:
        self._session = session
        self.url = url
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}

    def with_key(self, key: str | None) -> Client:
        return Client(self._session, self.url, key)

    async def request(self, method: str, path: str, **more: Any) -> Answer:
        """Any call with a JSON answer; `path` is relative to /v1 unless it is a whole URL."""
        url = path if "://" in path else f"{self.url}{path}"
        headers = self._headers | more.pop("headers", {})
        async with self._session.request(method, url, headers=headers, **more) as answer:
            raw = await asyncio.wait_for(answer.read(), WAIT_S)
            assert answer.content_type == "application/json", (answer.content_type, raw[:200])
            body = msgspec.json.decode(raw)
        if answer.status >= 400:
            check_error(body)
        elif body.get("object") == "response" and "output" in body:
            check_response(body)
        return Answer(answer.status, answer.headers, body)

    async def post(self, body: Json, **more: Any) -> Answer:
        """POST /v1/responses without streaming."""
        return await self.request("POST", "/responses", json=body, **more)

    async def create(self, body: Json) -> Json:
        """POST /v1/responses; the response object of a 200."""
        answer = await self.post(body)
        assert answer.status == 200, answer.body
        return answer.body

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.request("GET", path, **more)

    async def delete(self, path: str) -> Answer:
        return await self.request("DELETE", path)

    @asynccontextmanager
    async def open_stream(self, body: Json) -> AsyncIterator[OpenStream]:
        """POST with stream:true; leaving the block early closes the connection, as a client that leaves does."""
        sent = self._session.post(f"{self.url}/responses", json=body | {"stream": True}, headers=self._headers)
        async with sent as answer:
            assert answer.status == 200, await answer.read()
            assert answer.content_type == "text/event-stream"
            try:
                yield OpenStream(answer)
            finally:
                answer.close()

    async def stream(self, body: Json) -> Streamed:
        """A whole stream, checked."""
        async with self.open_stream(body) as opened:
            streamed = await opened.read_all()
        assert streamed.has_done, "no [DONE] at the end"
        return streamed


async def with_room(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer once there is room: the server hears of a client's leaving a moment later."""
    for _ in range(200):
        answer = await ask()
        if answer.status != 503:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError("there is no room again")


def timeless(value: Any) -> Any:
    """`value` without what differs between two runs of the same answer: ids and times."""
    if isinstance(value, dict):
        return {name: timeless(part) for name, part in value.items() if name not in FLEETING}
    if isinstance(value, list):
        return [timeless(part) for part in value]
    return value


def text_of(response: Json) -> str:
    """All visible text of a response."""
    parts = [part for item in response["output"] for part in item.get("content") or () if item["type"] == "message"]
    return "".join(part.get("text", "") for part in parts)


def calls_of(response: Json) -> list[Json]:
    """The calls to the client's tools, in order."""
    return [item for item in response["output"] if item["type"] in ("function_call", "custom_tool_call")]
