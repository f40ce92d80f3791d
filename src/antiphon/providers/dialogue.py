"""A context as what the user's side asked and what models answered, in turns.

Dialects with strict roles build their messages on it.

    Ask      the outputs of the calls before it, in the order of the calls, one each; then what was said
    Answer   text, calls and replayed blocks of one side's turn, neighbours joined

Every call has its result here and every result its call: what truncation or deletion took away is told as lost, what
lost its call becomes text. Reasoning that the target cannot read is left out and named in `removed`.
Source: reference of provider wires, §2.4 and §2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    CALLS,
    MEDIA,
    ContentPart,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Opaque,
    Reasoning,
    ToolSearchCall,
    ToolSearchOutput,
)

from . import foreign_items as foreign
from .base import DialectName, Entry, ModelTurn, ReplayedReasoning, Target, Turn
from .history_items import is_readable, plain_text, removal
from .tool_names import TOOL_SEARCH, loaded_tools, wire_name, wrapped_input
from .writing import Open

Raw = msgspec.Raw
LOST_OUTPUT: Final = "[no output]"
_decode_blocks: Final = msgspec.json.Decoder(list[Raw]).decode
_Output = FunctionCallOutput | CustomToolCallOutput | ToolSearchOutput
_Call = FunctionCall | CustomToolCall | ToolSearchCall


class Called(msgspec.Struct, frozen=True):
    """A call: its id in the conversation, its id and name on the wire."""

    public_id: str
    wire_id: str
    name: str


class CallPiece(msgspec.Struct, frozen=True):
    """A call of another model's, to be written anew; `arguments` is JSON text."""

    called: Called
    arguments: str


class TextPiece(msgspec.Struct, frozen=True):
    text: str
    phase: str | None = None


class BlockPiece(msgspec.Struct, frozen=True):
    """A block that this account's model wrote, byte for byte."""

    raw: Raw


Piece = CallPiece | TextPiece | BlockPiece


class Result(msgspec.Struct, frozen=True):
    """What a call came to. `path` is where the client wrote it."""

    called: Called
    output: str | tuple[ContentPart, ...]
    path: str
    is_error: bool = False


class Part(msgspec.Struct, frozen=True):
    """What was said: by the user, or (`is_directive`) by the system in the middle of a conversation."""

    content: str | tuple[ContentPart, ...]
    path: str
    is_directive: bool = False


@dataclass
class Ask(Open):
    results: list[Result] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


@dataclass
class Answer(Open):
    pieces: list[Piece] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)


class WireCall(msgspec.Struct, frozen=True):
    """A call inside a replayed block: its id ("" where the wire has none) and name."""

    id: str
    name: str


class Dialogue(Open):
    """The turns of one context, which a `Writer` takes as they end.

    `calls_in` finds the calls of a replayed block; `keeps` says which blocks go back.
    """

    def __init__(
        self,
        target: Target,
        family: DialectName,
        calls_in: Callable[[Raw], Sequence[WireCall]],
        keeps: Callable[[Raw], bool] = lambda block: True,
    ) -> None:
        self.removed: list[tuple[str, str]] = []
        self._family: Final[DialectName] = family
        self._target = target
        self._calls_in = calls_in
        self._keeps = keeps
        self._instructions: str | None = None
        self._paths: dict[int, str] = {}
        self._system: list[str] = []
        self._over: list[Ask | Answer] = []
        self._wire_ids: dict[str, str] = {}
        self._ask = Ask()
        self._answer: Answer | None = None
        self._is_answering = False

    def begin(self, turn: Turn | None) -> None:
        """See `Writer.begin`."""
        self._instructions = None if turn is None else turn.request.instructions
        sent = () if turn is None else turn.request.input
        self._paths = {id(entry.item): f"input[{index}]" for index, entry in enumerate(sent)}

    @property
    def system(self) -> list[str]:
        """The instructions, and what system and developer items said before all else."""
        instructions = self._instructions or ""
        return [*([instructions] if instructions.strip() else ()), *self._system]

    def over(self) -> list[Ask | Answer]:
        """The turns that have ended since this was last asked."""
        over, self._over = self._over, []
        return over

    def finish(self) -> list[Ask | Answer]:
        """The context is over: the turns that have not been told yet. Nothing can follow."""
        self._end_answer()
        self._close_answer()
        if self._ask.results or self._ask.parts:
            self._over.append(self._ask)
        return self.over()

    def entry(self, entry: Entry) -> None:
        """See `Writer.entry`."""
        match entry:
            case ModelTurn():
                self._model_turn(entry)
            case ReplayedReasoning():
                self._replayed(entry)
            case FunctionCallOutput() | CustomToolCallOutput() | ToolSearchOutput():
                self._output(entry)
            case Message() if entry.role == "assistant":
                self._say(plain_text(entry.content), entry.phase or None)
            case Message():
                self._said(entry)
            case Opaque():
                self._opaque(entry)
            case _:
                self._model_item(entry)

    # -- the model's side

    def _answering(self) -> Answer:
        if not self._is_answering and (self._ask.results or self._ask.parts):
            self._close_answer()
            self._over.append(self._ask)
            self._ask = Ask()
        self._is_answering = True
        if self._answer is None:
            self._answer = Answer()
        return self._answer

    def _close_answer(self) -> None:
        """Nothing can be added to the answer any more."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self._over.append(answer)

    def _model_turn(self, turn: ModelTurn) -> None:
        record = turn.record
        if record is None or not is_readable(record, self._family, self._target):
            for item in turn.items:
                if isinstance(item, Reasoning):
                    self.removed.append(removal(item, record, self._family))
                elif isinstance(item, Opaque):
                    self._say(foreign.told(item))
                else:
                    self._model_item(item)
            return
        self._wire_ids |= record.call_ids
        publics = [item.call_id for item in turn.items if isinstance(item, CALLS)]
        answer = self._answering()
        for block in _decode_blocks(record.blocks):
            if self._keeps(block):
                answer.pieces.append(BlockPiece(block))
                for call in self._calls_in(block):
                    public = publics.pop(0) if publics else call.id
                    answer.calls.append(Called(public, call.id, call.name))

    def _replayed(self, entry: ReplayedReasoning) -> None:
        if not is_readable(entry.record, self._family, self._target):
            self.removed.append(removal(entry.item, entry.record, self._family))
            return
        self._wire_ids |= entry.record.call_ids
        answer = self._answering()
        answer.pieces += [BlockPiece(block) for block in _decode_blocks(entry.record.blocks) if self._keeps(block)]

    def _model_item(self, item: Item) -> None:
        match item:
            case Reasoning():
                self.removed.append(removal(item, None, self._family))
            case Message():
                self._say(plain_text(item.content), item.phase or None)
            case FunctionCall() | CustomToolCall():
                self._call(item)
            case ToolSearchCall() if item.call_id:
                self._call(item)
            case _:
                pass  # declarations stand among the tools, a search that ran elsewhere has nothing to say

    def _say(self, text: str, phase: str | None = None) -> None:
        if text.strip():
            self._answering().pieces.append(TextPiece(text, phase))

    def _call(self, item: _Call) -> None:
        match item:
            case FunctionCall():
                name, arguments = wire_name(item.name, item.namespace or None), item.arguments
            case CustomToolCall():
                name, arguments = wire_name(item.name, item.namespace or None), wrapped_input(item.input)
            case ToolSearchCall():
                name, arguments = TOOL_SEARCH, bytes(item.arguments).decode()
        public = item.call_id or ""
        called = Called(public, self._wire_ids.get(public, public), name)
        answer = self._answering()
        answer.pieces.append(CallPiece(called, arguments))
        answer.calls.append(called)

    def _end_answer(self) -> None:
        """The user's side speaks: the calls of the answer before are answered first, in their order."""
        if self._is_answering and self._answer is not None:
            self._ask.results = [Result(called, LOST_OUTPUT, "input", is_error=True) for called in self._answer.calls]
        self._is_answering = False

    # -- the user's side

    def _asking(self) -> Ask:
        self._end_answer()
        return self._ask

    def _said(self, item: Message) -> None:
        path = f"{self._path(item)}.content"
        if item.role == "user":
            self._asking().parts.append(Part(item.content, path))
            return
        text = text_alone(item.content, path)
        if not text.strip():
            return
        if self._answer is None and not self._ask.parts:
            self._system.append(text)
        else:
            self._asking().parts.append(Part(text, path, is_directive=True))

    def _output(self, item: _Output) -> None:
        ask = self._asking()
        public = item.call_id or ""
        path = f"{self._path(item)}.output"
        content = loaded_tools(item.tools) if isinstance(item, ToolSearchOutput) else item.output
        for index, result in enumerate(ask.results):
            if result.called.public_id == public and result.output is LOST_OUTPUT:
                ask.results[index] = Result(result.called, content, path, is_error=item.status == "incomplete")
                return
        told = f": {content}]" if isinstance(content, str) else " follows]"
        ask.parts.append(Part(f"[output of call {public or 'unknown'}{told}", path))
        if not isinstance(content, str):
            ask.parts.append(Part(content, path))

    def _opaque(self, item: Opaque) -> None:
        if foreign.is_call(item):
            self._say(foreign.told(item))
        elif foreign.is_output(item):
            self._asking().parts.append(Part(foreign.told(item), self._path(item)))
        elif not foreign.is_silent(item):
            raise InvalidRequest(
                f"Items of type {item.type!r} cannot be sent to this model's provider.",
                param=f"{self._path(item)}.type",
                code="invalid_value",
            )

    def _path(self, item: object) -> str:
        """Where the client wrote an item; "input" for one of an earlier request."""
        return self._paths.get(id(item), "input")


def text_alone(parts: str | tuple[ContentPart, ...], path: str) -> str:
    """The text of content that may be nothing but text, such as a developer's. Raises InvalidRequest for media."""
    for index, part in enumerate(() if isinstance(parts, str) else parts):
        if isinstance(part, MEDIA):
            raise refused(f"{path}[{index}]", "system and developer messages can hold only text here")
    return plain_text(parts)


def refused(path: str, why: str) -> InvalidRequest:
    """A part that this target cannot be sent."""
    return InvalidRequest(f"Invalid value at '{path}': {why}.", param=path, code="unsupported_value")


def refused_image(path: str, media_type: str | None, taken: Iterable[str]) -> InvalidRequest:
    """An image of a type that this target cannot be sent."""
    return InvalidRequest(
        f"Invalid value at '{path}': images of type {media_type} are not supported; send {', '.join(taken)}.",
        param=path,
        code="unsupported_image_media_type",
    )


def no_files(path: str, instead: str) -> InvalidRequest:
    """A file_id: files are not kept here."""
    return InvalidRequest(
        f"This server keeps no files: send {instead} in place of file_id.", param=path, code="unsupported_value"
    )
