"""Upstream calls through the proxy that the environment names, asked for once and not for addresses it exempts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from antiphon.providers.base import HttpRequest
from antiphon.providers.transport import Deadlines, Transport


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy on loopback that answers itself, and what it was asked for."""
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(str(request.url))
        return web.Response(body=b"{}")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


async def test_calls_go_through_the_proxy_that_the_environment_names(
    proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = proxy
    for name in ("HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", url)
    monkeypatch.setenv("no_proxy", "exempt.invalid")
    async with Transport(Deadlines(connect_s=0.5, first_byte_s=2)) as transport:
        status, _ = await transport.fetch(HttpRequest("GET", "http://models.invalid/v1/models", (), b""))
        assert status == 200
        assert asked == ["http://models.invalid/v1/models"]
        with pytest.raises(Exception, match="could not be reached"):
            await transport.fetch(HttpRequest("GET", "http://exempt.invalid/v1/models", (), b""))
    assert len(asked) == 1
