"""Calls that a model writes into its text: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.

Servers whose tool parser is off, or fails, pass the markup on as text (pitfall 84). Opt-in for each model and only when
tools are declared: other models write about tags. Tags may be split anywhere; markup that holds no call stays text.
Source: reference of provider wires, §4; the Hermes chat template.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

_OPEN: Final = "<tool_call>"
_CLOSE: Final = "</tool_call>"
_MOST_HELD: Final = 1 << 20


class WrittenCall(NamedTuple):
    """One call; `arguments` is JSON text as the model wrote it."""

    name: str
    arguments: str


class _Markup(msgspec.Struct, frozen=True):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


_decode: Final = msgspec.json.Decoder(_Markup).decode


class MarkupSplitter:
    """A state machine over the text of one answer: outside the tags or inside them."""

    def __init__(self) -> None:
        self._held = ""
        self._is_inside = False

    def feed(self, piece: str) -> list[str | WrittenCall]:
        """What this piece makes certain, in order; a possible half of a tag, and an open call, are held back."""
        self._held += piece
        found: list[str | WrittenCall] = []
        while self._step(found):
            pass
        return found

    def close(self) -> list[str | WrittenCall]:
        """The answer ended: what was held back was no call."""
        held, self._held = self._held, ""
        text = _OPEN + held if self._is_inside else held
        return [text] if text else []

    def _step(self, found: list[str | WrittenCall]) -> bool:
        if self._is_inside:
            body, tag, rest = self._held.partition(_CLOSE)
            if not tag and len(body) <= _MOST_HELD:
                return False
            self._is_inside, self._held = False, rest
            found.append(_call(body) or _OPEN + body + tag)
            return bool(rest)
        text, tag, rest = self._held.partition(_OPEN)
        kept = 0 if tag else next((n for n in range(len(_OPEN) - 1, 0, -1) if text.endswith(_OPEN[:n])), 0)
        certain = text[: len(text) - kept]
        if certain:
            found.append(certain)
        self._held = rest if tag else text[len(certain) :]
        self._is_inside = bool(tag)
        return bool(tag)


def _call(body: str) -> WrittenCall | None:
    try:
        markup = _decode(body.strip())
    except msgspec.MsgspecError:
        return None
    return WrittenCall(markup.name, bytes(markup.arguments).decode())
