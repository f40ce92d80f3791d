"""/health, /ready and the plain page at /: answered without a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from antiphon.store.base import StoreUnavailable
from antiphon.store.store import Store

from .routes import Call, Route

_encode: Final = msgspec.json.Encoder().encode


class Probes:
    """Whether this process lives, and whether it should be sent requests."""

    def __init__(self, store: Store, is_draining: Callable[[], bool]) -> None:
        self._store = store
        self._is_draining = is_draining

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/health", self.health, "The process lives.", is_public=True),
            Route("GET", "/ready", self.ready, "It can be sent requests.", is_public=True),
            Route("GET", "/", self.root, "Where the API is.", is_public=True),
        )

    async def health(self, call: Call) -> None:
        await call.exchange.answer(200, b'{"status":"ok"}')

    async def ready(self, call: Call) -> None:
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            await call.exchange.answer(503, _encode({"status": "unavailable", "reason": str(error)}))
            return
        is_draining = self._is_draining()
        status = "draining" if is_draining else "ready"
        await call.exchange.answer(503 if is_draining else 200, _encode({"status": status}))

    async def root(self, call: Call) -> None:
        text = b"Antiphon is running. Point an OpenAI client's base_url at /v1 of this address.\n"
        await call.exchange.answer(200, text, content_type="text/plain; charset=utf-8")
