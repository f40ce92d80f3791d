"""What is refused: code, param and the words, as OpenAI would say them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.parsing import parse_request

BASE: dict[str, Any] = {"model": "sim/standard", "input": "hi"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def refusal(body: object) -> InvalidRequest:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    with pytest.raises(InvalidRequest) as caught:
        parse_request(raw)
    return caught.value


def item(**fields: object) -> dict[str, Any]:
    return {"model": "m", "input": [fields]}


ROWS: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "missing_required_parameter", "model", "Missing required parameter: 'model'."),
    ({"model": None, "input": "x"}, "missing_required_parameter", "model", "model"),
    ({"model": 5}, "invalid_type", "model", "expected a string, but got an integer instead"),
    ({"model": ""}, "model_not_found", "model", "does not exist"),
    ({"model": "m"}, "missing_required_parameter", "input", "input"),
    (BASE | {"temperture": 1}, "unknown_parameter", "temperture", "Did you mean 'temperature'?"),
    (BASE | {"n": 1}, "unknown_parameter", "n", "Unknown parameter: 'n'."),
    (BASE | {"seed": 1}, "unknown_parameter", "seed", "Unknown parameter"),
    (BASE | {"max_tokens": 100}, "unknown_parameter", "max_tokens", "Unknown parameter"),
    (BASE | {"generate": True}, "unknown_parameter", "generate", "Unknown parameter"),
    (BASE | {"messages": []}, "unsupported_parameter", "messages", "moved to 'input'"),
    (BASE | {"temperature": "hot"}, "invalid_type", "temperature", "expected a decimal, but got a string instead"),
    (BASE | {"temperature": True}, "invalid_type", "temperature", "got a boolean"),
    (BASE | {"temperature": 2.5}, "decimal_above_max_value", "temperature", "<= 2"),
    (BASE | {"temperature": -1}, "decimal_below_min_value", "temperature", ">= 0"),
    (BASE | {"top_p": 2}, "decimal_above_max_value", "top_p", "<= 1"),
    (BASE | {"top_logprobs": 21}, "integer_above_max_value", "top_logprobs", "<= 20"),
    (BASE | {"top_logprobs": 1.5}, "invalid_type", "top_logprobs", "expected an integer"),
    (BASE | {"max_output_tokens": 15}, "integer_below_min_value", "max_output_tokens", ">= 16"),
    (BASE | {"max_tool_calls": 0}, "integer_below_min_value", "max_tool_calls", ">= 1"),
    (BASE | {"presence_penalty": "x"}, "invalid_type", "presence_penalty", "decimal"),
    (BASE | {"store": 1}, "invalid_type", "store", "expected a boolean, but got an integer instead"),
    (BASE | {"stream": "yes"}, "invalid_type", "stream", "boolean"),
    (BASE | {"instructions": ["x"]}, "invalid_type", "instructions", "got an array"),
    (BASE | {"metadata": {str(n): "v" for n in range(17)}}, "object_above_max_properties", "metadata", "16"),
    (BASE | {"metadata": {"k": "v" * 513}}, "string_above_max_length", "metadata", "512"),
    (BASE | {"metadata": {"k" * 65: "v"}}, "string_above_max_length", "metadata", "64"),
    (BASE | {"metadata": {"k": 1}}, "invalid_type", "metadata", "string"),
    (BASE | {"metadata": []}, "invalid_type", "metadata", "expected an object, but got an array instead"),
    (BASE | {"prompt_cache_key": "k" * 65}, "string_above_max_length", "prompt_cache_key", "64"),
    (BASE | {"safety_identifier": "k" * 129}, "string_above_max_length", "safety_identifier", "128"),
    (BASE | {"include": ["nothing"]}, "invalid_value", "include[0]", "Supported values are:"),
    (BASE | {"include": "x"}, "invalid_type", "include", "array"),
    (BASE | {"service_tier": "gold"}, "invalid_value", "service_tier", "'flex'"),
    (BASE | {"truncation": "most"}, "invalid_value", "truncation", "'disabled'"),
    (BASE | {"reasoning": {"effort": "huge"}}, "invalid_value", "reasoning.effort", "'minimal'"),
    (BASE | {"reasoning": {"depth": 1}}, "unknown_parameter", "reasoning.depth", "Unknown parameter"),
    (BASE | {"reasoning": "high"}, "invalid_type", "reasoning", "object"),
    (BASE | {"stream_options": {"include_usage": True}}, "unknown_parameter", "stream_options.include_usage", ""),
    (BASE | {"text": {"format": {"type": "xml"}}}, "invalid_value", "text.format.type", "'json_schema'"),
    (BASE | {"text": {"verbosity": "mute"}}, "invalid_value", "text.verbosity", "'low'"),
    (
        BASE | {"text": {"format": {"type": "json_schema", "schema": {}}}},
        "missing_required_parameter",
        "text.format.name",
        "",
    ),
    (
        BASE | {"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}},
        "invalid_value",
        "text.format.name",
        "pattern",
    ),
    (
        BASE | {"text": {"format": {"type": "json_schema", "name": "a", "schema": []}}},
        "invalid_type",
        "text.format.schema",
        "object",
    ),
    (
        BASE | {"text": {"format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}},
        "unknown_parameter",
        "text.format.json_schema",
        "",
    ),
    (BASE | {"background": 1}, "invalid_type", "background", "boolean"),
    (BASE | {"conversation": 7}, "invalid_type", "conversation", "a string"),
    (BASE | {"conversation": {"id": "conv_1", "x": 1}}, "unknown_parameter", "conversation.x", "Unknown"),
    (
        BASE | {"conversation": "conv_1", "previous_response_id": "resp_1"},
        "mutually_exclusive_parameters",
        None,
        "one of them",
    ),
    (BASE | {"prompt": {"version": "1"}}, "missing_required_parameter", "prompt.id", "Missing"),
    (BASE | {"context_management": [{"type": "other"}]}, "invalid_value", "context_management[0].type", "compaction"),
    (
        BASE | {"context_management": [{"type": "compaction", "compact_threshold": 999}]},
        "integer_below_min_value",
        "context_management[0].compact_threshold",
        ">= 1000",
    ),
    (
        BASE | {"background": True, "background_options": {"completion_window": "24h"}},
        "invalid_value",
        "background_options.completion_window",
        "'2h', '8h' and 'soonest'",
    ),
    (BASE | {"background_options": {"window": "2h"}}, "unknown_parameter", "background_options.window", "Unknown"),
    (
        BASE | {"background_options": {"completion_window": "2h"}},
        "invalid_value",
        "background_options.completion_window",
        "'background' set to true",
    ),
    (
        BASE | {"background": True, "stream": True, "background_options": {"completion_window": "8h"}},
        "invalid_value",
        "background_options.completion_window",
        "with 'stream'",
    ),
    (
        BASE | {"background": True, "service_tier": "flex", "background_options": {"completion_window": "8h"}},
        "invalid_value",
        "background_options.completion_window",
        "'service_tier' 'auto' or 'default'",
    ),
    (BASE | {"moderation": {"model": "m"}}, "unsupported_parameter", "moderation", "yet"),
    (
        BASE | {"prompt_cache_options": {"prewarm": True}},
        "unsupported_parameter",
        "prompt_cache_options.prewarm",
        "yet",
    ),
    (BASE | {"prompt_cache_options": {"mode": "x"}}, "invalid_value", "prompt_cache_options.mode", "'implicit'"),
    # tools
    (BASE | {"tools": {}}, "invalid_type", "tools", "array"),
    (BASE | {"tools": [5]}, "invalid_type", "tools[0]", "object"),
    (BASE | {"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].name", ""),
    (
        BASE | {"tools": [{"type": "function", "function": {"name": "f"}}]},
        "missing_required_parameter",
        "tools[0].name",
        "",
    ),
    (BASE | {"tools": [{"name": "f"}]}, "missing_required_parameter", "tools[0].type", ""),
    (BASE | {"tools": [{"type": "bogus"}]}, "invalid_value", "tools[0].type", "'web_search'"),
    (BASE | {"tools": [FUNCTION | {"name": "a b"}]}, "invalid_value", "tools[0].name", "pattern"),
    (BASE | {"tools": [FUNCTION | {"name": "f" * 65}]}, "string_above_max_length", "tools[0].name", "64"),
    (BASE | {"tools": [FUNCTION | {"parameters": []}]}, "invalid_type", "tools[0].parameters", "object"),
    (BASE | {"tools": [FUNCTION | {"strict": "yes"}]}, "invalid_type", "tools[0].strict", "boolean"),
    (BASE | {"tools": [FUNCTION, FUNCTION]}, "invalid_value", "tools[1].name", "Duplicate"),
    (BASE | {"tools": [{"type": "mcp"}]}, "missing_required_parameter", "tools[0].server_label", ""),
    (
        BASE | {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]},
        "invalid_value",
        "tools[0].tools[0].type",
        "'custom'",
    ),
    (
        BASE | {"tools": [{"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark"}}]},
        "missing_required_parameter",
        "tools[0].format.definition",
        "",
    ),
    # tool_choice
    (BASE | {"tool_choice": "maybe"}, "invalid_value", "tool_choice", "'none', 'auto' and 'required'"),
    (BASE | {"tool_choice": 5}, "invalid_type", "tool_choice", "string or an object"),
    (BASE | {"tool_choice": "required"}, "invalid_value", "tool_choice", "'tools'"),
    (BASE | {"tool_choice": {"type": "function"}}, "missing_required_parameter", "tool_choice.name", ""),
    (
        BASE | {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        "missing_required_parameter",
        "tool_choice.name",
        "",
    ),
    (
        BASE | {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "g"}},
        "invalid_value",
        "tool_choice",
        "g",
    ),
    (BASE | {"tool_choice": {"type": "bogus"}}, "invalid_value", "tool_choice.type", "'function'"),
    (
        BASE | {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
        "array_below_min_length",
        "tool_choice.tools",
        "",
    ),
    (
        BASE | {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "mode": "most", "tools": [{}]}},
        "invalid_value",
        "tool_choice.mode",
        "'auto'",
    ),
    # items
    ({"model": "m", "input": 5}, "invalid_type", "input", "a string or an array"),
    ({"model": "m", "input": {}}, "invalid_type", "input", "object"),
    ({"model": "m", "input": [5]}, "invalid_type", "input[0]", "object"),
    (item(content="x"), "missing_required_parameter", "input[0].type", ""),
    (item(role="user"), "missing_required_parameter", "input[0].content", ""),
    (item(role="robot", content="x"), "invalid_value", "input[0].role", "'user'"),
    (item(role="user", content="x", bogus=1), "unknown_parameter", "input[0].bogus", ""),
    (item(role="user", content=5), "invalid_type", "input[0].content", ""),
    (item(role="user", content=[{"type": "input_text"}]), "missing_required_parameter", "input[0].content[0].text", ""),
    (item(role="user", content=[{"type": "nonsense"}]), "invalid_value", "input[0].content[0].type", "'input_text'"),
    (
        item(role="user", content=[{"type": "input_image"}]),
        "missing_required_parameter",
        "input[0].content[0]",
        "image",
    ),
    (
        item(role="user", content=[{"type": "input_image", "image_url": 5}]),
        "invalid_type",
        "input[0].content[0].image_url",
        "",
    ),
    (
        item(role="user", content=[{"type": "input_image", "image_url": "u", "detail": "x"}]),
        "invalid_value",
        "input[0].content[0].detail",
        "'high'",
    ),
    (item(type="function_call", name="f", arguments="{}"), "missing_required_parameter", "input[0].call_id", ""),
    (item(type="function_call", call_id="c", name="f", arguments={}), "invalid_type", "input[0].arguments", "string"),
    (item(type="function_call_output", output="x"), "missing_required_parameter", "input[0].call_id", ""),
    (item(type="function_call_output", call_id="c"), "missing_required_parameter", "input[0].output", ""),
    (item(type="item_reference"), "missing_required_parameter", "input[0].id", ""),
    (item(type="web_search_call", id=5), "invalid_type", "input[0].id", "string"),
    (item(type="mcp_approval_response", approve=1), "invalid_type", "input[0].approve", "boolean"),
    (item(type="additional_tools", tools=[{"type": "bogus"}]), "invalid_value", "input[0].tools[0].type", ""),
]


@pytest.mark.parametrize(
    ("body", "code", "param", "words"), ROWS, ids=[f"{row[1]}-{row[2]}-{n}" for n, row in enumerate(ROWS)]
)
def test_a_fault_is_named_by_code_and_path(body: dict[str, Any], code: str, param: str, words: str) -> None:
    error = refusal(body)
    assert (error.code, error.param) == (code, param)
    assert words in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1",
        b"nonsense",
        b"\xff\xfe",
        b'{"model":"x","input":"\xff"}',
        b'{"a":' + b"[" * 50_000,
        b'{"a":NaN}',
    ],
)
def test_what_is_not_json_is_refused_without_a_param(body: bytes) -> None:
    error = refusal(body)
    assert (error.code, error.param) == (None, None)
    assert "JSON" in error.message


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"5", b"null", b"true"])
def test_what_is_not_an_object_is_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_type"


def test_the_model_is_checked_before_unknown_keys_and_those_before_fields() -> None:
    assert refusal({"bogus": 1, "temperature": "x"}).param == "model"
    assert refusal({"model": "m", "temperature": "x", "bogus": 1}).param == "bogus"
    assert refusal({"model": "m", "temperature": "x", "metadata": 5}).param == "metadata"


def test_features_are_refused_only_after_every_field_is_right() -> None:
    assert refusal(BASE | {"background": 1, "temperature": 9}).param == "temperature"


def test_a_string_of_the_largest_size_is_taken_and_one_more_character_is_not() -> None:
    parse_request(msgspec.json.encode({"model": "m", "input": "x" * 10_485_760}))
    assert refusal({"model": "m", "input": "x" * 10_485_761}).code == "string_above_max_length"
