"""An upstream that never stops sending is cut off."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from antiphon.protocol.errors import UpstreamFault
from antiphon.providers import http_wire as module
from antiphon.providers.base import HttpRequest
from antiphon.providers.transport import Deadlines, Transport

CHUNK = b"x" * 65_536


@pytest.fixture
async def flood() -> AsyncIterator[str]:
    """The URL of a server that sends for as long as it is read."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(CHUNK)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_an_answer_without_end_is_a_fault(flood: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 3 << 20)

    async with Transport(Deadlines()) as transport, transport.send(HttpRequest("POST", flood, (), b"{}")) as reply:
        with pytest.raises(UpstreamFault, match="more than 3 MB"):
            await reply.pour(lambda data: True)
