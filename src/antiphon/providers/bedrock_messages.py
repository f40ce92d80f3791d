"""The conversation as Converse's `system` and `messages`: roles alternate, and the user speaks first and last.

Results of calls stand first in the user's message, in the order of the calls. Source: Amazon Bedrock runtime API,
Message; reference of provider wires, §1.6, §2.4 and §2.5.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

import msgspec

from .base import ReplayRecord, Target, Turn
from .bedrock_blocks import (
    CACHE_POINT,
    content_blocks,
    result_block,
    text_block,
    tool_use_block,
    without_old_cache_points,
)
from .dialogue import Answer, Ask, BlockPiece, CallPiece, Dialogue, TextPiece, WireCall
from .dialogue_writer import DialogueWriter
from .writing import elements, joined

Raw = msgspec.Raw
_ANCHOR: Final = "Continue."
_LEGAL_ID: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_decode_blocks: Final = msgspec.json.Decoder(list[Raw]).decode


class WireMessage(msgspec.Struct, frozen=True):
    role: str
    content: list[Raw]


class _ToolUse(msgspec.Struct, frozen=True, rename="camel"):
    tool_use_id: str
    name: str


class _Block(msgspec.Struct, frozen=True, rename="camel"):
    tool_use: _ToolUse | None = None
    reasoning_content: Raw | msgspec.UnsetType = msgspec.UNSET


_decode_block: Final = msgspec.json.Decoder(_Block).decode


def family_of(model: str) -> str:
    """Whose model it is, as far as the wire treats families differently."""
    name = model.lower()
    return next((word for word in ("claude", "nova", "gpt-oss", "deepseek") if word in name), "")


class Messages(DialogueWriter):
    """The messages of one turn, a `Writer`. `called` names the tools that the history calls."""

    def __init__(self, target: Target) -> None:
        super().__init__(Dialogue(target, "bedrock", _calls_in))
        family = family_of(target.model)
        self._caches = family in ("claude", "nova")
        self._has_status = family in ("claude", "nova", "")
        self._pending: tuple[ReplayRecord, ...] = ()
        self._messages: list[WireMessage] = []
        self.called: list[str] = []

    def begin(self, turn: Turn | None) -> None:
        """See `Writer.begin`."""
        super().begin(turn)
        self._pending = () if turn is None else turn.pending

    def rest(self) -> bool:
        """See `Writer.rest`: not where a later message may take the cache point off what is written."""
        self._take(self._dialogue.over())
        if any(block is CACHE_POINT for message in self._messages for block in message.content):
            return False
        self._run = joined(self._run, self._messages[:-1])  # the last one may become longer
        self._messages = self._messages[-1:]
        return True

    @property
    def system(self) -> list[Raw]:
        """The system blocks."""
        return [text_block(text) for text in self._dialogue.system]

    def finish(self) -> list[WireMessage | Raw]:
        """All messages, oldest first. Nothing can be written after it."""
        self._take(self._dialogue.finish())
        for record in self._pending:
            self._append("assistant", _decode_blocks(record.blocks))
        if not self._messages or (self._messages[-1].role == "assistant" and not self._pending):
            self._append("user", [text_block(_ANCHOR)])
        without_old_cache_points([message.content for message in self._messages])
        return elements(self._run, self._messages)

    def _ask(self, ask: Ask) -> None:
        content: list[Raw] = []
        for result in ask.results:
            written = content_blocks(result.output, result.path, caches=False)
            call_id = _legal(result.called.wire_id)
            content.append(result_block(call_id, written, is_error=result.is_error, has_status=self._has_status))
        for part in ask.parts:
            said = f"<system>\n{part.content}\n</system>" if part.is_directive else part.content
            content += content_blocks(said, part.path, caches=self._caches)
        if content:
            self._append("user", content)

    def _answer(self, answer: Answer) -> None:
        content: list[Raw] = []
        for piece in answer.pieces:
            match piece:
                case BlockPiece(block):
                    content.append(block)
                case TextPiece(text=text):
                    content.append(text_block(text))
                case CallPiece(called, arguments):
                    content.append(tool_use_block(_legal(called.wire_id), called.name, arguments))
        self.called += [called.name for called in answer.calls]
        while content and _decode_block(content[-1]).reasoning_content is not msgspec.UNSET:
            content.pop()  # cut in its thoughts: they may not stand last
        if content:
            self._append("assistant", content)

    def _append(self, role: str, content: list[Raw]) -> None:
        if not self._messages and role == "assistant":
            self._messages.append(WireMessage("user", [text_block(_ANCHOR)]))
        if self._messages and self._messages[-1].role == role:
            content = [*self._messages.pop().content, *content]
        self._messages.append(WireMessage(role, content))


def _calls_in(block: Raw) -> list[WireCall]:
    use = _decode_block(block).tool_use
    return [] if use is None else [WireCall(use.tool_use_id, use.name)]


def _legal(call_id: str) -> str:
    """An id that the wire takes: the id itself, or always the same one in its place."""
    if _LEGAL_ID.fullmatch(call_id):
        return call_id
    return "call_" + urlsafe_b64encode(sha256(call_id.encode()).digest()[:18]).decode()
