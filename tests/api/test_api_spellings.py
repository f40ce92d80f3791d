"""Other spellings: taken where the table says so, and refused by name where it is switched off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from tests.harness.client import Client
from tests.harness.process import ServerProcess

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
NESTED = {"format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}}
SPELLED: list[tuple[dict[str, Any], Callable[[Any], object], object]] = [
    ({"max_tokens": 50}, lambda response: response["max_output_tokens"], 50),
    ({"max_tokens": 50, "max_output_tokens": 60}, lambda response: response["max_output_tokens"], 60),
    ({"reasoning_effort": "low"}, lambda response: response["reasoning"]["effort"], "low"),
    (
        {"reasoning_effort": "low", "reasoning": {"effort": "high"}},
        lambda response: response["reasoning"]["effort"],
        "high",
    ),
    ({"text": NESTED}, lambda response: response["text"]["format"]["schema"], SCHEMA),
    ({"text": NESTED, "max_tokens": 90}, lambda response: response["text"]["format"]["name"], "n"),
]


@pytest.mark.parametrize(("spelled", "read", "meant"), SPELLED)
@pytest.mark.parametrize("background", [False, True])
async def test_a_spelling_means_what_the_table_says(
    client: Client, spelled: dict[str, Any], read: Callable[[Any], object], meant: object, background: bool
) -> None:
    answer = await client.post({"model": "sim/standard", "input": "hi", "background": background} | spelled)
    assert answer.status == 200, answer.body
    assert read(answer.body) == meant


@pytest.mark.parametrize(
    ("spelled", "param", "code"),
    [
        ({"max_tokens": 1}, "max_output_tokens", "integer_below_min_value"),
        ({"max_tokens": "many"}, "max_output_tokens", "invalid_type"),
        ({"reasoning_effort": "lots"}, "reasoning.effort", "invalid_value"),
        ({"reasoning_effort": "low", "reasoning": 7}, "reasoning_effort", "unknown_parameter"),
        ({"text": {"format": {"type": "json_schema", "json_schema": {}}}}, None, "missing_required_parameter"),
        ({"stream_options": {"include_usage": True}}, "stream_options.include_usage", "unknown_parameter"),
        ({"max_tokens": 50, "bogus": 1}, "bogus", "unknown_parameter"),
    ],
)
async def test_a_wrong_value_is_refused_under_its_proper_name(
    client: Client, spelled: dict[str, Any], param: str | None, code: str
) -> None:
    answer = await client.post({"model": "sim/standard", "input": "hi"} | spelled)
    assert (answer.status, answer.error["code"]) == (400, code)
    assert param is None or answer.error["param"] == param


async def test_the_api_prefix_is_the_api(client: Client) -> None:
    origin = client.url.removesuffix("/v1")
    answer = await client.request("POST", f"{origin}/api/v1/responses", json={"model": "sim/standard", "input": "hi"})
    assert answer.status == 200
    assert (await client.get(f"{origin}/api/v1/responses/{answer.body['id']}")).body == answer.body


@pytest.mark.slow
async def test_what_is_switched_off_is_refused_and_what_is_switched_on_is_taken(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    names = ("API_PREFIX", "MAX_TOKENS", "REASONING_EFFORT", "NESTED_FORMAT")
    env = {f"ANTIPHON_COMPAT_{name}": "false" for name in names} | {"ANTIPHON_COMPAT_INCLUDE_USAGE": "true"}
    client = Client(http, new_server(env=env).url)
    for spelled in ({"max_tokens": 50}, {"reasoning_effort": "low"}, {"text": NESTED}):
        answer = await client.post({"model": "sim/standard", "input": "hi"} | spelled)
        assert answer.status == 400, spelled
    origin = client.url.removesuffix("/v1")
    assert (await client.get(f"{origin}/api/v1/models")).status == 404
    taken = await client.post(
        {"model": "sim/standard", "input": "hi", "stream": False, "stream_options": {"include_usage": True}}
    )
    assert taken.status == 200
