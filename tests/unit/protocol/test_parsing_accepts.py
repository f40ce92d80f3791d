"""What is accepted: everything the documents name and everything real clients send."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.protocol import items as it
from antiphon.protocol import tools as t
from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.parsing import parse_item, parse_items, parse_request
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.request_schema import RequestWire

BASE: dict[str, Any] = {"model": "sim/standard", "input": "hi"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


def parsed(**fields: object) -> CreateResponse:
    return parse_request(msgspec.json.encode(BASE | fields))


def first_item(**fields: object) -> it.Item:
    return parsed(input=[fields]).input[0].item


def test_every_optional_parameter_may_be_null() -> None:
    nulls = {name: None for name in RequestWire.__struct_fields__ if name not in ("model", "input")}
    assert parsed(**nulls) == parsed()


def test_empty_lists_and_objects_of_real_clients_are_taken() -> None:
    request = parsed(include=[], tools=[], text={}, metadata={}, client_metadata={"a": "b"}, context_management=[])
    assert request.tools == ()


@pytest.mark.parametrize(
    ("fields", "window_s"),
    [
        ({"background_options": {}}, 0),
        ({"background_options": {"completion_window": None, "continuation_id": None}}, 0),
        ({"background_options": {"completion_window": "soonest", "continuation_id": "c"}, "stream": True}, 0),
        ({"background_options": {"completion_window": "2h"}, "background": True, "stream": False}, 7_200),
        ({"background_options": {"completion_window": "8h"}, "background": True, "service_tier": "auto"}, 28_800),
    ],
)
def test_a_window_for_the_completion_is_read_in_seconds(fields: dict[str, Any], window_s: int) -> None:
    assert parsed(**fields).completion_window_s == window_s


def test_a_string_is_one_user_message() -> None:
    assert parsed().input[0].item == it.Message("user", "hi")


ITEMS: list[tuple[dict[str, Any], type]] = [
    ({"role": "user", "content": "x"}, it.Message),
    ({"role": "developer", "content": [{"type": "input_text", "text": "x"}]}, it.Message),
    ({"type": "message", "role": "assistant", "content": "x", "id": "msg_1", "status": "completed"}, it.Message),
    (
        {
            "type": "message",
            "role": "assistant",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "x", "annotations": [], "logprobs": [], "parsed": {"a": 1}}],
        },
        it.Message,
    ),
    ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, it.Message),
    (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "parsed_arguments": {}},
        it.FunctionCall,
    ),
    (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": None, "status": None},
        it.FunctionCall,
    ),
    ({"type": "function_call_output", "call_id": "c", "output": "x"}, it.FunctionCallOutput),
    (
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [{"type": "input_text", "text": "x"}],
            "id": "fco_1",
        },
        it.FunctionCallOutput,
    ),
    (
        {"type": "custom_tool_call", "call_id": "c", "name": "n", "input": "x", "namespace": "functions"},
        it.CustomToolCall,
    ),
    ({"type": "custom_tool_call_output", "call_id": "c", "output": "x"}, it.CustomToolCallOutput),
    ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None, "content": None}, it.Reasoning),
    ({"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}], "status": "completed"}, it.Reasoning),
    ({"type": "item_reference", "id": "msg_1"}, it.ItemReference),
    ({"id": "msg_1"}, it.ItemReference),
    ({"type": "additional_tools", "role": "developer", "tools": [FUNCTION]}, it.AdditionalTools),
    ({"type": "tool_search_call", "arguments": {"q": 1}, "execution": "client", "call_id": "c"}, it.ToolSearchCall),
    ({"type": "tool_search_output", "tools": [FUNCTION], "call_id": "c"}, it.ToolSearchOutput),
    ({"type": "compaction", "encrypted_content": "x"}, it.Opaque),
    ({"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "", "stderr": ""}]}, it.Opaque),
    ({"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}, "status": "completed"}, it.Opaque),
    ({"type": "a_type_of_next_month", "anything": [1]}, it.Opaque),
]


@pytest.mark.parametrize(
    ("fields", "kind"), ITEMS, ids=[f"{row[0].get('type', 'easy')}-{n}" for n, row in enumerate(ITEMS)]
)
def test_an_item_is_read_and_what_is_kept_of_it_reads_the_same(fields: dict[str, Any], kind: type) -> None:
    entry = parsed(input=[fields]).input[0]
    assert isinstance(entry.item, kind)
    again = parse_item(entry.raw)
    assert again == entry.item or isinstance(again, it.Opaque)
    kept = msgspec.json.decode(entry.raw)
    assert "parsed" not in str(kept)


@pytest.mark.parametrize("is_mixed", [False, True], ids=["all-read", "mixed"])
def test_items_are_read_together_as_they_are_one_by_one(is_mixed: bool) -> None:
    entries = [
        parsed(input=[fields]).input[0] for fields, kind in ITEMS if is_mixed or kind in (it.Message, it.Reasoning)
    ]
    rows = [entry.raw for entry in entries]
    assert len(rows) > 5
    together = parse_items(msgspec.json.encode(rows))
    assert [msgspec.json.encode(item) for item in together] == [msgspec.json.encode(parse_item(row)) for row in rows]


TOOLS: list[tuple[dict[str, Any], type]] = [
    (FUNCTION, t.FunctionTool),
    ({"type": "function", "name": "f"}, t.FunctionTool),
    ({"type": "function", "name": "f", "parameters": None, "strict": None, "description": None}, t.FunctionTool),
    ({"type": "custom", "name": "c"}, t.CustomTool),
    (
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}},
        t.CustomTool,
    ),
    (
        {"type": "namespace", "name": "n", "description": "d", "tools": [FUNCTION, {"type": "custom", "name": "c"}]},
        t.NamespaceTool,
    ),
    ({"type": "web_search", "external_web_access": True}, t.HostedTool),
    ({"type": "tool_search", "execution": "client"}, t.HostedTool),
    ({"type": "mcp", "server_label": "s", "server_url": "https://x"}, t.HostedTool),
    ({"type": "shell", "environment": {"type": "local"}}, t.HostedTool),
]


@pytest.mark.parametrize(("tool", "kind"), TOOLS)
def test_a_tool_is_read_and_echoed(tool: dict[str, Any], kind: type) -> None:
    request = parsed(tools=[tool])
    assert isinstance(request.tools[0], kind)
    echo = msgspec.json.decode(request.tools_raw[0])
    assert echo.items() >= {key: value for key, value in tool.items() if value is not None}.items()
    if kind is t.FunctionTool:
        assert echo.keys() >= {"description", "parameters", "strict"}


@pytest.mark.parametrize("count", [1, 60, 400])
def test_tools_that_come_again_are_read_once(count: int) -> None:
    tools = [FUNCTION | {"name": f"f{number}", "description": "d" * 1000} for number in range(count)]
    assert parsed(tools=tools).tools is parsed(tools=tools).tools
    assert len(parsed(tools=[*tools, FUNCTION]).tools) == count + 1


CHOICES: list[tuple[object, object]] = [
    ("none", "none"),
    ("required", "required"),
    ({"type": "function", "name": "f"}, t.NamedChoice(t.ToolRef("function", "f"))),
    ({"type": "custom", "name": "c"}, t.NamedChoice(t.ToolRef("custom", "c"))),
    ({"type": "web_search"}, t.NamedChoice(t.ToolRef("web_search"))),
    (
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
        t.AllowedChoice("required", (t.ToolRef("function", "f"),)),
    ),
]


@pytest.mark.parametrize(("choice", "expected"), CHOICES)
def test_every_form_of_tool_choice_is_read(choice: object, expected: object) -> None:
    tools = [FUNCTION, {"type": "custom", "name": "c"}, {"type": "web_search"}]
    request = parsed(tools=tools, tool_choice=choice)
    assert request.tool_choice == expected
    assert msgspec.json.decode(request.tool_choice_raw) == choice


def test_tools_of_the_input_may_be_chosen() -> None:
    tools = {"type": "additional_tools", "role": "developer", "tools": [FUNCTION]}
    request = parsed(input=[tools], tool_choice={"type": "function", "name": "f"})
    assert isinstance(request.tool_choice, t.NamedChoice)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def refused(body: object) -> InvalidRequest | None:
    try:
        parse_request(msgspec.json.encode(body))
    except InvalidRequest as error:
        return error
    return None


@given(st.sampled_from(RequestWire.__struct_fields__), json_values)
def test_any_value_of_any_parameter_is_taken_or_refused_by_name(name: str, value: object) -> None:
    error = refused(BASE | {name: value})
    assert error is None or (error.code and error.param and error.param.startswith((name, "input")))


@given(st.dictionaries(st.sampled_from(["type", "role", "content", "id", "tools", "output", "call_id"]), json_values))
def test_any_object_as_an_item_is_taken_or_refused_by_path(fields: dict[str, object]) -> None:
    error = refused({"model": "m", "input": [fields]})
    assert error is None or (error.param and error.param.startswith("input[0]"))


@given(st.binary(max_size=60))
def test_any_bytes_raise_nothing_but_a_refusal(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_request(body)
