"""Tools and tool_choice as Chat Completions writes them, for targets that know all forms and for those that know few.

    the client says       native                      else
    none                  "none"                      no tools are sent
    required              "required" or "any"         refused by name: it changes the meaning
    one tool              {type: function}            that tool alone, required
    allowed tools         {type: allowed_tools}       those tools alone, with the mode
    a hosted tool         -                           refused by name

Without tools neither tool_choice nor parallel_tool_calls is sent (pitfalls 10, 63).
Source: OpenAI "Chat Completions", tool_choice; reference of provider wires, §1.2.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.tools import AllowedChoice, CustomTool, FunctionTool, GrammarSpec, NamedChoice, ToolChoice

from .base import ToolName
from .history_items import unsent
from .quirks import ChatQuirks
from .tool_names import EMPTY_SCHEMA, LoweredTool, LoweredTools, referred, wrapped_schema

_NO_SCHEMA = Raw(b"null")


class Function(msgspec.Struct, frozen=True):
    name: str
    description: str | UnsetType
    parameters: Raw
    strict: bool | UnsetType = UNSET


class FunctionDeclaration(msgspec.Struct, frozen=True, tag="function", tag_field="type"):
    function: Function


class Custom(msgspec.Struct, frozen=True):
    name: str
    description: str | UnsetType
    format: dict[str, object]


class CustomDeclaration(msgspec.Struct, frozen=True, tag="custom", tag_field="type"):
    custom: Custom


class WireTools(msgspec.Struct, frozen=True):
    """The `tools` and `tool_choice` fields (None: not sent), and whether a call is forced."""

    tools: Raw | None
    choice: object
    is_forced: bool
    dropped: tuple[str, ...]


def wire_tools(request: CreateResponse, lowered: LoweredTools, quirks: ChatQuirks) -> WireTools:
    """Everything of a request that concerns tools. Raises InvalidRequest for a choice that cannot be kept."""
    choice = request.tool_choice
    if choice == "auto":
        return lowered.memory.once(quirks, _declared, choice, lowered, quirks)
    return _declared(choice, lowered, quirks)


def _declared(choice: ToolChoice, lowered: LoweredTools, quirks: ChatQuirks) -> WireTools:
    chosen = _chosen(choice, lowered, quirks)
    kept = [tool for tool in lowered.tools if chosen.only is None or tool.tool_name in chosen.only]
    dropped = (*lowered.hosted_names, *(name for tool in kept for name in _unsent(tool, quirks)))
    if not kept:
        return WireTools(None, None, chosen.is_forced, dropped)
    tools = Raw(msgspec.json.encode([_declaration(tool, quirks) for tool in kept]))
    return WireTools(tools, chosen.value, chosen.is_forced, dropped)


class _Chosen(NamedTuple):
    """`only` are the tools to declare, None for all."""

    value: object = None
    is_forced: bool = False
    only: tuple[ToolName, ...] | None = None


def _chosen(choice: ToolChoice, lowered: LoweredTools, quirks: ChatQuirks) -> _Chosen:
    match choice:
        case "auto":
            return _Chosen()
        case "none":
            return _none(quirks)
        case "required":
            if not lowered.tools:
                raise _refused("No tool that this model can call is left for tool_choice 'required'.")
            return _Chosen(_required(quirks), True)
        case NamedChoice(tool):
            found = referred(lowered.names, tool)
            if not found:
                raise _refused(f"The tool {tool.name or tool.type!r} that tool_choice forces cannot be served here.")
            return _named(found, quirks)
        case AllowedChoice() as allowed:
            return _allowed(allowed, lowered, quirks)


def _none(quirks: ChatQuirks) -> _Chosen:
    return _Chosen("none") if "none" in quirks.tool_choices else _Chosen(only=())


def _required(quirks: ChatQuirks) -> str:
    if "required" not in quirks.tool_choices:
        raise _refused("The model's provider cannot be made to call a tool: use tool_choice 'auto'.")
    return quirks.required_word


def _named(found: tuple[ToolName, ...], quirks: ChatQuirks) -> _Chosen:
    """One tool, or a namespace: any of its tools."""
    if len(found) == 1 and "function" in quirks.tool_choices:
        return _Chosen(_reference(found[0], quirks), True)
    return _Chosen(_required(quirks), True, found)


def _allowed(choice: AllowedChoice, lowered: LoweredTools, quirks: ChatQuirks) -> _Chosen:
    found = tuple(dict.fromkeys(name for ref in choice.tools for name in referred(lowered.names, ref)))
    is_forced = choice.mode == "required"
    if not found and is_forced:
        raise _refused("None of the tools that tool_choice allows can be served here.")
    if not found or choice.mode == "none":
        return _none(quirks)
    if "allowed_tools" in quirks.tool_choices:
        tools = [_reference(name, quirks) for name in found]
        value = {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}
        return _Chosen(value, is_forced)
    return _Chosen(_required(quirks) if is_forced else None, is_forced, found)


def _reference(name: ToolName, quirks: ChatQuirks) -> dict[str, object]:
    kind = "custom" if name.kind == "custom" and quirks.custom_tools == "native" else "function"
    return {"type": kind, kind: {"name": name.wire_name}}


def _declaration(lowered: LoweredTool, quirks: ChatQuirks) -> FunctionDeclaration | CustomDeclaration:
    name, tool = lowered.tool_name.wire_name, lowered.tool
    description = lowered.description or UNSET
    if isinstance(tool, FunctionTool):
        return FunctionDeclaration(Function(name, description, _parameters(tool), _strict(tool, quirks)))
    if quirks.custom_tools == "native":
        return CustomDeclaration(Custom(name, description, _format(tool)))
    schema = wrapped_schema(tool, has_patterns=quirks.grammar == "pattern")
    return FunctionDeclaration(Function(name, description, Raw(schema)))


def _parameters(tool: FunctionTool) -> Raw:
    schema = tool.parameters
    return schema if isinstance(schema, Raw) and schema != _NO_SCHEMA else EMPTY_SCHEMA


def _strict(tool: FunctionTool, quirks: ChatQuirks) -> bool | UnsetType:
    return tool.strict if isinstance(tool.strict, bool) and quirks.has_strict_tools else UNSET


def _format(tool: CustomTool) -> dict[str, object]:
    if isinstance(tool.format, GrammarSpec):
        return {
            "type": "grammar",
            "grammar": {"definition": tool.format.definition, "syntax": tool.format.syntax},
        }
    return {"type": "text"}


def _unsent(lowered: LoweredTool, quirks: ChatQuirks) -> list[str]:
    """Fields of a declaration that have no place on this wire."""
    tool = lowered.tool
    is_lax = isinstance(tool, FunctionTool) and bool(tool.strict) and not quirks.has_strict_tools
    return [*([f"tools.{lowered.tool_name.wire_name}.strict"] if is_lax else []), *unsent(lowered)]


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="tool_choice", code="unsupported_value")
