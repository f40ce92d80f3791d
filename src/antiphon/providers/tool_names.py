"""Client tools as function tools with legal, unique names: lowering on the way up, lifting on the way back.

Namespaces are flattened to `namespace__name`, custom tools become functions with one string argument `input` where the
target has no custom tools, illegal or long names are sanitised and given a hash of the original, so that the same tool
always gets the same wire name (prefixes stay byte-stable). Tools declared mid-conversation (`additional_tools`, loaded
by `tool_search_output`) are lowered with the rest, in order of appearance. A tool search that the client runs becomes a
function `tool_search`, and its call a `tool_search_call` item again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, TypeVar

import msgspec

from antiphon.protocol.deltas import Native
from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import DECLARATIONS, AdditionalTools, ToolSearchOutput
from antiphon.protocol.memory import Memory
from antiphon.protocol.tools import (
    CustomTool,
    FunctionTool,
    GrammarSpec,
    HostedTool,
    NamespaceTool,
    Tool,
    ToolRef,
    Tools,
)

from .base import ToolName, Turn

T = TypeVar("T")
Loader = AdditionalTools | ToolSearchOutput
"""An item that declares tools in mid-conversation."""
LEGAL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ILLEGAL_CHARACTER: Final = re.compile(r"[^A-Za-z0-9_-]")
MAX_NAME_LENGTH: Final = 64
EMPTY_SCHEMA: Final = msgspec.Raw(b'{"type":"object","properties":{}}')
TOOL_SEARCH: Final = "tool_search"
_NO_SCHEMA: Final = msgspec.Raw(b"null")
_DECLARING: Final = frozenset(DECLARATIONS)
_PURPOSES: Final = {False: object(), True: object()}
_SEARCH_SCHEMA: Final = msgspec.Raw(
    b'{"type":"object","properties":{"query":{"type":"string","description":"What the tool should do."}},'
    b'"required":["query"]}'
)


@dataclass(frozen=True, slots=True)
class LoweredTool:
    """One declarable tool: its wire name and the client's declaration."""

    tool_name: ToolName
    tool: FunctionTool | CustomTool
    description: str


@dataclass(frozen=True, slots=True)
class LoweredTools:
    """All tools of a turn in wire names.

    `hosted` are those this module does not lower, in order; `hosted_names` say where they stand, as
    `HttpRequest.dropped` does (`tools[2].web_search`).
    """

    tools: tuple[LoweredTool, ...]
    hosted: tuple[HostedTool, ...]
    hosted_names: tuple[str, ...] = ()
    memory: Memory = field(default_factory=Memory, compare=False)

    @property
    def names(self) -> tuple[ToolName, ...]:
        return self.each(_name_of)

    def each(self, make: Callable[[LoweredTool], T], only: Sequence[ToolName] | None = None) -> tuple[T, ...]:
        """What `make` writes for every tool, which nobody may change, or for those in `only`."""
        if only is None:
            return self.memory.once(make, _each, self.tools, make)
        return tuple(make(tool) for tool in self.tools if tool.tool_name in only)


def _each(tools: Sequence[LoweredTool], make: Callable[[LoweredTool], T]) -> tuple[T, ...]:
    return tuple(make(tool) for tool in tools)


def _name_of(lowered: LoweredTool) -> ToolName:
    return lowered.tool_name


def wire_name(name: str, namespace: str | None = None) -> str:
    """The legal name of a tool on the wire; the identity for legal names outside namespaces."""
    full = f"{namespace}__{name}" if namespace else name
    if LEGAL.fullmatch(full):
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:6]
    return _ILLEGAL_CHARACTER.sub("_", full)[: MAX_NAME_LENGTH - 7] + "_" + digest


def declarations(turn: Turn) -> list[Loader]:
    """The items of the context that declare tools; most histories have none, and they are long."""
    if _DECLARING.isdisjoint(turn.kinds):
        return []
    return [entry for entry in turn.context if isinstance(entry, DECLARATIONS)]


def lower_tools(tools: Sequence[Tool], loaded: Sequence[Loader], *, has_custom_tools: bool = False) -> LoweredTools:
    """Flatten, rename and (without `has_custom_tools`) wrap the tools of a turn, and those that its items declare.

    Raises InvalidRequest when two different tools would have one name. A tool declared again unchanged counts once.
    """
    if loaded or not isinstance(tools, Tools):
        return _lowered(tools, loaded, has_custom_tools)
    return tools.memory.once(_PURPOSES[has_custom_tools], _lowered, tools, (), has_custom_tools)


def _lowered(tools: Sequence[Tool], loaded: Iterable[Loader], has_custom_tools: bool) -> LoweredTools:
    lowered: dict[str, LoweredTool] = {}
    hosted: list[tuple[HostedTool, str]] = []
    for tool, where in _all_tools(tools, loaded):
        if isinstance(tool, HostedTool):
            search = _client_search(tool)
            if search is None:
                hosted.append((tool, f"{where}.{tool.type}"))
            else:
                _add(lowered, search)
        elif isinstance(tool, NamespaceTool):
            for inner in tool.tools:
                _add(lowered, _lower(inner, tool.name, has_custom_tools))
        else:
            _add(lowered, _lower(tool, None, has_custom_tools))
    return LoweredTools(tuple(lowered.values()), tuple(tool for tool, _ in hosted), tuple(name for _, name in hosted))


def _all_tools(tools: Sequence[Tool], loaded: Iterable[Loader]) -> Iterable[tuple[Tool, str]]:
    for index, tool in enumerate(tools):
        yield tool, f"tools[{index}]"
    for entry in loaded:
        kind = "additional_tools" if isinstance(entry, AdditionalTools) else "tool_search_output"
        for index, tool in enumerate(entry.tools):
            yield tool, f"{kind}.tools[{index}]"


class _SearchTool(msgspec.Struct, frozen=True):
    """The parts of a `tool_search` declaration that a function tool can carry."""

    execution: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = _NO_SCHEMA


def _client_search(tool: HostedTool) -> LoweredTool | None:
    """A tool search that the client runs, as a function; None for any other hosted tool."""
    if tool.type != TOOL_SEARCH:
        return None
    declared = msgspec.json.decode(tool.raw, type=_SearchTool)
    if declared.execution != "client":
        return None
    description = declared.description or "Find tools that are not listed yet; what is found can then be called."
    parameters = _SEARCH_SCHEMA if declared.parameters == _NO_SCHEMA else declared.parameters
    function = FunctionTool(TOOL_SEARCH, description, parameters)
    return LoweredTool(ToolName(TOOL_SEARCH, TOOL_SEARCH, "function", is_search=True), function, description)


def _lower(tool: FunctionTool | CustomTool, namespace: str | None, has_custom_tools: bool) -> LoweredTool:
    kind: Literal["function", "custom"] = "custom" if isinstance(tool, CustomTool) else "function"
    name = _named(tool.name, kind, namespace, kind == "custom" and not has_custom_tools)
    return LoweredTool(name, tool, tool.description or "")


@lru_cache(maxsize=4096)
def _named(name: str, kind: Literal["function", "custom"], namespace: str | None, is_wrapped: bool) -> ToolName:
    """Kept, for an agent declares the same tools with every request."""
    return ToolName(wire_name(name, namespace), name, kind, namespace, is_wrapped)


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


def referred(names: Iterable[ToolName], ref: ToolRef) -> tuple[ToolName, ...]:
    """The declared tools that tool_choice means by `ref`: one, a whole namespace, or none."""
    if ref.type == "namespace":
        return tuple(name for name in names if name.namespace == ref.name)
    if ref.type == TOOL_SEARCH:
        return tuple(name for name in names if name.is_search)
    return tuple(
        name
        for name in names
        if name.name == ref.name
        and name.kind == ref.type
        and not name.is_search
        and ref.namespace in (None, name.namespace)
    )


def loaded_tools(tools: Sequence[Tool]) -> str:
    """What a tool search found: the names under which the model can now call it."""
    names: list[str] = []
    for tool in tools:
        if isinstance(tool, NamespaceTool):
            names += [wire_name(inner.name, tool.name) for inner in tool.tools]
        else:
            names.append(tool.type if isinstance(tool, HostedTool) else wire_name(tool.name))
    return msgspec.json.encode({"tools": names}).decode()


def search_call(key: int, call_id: str, arguments: str) -> Native:
    """The `tool_search_call` item of a call to the function `tool_search`; `arguments` as the model wrote them."""
    try:
        value = msgspec.json.decode(arguments, type=msgspec.Raw)
    except msgspec.DecodeError:
        value = msgspec.Raw(msgspec.json.encode(arguments))
    item = _SearchCall(TOOL_SEARCH + "_call", call_id, value, "client", "completed")
    return Native(key, item.type, msgspec.Raw(msgspec.json.encode(item)))


class _SearchCall(msgspec.Struct, frozen=True):
    type: str
    call_id: str
    arguments: msgspec.Raw
    execution: str
    status: str


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


def wrapped_schema(tool: CustomTool, *, has_patterns: bool = False) -> bytes:
    """The parameters of the function that wraps a custom tool; a grammar is told in words.

    With `has_patterns` a regex stands in the schema too, for servers whose guided decoding enforces it.
    """
    text = {"type": "string", "description": "The whole input of the tool, as plain text."}
    grammar = tool.format
    if isinstance(grammar, GrammarSpec):
        text["description"] = (
            f"The whole input of the tool. It must follow this {grammar.syntax} grammar:\n{grammar.definition}"
        )
        if has_patterns and grammar.syntax == "regex":
            text["pattern"] = f"^(?:{grammar.definition})$"
    schema = {
        "type": "object",
        "properties": {"input": text},
        "required": ["input"],
        "additionalProperties": False,
    }
    return msgspec.json.encode(schema)
