"""One input item from JSON: the structs of `items` where the program reads them, `Opaque` for the rest.

`type` may be left out on messages and item references. Must never accept a known type with a wrong field.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

import msgspec

from . import items as it
from .explain import check_id, explain, invalid, join_path, missing_parameter, wrong_type
from .extras import decode_tolerantly
from .item_schemas import CHECKED
from .request import InputItem
from .tool_parsing import parse_tools

Raw = msgspec.Raw


class _Peek(msgspec.Struct, frozen=True):
    type: str | None = None
    role: str | None = None
    id: str | None = None


class _EasyMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message without `type`."""

    role: it.Role
    content: str | tuple[it.ContentPart, ...]
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    status: it.ItemStatus | msgspec.UnsetType | None = msgspec.UNSET
    phase: str | msgspec.UnsetType | None = msgspec.UNSET
    type: None = None


class _ToolsItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """additional_tools and tool_search_output before their tools are read."""

    type: str
    tools: tuple[Raw, ...]
    role: str = "developer"
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    call_id: str | msgspec.UnsetType | None = msgspec.UNSET
    execution: it.Execution | msgspec.UnsetType | None = msgspec.UNSET
    status: it.ItemStatus | msgspec.UnsetType | None = msgspec.UNSET


_Typed = (
    it.Message
    | it.FunctionCall
    | it.FunctionCallOutput
    | it.CustomToolCall
    | it.CustomToolCallOutput
    | it.Reasoning
    | it.ItemReference
    | it.ToolSearchCall
)
_READ: Final[dict[str, type[msgspec.Struct]]] = {str(kind.__struct_config__.tag): kind for kind in get_args(_Typed)}
_MEDIA: Final = (it.InputImage, it.InputFile)
_TYPE_FIRST: Final = b'{"type":'
_ROLE_FIRST: Final = b'{"role":'
_MESSAGE: Final = b'{"type":"message",'
_MOST_AT_ONCE: Final = 1 << 20
_TOOLS_ITEMS: Final = ("additional_tools", "tool_search_output")
_typed: Final = msgspec.json.Decoder(_Typed)
_all_typed: Final = msgspec.json.Decoder(tuple[_Typed, ...])
_rows: Final = msgspec.json.Decoder(tuple[Raw, ...])
_QUOTE: Final = ord('"')
_BRACKET: Final = ord("[")
_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode
_peek: Final = msgspec.json.Decoder(_Peek)
_easy: Final = msgspec.json.Decoder(_EasyMessage)
_tools_item: Final = msgspec.json.Decoder(_ToolsItem)
_decoders: Final = {name: msgspec.json.Decoder(kind) for name, kind in (_READ | CHECKED).items()}


def parse_item(raw: msgspec.Raw) -> it.Item:
    """An item as the store holds it."""
    return read_item(raw, "item")[0]


def parse_items(raw: msgspec.Raw | bytes) -> tuple[it.Item, ...]:
    """An array of items as the store holds them: in one pass where the program reads all of them."""
    try:
        return _all_typed.decode(raw)
    except msgspec.ValidationError:
        return tuple(map(parse_item, _rows.decode(raw)))


def read_item(raw: msgspec.Raw, path: str) -> tuple[it.Item, msgspec.Raw]:
    """One item at `path`, and its JSON without tolerated extras. Raises InvalidRequest."""
    item = _at_once(raw)
    if item is not None:
        _check(item, path)
        return item, raw
    try:
        peek = _peek.decode(raw)
    except msgspec.ValidationError as error:
        raise explain(error, _Peek, path) from error
    kind = peek.type or _untyped(peek, path)
    check_id(join_path(path, ".id"), peek.id)
    try:
        return _decode(kind, raw, peek, path)
    except msgspec.ValidationError as error:
        raise explain(error, _type_of(kind), path) from error


def _at_once(raw: msgspec.Raw) -> it.Message | _Typed | None:
    """An item that begins as most do, in one pass over what may be megabytes; None leaves it to those that explain."""
    head = bytes(memoryview(raw)[:8])
    try:
        if head == _TYPE_FIRST:
            return _typed.decode(raw)
        if head == _ROLE_FIRST:
            return _message(_easy.decode(raw))
    except msgspec.ValidationError:
        pass
    return None


def _message(easy: _EasyMessage) -> it.Message:
    return it.Message(easy.role, easy.content, easy.id, easy.status, easy.phase)


def _untyped(peek: _Peek, path: str) -> str:
    if peek.role is not None:
        return ""
    if peek.id is not None:
        return "item_reference"
    raise missing_parameter(join_path(path, ".type"))


def _type_of(kind: str) -> object:
    if kind in _TOOLS_ITEMS:
        return _ToolsItem
    return _EasyMessage if not kind else _READ.get(kind) or CHECKED.get(kind) or _Peek


def _decode(kind: str, raw: msgspec.Raw, peek: _Peek, path: str) -> tuple[it.Item, msgspec.Raw]:
    if not kind:
        easy, kept = decode_tolerantly(raw, _easy)
        message = _message(easy)
        _check(message, path)
        return message, kept
    if kind in _TOOLS_ITEMS:
        holder, kept = decode_tolerantly(raw, _tools_item)
        return _with_tools(kind, holder, path), kept
    if kind == "item_reference" and peek.type is None:
        return it.ItemReference(peek.id or ""), raw
    decoder = _decoders.get(kind)
    if decoder is None:
        # No schema has it: a native upstream may know it, every other dialect refuses it by name.
        return it.Opaque(kind, peek.id, raw), raw
    item, kept = decode_tolerantly(raw, decoder)
    if kind in CHECKED:
        return it.Opaque(kind, peek.id, kept), kept
    assert isinstance(item, it.ITEMS), "decoders make items only"
    _check(item, path)
    return item, kept


def _with_tools(kind: str, holder: _ToolsItem, path: str) -> it.Item:
    tools = parse_tools(holder.tools, join_path(path, ".tools"))
    if kind == "additional_tools":
        return it.AdditionalTools(tools, holder.role, holder.id)
    return it.ToolSearchOutput(tools, holder.id, holder.call_id, holder.execution, holder.status)


def _check(item: it.Item, path: str) -> None:
    """What types alone cannot say of an item."""
    if isinstance(item.id, str):
        check_id(join_path(path, ".id"), item.id)
    if isinstance(item, it.Message):
        if not isinstance(item.content, str):
            for position, part in enumerate(item.content):
                if isinstance(part, _MEDIA):
                    _check_part(part, f"{path}.content[{position}]")
    elif isinstance(item, it.FunctionCallOutput) and not item.call_id and not item.name:
        raise missing_parameter(join_path(path, ".call_id"))


def _check_part(part: it.ContentPart, path: str) -> None:
    if isinstance(part, it.InputImage) and not part.image_url and not part.file_id:
        raise invalid(
            path, f"Missing image: set one of 'image_url' or 'file_id' in '{path}'.", "missing_required_parameter"
        )
    if isinstance(part, it.InputFile) and not (part.file_data or part.file_url or part.file_id):
        raise invalid(
            path,
            f"Missing file: set one of 'file_data', 'file_url' or 'file_id' in '{path}'.",
            "missing_required_parameter",
        )


def read_input(raw: msgspec.Raw, max_length: int) -> tuple[InputItem, ...]:
    """The `input` parameter: a string is one user message, a list is read item by item."""
    first = memoryview(raw)[0]
    if first == _QUOTE:
        text = _text(raw)
        if len(text) > max_length:
            raise invalid(
                "input",
                f"Invalid 'input': string too long. Expected at most {max_length} characters.",
                "string_above_max_length",
            )
        message = it.Message("user", text)
        return (InputItem(message, Raw(_encode(message))),)
    if first != _BRACKET:
        raise wrong_type("input", "str | array", _json_type(bytes((first,))))
    return read_items(raw, 0)


def read_items(array: Raw, first: int) -> tuple[InputItem, ...]:
    """Items of the `input` parameter from a position on. Raises InvalidRequest."""
    rows = _rows.decode(array)
    items = _all_at_once(array, rows)
    if items is None:
        return tuple([InputItem(*read_item(row, f"input[{at}]")) for at, row in enumerate(rows, first)])
    for position, item in enumerate(items, first):
        _check(item, f"input[{position}]")
    return tuple(map(InputItem, items, rows))


def _all_at_once(array: Raw, rows: Sequence[Raw]) -> tuple[_Typed, ...] | None:
    """Items of which all begin as most do, in one pass; None leaves them to be read one by one."""
    if not rows or len(array) > _MOST_AT_ONCE:
        return None
    written: list[bytes] = []
    for row in map(bytes, rows):
        if row.startswith(_TYPE_FIRST):
            written.append(row)
        elif row.startswith(_ROLE_FIRST):  # a message without `type`
            written.append(_MESSAGE + row[1:])
        else:
            return None
    try:
        return _all_typed.decode(b"[%b]" % b",".join(written))
    except msgspec.ValidationError:
        return None


def _json_type(first: bytes) -> str:
    if first in (b"t", b"f"):
        return "bool"
    return {b"{": "object", b"n": "null"}.get(first, "float")
