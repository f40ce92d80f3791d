"""What is written of an answer beside uvicorn is, byte for byte, what uvicorn writes; over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from antiphon.cli.guarded_http import GuardedHttp
from antiphon.runs.intake import Intake
from antiphon.server.asgi import SENT

Messages = list[dict[str, Any]]
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nhost: x\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}"
ALWAYS = [(b"date", b"Mon, 23 Nov 2026 12:00:00 GMT")]


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*headers]}


def piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def whole(body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> Messages:
    return [start(*headers, (b"content-length", b"%d" % len(body)), status=status), piece(body, more=False)]


def streamed(*headers: tuple[bytes, bytes], status: int = 200) -> Messages:
    return [start(*headers, status=status), piece(b"one", more=True), piece(b"", more=True), piece(b"two", more=False)]


class App:
    """Sends the same messages for every request, and keeps what `send` gave."""

    def __init__(self, messages: Messages) -> None:
        self.messages = messages
        self.given: list[object] = []
        self.errors: list[str] = []
        self.is_over = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await receive()
        try:
            for message in self.messages:
                waits = send(message)
                self.given.append(waits)
                await waits
        except RuntimeError as error:
            self.errors.append(str(error))
            raise
        finally:
            self.is_over.set()


async def answered(kind: Callable[..., HttpToolsProtocol], app: App, request: bytes) -> bytes:
    """All that comes of one request."""
    config = uvicorn.Config(app, http=GuardedHttp, access_log=False, log_config=None)
    config.load()
    state = ServerState()
    state.default_headers = ALWAYS
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: kind(config=config, server_state=state, app_state={"intake": Intake(1 << 30)}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        await app.is_over.wait()
        writer.write_eof()  # and the server closes, too
        found = await reader.read()
        writer.close()
    return found


ANSWERS = {
    "whole": whole(b'{"a":1}', (b"content-type", b"application/json")),
    "whole, empty": whole(b""),
    "streamed": streamed((b"content-type", b"text/event-stream")),
    "not found": whole(b"{}", status=404),
    "a header twice": streamed((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")),
    "a value with a tab and other letters": streamed((b"x-said", b"a\tb \xe9")),
    "an empty value": streamed((b"x-said", b"")),
    "a value that names a length": streamed((b"x-said", b"content-length: 3")),
    "its last": streamed((b"connection", b"close")),
    "its last, whole": whole(b"ok", (b"connection", b"close")),
    "chunked by name": streamed((b"transfer-encoding", b"chunked")),
    "nothing in it": [start(status=204), piece(b"", more=False)],
    "not modified": [start((b"etag", b'"x"'), status=304), piece(b"", more=False)],
    "no headers and no flags": [{"type": "http.response.start", "status": 200}, {"type": "http.response.body"}],
    "two headers in one": streamed((b"x-said", b"a\r\nx-more: b")),
    "a header with a zero": streamed((b"x-said", b"a\0b")),
    "the body first": [piece(b"one", more=True)],
    "too much": [start((b"content-length", b"2")), piece(b"three", more=False)],
    "too little": [start((b"content-length", b"9")), piece(b"three", more=False)],
    "more after the end": [*whole(b"ok"), piece(b"more", more=False)],
    "more of a stream after its end": [*streamed(), piece(b"more", more=True)],
    "no end": [start(), piece(b"one", more=True)],
}
REQUESTS = {"GET": GET, "HEAD": HEAD, "last": LAST, "HTTP/1.0": OLD, "expecting": EXPECTING}


@pytest.mark.parametrize("request_bytes", [*REQUESTS.values()], ids=[*REQUESTS])
@pytest.mark.parametrize("messages", [*ANSWERS.values()], ids=[*ANSWERS])
async def test_an_answer_is_what_uvicorn_makes_of_it(messages: Messages, request_bytes: bytes) -> None:
    ours, theirs = App(messages), App(messages)
    found = await answered(GuardedHttp, ours, request_bytes)
    assert found == await answered(HttpToolsProtocol, theirs, request_bytes)
    assert ours.errors == theirs.errors


async def test_the_head_and_the_pieces_need_no_coroutine() -> None:
    app = App(streamed())
    await answered(GuardedHttp, app, LAST)
    assert [waits is SENT for waits in app.given] == [True, True, False, False]
