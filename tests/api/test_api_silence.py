"""Slow and silent models: heartbeats for the reader, deadlines for the upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from tests.harness.client import Client, text_of
from tests.harness.process import DIALECTS, ServerProcess
from tests.upstream.script import Say, Script
from tests.upstream.server import Upstream

pytestmark = pytest.mark.slow


async def test_comments_are_sent_while_the_model_is_silent(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    server = new_server(env={"ANTIPHON_HEARTBEAT_S": "0.05"})
    upstream.queue("m1", Script(stall_after=2))
    async with Client(http, server.url).open_stream({"model": "chat/m1", "input": "hi"}) as opened:
        await opened.read_until("response.in_progress")
        while b"\n\n: " not in opened.streamed.raw:
            await opened.read_some()
        upstream.release()
        assert text_of((await opened.read_all()).response) == "Hello."


@pytest.mark.parametrize("vendor", DIALECTS)
async def test_a_model_that_falls_silent_fails_at_the_idle_deadline(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream, vendor: str
) -> None:
    server = new_server(env={"ANTIPHON_IDLE_S": "0.3"})
    upstream.queue("m1", Script((Say("Hello there, world"),), stall_after=4))
    async with Client(http, server.url).open_stream({"model": f"{vendor}/m1", "input": "hi"}) as opened:
        streamed = await opened.read_all()
    assert streamed.types[-1] == "response.failed"
    assert await asyncio.to_thread(upstream.requests("m1")[0].left.wait, 5)
