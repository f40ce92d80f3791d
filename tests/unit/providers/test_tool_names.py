"""Client tools to wire names and back."""

from __future__ import annotations

import msgspec
import pytest

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import AdditionalTools
from antiphon.protocol.tools import CustomTool, FunctionTool, GrammarSpec, HostedTool, NamespaceTool, ToolRef
from antiphon.providers.base import ToolName
from antiphon.providers.tool_names import (
    LEGAL,
    custom_input,
    lift,
    lower_tools,
    referred,
    search_call,
    wire_name,
    wrapped_input,
    wrapped_schema,
)

SEARCH = HostedTool("tool_search", msgspec.Raw(b'{"type":"tool_search","execution":"client"}'))
WEB = HostedTool("web_search", msgspec.Raw(b'{"type":"web_search"}'))
SPACE = NamespaceTool("mcp", (FunctionTool("read"), CustomTool("exec")))


def test_a_legal_name_is_its_own_wire_name() -> None:
    assert wire_name("get_weather") == "get_weather"
    assert wire_name("read", "mcp") == "mcp__read"


@pytest.mark.parametrize("name", ["mcp.server/do it", "x" * 65, "ä"])
def test_an_illegal_name_becomes_legal_and_stays_the_same(name: str) -> None:
    assert LEGAL.fullmatch(wire_name(name))
    assert wire_name(name) == wire_name(name)


def test_pitfall_068_an_illegal_tool_name_round_trips() -> None:
    lowered = lower_tools((FunctionTool("mcp.server/do it"),), ())
    assert lift(lowered.names, lowered.names[0].wire_name).name == "mcp.server/do it"


def test_a_namespace_is_flattened_and_lifted_with_its_kinds() -> None:
    names = lower_tools((SPACE,), ()).names
    assert [name.wire_name for name in names] == ["mcp__read", "mcp__exec"]
    assert lift(names, "mcp__exec") == ToolName("mcp__exec", "exec", "custom", "mcp", True)


def test_hosted_tools_are_named_where_they_stand() -> None:
    lowered = lower_tools((FunctionTool("f"), WEB), (AdditionalTools((WEB,)),))
    assert lowered.hosted_names == ("tools[1].web_search", "additional_tools.tools[0].web_search")


def test_two_tools_of_one_wire_name_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="mcp__read"):
        lower_tools((SPACE, FunctionTool("mcp__read")), ())


def test_a_tool_declared_twice_counts_once() -> None:
    assert len(lower_tools((FunctionTool("f"),), (AdditionalTools((FunctionTool("f"),)),)).tools) == 1


def test_a_tool_search_that_the_client_runs_becomes_a_function() -> None:
    lowered = lower_tools((SEARCH,), ())
    assert lowered.hosted == ()
    assert lowered.names[0].is_search


def test_a_tool_search_keeps_its_own_parameters() -> None:
    declared = b'{"type":"tool_search","execution":"client","parameters":{"type":"object"}}'
    (lowered,) = lower_tools((HostedTool("tool_search", msgspec.Raw(declared)),), ()).tools
    assert isinstance(lowered.tool, FunctionTool)
    assert lowered.tool.parameters == msgspec.Raw(b'{"type":"object"}')


def test_a_call_of_the_search_function_becomes_a_tool_search_call() -> None:
    native = search_call(3, "call_1", '{"query":"maps"}')
    assert (native.key, native.type) == (3, "tool_search_call")
    assert msgspec.json.decode(native.item)["arguments"] == {"query": "maps"}
    assert msgspec.json.decode(search_call(0, "c", "{").item)["arguments"] == "{"


def test_tool_choice_finds_tools_by_kind_name_and_namespace() -> None:
    names = lower_tools((FunctionTool("read"), SPACE, SEARCH), ()).names
    assert [n.wire_name for n in referred(names, ToolRef("function", "read"))] == ["read", "mcp__read"]
    assert [n.wire_name for n in referred(names, ToolRef("function", "read", "mcp"))] == ["mcp__read"]
    assert [n.wire_name for n in referred(names, ToolRef("namespace", "mcp"))] == ["mcp__read", "mcp__exec"]
    assert [n.wire_name for n in referred(names, ToolRef("tool_search"))] == ["tool_search"]
    assert referred(names, ToolRef("web_search")) == ()


def test_a_wrapped_input_is_unwrapped_and_anything_else_left_alone() -> None:
    assert custom_input(wrapped_input('say "hi"\n')) == 'say "hi"\n'
    assert custom_input('{"other": 1}') == '{"other": 1}'


def test_a_regex_grammar_stands_in_the_schema_only_where_patterns_are_enforced() -> None:
    tool = CustomTool("t", format=GrammarSpec("a+|b", "regex"))
    told = msgspec.json.decode(wrapped_schema(tool))["properties"]["input"]
    assert "a+|b" in told["description"]
    assert "pattern" not in told
    enforced = msgspec.json.decode(wrapped_schema(tool, has_patterns=True))["properties"]["input"]
    assert enforced["pattern"] == "^(?:a+|b)$"
