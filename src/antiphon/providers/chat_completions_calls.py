"""Tool calls of a streamed answer: pieces in any shape to whole calls, in the order they began.

    piece bears                         it belongs to
    an id known in this answer          that call
    a new id                            a new call, even on an index already used
    no id, an index                     the last call that began on that index, else a new call
    neither                             the last call, else a new one
    no id, but another name             a new call

A call opens when its name is known and ends only when the answer does: arguments that happen to parse are not yet
whole. Wrapped custom tools and tool searches are lifted when they are whole, so their pieces are held back.
Source: reference of provider wires, "Streaming"; pitfalls 16, 18, 47, 48, 49, 57.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from antiphon.protocol.deltas import CallArguments, CallStarted, Delta, Ended

from .arguments import as_object
from .base import ToolName
from .chat_completions_assistant import (
    CalledCustom,
    CalledFunction,
    CallPart,
    CustomCallPart,
    FunctionCallPart,
)
from .chat_completions_wire import CallDelta
from .tool_names import custom_input, lift, search_call, wrapped_input

_NO_ARGUMENTS = "{}"


@dataclass(slots=True)
class _Call:
    key: int
    id: str
    index: int | None
    wire_name: str = ""
    tool: ToolName | None = None
    pieces: list[str] = field(default_factory=list)  # adding to one string copies it for every chunk
    has_minted_id: bool = False
    is_custom: bool = False
    """A native custom tool: `arguments` is its plain input."""

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def is_held(self) -> bool:
        return self.tool is not None and not self.is_custom and (self.tool.wrapped or self.tool.is_search)


class Keys:
    """The keys of one answer's deltas: 0, 1, 2, ..."""

    def __init__(self) -> None:
        self.given = 0

    def next(self) -> int:
        self.given += 1
        return self.given - 1


class CallCollector:
    """The calls of one answer."""

    def __init__(self, names: Sequence[ToolName], keys: Keys) -> None:
        self._names = names
        self._keys = keys
        self._calls: list[_Call] = []

    def feed(self, piece: CallDelta, answer_id: str) -> list[Delta]:
        """The deltas of one piece of one call."""
        call = self._find(piece, answer_id)
        name, text = _said(piece)
        call.is_custom = call.is_custom or piece.custom is not None
        call.pieces.append(text)
        if call.tool is None:
            call.wire_name = name
            return self._opened(call) if name else []
        return [CallArguments(call.key, text)] if text and not call.is_held else []

    def number(self, piece: CallDelta) -> int:
        """Which call of the answer a piece belongs to, the first being 0."""
        known = self._known(piece)
        return len(self._calls) if known is None else self._calls.index(known)

    def end(self, status: Literal["completed", "incomplete"]) -> list[Delta]:
        """The answer is whole: what was held back, and the end of every call."""
        deltas: list[Delta] = []
        for call in self._calls:
            if call.tool is not None:
                deltas += _ended(call, call.tool, status)
        return deltas

    @property
    def has_nameless_arguments(self) -> bool:
        """A call came whose function was never named: its arguments belong nowhere."""
        return bool(self._calls) and any(call.tool is None and call.arguments.strip() for call in self._calls)

    def parts(self) -> list[CallPart]:
        """The calls as they stand in the assistant message. Arguments are canonical where items would lose them."""
        return [_part(call) for call in self._calls if call.tool is not None] if self._calls else []

    def _opened(self, call: _Call) -> list[Delta]:
        call.tool = lift(self._names, call.wire_name)
        if call.tool.is_search and not call.is_custom:
            return []
        kind = "custom" if call.is_custom else call.tool.kind
        started = CallStarted(call.key, call.tool.name, call.id, kind, call.tool.namespace)
        text = "" if call.is_held else call.arguments
        return [started, CallArguments(call.key, text)] if text else [started]

    def _find(self, piece: CallDelta, answer_id: str) -> _Call:
        known = self._known(piece)
        if known is None:
            fresh = self._fresh_id(piece.id, answer_id)
            known = _Call(self._keys.next(), fresh, piece.index, has_minted_id=fresh != piece.id)
            self._calls.append(known)
        return known

    def _known(self, piece: CallDelta) -> _Call | None:
        name, _ = _said(piece)
        for call in reversed(self._calls):
            if piece.index is not None and call.index != piece.index:
                continue
            if piece.id and piece.id != call.id and not call.has_minted_id:
                continue
            return None if _is_another(call, piece, name) else call
        return None

    def _fresh_id(self, said: str | None, answer_id: str) -> str:
        """The provider's id; for none, or one already taken, one that is the same whenever this answer is read."""
        if said and all(call.id != said for call in self._calls):
            return said
        seed = f"{answer_id}/{len(self._calls)}/{said or ''}"
        return "call_" + hashlib.sha256(seed.encode()).hexdigest()[:24]


def _is_another(call: _Call, piece: CallDelta, name: str) -> bool:
    """A piece without an id of its own begins another call if it bears another name, or a whole object again."""
    if piece.id == call.id or call.tool is None:
        return False
    if name and name != call.wire_name:
        return True
    is_whole = piece.function is not None and bytes(piece.function.arguments).startswith(b"{")
    return is_whole and bool(call.arguments)


def _said(piece: CallDelta) -> tuple[str, str]:
    """Name and text of a piece, "" for what it does not bear."""
    if piece.custom is not None:
        return piece.custom.name or "", piece.custom.input or ""
    if piece.function is None:
        return "", ""
    return piece.function.name or "", _arguments(bytes(piece.function.arguments))


def _arguments(raw: bytes) -> str:
    if raw == b"null":
        return ""
    return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()


def _ended(call: _Call, tool: ToolName, status: Literal["completed", "incomplete"]) -> list[Delta]:
    if call.is_custom:
        return [Ended(call.key, status)]
    arguments = call.arguments if call.arguments.strip() else _NO_ARGUMENTS
    if tool.is_search:
        return [search_call(call.key, call.id, arguments)]
    if tool.wrapped:
        text = custom_input(arguments) if call.arguments else ""
        return [CallArguments(call.key, text), Ended(call.key, status)] if text else [Ended(call.key, status)]
    if not call.arguments.strip():
        return [CallArguments(call.key, _NO_ARGUMENTS), Ended(call.key, status)]
    return [Ended(call.key, status)]


def _part(call: _Call) -> CallPart:
    assert call.tool is not None
    if call.is_custom:
        return CustomCallPart(call.id, CalledCustom(call.wire_name, call.arguments))
    arguments = as_object(call.arguments)
    if call.tool.wrapped:
        # The item keeps only the input: rendered from it or from here, the call must be the same bytes.
        arguments = wrapped_input(custom_input(arguments) if call.arguments else "")
    return FunctionCallPart(call.id, CalledFunction(call.wire_name, arguments))
