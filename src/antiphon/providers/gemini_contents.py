"""The conversation as `systemInstruction` and `contents`.

    item                                 where it goes
    instructions, leading system items   systemInstruction
    system, developer later on           user text in <system> tags
    results of calls                     one user content, as many as there were calls, nothing else in it
    a turn of this account               its parts, byte for byte, signatures where they came
    calls of another model               functionCall; the first of each answer bears the signature that skips the check

Ids of calls are written only where this transport gave them. Contents begin with the user's side.
Source: reference of provider wires, §1.4, §2.4 and §2.5.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .base import Target, Turn
from .dialogue import Answer, Ask, BlockPiece, Called, CallPiece, Dialogue, Result, TextPiece, WireCall
from .dialogue_writer import DialogueWriter
from .gemini_parts import (
    CONTINUATION,
    SKIP_SIGNATURE,
    call_part,
    content_parts,
    result_part,
    split_result,
    text_part,
)
from .gemini_wire import decode_part
from .writing import elements, joined

Raw = msgspec.Raw
_ANCHOR: Final = "Continue."
_MINTED: Final = "call_"
"""How ids begin that we gave to calls which came without one."""
_decode_blocks: Final = msgspec.json.Decoder(list[Raw]).decode


class WireContent(msgspec.Struct, frozen=True):
    role: str
    parts: list[Raw]


class _Continued(msgspec.Struct, frozen=True, rename="camel"):
    continuation_token: str | None = None


class Contents(DialogueWriter):
    """The contents of one turn, a `Writer`. `continuation` goes on with an answer that its provider cut for length."""

    def __init__(self, target: Target) -> None:
        super().__init__(Dialogue(target, "gemini", _calls_in, _is_sent))
        self._able = target.able
        self._named = set[str]()
        self._is_paused = False
        self._contents: list[WireContent] = []
        self.continuation: str | None = None

    def begin(self, turn: Turn | None) -> None:
        """See `Writer.begin`."""
        super().begin(turn)
        self._is_paused = turn is not None and bool(turn.pending)
        self.continuation = None if turn is None else _continuation(turn)

    def rest(self) -> bool:
        """See `Writer.rest`."""
        self._take(self._dialogue.over())
        self._run = joined(self._run, self._contents[:-1])
        self._contents = self._contents[-1:]
        return True

    @property
    def system(self) -> list[str]:
        """The texts of systemInstruction."""
        return self._dialogue.system

    def finish(self) -> list[WireContent | Raw]:
        """All contents, oldest first. Nothing can be written after it."""
        self._take(self._dialogue.finish())
        if not self._contents:
            self._add("user", [text_part("")])
        if self._contents[-1].role == "model" and not self._is_paused:
            self._add("user", [text_part(_ANCHOR)])
        return elements(self._run, self._contents)

    def _add(self, role: str, parts: list[Raw]) -> None:
        if not self._contents and role == "model":
            self._contents.append(WireContent("user", [text_part("")]))
        self._contents.append(WireContent(role, parts))

    def _ask(self, ask: Ask) -> None:
        results: list[Raw] = []
        after: list[Raw] = []
        for result in ask.results:
            written, media = self._result(result)
            results.append(written)
            after += media
        if results:
            self._add("user", results)
        said = after
        for part in ask.parts:
            content = f"<system>\n{part.content}\n</system>" if part.is_directive else part.content
            said += content_parts(content, part.path)
        if said:
            self._add("user", said)

    def _result(self, result: Result) -> tuple[Raw, list[Raw]]:
        text, inside, after = split_result(result.output, result.path, takes_media=self._able.takes_media_results)
        name, call_id = result.called.name, result.called.wire_id
        is_named = result.called.public_id in self._named
        if after:
            after = [text_part(f"[from the output of {name}]"), *after]
        written = result_part(name, call_id if is_named else "", text, inside, is_error=result.is_error)
        return written, after

    def _answer(self, answer: Answer) -> None:
        parts: list[Raw] = []
        signature: str | None = None
        has_call = is_own = False
        self._named = set[str]()
        calls = iter(answer.calls)
        for piece in answer.pieces:
            match piece:
                case BlockPiece(block):
                    part = decode_part(block)
                    is_own = True
                    if part.thought_signature and _is_signature_alone(block):
                        signature = part.thought_signature
                        continue
                    parts.append(block)
                    if part.function_call is not None:
                        has_call = True
                        self._name(next(calls))
                case TextPiece(text=text):
                    parts.append(text_part(text))
                case CallPiece(called, arguments):
                    if signature is None and not has_call and self._able.needs_signatures:
                        signature = SKIP_SIGNATURE
                    next(calls)
                    call_id = self._name(called) if is_own and not called.wire_id.startswith(_MINTED) else ""
                    parts.append(call_part(called.name, arguments, call_id, signature))
                    signature, has_call = None, True
        if parts:
            self._add("model", parts)

    def _name(self, called: Called) -> str:
        """This call bears an id on the wire, so its result bears it too."""
        self._named.add(called.public_id)
        return called.wire_id


def _calls_in(block: Raw) -> list[WireCall]:
    call = decode_part(block).function_call
    return [] if call is None else [WireCall(call.id or "", call.name)]


def _is_sent(block: Raw) -> bool:
    """What goes back: not the text of thoughts, which only their signatures stand for, and no continuation's token."""
    if bytes(block).startswith(b'{"' + CONTINUATION.encode()):
        return False
    part = decode_part(block)
    return not part.thought or bool(part.thought_signature)


def _is_signature_alone(block: Raw) -> bool:
    return set(msgspec.json.decode(block, type=dict[str, Raw])) == {"thoughtSignature"}


def _continuation(turn: Turn) -> str | None:
    if not turn.pending:
        return None
    blocks = _decode_blocks(turn.pending[-1].blocks)
    return msgspec.json.decode(blocks[-1], type=_Continued).continuation_token if blocks else None
