"""Tools and tool_choice for a Responses-speaking upstream.

A vendor that takes namespaces and custom tools gets the client's declarations as they are. For any other, namespaces
are flattened and custom tools wrapped (`tool_names`), and a client-run tool_search becomes a function. A hosted tool
that the vendor does not run is left out and named; where tool_choice forces it, that is 400.
Source: reference of the Responses dialects; pitfalls 10, 30, 63, 91, 93, 94.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import AdditionalTools
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.tools import (
    AllowedChoice,
    CustomTool,
    FunctionTool,
    HostedTool,
    NamedChoice,
    NamespaceTool,
    Tool,
    ToolRef,
)

from .base import Target, ToolName, Turn
from .quirks import ResponsesQuirks
from .tool_names import (
    EMPTY_SCHEMA,
    TOOL_SEARCH,
    Loader,
    LoweredTool,
    declarations,
    lower_tools,
    wire_name,
    wrapped_schema,
)

_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
_CLIENT_TOOLS: Final = frozenset({"function", "custom"})


class WireFunction(msgspec.Struct, frozen=True, tag="function", tag_field="type"):
    """A lowered tool: only the fields that every Responses server knows."""

    name: str
    parameters: msgspec.Raw
    description: str | UnsetType = UNSET
    strict: bool | UnsetType = UNSET


WireTool = FunctionTool | CustomTool | NamespaceTool | WireFunction | msgspec.Raw


@dataclass(slots=True)
class WireTools:
    """The turn's tools as this vendor is told of them. `choice` None is left out of the body."""

    tools: list[WireTool] = field(default_factory=list)
    refs: list[ToolRef] = field(default_factory=list)
    names: tuple[ToolName, ...] = ()
    choice: object | None = None
    dropped: list[str] = field(default_factory=list)

    def add(self, tool: WireTool, ref: ToolRef) -> None:
        self.tools.append(tool)
        self.refs.append(ref)


def takes(quirks: ResponsesQuirks, tool_type: str) -> bool:
    """Whether the vendor accepts tools of this type."""
    return quirks.tool_types is None or tool_type in quirks.tool_types


def takes_item(quirks: ResponsesQuirks, item_type: str) -> bool:
    """Whether the vendor accepts input items of this type."""
    return quirks.item_types is None or item_type in quirks.item_types


def takes_declarations(quirks: ResponsesQuirks) -> bool:
    """Whether the client's own declarations can stand as they are: names, namespaces, custom tools."""
    return takes(quirks, "namespace") and takes(quirks, "custom")


def render_tools(turn: Turn, target: Target) -> WireTools:
    """The tools and the choice among them. Raises InvalidRequest for a forced choice that cannot be honoured."""
    quirks = target.vendor.quirks.responses
    rendered = WireTools()
    loaded = [entry for entry in declarations(turn) if not takes_item(quirks, _item_type(entry))]
    if takes_declarations(quirks):
        _declare(_with_loaded(turn.request.tools, loaded), quirks, rendered)
    else:
        _lower(turn.request.tools, loaded, quirks, rendered)
    _choose(turn.request, target, rendered)
    return rendered


def _item_type(entry: Loader) -> str:
    return "additional_tools" if isinstance(entry, AdditionalTools) else "tool_search_output"


def _with_loaded(tools: Sequence[Tool], loaded: Sequence[Loader]) -> list[Tool]:
    """The declared tools, then those loaded in mid-conversation, each once."""
    every = list(tools)
    for entry in loaded:
        every += [tool for tool in entry.tools if tool not in every]
    return every


def _declare(tools: Sequence[Tool], quirks: ResponsesQuirks, rendered: WireTools) -> None:
    for index, tool in enumerate(tools):
        if isinstance(tool, HostedTool):
            _host(tool, f"tools[{index}].{tool.type}", quirks, rendered)
        elif isinstance(tool, NamespaceTool):
            rendered.add(tool, ToolRef("namespace", tool.name))
        else:
            rendered.add(tool, ToolRef("custom" if isinstance(tool, CustomTool) else "function", tool.name))


def _lower(tools: Sequence[Tool], loaded: Sequence[Loader], quirks: ResponsesQuirks, rendered: WireTools) -> None:
    lowered = lower_tools(tools, loaded, has_custom_tools=takes(quirks, "custom"))
    rendered.names = lowered.names
    for tool in lowered.tools:
        name = tool.tool_name
        ref = ToolRef(TOOL_SEARCH) if name.is_search else ToolRef(name.kind, name.name, name.namespace)
        rendered.add(_lowered(tool), ref)
    for hosted, where in zip(lowered.hosted, lowered.hosted_names, strict=True):
        _host(hosted, where, quirks, rendered)


def _lowered(lowered: LoweredTool) -> WireTool:
    tool, name = lowered.tool, lowered.tool_name
    description = lowered.description or UNSET
    if isinstance(tool, FunctionTool):
        has_parameters = isinstance(tool.parameters, msgspec.Raw) and bytes(tool.parameters) != b"null"
        parameters = tool.parameters if has_parameters and isinstance(tool.parameters, msgspec.Raw) else EMPTY_SCHEMA
        strict = tool.strict if isinstance(tool.strict, bool) else UNSET
        return WireFunction(name.wire_name, parameters, description, strict)
    if name.wrapped:
        return WireFunction(name.wire_name, msgspec.Raw(wrapped_schema(tool)), description)
    return CustomTool(name.wire_name, tool.description, tool.format)


def _host(tool: HostedTool, where: str, quirks: ResponsesQuirks, rendered: WireTools) -> None:
    """A tool that the vendor runs, without the fields it refuses; or named as left out."""
    if not takes(quirks, tool.type):
        rendered.dropped.append(where)
        return
    refused = quirks.dropped_tool_fields.get(tool.type, frozenset())
    fields = _decode_fields(tool.raw)
    raw = tool.raw
    if refused & fields.keys():
        rendered.dropped += [f"{where}.{name}" for name in sorted(refused & fields.keys())]
        raw = msgspec.Raw(_encode({name: value for name, value in fields.items() if name not in refused}))
    rendered.add(raw, ToolRef(tool.type))


# -- tool_choice -------------------------------------------------------------------------------------------------------


def _choose(request: CreateResponse, target: Target, rendered: WireTools) -> None:
    quirks = target.vendor.quirks.responses
    choice = request.tool_choice
    if isinstance(choice, AllowedChoice):
        if _takes_choice(quirks, "allowed_tools"):
            rendered.choice = _allowed(request, choice, quirks)
        else:
            _keep_only(choice.tools, rendered)
            rendered.choice = None if choice.mode == "auto" else choice.mode
    elif isinstance(choice, NamedChoice):
        rendered.choice = _named(request, choice.tool, target, rendered)
    else:
        rendered.choice = None if choice == "auto" else choice
    if "tool_choice" in quirks.dropped_fields:
        _go_without(target, rendered)
    if not rendered.tools:
        _check_not_forced(request, target, rendered)
        rendered.choice = None


def _takes_choice(quirks: ResponsesQuirks, choice_type: str) -> bool:
    return quirks.tool_choice_types is None or choice_type in quirks.tool_choice_types


def _named(request: CreateResponse, ref: ToolRef, target: Target, rendered: WireTools) -> object:
    quirks = target.vendor.quirks.responses
    is_declared = ref.type in _CLIENT_TOOLS or any(known.type == ref.type for known in rendered.refs)
    wire_type = ref.type if ref.type != "custom" or takes(quirks, "custom") else "function"
    if not is_declared or not _takes_choice(quirks, wire_type):
        raise InvalidRequest(
            f"{target.name} cannot be made to call a tool of type {ref.type!r}: use tool_choice 'auto' or 'required'.",
            param="tool_choice",
            code="unsupported_value",
        )
    return request.tool_choice_raw if takes_declarations(quirks) else _wire_ref(ref, wire_type)


def _wire_ref(ref: ToolRef, wire_type: str) -> dict[str, str]:
    if ref.type == TOOL_SEARCH:
        return {"type": "function", "name": TOOL_SEARCH}
    return {"type": wire_type} | ({"name": wire_name(ref.name, ref.namespace)} if ref.name else {})


def _allowed(request: CreateResponse, choice: AllowedChoice, quirks: ResponsesQuirks) -> object:
    if takes_declarations(quirks):
        return request.tool_choice_raw
    custom = "custom" if takes(quirks, "custom") else "function"
    refs = [_wire_ref(ref, custom if ref.type == "custom" else ref.type) for ref in choice.tools]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": refs}


def _keep_only(allowed: Sequence[ToolRef], rendered: WireTools) -> None:
    """Honour allowed_tools by declaring no other: dearer (the cached prefix changes), but the same promise."""
    kept = [
        (tool, ref)
        for tool, ref in zip(rendered.tools, rendered.refs, strict=True)
        if any(_means(one, ref) for one in allowed)
    ]
    rendered.tools = [tool for tool, _ in kept]
    rendered.refs = [ref for _, ref in kept]


def _means(said: ToolRef, declared: ToolRef) -> bool:
    """Whether tool_choice's `said` is this declared tool; a namespace means all that is in it."""
    if said.type == "namespace":
        return said.name in (declared.namespace, declared.name if declared.type == "namespace" else None)
    is_place = said.namespace in (None, declared.namespace)
    return said.type == declared.type and said.name in (None, declared.name) and is_place


def _go_without(target: Target, rendered: WireTools) -> None:
    """The vendor has no tool_choice: `none` means no tools, anything forced cannot be promised."""
    if rendered.choice == "none":
        rendered.tools, rendered.refs = [], []
    elif rendered.choice is not None:
        raise InvalidRequest(
            f"{target.name} knows no tool_choice: leave it out or use 'auto'.",
            param="tool_choice",
            code="unsupported_parameter",
        )


def _check_not_forced(request: CreateResponse, target: Target, rendered: WireTools) -> None:
    if request.tools and rendered.choice not in (None, "none"):
        raise InvalidRequest(
            f"tool_choice demands a call, but {target.name} can use none of the given tools.",
            param="tool_choice",
            code="unsupported_value",
        )
