"""What Antiphon stands on, and nothing else: its server and its upstream wire, passing on what they are given.

    relay.py PORT UPSTREAM_PORT

It reads no request, knows no key and keeps nothing: what Antiphon costs more than this is its own.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from typing import Any

import uvicorn

from antiphon.providers.base import HttpRequest
from antiphon.providers.http_wire import Deadlines
from antiphon.providers.transport import Transport

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
_KEPT = ("content-type", "content-length")


class Relay:
    """An ASGI application."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._transport = Transport(Deadlines())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._pass_on(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._transport:
            gc.freeze()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        body, has_more = b"", True
        while has_more:
            message = await receive()
            body += message.get("body", b"")
            has_more = message.get("more_body", False)
        asked = HttpRequest(
            scope["method"], self._upstream + scope["path"], (("content-type", "application/json"),), body
        )
        async with self._transport.send(asked) as answer:
            fields = [(name.encode(), answer.headers[name].encode()) for name in _KEPT if name in answer.headers]
            await send({"type": "http.response.start", "status": answer.status, "headers": fields})

            def take(chunk: bytes) -> bool:
                # Sent in the call that read it, as Antiphon does: uvicorn's `send` waits only for a slow reader.
                with suppress(StopIteration):
                    send({"type": "http.response.body", "body": chunk, "more_body": True}).send(None)
                return True

            await answer.pour(take)
            await send({"type": "http.response.body", "body": b""})


def main() -> None:
    port, upstream = (int(value) for value in sys.argv[1:])
    relay = Relay(f"http://127.0.0.1:{upstream}")
    uvicorn.run(relay, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
