"""`tools` and `tool_choice` from JSON: the structs of `tools`, and the echo that a response shows.

Function, custom and namespace tools are read field by field; hosted tools are checked to be of a documented type and
kept as written. Source: OpenAI OpenAPI `Tool`, `ToolChoiceParam`; Open Responses `AllowedToolsParam`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal

import msgspec

from . import tools as t
from .errors import InvalidRequest
from .explain import explain, invalid, join_path, missing_parameter, unsupported_choice, wrong_type
from .memory import Kept, exact

Raw = msgspec.Raw

HOSTED: Final = (
    "file_search",
    "computer",
    "computer_use_preview",
    "computer_use",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "mcp",
    "code_interpreter",
    "programmatic_tool_calling",
    "image_generation",
    "local_shell",
    "shell",
    "tool_search",
    "apply_patch",
)
CHOICE_TYPES: Final = ("function", "custom", "mcp", "allowed_tools", *HOSTED)
MAX_ALLOWED: Final = 128
MAX_NAME: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INNER_NAME: Final = re.compile(r"[^\x00-\x1f]{1,128}")  # MCP servers name their tools as they like
_EMPTY: Final = Raw(b"null")


class _Peek(msgspec.Struct, frozen=True):
    type: str
    name: str | None = None
    server_label: str | None = None


class _Namespace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    name: str
    tools: tuple[Raw, ...]
    description: str | msgspec.UnsetType | None = msgspec.UNSET


class _FunctionEcho(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function tool as a response shows it: description, parameters and strict always present."""

    type: str
    name: str
    description: str | None
    parameters: Raw
    strict: bool | None


_MAX_KEPT_BYTES: Final = 8 << 10
_MAX_KEPT_LIST_BYTES: Final = 512 << 10
_MAX_KEPT_LISTS_BYTES: Final = 8 << 20
_peek: Final = msgspec.json.Decoder(_Peek)
_namespace: Final = msgspec.json.Decoder(_Namespace)
_function: Final = msgspec.json.Decoder(t.FunctionTool)
_custom: Final = msgspec.json.Decoder(t.CustomTool)
_encode: Final = msgspec.json.Encoder().encode


class Declared(msgspec.Struct, frozen=True):
    """`tools`, and each as a response shows it."""

    tools: t.Tools
    shown: tuple[Raw, ...]


NONE_DECLARED: Final = Declared(t.Tools(), ())


def parse_tools(rows: Sequence[Raw], path: str) -> tuple[t.Tool, ...]:
    """The tools of an item at `path`. Raises InvalidRequest."""
    return _read_list(rows, path).tools


def read_tools(rows: Sequence[Raw]) -> Declared:
    """The tools of a request: an agent sends the same with every one, and is given what was read before.

    Raises InvalidRequest.
    """
    written = b",".join(rows)
    return _kept_lists.of(written) if len(written) <= _MAX_KEPT_LIST_BYTES else _read_list(rows, "tools")


def _read_written(written: bytes) -> Declared:
    return _read_list(msgspec.json.decode(b"[" + written + b"]", type=tuple[Raw, ...]), "tools")


_kept_lists: Final = Kept(_read_written, _MAX_KEPT_LISTS_BYTES)


def _read_list(rows: Sequence[Raw], path: str) -> Declared:
    read = [_read_tool(row, f"{path}[{position}]") for position, row in enumerate(rows)]
    tools = t.Tools(tool for tool, _ in read)
    _check_unique(tools, path)
    return Declared(tools, tuple(shown for _, shown in read))


def _read_tool(row: Raw, path: str) -> tuple[t.Tool, Raw]:
    """Of lists that differ in a few tools, what was read of the others is kept."""
    written = bytes(row)
    if len(written) <= _MAX_KEPT_BYTES:
        try:
            return _kept(written, is_inner=".tools[" in path)
        except InvalidRequest:
            pass  # said below, by its own path
    tool = _parse_tool(row, path)
    return tool, _echo(tool, row)


@lru_cache(maxsize=1024)
def _kept(written: bytes, *, is_inner: bool) -> tuple[t.Tool, Raw]:
    tool = _parse_tool(Raw(written), "item.tools[0]" if is_inner else "tools[0]")
    return tool, _echo(tool, Raw(written))


def _parse_tool(row: Raw, path: str) -> t.Tool:
    try:
        peek = _peek.decode(row)
    except msgspec.ValidationError as error:
        raise explain(error, _Peek, path) from error
    if peek.type == "namespace":
        return _parse_namespace(row, path)
    if peek.type not in ("function", "custom"):
        if peek.type not in HOSTED:
            raise unsupported_choice(join_path(path, ".type"), peek.type, ["function", "custom", "namespace", *HOSTED])
        return _hosted(peek, row, path)
    try:
        tool = _function.decode(row) if peek.type == "function" else _custom.decode(row)
    except msgspec.ValidationError as error:
        raise _chat_shape(row, path) or explain(
            error, t.FunctionTool if peek.type == "function" else t.CustomTool, path
        ) from error
    _check_name(tool.name, path)
    if isinstance(tool, t.FunctionTool):
        _check_schema(tool.parameters, join_path(path, ".parameters"))
    return tool


def _hosted(peek: _Peek, row: Raw, path: str) -> t.HostedTool:
    if peek.type == "mcp" and not peek.server_label:
        raise missing_parameter(join_path(path, ".server_label"))
    return t.HostedTool(peek.type, row)


def _chat_shape(row: Raw, path: str) -> InvalidRequest | None:
    fields = msgspec.json.decode(row, type=dict[str, Raw])
    return missing_parameter(join_path(path, ".name")) if "function" in fields and "name" not in fields else None


def _parse_namespace(row: Raw, path: str) -> t.NamespaceTool:
    try:
        holder = _namespace.decode(row)
    except msgspec.ValidationError as error:
        raise explain(error, _Namespace, path) from error
    _check_name(holder.name, path)
    inner: list[t.FunctionTool | t.CustomTool] = []
    for position, raw in enumerate(holder.tools):
        place = f"{path}.tools[{position}]"
        tool = _parse_tool(raw, place)
        if not isinstance(tool, t.FunctionTool | t.CustomTool):
            raise unsupported_choice(f"{place}.type", type_of(tool), ["function", "custom"])
        inner.append(tool)
    return t.NamespaceTool(holder.name, tuple(inner), holder.description)


def _check_name(name: str, path: str) -> None:
    where = join_path(path, ".name")
    if len(name) > MAX_NAME and ".tools[" not in path:
        raise invalid(
            where,
            f"Invalid '{where}': string too long. Expected at most {MAX_NAME} characters.",
            "string_above_max_length",
        )
    if not (_INNER_NAME if ".tools[" in path else _NAME).fullmatch(name):
        raise invalid(
            where,
            f"Invalid '{where}': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        )


def _check_schema(schema: Raw | msgspec.UnsetType, path: str) -> None:
    if isinstance(schema, msgspec.UnsetType):
        return
    first = bytes(schema)[:1]
    if first not in (b"{", b"n"):
        raise wrong_type(path, "object", "array" if first == b"[" else "str")


def type_of(tool: t.Tool) -> str:
    """A tool's `type`."""
    return tool.type if isinstance(tool, t.HostedTool) else str(type(tool).__struct_config__.tag)


def _check_unique(tools: Iterable[t.Tool], path: str) -> None:
    seen: set[str] = set()
    for position, tool in enumerate(tools):
        if isinstance(tool, t.HostedTool):
            continue
        if tool.name in seen:
            raise invalid(f"{path}[{position}].name", f"Duplicate tool name: '{tool.name}'. Tool names must be unique.")
        seen.add(tool.name)


def _echo(tool: t.Tool, row: Raw) -> Raw:
    """A tool as the response shows it; only functions gain the fields that both contracts require."""
    if not isinstance(tool, t.FunctionTool):
        return row
    parameters = tool.parameters if isinstance(tool.parameters, Raw) else _EMPTY
    strict = True if tool.strict is None or isinstance(tool.strict, msgspec.UnsetType) else tool.strict
    shown = _encode(_FunctionEcho("function", tool.name, tool.description or None, parameters, strict))
    rest = {
        name: value
        for name, value in msgspec.json.decode(row, type=dict[str, Raw]).items()
        if name not in _FunctionEcho.__struct_fields__
    }
    return Raw(exact(shown) if not rest else shown[:-1] + b"," + _encode(rest)[1:])


# -- tool_choice


class _AllowedWire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    tools: tuple[Raw, ...]
    mode: Literal["auto", "required", "none"] = "auto"


class _RefWire(msgspec.Struct, frozen=True):
    type: str
    name: str | None = None
    server_label: str | None = None
    namespace: str | None = None


_choice_peek: Final = msgspec.json.Decoder(_RefWire)
_allowed: Final = msgspec.json.Decoder(_AllowedWire)


def parse_tool_choice(raw: Raw, tools: Sequence[t.Tool]) -> t.ToolChoice:
    """The `tool_choice` parameter; it must name declared tools. Raises InvalidRequest."""
    first = bytes(raw)[:1]
    if first == b'"':
        return _mode(msgspec.json.decode(raw, type=str), tools)
    if first != b"{":
        raise wrong_type("tool_choice", "str | object", "array" if first == b"[" else "float")
    ref = _choice_ref(raw, "tool_choice")
    if ref.type == "allowed_tools":
        return _parse_allowed(raw, tools)
    _check_declared(ref, tools, "tool_choice")
    return t.NamedChoice(_ref(ref))


def _mode(mode: str, tools: Sequence[t.Tool]) -> Literal["none", "auto", "required"]:
    if mode == "required" and not tools:
        raise invalid("tool_choice", "Tool choice 'required' must be specified with 'tools' parameter.")
    if mode == "none" or mode == "auto" or mode == "required":
        return mode
    raise unsupported_choice("tool_choice", mode, ["none", "auto", "required"])


def _choice_ref(raw: Raw, path: str) -> _RefWire:
    try:
        ref = _choice_peek.decode(raw)
    except msgspec.ValidationError as error:
        raise explain(error, _RefWire, path) from error
    if ref.type not in CHOICE_TYPES:
        raise unsupported_choice(f"{path}.type", ref.type, list(CHOICE_TYPES))
    if ref.type in ("function", "custom") and not ref.name:
        raise missing_parameter(f"{path}.name")
    if ref.type == "mcp" and not ref.server_label:
        raise missing_parameter(f"{path}.server_label")
    return ref


def _parse_allowed(raw: Raw, tools: Sequence[t.Tool]) -> t.AllowedChoice:
    try:
        allowed = _allowed.decode(raw)
    except msgspec.ValidationError as error:
        raise explain(error, _AllowedWire, "tool_choice") from error
    if not 1 <= len(allowed.tools) <= MAX_ALLOWED:
        side, code = ("short", "array_below_min_length") if not allowed.tools else ("long", "array_above_max_length")
        raise invalid(
            "tool_choice.tools",
            f"Invalid 'tool_choice.tools': array too {side}. Expected 1 to {MAX_ALLOWED} items.",
            code,
        )
    refs: list[t.ToolRef] = []
    for position, row in enumerate(allowed.tools):
        path = f"tool_choice.tools[{position}]"
        ref = _choice_ref(row, path)
        _check_declared(ref, tools, path)
        refs.append(_ref(ref))
    return t.AllowedChoice(allowed.mode, tuple(refs))


def _ref(wire: _RefWire) -> t.ToolRef:
    return t.ToolRef(wire.type, wire.name or wire.server_label, wire.namespace)


def _check_declared(ref: _RefWire, tools: Sequence[t.Tool], path: str) -> None:
    for tool in tools:
        if isinstance(tool, t.NamespaceTool):
            if any(type_of(inner) == ref.type and inner.name == ref.name for inner in tool.tools):
                return
        elif isinstance(tool, t.HostedTool):
            if tool.type == ref.type or tool.type.startswith(ref.type):
                return
        elif type_of(tool) == ref.type and tool.name == ref.name:
            return
    name = ref.name or ref.server_label or ref.type
    raise invalid(path, f"Tool choice '{name}' not found in 'tools' parameter.")
