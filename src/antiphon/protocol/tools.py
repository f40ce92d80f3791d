"""Tools a request may declare, and the forms of tool_choice.

`FunctionTool`, `CustomTool` and `NamespaceTool` are read by every dialect; everything else is a `HostedTool`, kept as
the client wrote it. Source: OpenAI OpenAPI `Tool`, `ToolChoiceParam`; Open Responses `ResponsesToolParam`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from .memory import Memory


class FunctionTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="function", tag_field="type"):
    """`parameters` is a JSON Schema object as the client wrote it; Raw `null` or UNSET mean none."""

    name: str
    description: str | UnsetType | None = UNSET
    parameters: msgspec.Raw | UnsetType = UNSET
    strict: bool | UnsetType | None = UNSET
    defer_loading: bool | UnsetType | None = UNSET
    allowed_callers: tuple[str, ...] | UnsetType | None = UNSET
    output_schema: msgspec.Raw | UnsetType = UNSET
    async_: bool | UnsetType | None = msgspec.field(name="async", default=UNSET)


class TextFormatSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="text", tag_field="type"):
    """A custom tool that takes any text."""


class GrammarSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="grammar", tag_field="type"):
    """A custom tool whose input must follow a grammar."""

    definition: str
    syntax: Literal["lark", "regex"]


class CustomTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="custom", tag_field="type"):
    name: str
    description: str | UnsetType | None = UNSET
    format: TextFormatSpec | GrammarSpec | UnsetType | None = UNSET
    defer_loading: bool | UnsetType | None = UNSET
    allowed_callers: tuple[str, ...] | UnsetType | None = UNSET
    async_: bool | UnsetType | None = msgspec.field(name="async", default=UNSET)


class NamespaceTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="namespace", tag_field="type"):
    """Functions and custom tools under one name; their calls carry `namespace`."""

    name: str
    tools: tuple[FunctionTool | CustomTool, ...]
    description: str | UnsetType | None = UNSET


class HostedTool(msgspec.Struct, frozen=True):
    """Any other tool (web_search, mcp, tool_search, shell, ...), as the client wrote it."""

    type: str
    raw: msgspec.Raw


Tool = FunctionTool | CustomTool | NamespaceTool | HostedTool


class Tools(tuple[Tool, ...]):
    """The tools of a request. Who sends the same again is given the same object, and what was made of it."""

    def __init__(self, _: Iterable[Tool] = (), /) -> None:
        self.memory = Memory()


class ToolRef(msgspec.Struct, frozen=True):
    """One tool as tool_choice names it: a function or custom tool by name, a hosted tool by type alone."""

    type: str
    name: str | None = None
    namespace: str | None = None


class NamedChoice(msgspec.Struct, frozen=True):
    """The model must call this tool."""

    tool: ToolRef


class AllowedChoice(msgspec.Struct, frozen=True):
    """All tools stay in the prompt, only these may be called."""

    mode: Literal["auto", "required", "none"]
    tools: tuple[ToolRef, ...]


ToolChoice = Literal["none", "auto", "required"] | NamedChoice | AllowedChoice
