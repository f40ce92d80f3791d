"""What a target cannot honour, projects that are strict, media by URL, and what an answer cost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.harness.client import Client, Json
from tests.harness.process import KEY
from tests.upstream.server import Upstream

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
CONFIG = """
[media]
allow_private = true

[[project]]
name = "default"
strict = true

[[price]]
models = ["chat/*"]
input = 2.0
output = 10.0
"""


@pytest.fixture
async def picture() -> AsyncIterator[str]:
    """The URL of a picture on loopback."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=PNG, content_type="image/png")

    app = web.Application()
    app.router.add_get("/a.png", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/a.png"
    await runner.cleanup()


def printed(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, check=True, timeout=30, text=True).stdout


def shown(url: str) -> list[Json]:
    return [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]


async def test_a_strict_project_is_refused_what_its_target_cannot_honour(
    new_server: Any, http: Any, upstream: Upstream
) -> None:
    client = Client(http, new_server(config=CONFIG).url)
    body = {"model": "claude/claude-opus-5-5", "input": "hi", "temperature": 0.5}
    for more in ({}, {"stream": True}, {"background": True}):
        answer = await client.post(body | more)
        assert (answer.status, answer.error["code"], answer.error["param"]) == (
            400,
            "unsupported_parameter",
            "temperature",
        )
    assert upstream.requests() == []
    assert (await client.post(body | {"temperature": None})).status == 200


async def test_an_image_by_url_reaches_models_that_fetch_nothing(
    new_server: Any, http: Any, upstream: Upstream, picture: str
) -> None:
    client = Client(http, new_server(config=CONFIG).url)
    for vendor in ("gem", "converse"):
        await client.create({"model": f"{vendor}/m1", "input": shown(picture)})
    await client.create({"model": "native/m1", "input": shown(picture)})
    inlined, blocks, native = (received.raw.decode() for received in upstream.requests("m1"))
    assert "inlineData" in inlined
    assert '"bytes"' in blocks
    assert picture in native
    assert picture not in inlined + blocks


async def test_a_private_address_is_refused_by_its_path_before_anything_is_asked(
    client: Client, upstream: Upstream, picture: str
) -> None:
    answer = await client.post({"model": "converse/m1", "input": shown(picture)})
    assert (answer.status, answer.error["code"]) == (400, "failed_to_download_image")
    assert answer.error["param"] == "input[0].content[0]"
    assert "private" in answer.error["message"]
    background = await client.post({"model": "converse/m1", "input": shown(picture), "background": True})
    assert background.status == 400
    assert upstream.requests() == []


@pytest.mark.usefixtures("upstream")
async def test_the_ledger_shows_what_has_a_price_and_what_has_none(new_server: Any, http: Any) -> None:
    server = new_server(config=CONFIG.replace("strict = true", "strict = false"))
    client = Client(http, server.url)
    for model in ("chat/m1", "chat/m1", "claude/m1"):
        await client.create({"model": model, "input": "hi"})
    command = [sys.executable, "-m", "antiphon", "usage", "--data", str(server.folder / "data"), "--json"]
    rows = msgspec.json.decode(await asyncio.to_thread(printed, command))
    by_target = {row["target"]: row for row in rows}
    priced, unpriced = by_target["chat/m1"], by_target["claude/m1"]
    assert (priced["responses"], priced["cost_nano_usd"], priced["unpriced"]) == (2, 2 * (20 * 2000 + 10 * 10_000), 0)
    assert (unpriced["cost_nano_usd"], unpriced["unpriced"]) == (0, 1)
    shown_table = await asyncio.to_thread(printed, command[:-1])
    assert "unpriced" in shown_table
    assert "0.0003" in shown_table
    assert KEY not in shown_table
