"""Client tools as function tools with legal, unique names: lowering on the way up, lifting on the way back.

Namespaces are flattened to `namespace__name`, custom tools become functions with one string argument `input` where the
target has no custom tools, illegal or long names are sanitised and given a hash of the original, so that the same tool
always gets the same wire name (prefixes stay byte-stable). Tools declared mid-conversation (`additional_tools`, loaded
by `tool_search_output`) are lowered with the rest, in order of appearance.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import AdditionalTools, ToolSearchOutput
from antiphon.protocol.tools import CustomTool, FunctionTool, HostedTool, NamespaceTool, Tool

from .base import Entry, ToolName

LEGAL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ILLEGAL_CHARACTER: Final = re.compile(r"[^A-Za-z0-9_-]")
MAX_NAME_LENGTH: Final = 64
EMPTY_SCHEMA: Final = msgspec.Raw(b'{"type":"object","properties":{}}')


@dataclass(frozen=True, slots=True)
class LoweredTool:
    """One declarable tool: its wire name and the client's declaration."""

    tool_name: ToolName
    tool: FunctionTool | CustomTool
    description: str


@dataclass(frozen=True, slots=True)
class LoweredTools:
    """All tools of a turn in wire names. `hosted` are those this module does not lower, in order."""

    tools: tuple[LoweredTool, ...]
    hosted: tuple[HostedTool, ...]

    @property
    def names(self) -> tuple[ToolName, ...]:
        return tuple(lowered.tool_name for lowered in self.tools)


def wire_name(name: str, namespace: str | None = None) -> str:
    """The legal name of a tool on the wire; the identity for legal names outside namespaces."""
    full = f"{namespace}__{name}" if namespace else name
    if LEGAL.fullmatch(full):
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:6]
    return _ILLEGAL_CHARACTER.sub("_", full)[: MAX_NAME_LENGTH - 7] + "_" + digest


def lower_tools(tools: Sequence[Tool], context: Iterable[Entry], *, has_custom_tools: bool = False) -> LoweredTools:
    """Flatten, rename and (without `has_custom_tools`) wrap the tools of a turn.

    Raises InvalidRequest when two different tools would have one name. A tool declared again unchanged counts once.
    """
    lowered: dict[str, LoweredTool] = {}
    hosted: list[HostedTool] = []
    for tool in _all_tools(tools, context):
        if isinstance(tool, HostedTool):
            hosted.append(tool)
        elif isinstance(tool, NamespaceTool):
            for inner in tool.tools:
                _add(lowered, _lower(inner, tool.name, has_custom_tools))
        else:
            _add(lowered, _lower(tool, None, has_custom_tools))
    return LoweredTools(tuple(lowered.values()), tuple(hosted))


def _all_tools(tools: Sequence[Tool], context: Iterable[Entry]) -> Iterable[Tool]:
    yield from tools
    for entry in context:
        if isinstance(entry, AdditionalTools | ToolSearchOutput):
            yield from entry.tools


def _lower(tool: FunctionTool | CustomTool, namespace: str | None, has_custom_tools: bool) -> LoweredTool:
    kind: Literal["function", "custom"] = "custom" if isinstance(tool, CustomTool) else "function"
    wrapped = kind == "custom" and not has_custom_tools
    name = ToolName(wire_name(tool.name, namespace), tool.name, kind, namespace, wrapped)
    return LoweredTool(name, tool, tool.description or "")


def _add(lowered: dict[str, LoweredTool], new: LoweredTool) -> None:
    known = lowered.get(new.tool_name.wire_name)
    if known is None or (known.tool_name == new.tool_name):
        lowered[new.tool_name.wire_name] = new
        return
    raise InvalidRequest(
        f"Two tools share the name {new.tool_name.wire_name!r}: rename one of them.",
        param="tools",
        code="invalid_value",
    )


def lift(names: Iterable[ToolName], wire: str) -> ToolName:
    """The client's tool behind a wire name; an unknown name is a function of that very name."""
    for name in names:
        if name.wire_name == wire:
            return name
    return ToolName(wire, wire, "function")


def custom_input(arguments: str) -> str:
    """The text of a wrapped custom tool's `{"input": ...}` arguments; the arguments themselves if they are not that."""
    try:
        return msgspec.json.decode(arguments, type=_Wrapped).input
    except msgspec.MsgspecError:
        return arguments


def wrapped_input(text: str) -> str:
    """A custom tool's input as the arguments of its wrapping function."""
    return msgspec.json.encode(_Wrapped(text)).decode()


class _Wrapped(msgspec.Struct, frozen=True):
    input: str


def wrapped_schema(tool: CustomTool) -> bytes:
    """The parameters of the function that wraps a custom tool; a grammar is told in words."""
    description = "The whole input of the tool, as plain text."
    grammar = tool.format
    if isinstance(grammar, msgspec.Struct) and getattr(grammar, "syntax", None):
        description = (
            f"The whole input of the tool. It must follow this {grammar.syntax} grammar:\n{grammar.definition}"
        )
    schema = {
        "type": "object",
        "properties": {"input": {"type": "string", "description": description}},
        "required": ["input"],
        "additionalProperties": False,
    }
    return msgspec.json.encode(schema)
