"""Tools and tool_choice of the Messages wire.

    the client says       wire
    auto, none, required  {type: auto | none | any}
    one tool              {type: tool, name}, or {type: any} over the tools of a namespace
    allowed tools         those tools alone, with the mode
    a hosted tool         the vendor's own where it has one, else left out and named

Models that take no forced choice get `auto` and a sentence, and the choice is named in `antiphon-dropped`.
Source: Anthropic Messages API, "Tool use"; reference of provider wires, §1.3.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.tools import AllowedChoice, CustomTool, FunctionTool, NamedChoice

from .anthropic_blocks import Block
from .anthropic_native import declared
from .base import ToolName
from .history_items import unsent_fields
from .schemas import lower_schema
from .tool_names import EMPTY_SCHEMA, LoweredTool, LoweredTools, referred, wrapped_schema

Raw = msgspec.Raw
_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
_NATIVE_NAMES: Final = {
    "web_search": "web_search",
    "web_search_preview": "web_search",
    "code_interpreter": "code_execution",
}


class WireTools(msgspec.Struct, frozen=True):
    """`tools` and `tool_choice` (None: not sent), a sentence for models that cannot be forced, and what was dropped."""

    tools: list[Block]
    choice: Block | None
    instruction: str
    dropped: list[str]


class _Choice(NamedTuple):
    value: Block | None = None
    only: tuple[ToolName, ...] | None = None


def wire_tools(
    request: CreateResponse, lowered: LoweredTools, *, can_force: bool, served: frozenset[str] = frozenset()
) -> WireTools:
    """Everything of a request that concerns tools; `served` are the hosted tools that run at the vendor.

    Raises InvalidRequest for a choice that cannot be kept.
    """
    hosted, dropped = _hosted(request, lowered, served)
    choice = _choice(request, lowered, hosted)
    kept = lowered.each(_declaration, choice.only)
    dropped += unsent_fields(lowered, choice.only)
    if not kept and not hosted:
        return WireTools([], None, "", dropped)
    value: Block | None = choice.value
    instruction = ""
    if value is not None and value["type"] in ("any", "tool") and not can_force:
        instruction = _instruction(value)
        value = None
        dropped.append("tool_choice")
    if request.parallel_tool_calls_said and not request.parallel_tool_calls:
        value = value or {"type": "auto"}
        if value["type"] != "none":
            value["disable_parallel_tool_use"] = True
    return WireTools([*hosted, *kept], value, instruction, dropped)


def _hosted(request: CreateResponse, lowered: LoweredTools, served: frozenset[str]) -> tuple[list[Block], list[str]]:
    """Hosted tools as the vendor declares them, and the names of those that it cannot run."""
    tools: list[Block] = []
    dropped: list[str] = []
    for tool, name in zip(lowered.hosted, lowered.hosted_names, strict=True):
        native = declared(tool, served, request.max_tool_calls)
        if native is None:
            dropped.append(name)
        else:
            tools += [one for one in native if one not in tools]
    return tools, dropped


def _instruction(value: Block) -> str:
    if value["type"] == "tool":
        return f"Answer by calling the tool {value['name']}."
    return "Answer by calling at least one of the tools."


def _choice(request: CreateResponse, lowered: LoweredTools, hosted: list[Block]) -> _Choice:
    match request.tool_choice:
        case "auto":
            return _Choice()
        case "none":
            return _Choice({"type": "none"})
        case "required":
            if not lowered.tools and not hosted:
                raise _refused("No tool that this model can call is left for tool_choice 'required'.")
            return _Choice({"type": "any"})
        case NamedChoice(tool):
            found = referred(lowered.names, tool)
            native = next((one["name"] for one in hosted if _NATIVE_NAMES.get(tool.type) == one["name"]), None)
            if native is not None:
                return _Choice({"type": "tool", "name": native})
            if not found:
                raise _refused(f"The tool {tool.name or tool.type!r} that tool_choice forces cannot be served here.")
            return _one_of(found)
        case AllowedChoice() as allowed:
            return _allowed(allowed, lowered)


def _one_of(found: tuple[ToolName, ...]) -> _Choice:
    if len(found) == 1:
        return _Choice({"type": "tool", "name": found[0].wire_name})
    return _Choice({"type": "any"}, found)


def _allowed(allowed: AllowedChoice, lowered: LoweredTools) -> _Choice:
    found = tuple(dict.fromkeys(name for ref in allowed.tools for name in referred(lowered.names, ref)))
    if not found and allowed.mode == "required":
        raise _refused("None of the tools that tool_choice allows can be served here.")
    if not found or allowed.mode == "none":
        return _Choice({"type": "none"})
    return _Choice({"type": "any"} if allowed.mode == "required" else None, found)


def _declaration(lowered: LoweredTool) -> Block:
    block: Block = {"name": lowered.tool_name.wire_name}
    if lowered.description:
        block["description"] = lowered.description
    tool = lowered.tool
    if isinstance(tool, CustomTool):
        return block | {"input_schema": Raw(wrapped_schema(tool))}
    is_strict = tool.strict is True
    block["input_schema"] = lower_schema(_schema(tool)) if is_strict else _schema(tool)
    return block | {"strict": True} if is_strict else block


def _schema(tool: FunctionTool) -> Raw:
    """The client's own schema; the wire wants `type: object` at its root."""
    schema = tool.parameters
    if not isinstance(schema, Raw) or bytes(schema) == b"null":
        return EMPTY_SCHEMA
    fields = _fields(schema)
    return schema if "type" in fields else Raw(_encode({"type": "object"} | fields))


def declared_by_history(names: list[str]) -> list[Block]:
    """Bare declarations of tools that only the history calls: without any, such a history is a 400."""
    return [{"name": name, "input_schema": EMPTY_SCHEMA} for name in dict.fromkeys(names)]


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="tool_choice", code="unsupported_value")
