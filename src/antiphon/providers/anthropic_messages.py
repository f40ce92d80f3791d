"""The conversation as `system` and `messages`.

    item                                   where it goes
    instructions, leading system items     system blocks
    system, developer later on             a system message before the next answer, or tagged user text; never hoisted
    user                                   the user message, after the results
    message, calls, reasoning of a model   one assistant message for the turn
    outputs of calls                       tool_result blocks, first in the user message, in the order of the calls
    a model turn this account wrote        its blocks, byte for byte

Neighbours of one role are one message. Rendering is append-only: the same past gives the same bytes.
Source: reference of provider wires, §1.3, §2.2, §2.4 and §2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
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

from . import anthropic_blocks as blocks
from . import foreign_items as foreign
from .anthropic_wire import read_start
from .base import DialectName, Entry, ModelTurn, ReplayedReasoning, ReplayRecord, Target, Turn
from .capabilities import Capabilities
from .history_items import is_readable, plain_text, removal
from .tool_names import LEGAL, TOOL_SEARCH, loaded_tools, wire_name, wrapped_input
from .writing import Run, elements, joined

Raw = msgspec.Raw
FAMILY: Final[DialectName] = "anthropic"
_ANCHOR: Final = blocks.text_block("Continue.")
_NO_OUTPUT: Final = "[no output]"
_decode_blocks: Final = msgspec.json.Decoder(list[Raw]).decode
_Output = FunctionCallOutput | CustomToolCallOutput | ToolSearchOutput
_Call = FunctionCall | CustomToolCall | ToolSearchCall
_THINKING: Final = ("thinking", "redacted_thinking")


class WireMessage(msgspec.Struct, frozen=True):
    role: str
    content: list[Raw]


class Conversation:
    """The messages of one turn, a `Writer`. `removed` names the reasoning that was not sent, as in `HttpRequest`.

    `begun` are the messages since the last rest, all that can still be changed.
    """

    def __init__(self, target: Target, able: Capabilities) -> None:
        self.begun: list[WireMessage] = []
        self.removed: list[tuple[str, str]] = []
        self.replays_thinking = False
        self.called: list[str] = []
        self._able = able
        self._target = target
        self._instructions: str | None = None
        self._pending: tuple[ReplayRecord, ...] = ()
        self._paths: dict[int, str] = {}
        self._run: Run = ()
        self._system: list[Raw] = []
        self._call_ids: dict[str, str] = {}
        self._awaited: list[str] = []
        self._results: dict[str, Raw] = {}
        self._said: list[Raw] = []
        self._directives: list[str] = []
        self._answer: list[Raw] = []

    def begin(self, turn: Turn | None) -> None:
        """See `Writer.begin`."""
        self._instructions = None if turn is None else turn.request.instructions
        self._pending = () if turn is None else turn.pending
        sent = () if turn is None else turn.request.input
        self._paths = {id(entry.item): f"input[{index}]" for index, entry in enumerate(sent)}

    def rest(self) -> bool:
        """See `Writer.rest`: not where a later message may take a cache control off what is written."""
        if any(map(blocks.is_marked, _blocks_of(self.begun))):
            return False
        self._run = joined(self._run, self.begun[:-1])  # the last one may become longer
        self.begun = self.begun[-1:]
        return True

    def finish(self) -> None:
        """The context is over: what was begun ends. Nothing can be written after it."""
        self._end_answer()
        if self._pending:
            self._begin_answer()
            self._append("assistant", [block for record in self._pending for block in _decode_blocks(record.blocks)])
            return
        self._end_user(is_last=True)

    def system(self) -> list[Raw]:
        """The system blocks: the instructions, then what items said first."""
        instructions = self._instructions or ""
        return [*([blocks.text_block(instructions)] if instructions.strip() else ()), *self._system]

    def messages(self) -> list[WireMessage | Raw]:
        """All messages, oldest first."""
        return elements(self._run, self.begun)

    # -- entries

    def entry(self, entry: Entry) -> None:
        """See `Writer.entry`."""
        match entry:
            case ModelTurn():
                self._model_turn(entry)
            case ReplayedReasoning():
                self._replayed(entry)
            case FunctionCallOutput() | CustomToolCallOutput() | ToolSearchOutput():
                self._output(entry)
            case Message() if entry.role == "user":
                self._end_answer()
                self._said += blocks.content_blocks(entry.content, f"{self._path(entry)}.content")
            case Message() if entry.role != "assistant":
                self._directive(entry)
            case Opaque():
                self._opaque(entry)
            case _:
                self._assistant_item(entry)

    def _model_turn(self, turn: ModelTurn) -> None:
        record = turn.record
        if record is not None and is_readable(record, FAMILY, self._target):
            self._call_ids |= record.call_ids
            self._begin_answer()
            for block in _decode_blocks(record.blocks):
                self._replay_block(block)
            return
        for item in turn.items:
            if isinstance(item, Opaque):
                self._tell(foreign.told(item))
            elif isinstance(item, Reasoning):
                self.removed.append(removal(item, record, FAMILY))
            else:
                self._assistant_item(item)

    def _replayed(self, entry: ReplayedReasoning) -> None:
        if not is_readable(entry.record, FAMILY, self._target):
            self.removed.append(removal(entry.item, entry.record, FAMILY))
            return
        self._call_ids |= entry.record.call_ids
        self._begin_answer()
        for block in _decode_blocks(entry.record.blocks):
            self._replay_block(block)

    def _replay_block(self, block: Raw) -> None:
        kind = read_start(block)
        if kind.type == "thinking" and not kind.signature:
            return  # an unsigned thinking block is a 400 (pitfall 59)
        if kind.type in _THINKING:
            self.replays_thinking = True
        if kind.type == "tool_use":
            self.called.append(kind.name)
        self._answer.append(block)

    def _assistant_item(self, item: Item) -> None:
        match item:
            case Reasoning():
                self.removed.append(removal(item, None, FAMILY))
            case Message():
                text = plain_text(item.content)
                if text.strip():
                    self._begin_answer()
                    self._answer.append(blocks.text_block(text))
            case FunctionCall() | CustomToolCall():
                self._call(item)
            case ToolSearchCall() if item.call_id:
                self._call(item)
            case _:
                pass  # declarations stand among the tools, a search that ran elsewhere has nothing to say

    def _call(self, item: _Call) -> None:
        self._begin_answer()
        match item:
            case FunctionCall():
                name, arguments = wire_name(item.name, item.namespace or None), item.arguments
            case CustomToolCall():
                name, arguments = wire_name(item.name, item.namespace or None), wrapped_input(item.input)
            case ToolSearchCall():
                name, arguments = TOOL_SEARCH, bytes(item.arguments).decode()
        self.called.append(name)
        self._answer.append(blocks.tool_use_block(self._call_id(item), name, arguments))

    def _call_id(self, item: _Call | _Output) -> str:
        public = item.call_id or ""
        known = self._call_ids.get(public, public)
        return known if LEGAL.fullmatch(known) else wire_name(known)

    def _tell(self, text: str) -> None:
        self._begin_answer()
        self._answer.append(blocks.text_block(text))

    def _opaque(self, item: Opaque) -> None:
        if foreign.is_call(item):
            self._tell(foreign.told(item))
        elif foreign.is_output(item):
            self._end_answer()
            self._said.append(blocks.text_block(foreign.told(item)))
        elif not foreign.is_silent(item):
            raise InvalidRequest(
                f"Items of type {item.type!r} cannot be sent to this model's provider.",
                param=f"{self._path(item)}.type",
                code="invalid_value",
            )

    def _output(self, item: _Output) -> None:
        self._end_answer()
        call_id = self._call_id(item) if item.call_id else ""
        if isinstance(item, ToolSearchOutput):
            content: list[Raw] | str = loaded_tools(item.tools)
        else:
            content = self._result(item)
        if call_id not in self._awaited or call_id in self._results:
            self._orphan(call_id or "unknown", content)
            return
        self._results[call_id] = blocks.result_block(call_id, content, is_error=item.status == "incomplete")

    def _orphan(self, call_id: str, content: str | list[Raw]) -> None:
        """An output whose call is gone is told: a result without its call is a 400."""
        told = f": {content}]" if isinstance(content, str) else " follows]"
        self._said.append(blocks.text_block(f"[output of call {call_id}{told}"))
        if not isinstance(content, str):
            self._said += content

    def _result(self, item: FunctionCallOutput | CustomToolCallOutput) -> str | list[Raw]:
        if isinstance(item.output, str):
            return item.output
        return blocks.content_blocks(item.output, f"{self._path(item)}.output")

    def _directive(self, item: Message) -> None:
        """System and developer items: at the head part of `system`, later where they stand."""
        self._end_answer()
        text = blocks.text_alone(item.content, f"{self._path(item)}.content")
        if not text.strip():
            return
        if not self.begun and not self._said:
            self._system.append(blocks.text_block(text))
        elif self._able.has_system_messages:
            self._directives.append(text)
        else:
            self._said.append(blocks.text_block(f"<system>\n{text}\n</system>"))

    # -- messages

    def _begin_answer(self) -> None:
        """The model speaks next: what the user's side said until now is one message."""
        if not self._answer:
            self._end_user(is_last=False)

    def _end_user(self, *, is_last: bool) -> None:
        results = [self._results.get(call_id) or _missing(call_id) for call_id in self._awaited]
        content = [*results, *self._said]
        directives, self._directives = self._directives, []
        self._awaited, self._results, self._said = [], {}, []
        needs_anchor = not self.begun or bool(directives) or is_last
        speaks_last = bool(self.begun) and self.begun[-1].role == "assistant"
        if not content and needs_anchor and (speaks_last or not self.begun):
            content = [_ANCHOR]
        if content:
            self._append("user", content)
        if directives:
            self._append("system", [blocks.text_block(text) for text in directives])

    def _end_answer(self) -> None:
        answer, self._answer = self._answer, []
        kinds = [read_start(block) for block in answer]
        while kinds and kinds[-1].type in _THINKING:  # cut in its thoughts: they may not stand last
            kinds.pop()
        if kinds:
            self._awaited = [kind.id for kind in kinds if kind.type == "tool_use"]
            self._append("assistant", answer[: len(kinds)])

    def _append(self, role: str, content: list[Raw]) -> None:
        if self.begun and self.begun[-1].role == role:
            content = [*self.begun.pop().content, *content]
        self.begun.append(WireMessage(role, content))

    def _path(self, item: object) -> str:
        """Where the client wrote an item; "input" for one of an earlier request."""
        return self._paths.get(id(item), "input")


def _blocks_of(messages: Sequence[WireMessage]) -> list[Raw]:
    return [block for message in messages for block in message.content]


def _missing(call_id: str) -> Raw:
    """A call whose output was lost to truncation or deletion: the wire wants every call answered."""
    return blocks.result_block(call_id, _NO_OUTPUT, is_error=True)
