"""Tools in both directions: functions, custom tools, namespaces, choices, and structured output."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.harness.client import Client, Json, calls_of, text_of
from tests.harness.process import DIALECTS
from tests.upstream.script import Call, Script
from tests.upstream.server import Upstream

SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LOOK: Any = {"type": "function", "name": "look", "parameters": SCHEMA}
PATCH: Any = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'},
}
FORECAST: Json = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "degrees": {"type": "integer"},
        "sky": {"type": "string", "enum": ["clear", "cloudy"]},
        "hours": {"type": "array", "items": {"type": "number"}},
    },
    "required": ["city", "degrees", "sky", "hours"],
    "additionalProperties": False,
}


@pytest.fixture(params=list(DIALECTS))
def vendor(request: pytest.FixtureRequest) -> str:
    return request.param


def names_declared(body: Json) -> list[str]:
    """The tool names in an upstream body."""
    if "toolConfig" in body:
        return [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]]
    return [(tool.get("function") or tool.get("custom") or tool)["name"] for tool in body["tools"]]


async def answer_calls(client: Client, model: str, response: Json, tools: list[Any]) -> Json:
    outputs = [
        {"type": f"{call['type']}_output", "call_id": call["call_id"], "output": f"result {number}"}
        for number, call in enumerate(calls_of(response))
    ]
    body = {"model": model, "input": outputs, "previous_response_id": response["id"], "tools": tools}
    return await client.create(body)


@pytest.mark.usefixtures("upstream")
async def test_parallel_calls_are_answered_in_any_order(client: Client, vendor: str) -> None:
    model = f"{vendor}/m1"
    one = await client.create({"model": model, "input": "in parallel", "tools": [LOOK]})
    calls = calls_of(one)
    assert len(calls) == 2
    outputs = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": f"for {number}"}
        for number, call in enumerate(calls)
    ]
    body = {"model": model, "input": outputs[::-1], "previous_response_id": one["id"], "tools": [LOOK]}
    assert "for 0" in text_of(await client.create(body))


async def test_a_custom_tool_is_called_with_plain_text(client: Client, upstream: Upstream, vendor: str) -> None:
    model = f"{vendor}/m1"
    upstream.queue("m1", _custom_script(vendor))
    one = await client.create({"model": model, "input": "patch it", "tools": [PATCH]})
    (call,) = calls_of(one)
    assert call["type"] == "custom_tool_call"
    assert (call["name"], call["input"]) == ("apply_patch", '*** Begin "Patch"')
    two = await answer_calls(client, model, one, [PATCH])
    assert text_of(two) == "The tool said: result 0"


def _custom_script(vendor: str) -> Script:
    if vendor == "native":
        return Script((Call("apply_patch", '*** Begin "Patch"', "custom"),))
    return Script((Call("apply_patch", r'{"input":"*** Begin \"Patch\""}'),))


async def test_a_namespaced_tool_comes_back_with_its_namespace(client: Client, upstream: Upstream, vendor: str) -> None:
    tools: list[Any] = [{"type": "namespace", "name": "files", "description": "Files.", "tools": [LOOK]}]
    native = Call("look", '{"city":"Rome"}', namespace="files")
    upstream.queue("m1", Script((native if vendor == "native" else Call("files__look", '{"city":"Rome"}'),)))
    one = await client.create({"model": f"{vendor}/m1", "input": "look", "tools": tools})
    (call,) = calls_of(one)
    assert (call["name"], call["namespace"]) == ("look", "files")
    two = await answer_calls(client, f"{vendor}/m1", one, tools)
    assert text_of(two) == "The tool said: result 0"


async def test_tools_added_in_the_input_can_be_called(client: Client, upstream: Upstream) -> None:
    added = {"type": "additional_tools", "role": "developer", "tools": [LOOK]}
    body = {"model": "chat/m1", "input": [added, {"role": "user", "content": "look"}]}
    one = await client.create(body)
    assert [call["name"] for call in calls_of(one)] == ["look"]
    assert names_declared(upstream.requests("m1")[0].body) == ["look"]


async def test_a_hosted_tool_nobody_can_run_is_left_out_and_named(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    tools: list[Any] = [LOOK, {"type": "web_search", "external_web_access": True}]
    answer = await client.post({"model": f"{vendor}/m1", "input": "hi", "tools": tools})
    assert answer.status == 200, answer.body
    if vendor not in ("native", "gem"):  # these search themselves
        assert "web_search" in answer.headers["antiphon-dropped"]
        assert names_declared(upstream.requests("m1")[0].body) == ["look"]


@pytest.mark.parametrize("choice", ["auto", "none", "required", {"type": "function", "name": "look"}])
async def test_every_tool_choice_is_honoured(client: Client, upstream: Upstream, vendor: str, choice: Any) -> None:
    other: Any = LOOK | {"name": "other"}
    body = {"model": f"{vendor}/m1", "input": "hi", "tools": [other, LOOK], "tool_choice": choice}
    response = await client.create(body)
    called = [call["name"] for call in calls_of(response)]
    assert called == {"none": [], "auto": ["other"], "required": ["other"]}.get(str(choice), ["look"])
    assert response["tool_choice"] == choice
    assert len(upstream.requests("m1")) == 1


async def test_only_allowed_tools_are_called(client: Client, vendor: str, upstream: Upstream) -> None:
    del upstream
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]}
    other: Any = LOOK | {"name": "other"}
    answer = await client.post({"model": f"{vendor}/m1", "input": "hi", "tools": [other, LOOK], "tool_choice": allowed})
    assert answer.status == 200, answer.body
    assert answer.body["tool_choice"] == allowed


async def test_structured_output_is_valid_for_its_schema(client: Client, upstream: Upstream, vendor: str) -> None:
    form = {"type": "json_schema", "name": "forecast", "schema": FORECAST, "strict": True}
    response = await client.create({"model": f"{vendor}/m1", "input": "Rome?", "text": {"format": form}})
    parsed = msgspec.json.decode(text_of(response))
    assert set(parsed) == {"city", "degrees", "sky", "hours"}
    assert response["text"]["format"]["schema"] == FORECAST
    assert len(upstream.requests("m1")) == 1


async def test_without_tools_no_word_about_tools_goes_up(client: Client, upstream: Upstream, vendor: str) -> None:
    await client.create({"model": f"{vendor}/m1", "input": "hi", "tools": [], "parallel_tool_calls": False})
    body = upstream.requests("m1")[0].body
    assert not set(body) & {"tools", "tool_choice", "parallel_tool_calls"} or vendor == "native"
