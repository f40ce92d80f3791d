"""The built-in simulator over real sockets: no key, no network, and the same grammar as any vendor."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.harness.client import Client, calls_of, text_of, timeless
from tests.upstream.server import Upstream

MODEL = "sim/standard"
LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
FORM: Any = {
    "type": "json_schema",
    "name": "forecast",
    "schema": {"type": "object", "properties": {"degrees": {"type": "integer"}}, "required": ["degrees"]},
}


@pytest.mark.parametrize(
    "settings",
    [{}, {"reasoning": {"effort": "low", "summary": "auto"}}, {"tools": [LOOK]}, {"text": {"format": FORM}}],
    ids=["text", "reasoning", "tools", "schema"],
)
async def test_the_simulator_says_the_same_streamed_and_whole(client: Client, settings: Any) -> None:
    body = {"model": MODEL, "input": "Say hello"} | settings
    assert timeless((await client.stream(body)).response) == timeless(await client.create(body))


async def test_the_simulator_writes_json_for_a_schema(client: Client) -> None:
    response = await client.create({"model": MODEL, "input": "Rome?", "text": {"format": FORM}})
    assert isinstance(msgspec.json.decode(text_of(response))["degrees"], int)


async def test_the_simulator_goes_through_a_tool_loop(client: Client) -> None:
    settings: Any = {"model": MODEL, "tools": [LOOK]}
    one = await client.create(settings | {"input": "How is Rome?", "tool_choice": "required"})
    outputs = [{"type": "function_call_output", "call_id": c["call_id"], "output": "sunny"} for c in calls_of(one)]
    assert outputs
    two = await client.create(settings | {"input": outputs, "previous_response_id": one["id"]})
    assert text_of(two)


async def test_a_conversation_moves_from_the_simulator_to_a_vendor(client: Client, upstream: Upstream) -> None:
    one = await client.create({"model": MODEL, "input": "Say hello"})
    two = await client.create({"model": "chat/m1", "input": "on", "previous_response_id": one["id"]})
    assert text_of(two) == "Turn 2. You said: on"
    assert text_of(one) in upstream.requests("m1")[0].body["messages"][1]["content"]
