"""A model provider for tests: a real HTTP server that speaks six wires strictly and plays scripts.

    upstream = Upstream().start()               # a thread with its own loop; `upstream.url` ends in /v1
    upstream.queue("m1", Script((Say("Hi"),)))  # the next answer for model "m1"; then the default again
    ...                                         # Antiphon calls {url}/chat/completions, /messages, /responses,
                                                # /models/m1:streamGenerateContent, /model/m1/converse-stream, /chat
    upstream.requests("m1")[-1].body            # what it really received: headers, raw bytes, parsed body
    upstream.stop()

Without a queued script it behaves as `script.default_script` says: it calls the first declared tool once,
answers with the tool's output, writes JSON that is valid for the schema, reasons when asked to, and otherwise
says "Turn N. You said: ...", so that a test sees whether the conversation arrived.

It answers 4xx, in the provider's own shape, where the provider would, and keeps those in `refusals`: a test
that does not expect one asserts that the list is empty. `GET /v1/models` lists `models`. A `stall_after`
script holds the stream until the reader leaves (`Received.left` is then set) or `release()` is called.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from aiohttp import web
from tests.upstream.chat_wire import ChatWire
from tests.upstream.claude_wire import AnthropicWire
from tests.upstream.cohere_wire import CohereWire
from tests.upstream.converse_wire import ConverseWire
from tests.upstream.gemini_wire import GeminiWire
from tests.upstream.native_wire import NativeWire
from tests.upstream.script import Asked, Failure, Json, RefusedError, Script, default_script
from tests.upstream.types_check import check_types

KEY = "sk-upstream-test"
TYPED = ("chat_completions", "anthropic", "responses")
"""Wires whose bodies are checked against one TypedDict; the others check themselves."""
_IN_PATH = re.compile(r"/models?/([^/:]+)[:/](streamGenerateContent|converse-stream)$")
WAIT_S = 5.0


class Wire(Protocol):
    """One provider's protocol."""

    name: str
    is_binary: bool

    def check(self, headers: dict[str, str], body: Json) -> None: ...
    def asked(self, body: Json) -> Asked: ...
    def frames(self, script: Script, body: Json) -> list[bytes]: ...
    def error_event(self, failure: Failure) -> bytes: ...
    def error_body(self, failure: Failure) -> bytes: ...


@dataclass
class Received:
    """One request as it came. `left` is set when the reader went away, `ended` when the answer is over."""

    wire: str
    headers: dict[str, str]
    raw: bytes
    body: Json
    frames_sent: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    streaming: threading.Event = field(default_factory=threading.Event)


BLOB = "a blob that only its provider reads"
SIDE_CALLS: dict[str, Json] = {
    "/v1/responses/input_tokens": {"object": "response.input_tokens", "input_tokens": 4242},
    "/v1/messages/count_tokens": {"input_tokens": 4343},
    "/v1/responses/compact": {
        "id": "resp_up",
        "object": "response.compaction",
        "created_at": 1,
        "output": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "kept"}]},
            {"type": "compaction", "id": "cmp_up", "encrypted_content": BLOB},
        ],
        "usage": {"input_tokens": 30, "output_tokens": 7, "total_tokens": 37},
    },
}
"""What is answered beside the model's own words."""


class Upstream:
    """The scripted provider. Thread-safe; one for a whole test session is enough."""

    def __init__(self, models: tuple[str, ...] = ("m1", "m2", "reasoner")) -> None:
        self.models = models
        self.refusals: list[str] = []
        self.serves_side_calls = True
        self._wires: dict[str, Wire] = {
            "completions": ChatWire(KEY),
            "messages": AnthropicWire(KEY),
            "responses": NativeWire(KEY),
            "streamGenerateContent": GeminiWire(KEY),
            "converse-stream": ConverseWire(KEY),
            "chat": CohereWire(KEY),
        }
        self._scripts: dict[str, deque[Script]] = defaultdict(deque)
        self._received: list[Received] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    def start(self) -> Upstream:
        """Listen on a free port of 127.0.0.1."""
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(WAIT_S)
        self.url = f"http://127.0.0.1:{port}/v1"
        return self

    def stop(self) -> None:
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def queue(self, model: str, *scripts: Script) -> None:
        """The next answers for `model`, before the default behaviour."""
        self._scripts[model].extend(scripts)

    def release(self) -> None:
        """Let every stalled answer go on."""
        self._loop.call_soon_threadsafe(self._released.set)

    def requests(self, model: str | None = None) -> list[Received]:
        """What was received, oldest first; refused requests too."""
        return [one for one in self._received if model in (None, one.body.get("model"))]

    def forget(self) -> None:
        """Drop scripts, recordings and refusals of earlier tests."""
        self._scripts.clear()
        self._received.clear()
        self.refusals.clear()
        self._loop.call_soon_threadsafe(self._released.clear)

    async def _listen(self) -> int:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/v1/{tail:.*}", self._answer)
        # Cancelling the handler is how a script learns that its reader left.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _list_models(self, _: web.Request) -> web.Response:
        rows = [{"id": name, "object": "model", "type": "model", "created": 1, "owned_by": "t"} for name in self.models]
        return web.json_response({"object": "list", "data": rows, "has_more": False})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in SIDE_CALLS:
            return await self._answer_beside(request)
        wire, model = self._route(request.path)
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = msgspec.json.decode(raw)
        received = Received(wire.name, headers, raw, body if model is None else body | {"model": model})
        self._received.append(received)
        try:
            wire.check(headers, received.body)
            if wire.name in TYPED:
                check_types(wire.name, received.body)
            script = self._next_script(wire, received.body)
        except RefusedError as refused:
            self.refusals.append(f"{wire.name}: {refused.message}")
            failure = Failure(refused.status, refused.type, refused.code, refused.message)
            return _http_error(wire, failure)
        if script.refuse is not None:
            return _http_error(wire, script.refuse)
        try:
            return await self._play(request, wire, script, received)
        except (ConnectionResetError, asyncio.CancelledError):
            received.left.set()
            raise
        finally:
            received.ended.set()

    def _route(self, path: str) -> tuple[Wire, str | None]:
        """The wire of a path, and the model where the path names it."""
        found = _IN_PATH.search(path)
        if found is not None:
            return self._wires[found[2]], found[1]
        return self._wires[path.rsplit("/", 1)[-1]], None

    async def _answer_beside(self, request: web.Request) -> web.Response:
        """Counting and compacting: one JSON object, made of nothing the client sent."""
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._received.append(Received(request.path, headers, raw, msgspec.json.decode(raw)))
        if KEY not in (headers.get("authorization", "").removeprefix("Bearer "), headers.get("x-api-key")):
            return web.json_response({"error": {"message": "no key", "type": "invalid_request_error"}}, status=401)
        answer = SIDE_CALLS[request.path]
        return web.json_response(
            answer if self.serves_side_calls else {}, status=200 if self.serves_side_calls else 404
        )

    def _next_script(self, wire: Wire, body: Json) -> Script:
        waiting = self._scripts.get(body["model"])
        return waiting.popleft() if waiting else default_script(wire.asked(body))

    async def _play(self, request: web.Request, wire: Wire, script: Script, received: Received) -> web.StreamResponse:
        if script.document is not None:
            return web.json_response(script.document)
        kind = "application/vnd.amazon.eventstream" if wire.is_binary else "text/event-stream"
        head = {"content-type": kind, "x-request-id": "req_up", "request-id": "req_up"}
        response = web.StreamResponse(headers=head | script.headers)
        await response.prepare(request)
        frames = wire.frames(script, received.body)
        if script.fail is not None:
            frames = [*frames[: script.fail_after], wire.error_event(script.fail)]
        for position, frame in enumerate(frames[: script.end_after]):
            if position == script.stall_after:
                await self._released.wait()
            if position == script.hang_up_after:
                if request.transport is not None:
                    request.transport.abort()
                return response
            for piece in _wire_bytes(frame, script, is_binary=wire.is_binary):
                await response.write(piece)
            received.frames_sent = position + 1
            received.streaming.set()
            if script.drip_s:
                await asyncio.sleep(script.drip_s)
        await response.write_eof()
        return response


def _wire_bytes(frame: bytes, script: Script, *, is_binary: bool) -> Iterator[bytes]:
    whole = frame if is_binary else frame + b"\n\n"
    if script.comments and not is_binary:
        whole = b": still here\n\n" + whole
    if script.crlf and not is_binary:
        whole = whole.replace(b"\n", b"\r\n")
    size = script.chunk_bytes or len(whole)
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def _http_error(wire: Wire, failure: Failure) -> web.Response:
    head = {"x-request-id": "req_up", "request-id": "req_up"} | failure.headers
    return web.Response(
        status=failure.status, body=wire.error_body(failure), content_type="application/json", headers=head
    )
