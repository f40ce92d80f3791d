"""Reasoning of a streamed answer: every field name it comes in, to deltas and to the blocks that are sent back.

    delta.reasoning_content | delta.reasoning     raw text; the name is kept for the replay
    delta.reasoning_details                       OpenRouter: pieces of typed entries, joined by index
    delta.content [{type: thinking}]              Mistral: chunks, one for each run

One run of reasoning is one item. Source: reference of provider wires, dialect matrix; pitfalls 3, 33, 35.
"""

from __future__ import annotations

import msgspec

from antiphon.protocol.deltas import Carried, Delta, Ended, Summary, Thinking, Thought

from .chat_completions_assistant import CallExtra
from .chat_completions_wire import ContentChunk, MessageDelta, ReasoningDetail

_JOINED = ("text", "summary", "data")


class ReasoningRun:
    """One contiguous run of reasoning, under one key."""

    def __init__(self, key: int, *, is_replayed: bool) -> None:
        self.key = key
        self._is_replayed = is_replayed
        self._is_shown = False
        self._field = ""
        self._pieces: list[str] = []  # adding to one string copies it for every chunk
        self._details: list[ReasoningDetail] = []
        self._thinking = ""
        self._call_extras: list[CallExtra] = []
        self._extras: dict[str, object] = {}

    def feed(self, delta: MessageDelta) -> list[Delta]:
        """The deltas of the reasoning fields of one chunk."""
        if not self._field:
            self._field = "reasoning_content" if delta.reasoning_content else "reasoning"
        text = delta.reasoning_content or delta.reasoning or ""
        self._pieces.append(text)
        if delta.reasoning_details:
            told = [said for detail in delta.reasoning_details for said in self._detail(detail)]
            if told or not text:
                return self._shown(told)
        return self._shown([Thought(self.key, text)] if text else [])

    def feed_thinking(self, chunk: ContentChunk) -> list[Delta]:
        """The deltas of one thinking chunk of list content."""
        pieces = chunk.thinking
        text = pieces if isinstance(pieces, str) else "".join(piece.text or "" for piece in pieces or ())
        self._thinking += text
        if chunk.closed is not None:
            self._extras["closed"] = chunk.closed
        if chunk.signature:
            self._extras["signature"] = chunk.signature
        return self._shown([Thought(self.key, text)] if text else [])

    def thought(self, text: str) -> list[Delta]:
        """Reasoning that was split off the text: shown, never sent back (its models' templates strip it)."""
        return self._shown([Thought(self.key, text)] if text else [])

    def sign(self, call: int, extra: msgspec.Raw) -> list[Delta]:
        """Keep what is attached to the turn's `call`-th call: it comes back with the reasoning it belongs to."""
        self._call_extras.append(CallExtra(call, extra))
        return self._shown([])

    def end(self) -> list[Delta]:
        return [Carried(self.key, self.blocks()), Ended(self.key)]

    def blocks(self) -> msgspec.Raw:
        """What goes back upstream for this run."""
        blocks: dict[str, object] = self._own_fields() if self._is_replayed else {}
        if self._call_extras:
            blocks["call_extras"] = self._call_extras
        return msgspec.Raw(msgspec.json.encode(blocks))

    def _own_fields(self) -> dict[str, object]:
        if self._details:
            return {"reasoning_details": self._details}
        if text := "".join(self._pieces):
            return {self._field: text}
        if self._thinking or self._extras:
            texts = [{"type": "text", "text": self._thinking}]
            return {"content": [{"type": "thinking", "thinking": texts, **self._extras}]}
        return {}

    def _shown(self, deltas: list[Delta]) -> list[Delta]:
        """These deltas; at the start of a run without readable text, at least that there is reasoning."""
        if not deltas and not self._is_shown:
            deltas = [Thinking(self.key)]
        self._is_shown = self._is_shown or bool(deltas)
        return deltas

    def _detail(self, piece: ReasoningDetail) -> list[Delta]:
        known = self._continued(piece)
        if known is None:
            self._details.append(msgspec.structs.replace(piece))
        else:
            _join(known, piece)
        if isinstance(piece.summary, str) and piece.summary:
            return [Summary(self.key, piece.summary)]
        if isinstance(piece.text, str) and piece.text:
            return [Thought(self.key, piece.text)]
        return []

    def _continued(self, piece: ReasoningDetail) -> ReasoningDetail | None:
        """The entry that a piece adds to: of its type and index, unless both bear different ids."""
        for known in reversed(self._details):
            if known.type == piece.type and known.index == piece.index:
                return None if known.id and piece.id and known.id != piece.id else known
        return None


def _join(known: ReasoningDetail, piece: ReasoningDetail) -> None:
    for name in piece.__struct_fields__:
        value = getattr(piece, name)
        if value is None or value is msgspec.UNSET:
            continue
        before = getattr(known, name)
        joins = name in _JOINED and isinstance(before, str)
        setattr(known, name, before + value if joins else value)
