"""The conversation as `messages`: whose turn each item belongs to, and where it may stand.

    item                                  message
    instructions, system, developer       the system role, in its place; later ones as user text where one may lead
    user                                  user
    message, calls, reasoning of a model  one assistant message for the whole turn
    outputs of calls                      tool messages, directly after their calls; images and files follow as user
    a model turn this account wrote       its stored message, byte for byte

Every call's output comes before anything else is said (the wire's rule), so what stands between is held back until
then. Rendering is append-only: the same past gives the same bytes, whatever follows.
Source: reference of provider wires, §1.2, §2.4 and §2.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    AdditionalTools,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    ItemReference,
    Message,
    Opaque,
    Reasoning,
    RefusalPart,
    ToolSearchCall,
    ToolSearchOutput,
)
from antiphon.protocol.request import InputItem

from . import foreign_items as foreign
from .arguments import as_object
from .base import DialectName, Entry, ModelTurn, ReplayedReasoning, Target, Turn
from .chat_completions_assistant import (
    AssistantTurn,
    CalledCustom,
    CalledFunction,
    CallPart,
    CustomCallPart,
    FunctionCallPart,
    assistant_message,
)
from .chat_completions_content import SaidMessage, WirePart, content, drop_old_cache_controls, is_marked
from .chat_completions_outputs import ToolOutput, tool_output, wire_call_id
from .history_items import is_readable, plain_text, removal
from .tool_names import TOOL_SEARCH, loaded_tools, wire_name, wrapped_input
from .writing import Run, elements, joined

FAMILY: Final[DialectName] = "chat_completions"
_BRIDGE: Final = "OK."


class ToolMessage(msgspec.Struct, frozen=True, tag="tool", tag_field="role"):
    tool_call_id: str
    content: str


WireMessage = SaidMessage | ToolMessage | msgspec.Raw
_Output = FunctionCallOutput | CustomToolCallOutput | ToolSearchOutput
_Call = FunctionCall | CustomToolCall | ToolSearchCall
_CALLS: Final = (FunctionCall, CustomToolCall, ToolSearchCall)
_THOUGHTS: Final = frozenset[type]((Reasoning,))


class Conversation:
    """The messages of one turn, a `Writer`. `removed` names the reasoning that was not sent, as in `HttpRequest`."""

    def __init__(self, target: Target) -> None:
        self.removed: list[tuple[str, str]] = []
        self._quirks = target.vendor.quirks.chat_completions
        self._target = target
        self._instructions: str | None = None
        self._input: Sequence[InputItem] = ()
        self._paths: dict[int, str] | None = None
        self._lead: SaidMessage | None = None
        self._run: Run = ()
        self._messages: list[WireMessage] = []
        self._group = AssistantTurn()
        self._continues = False
        self._waiting: set[str] = set()
        self._held: list[SaidMessage] = []
        self._media: list[WirePart] = []
        self._call_ids: dict[str, str] = {}

    def begin(self, turn: Turn | None) -> None:
        """See `Writer.begin`."""
        self._instructions = None if turn is None else turn.request.instructions
        self._input = () if turn is None else turn.request.input
        self._paths = None

    def rest(self) -> bool:
        """See `Writer.rest`: not where a later message may take a cache control off what is written."""
        if any(map(_is_marked, (self._lead, *self._held, *self._messages))) or any(map(is_marked, self._media)):
            return False
        self._run = joined(self._run, self._messages[:-1])  # what follows may depend on the last one
        self._messages = self._messages[-1:]
        return True

    def messages(self) -> list[WireMessage]:
        """All messages, oldest first. Nothing can be written after it."""
        self._flush()
        self._settle()
        lead = self._lead
        if self._instructions:
            instructing = SaidMessage(self._quirks.system_role, self._instructions)
            lead = instructing if lead is None else _merged(instructing, lead)
        leading: list[WireMessage] = [] if lead is None else [lead]
        all_said = (*leading, *self._messages)
        parted = [said.content for said in all_said if type(said) is SaidMessage and isinstance(said.content, list)]
        if parted:
            drop_old_cache_controls(parted)
        return [*leading, *elements(self._run, self._messages)]

    def entry(self, entry: Entry) -> None:
        """See `Writer.entry`."""
        self._WRITE.get(type(entry), Conversation._assistant_item)(self, entry)

    def _said(self, message: Message) -> None:
        if message.role == "assistant":
            self._assistant_message(message)
        else:
            self._flush()
            self._message(message)

    def _model_turn(self, turn: ModelTurn) -> None:
        self._flush()
        if _THOUGHTS.issuperset(map(type, turn.items)):
            return  # cut in its thoughts, it has said nothing, and a message of nothing is a 400
        if turn.record is not None and is_readable(turn.record, FAMILY, self._target):
            self._settle()
            self._call_ids |= turn.record.call_ids
            self._messages.append(turn.record.blocks)
            for item in turn.items:
                if isinstance(item, _CALLS) and item.call_id:
                    self._waiting.add(self._call_id(item))
            return
        for item in turn.items:
            if isinstance(item, Opaque):
                self._tell(foreign.told(item))
            elif isinstance(item, Reasoning):
                self.removed.append(removal(item, turn.record, FAMILY))
            else:
                self._assistant_item(item)
        self._flush()

    def _replayed(self, entry: ReplayedReasoning) -> None:
        if not is_readable(entry.record, FAMILY, self._target):
            self.removed.append(removal(entry.item, entry.record, FAMILY))
            return
        self._call_ids |= entry.record.call_ids
        self._group.reasoning.append(entry.record.blocks)
        self._continues = True

    def _assistant_item(self, item: Item) -> None:
        match item:
            case Reasoning():
                self.removed.append(removal(item, None, FAMILY))
            case Message():
                self._assistant_message(item)
            case FunctionCall() | CustomToolCall():
                self._assistant_call(item)
            case ToolSearchCall() if item.call_id:
                self._assistant_call(item)
            case ToolSearchCall() | AdditionalTools() | ItemReference():
                pass  # a search that ran elsewhere, declarations (among the tools), and references (resolved)
            case _:
                pass  # outputs do not stand inside a model turn

    def _assistant_call(self, item: _Call) -> None:
        self._group.calls.append(self._call_part(item))
        self._continues = False

    def _assistant_message(self, item: Message) -> None:
        if self._group.text and not self._group.calls and not self._continues:
            self._flush()
        self._continues = False
        if isinstance(item.content, str):
            self._group.text += item.content
            return
        refused = [part for part in item.content if isinstance(part, RefusalPart)]
        self._group.refusal += plain_text(refused)
        self._group.text += plain_text([part for part in item.content if not isinstance(part, RefusalPart)])

    def _call_part(self, item: _Call) -> CallPart:
        call_id = self._call_id(item)
        if isinstance(item, ToolSearchCall):
            return FunctionCallPart(call_id, CalledFunction(TOOL_SEARCH, bytes(item.arguments).decode()))
        name = wire_name(item.name, item.namespace or None)
        if isinstance(item, FunctionCall):
            return FunctionCallPart(call_id, CalledFunction(name, as_object(item.arguments)))
        if self._quirks.custom_tools == "native":
            return CustomCallPart(call_id, CalledCustom(name, item.input))
        return FunctionCallPart(call_id, CalledFunction(name, wrapped_input(item.input)))

    def _call_id(self, item: _Call | _Output) -> str:
        public = item.call_id or ""
        known = self._call_ids.get(public)
        return known if known is not None else wire_call_id(public, self._quirks.tool_call_id_length)

    def _output(self, item: _Output) -> None:
        self._flush()
        if not item.call_id:
            if isinstance(item, FunctionCallOutput):
                self._say(SaidMessage("user", f"[output of a tool: {plain_text(item.output)}]"))
            return
        call_id = self._call_id(item)
        if isinstance(item, ToolSearchOutput):
            output = ToolOutput(loaded_tools(item.tools), [])
        else:
            output = tool_output(item.output, partial(self._path, item, ".output"), self._quirks, call_id)
        self._messages.append(ToolMessage(call_id, output.text))
        self._media += output.media
        self._waiting.discard(call_id)

    def _message(self, item: Message) -> None:
        role = "user" if item.role == "user" else self._quirks.system_role
        said = content(item.content, partial(self._path, item, ".content"), self._quirks)
        self._say(SaidMessage(role, said))

    def _opaque(self, item: Opaque) -> None:
        if foreign.is_call(item):
            self._tell(foreign.told(item))
        elif foreign.is_output(item):
            self._flush()
            self._say(SaidMessage("user", foreign.told(item)))
        elif not foreign.is_silent(item):
            raise InvalidRequest(
                f"Items of type {item.type!r} cannot be sent to this model's provider.",
                param=self._path(item, ".type"),
                code="invalid_value",
            )

    def _tell(self, text: str) -> None:
        """What a built-in tool did, as a line of the assistant's own text; what it says next goes on from there."""
        self._group.text += text + "\n"
        self._continues = True

    def _say(self, message: SaidMessage) -> None:
        """A message that is no tool's: now, or when the outputs that are still awaited have come."""
        if self._quirks.single_system and message.role == self._quirks.system_role:
            if not self._messages:
                self._lead = message if self._lead is None else _merged(self._lead, message)
                return
            told = f"<system>\n{_as_text(message)}\n</system>"
            message = SaidMessage("user", told)
        if self._waiting:
            self._held.append(message)
            return
        self._settle()
        self._append(message)

    def _flush(self) -> None:
        """End the assistant message under construction."""
        self._continues = False
        group = self._group
        if not (group.text or group.calls or group.refusal):
            if group.reasoning:
                self._group = AssistantTurn()
            return
        self._group = AssistantTurn()
        self._settle()
        self._messages.append(assistant_message(group, self._quirks))
        self._waiting = {call.id for call in group.calls}

    def _settle(self) -> None:
        """All outputs have come, or never will: their media, then what was held back."""
        if self._waiting:
            self._waiting.clear()
        if not (self._media or self._held):
            return
        media, self._media = self._media, []
        held, self._held = self._held, []
        if media:
            self._append(SaidMessage("user", media))
        for message in held:
            self._append(message)

    def _append(self, message: SaidMessage) -> None:
        may_bridge = self._quirks.bridges_tool_to_user and message.role == "user" and bool(self._messages)
        if may_bridge and isinstance(self._messages[-1], ToolMessage):
            self._messages.append(SaidMessage("assistant", _BRIDGE))
        self._messages.append(message)

    def _path(self, item: object, field: str) -> str:
        """Where the client wrote a field of an item; "input" and the field for one of an earlier request."""
        if self._paths is None:
            self._paths = {id(sent.item): f"input[{index}]" for index, sent in enumerate(self._input)}
        return self._paths.get(id(item), "input") + field

    _WRITE: ClassVar[dict[type, Callable[..., None]]] = {
        Message: _said,
        ModelTurn: _model_turn,
        FunctionCallOutput: _output,
        CustomToolCallOutput: _output,
        ToolSearchOutput: _output,
        FunctionCall: _assistant_call,
        ReplayedReasoning: _replayed,
        Opaque: _opaque,
    }


def _merged(first: SaidMessage, second: SaidMessage) -> SaidMessage:
    return SaidMessage(first.role, f"{_as_text(first)}\n\n{_as_text(second)}")


def _is_marked(message: WireMessage | None) -> bool:
    """Whether a later message may take a cache control off this one."""
    return type(message) is SaidMessage and type(message.content) is list and any(map(is_marked, message.content))


def _as_text(message: SaidMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n\n".join(getattr(part, "text", "") for part in message.content)
