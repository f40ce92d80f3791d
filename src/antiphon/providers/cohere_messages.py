"""The conversation as Cohere's `messages`, and the one way an assistant message is written.

The decoder keeps assistant messages as `assistant_message` writes them and the encoder writes history with it too, so a
turn that comes back as items gives the bytes that were kept. A plan that precedes calls is a message of the phase
`commentary`. Source: Cohere API v2, Chat; reference of provider wires, §1.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from antiphon.protocol.items import MEDIA, ContentPart, InputAudio, InputFile, InputImage, InputText, InputVideo

from .arguments import as_object
from .base import Target
from .dialogue import Answer, Ask, BlockPiece, CallPiece, Dialogue, Result, TextPiece, WireCall, no_files, refused
from .dialogue_writer import DialogueWriter
from .history_items import plain_text
from .media import file_data, text_of
from .writing import elements, joined

Raw = msgspec.Raw
Fields = dict[str, object]
COMMENTARY: Final = "commentary"
_ANCHOR: Final = "Continue."
_encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Said:
    """The parts of one assistant message; `calls` are (id, name, arguments)."""

    thinking: str = ""
    text: str = ""
    plan: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.thinking or self.text or self.plan or self.calls)


def assistant_message(said: Said) -> Raw:
    """One assistant message."""
    message: Fields = {"role": "assistant"}
    if said.plan:
        message["tool_plan"] = said.plan
    content: list[Fields] = []
    if said.thinking:
        content.append(thinking_part(said.thinking))
    if said.text:
        content.append({"type": "text", "text": said.text})
    if content:
        message["content"] = content
    if said.calls:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": as_object(arguments)}}
            for call_id, name, arguments in said.calls
        ]
    return Raw(_encode(message))


def thinking_part(text: str) -> Fields:
    return {"type": "thinking", "thinking": text}


class _Function(msgspec.Struct, frozen=True):
    name: str = ""


class _Call(msgspec.Struct, frozen=True):
    id: str = ""
    function: _Function = _Function()


class _Kept(msgspec.Struct, frozen=True):
    """A kept message, or the thinking of one reasoning item."""

    role: str = ""
    thinking: str = ""
    tool_calls: tuple[_Call, ...] = ()


_decode_kept: Final = msgspec.json.Decoder(_Kept).decode


class Messages(DialogueWriter):
    """The messages of one turn, a `Writer`."""

    def __init__(self, target: Target) -> None:
        super().__init__(Dialogue(target, "cohere", _calls_in))
        self._messages: list[Raw] = []
        self._speaks_last = True

    def rest(self) -> bool:
        """See `Writer.rest`."""
        self._take(self._dialogue.over())
        self._run = joined(self._run, self._messages)
        self._messages = []
        return True

    def finish(self, sentence: str = "") -> list[Raw]:
        """All messages, oldest first, after a sentence of our own. Nothing can be written after it."""
        self._take(self._dialogue.finish())
        if self._speaks_last:
            self._messages.append(_message("user", _ANCHOR))
        system = [sentence] if sentence else []
        leading = [_message("system", text) for text in (*system, *self._dialogue.system)]
        return [*leading, *elements(self._run, self._messages)]

    def _take(self, turns: Sequence[Ask | Answer]) -> None:
        super()._take(turns)
        if turns:
            self._speaks_last = isinstance(turns[-1], Answer)

    def _ask(self, ask: Ask) -> None:
        shown: list[Fields] = []
        for result in ask.results:
            self._result(result, shown)
        said = shown
        for part in ask.parts:
            content = f"<system>\n{part.content}\n</system>" if part.is_directive else part.content
            said += _content(content, part.path)
        if said:
            texts = [part["text"] for part in said if part["type"] == "text"]
            plain = texts[0] if len(said) == len(texts) == 1 else said
            self._messages.append(_message("user", plain))

    def _result(self, result: Result, shown: list[Fields]) -> None:
        """What a tool gave back is text; pictures in it are shown by the user's side after all results."""
        output = result.output
        if not isinstance(output, str):
            media = [part for part in output if isinstance(part, MEDIA)]
            if media:
                shown.append({"type": "text", "text": f"[from the output of {result.called.name}]"})
                shown += _content(media, result.path)
            output = plain_text(output)
        message: Fields = {"role": "tool", "tool_call_id": result.called.wire_id, "content": output or " "}
        self._messages.append(Raw(_encode(message)))

    def _answer(self, answer: Answer) -> None:
        said = Said()
        for piece in answer.pieces:
            match piece:
                case BlockPiece(block):
                    kept = _decode_kept(block)
                    if kept.role:
                        said = self._flush(said)
                        self._messages.append(block)
                    else:
                        said.thinking += kept.thinking
                case TextPiece(text, phase):
                    if phase == COMMENTARY and not said.text:
                        said.plan += text
                    else:
                        said.text += text
                case CallPiece(called, arguments):
                    said.calls.append((called.wire_id, called.name, arguments))
        self._flush(said)

    def _flush(self, said: Said) -> Said:
        if said:
            self._messages.append(assistant_message(said))
        return Said()


def _calls_in(block: Raw) -> list[WireCall]:
    return [WireCall(call.id, call.function.name) for call in _decode_kept(block).tool_calls]


def _message(role: str, content: object) -> Raw:
    return Raw(_encode({"role": role, "content": content}))


def _content(parts: str | Sequence[ContentPart], path: str) -> list[Fields]:
    if isinstance(parts, str):
        return [{"type": "text", "text": parts}] if parts.strip() else []
    written = [_part(part, f"{path}[{index}]") for index, part in enumerate(parts)]
    return [part for part in written if part is not None]


def _part(part: ContentPart, path: str) -> Fields | None:
    match part:
        case InputImage():
            if not part.image_url:
                raise no_files(f"{path}.file_id", "image_url")
            image: Fields = {"url": part.image_url}
            if part.detail in ("low", "high", "auto"):
                image["detail"] = part.detail
            return {"type": "image_url", "image_url": image}
        case InputFile():
            return _file(part, path)
        case InputAudio() | InputVideo():
            raise refused(path, "audio and video cannot be sent to this model's provider")
        case InputText():
            return {"type": "text", "text": part.text} if part.text.strip() else None
        case _:
            text = plain_text((part,))
            return {"type": "text", "text": text} if text.strip() else None


def _file(part: InputFile, path: str) -> Fields:
    if part.file_url or not part.file_data:
        raise refused(path, "this model's provider takes no files but text; send file_data")
    text = text_of(file_data(part.file_data, part.filename or None))
    if text is None:
        raise refused(path, "this model's provider takes no files but text")
    return {"type": "text", "text": f"[file {part.filename or ''}]\n{text}"}
