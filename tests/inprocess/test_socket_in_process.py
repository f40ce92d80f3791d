"""A WebSocket whose client goes in the moments between the server's steps."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.inprocess.rig import Json, Rig

from antiphon.server.app import handle_socket


@pytest.mark.parametrize("last_sent", range(1, 5))
async def test_a_client_that_a_message_cannot_be_sent_to_ends_its_runs(tmp_path: Path, last_sent: int) -> None:
    heard_of_it = asyncio.Event()
    sent: list[Json] = []
    create = {"type": "response.create", "model": "sim/standard", "input": "#sim stall after 1"}
    messages: list[Json] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": msgspec.json.encode(create).decode()},
    ]

    async def receive() -> Json:
        if messages:
            return messages.pop(0)
        await heard_of_it.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Json) -> None:
        if len(sent) == last_sent:
            raise OSError("the client is gone")
        sent.append(message)

    async with Rig.open(tmp_path, idle_s=60.0, total_s=60.0) as rig, asyncio.timeout(10):
        scope: Json = {
            "type": "websocket",
            "path": "/v1/responses",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {rig.key}".encode())],
        }
        serving = asyncio.get_running_loop().create_task(handle_socket(rig.edge, scope, receive, send))
        while len(sent) < last_sent or len(rig.table):  # noqa: ASYNC110 - it tells nobody but its client
            await asyncio.sleep(0.01)
        assert not serving.done()  # nobody has told it yet that the client is gone
        heard_of_it.set()
        await serving
        assert {status for _, status, _ in rig.ledger()} <= {"cancelled"}
