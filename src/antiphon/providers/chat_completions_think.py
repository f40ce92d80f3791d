"""Reasoning that a model writes into its text: `<think>...</think>` at the very start of the answer.

Opt-in for each model, never global: other models write about tags. Tags may be split anywhere between chunks.
Source: reference of provider wires, "Inline <think>".
"""

from __future__ import annotations

from typing import Final, NamedTuple

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class Split(NamedTuple):
    """What a piece of text turned out to be."""

    thought: str
    text: str


class ThinkSplitter:
    """A state machine over the text of one answer: before the tag, inside it, after it."""

    def __init__(self) -> None:
        self._state = "before"
        self._held = ""

    def feed(self, piece: str) -> Split:
        """The thought and the text that this piece makes certain; a possible half of a tag is held back."""
        self._held += piece
        thought = ""
        if self._state == "before":
            self._enter()
        if self._state == "inside":
            thought = self._leave()
        if self._state == "after":
            text, self._held = self._held, ""
            return Split(thought, text)
        return Split(thought, "")

    def close(self) -> Split:
        """The answer ended: what was held back was no tag."""
        held, self._held = self._held, ""
        return Split(held, "") if self._state == "inside" else Split("", held)

    def _enter(self) -> None:
        begun = self._held.lstrip()
        if begun.startswith(_OPEN):
            self._held = begun[len(_OPEN) :]
            self._state = "inside"
        elif not _OPEN.startswith(begun):
            self._state = "after"

    def _leave(self) -> str:
        thought, tag, rest = self._held.partition(_CLOSE)
        if tag:
            self._held = rest
            self._state = "after"
            return thought
        kept = next((n for n in range(len(_CLOSE) - 1, 0, -1) if self._held.endswith(_CLOSE[:n])), 0)
        certain = self._held[: len(self._held) - kept]
        self._held = self._held[len(certain) :]
        return certain
