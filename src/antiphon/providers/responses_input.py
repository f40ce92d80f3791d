"""The whole context as input items of a Responses-speaking upstream.

    a turn of this upstream's own     its items verbatim, without ids and what the vendor refuses: byte-stable
    any other model turn              messages and calls from the public items; reasoning removed and named
    a client's own items              as sent, without ids; what the vendor has no word for is lowered

With store:false the upstream knows no ids, so none is sent and nothing is referred to. A reasoning item stands only
right before the item it led to, and only where it can be read.
Source: reference "Pass-through, but with these rules" and "Multi-turn on stateless upstreams"; pitfalls 21, 40, 41,
42, 64, 65, 73, 90, 92, 102, 104.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    CALL_OUTPUTS,
    AdditionalTools,
    ContentPart,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputText,
    Item,
    ItemReference,
    Message,
    Opaque,
    OutputText,
    PlainText,
    Reasoning,
    ToolSearchCall,
    ToolSearchOutput,
)

from .base import Entry, ModelTurn, ReplayedReasoning, ReplayRecord, Target, Turn
from .responses_tools import takes, takes_declarations, takes_item
from .responses_traces import told_in_words
from .tool_names import TOOL_SEARCH, wire_name, wrapped_input
from .writing import Run, elements, joined

Fields = dict[str, msgspec.Raw]

_decode_fields: Final = msgspec.json.Decoder(Fields).decode
_decode_blocks: Final = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode
# The answer to an approval request names it by its id, so this one id has to be sent back.
_REFERRED_TO: Final = "mcp_approval_request"
_NULL: Final = b"null"
_CALLS: Final = frozenset({"function_call", "custom_tool_call"})

_REASONING: Final = (Reasoning, ReplayedReasoning)
_TRACED: Final = (Opaque, ToolSearchCall)
_CLIENTS: Final = (*CALL_OUTPUTS, ToolSearchOutput, ItemReference)
"""Items that no model writes."""
PROVIDER_CHANGED: Final = "provider_changed"
MODEL_CHANGED: Final = "model_changed"
UNREADABLE: Final = "unreadable"
ANSWER_MISSING: Final = "answer_missing"


class InputRenderer:
    """Renders one turn's context, a `Writer`. `removed`, `dropped` and `folded` say what was not sent as it was."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._quirks = target.vendor.quirks.responses
        self._pending: tuple[ReplayRecord, ...] = ()
        self._run: Run = ()
        self._items: list[Fields] = []
        self._thoughts: list[Reasoning | ReplayedReasoning] = []
        self._call_ids: dict[str, str] = {}
        self._approval_ids: dict[str, str] = {}
        self.removed: list[tuple[str, str]] = []
        self.dropped: list[str] = []
        self.folded: list[str] = []

    def begin(self, turn: Turn | None) -> None:
        """See `Writer.begin`."""
        self._pending = () if turn is None else turn.pending

    def rest(self) -> bool:
        """See `Writer.rest`."""
        if self._thoughts or self._quirks.joins_parallel_calls:
            return False
        self._run = joined(self._run, self._items)
        self._items = []
        return True

    def items(self) -> list[Fields | msgspec.Raw]:
        """The input items, oldest first. Nothing can be written after it."""
        self._end_thoughts(is_followed=False)
        for record in self._pending:
            self._verbatim(record, ())
        return elements(self._run, _calls_joined(self._items) if self._quirks.joins_parallel_calls else self._items)

    def entry(self, entry: Entry) -> None:
        """See `Writer.entry`. Raises InvalidRequest for an item that this target cannot be told of."""
        if isinstance(entry, _REASONING):
            self._thoughts.append(entry)  # until it is known what they led to
            return
        self._end_thoughts(is_followed=_is_of_model(entry))
        if isinstance(entry, ModelTurn):
            self._model_turn(entry)
        else:
            self._client_item(entry)

    def _end_thoughts(self, *, is_followed: bool) -> None:
        thoughts, self._thoughts = self._thoughts, []
        for entry in thoughts:
            if not is_followed:
                self._remove(entry if isinstance(entry, Reasoning) else entry.item, ANSWER_MISSING)
            elif isinstance(entry, ReplayedReasoning):
                self._replayed(entry)
            else:
                self._client_item(entry)

    # -- model turns ---------------------------------------------------------------------------------------------------

    def _model_turn(self, turn: ModelTurn) -> None:
        record = turn.record
        if record is not None and self._is_own(record) and _has_call_ids(record):
            self._verbatim(record, turn.items)
            return
        for item in turn.items:
            if isinstance(item, Reasoning):
                self._remove(item, PROVIDER_CHANGED)
            elif isinstance(item, Message):
                self._add(_foreign_message(item))
            elif isinstance(item, _TRACED):
                self._trace(item)
            else:
                self._client_item(item)

    def _is_own(self, record: ReplayRecord) -> bool:
        return record.family == self._target.vendor.dialect and record.scope == self._target.vendor.scope

    def _why_unreadable(self, record: ReplayRecord, fields: Fields) -> str | None:
        """Why this upstream could not read a reasoning item of its own account's, or None."""
        if record.model != self._target.model and not self._quirks.reasoning_crosses_models:
            return MODEL_CHANGED
        needed = {"encrypted": "encrypted_content", "text": "content", "none": ""}[self._quirks.reasoning]
        return None if needed in fields and bytes(fields[needed]) != _NULL else UNREADABLE

    def _verbatim(self, record: ReplayRecord, items: Sequence[Item]) -> None:
        """The upstream's own blocks. Reasoning at the very end led to nothing that could follow it: both or neither."""
        self._call_ids |= record.call_ids
        blocks = [_decode_fields(raw) for raw in _decode_blocks(record.blocks)]
        self._match_approvals(blocks, items)
        reasoning = iter([item for item in items if isinstance(item, Reasoning)])
        last = max((position for position, block in enumerate(blocks) if _type(block) != "reasoning"), default=-1)
        for position, block in enumerate(blocks):
            if _type(block) == "reasoning":
                public = next(reasoning, Reasoning())
                why = ANSWER_MISSING if position > last else self._why_unreadable(record, block)
                if why is not None:
                    self._remove(public, why)
                    continue
            self._add(block)

    def _match_approvals(self, blocks: Iterable[Fields], items: Sequence[Item]) -> None:
        public = [item.id for item in items if isinstance(item, Opaque) and item.type == _REFERRED_TO]
        own = [_decode_text(block["id"]) for block in blocks if _type(block) == _REFERRED_TO and "id" in block]
        self._approval_ids |= {theirs: ours for theirs, ours in zip(public, own, strict=False) if theirs is not None}

    def _replayed(self, entry: ReplayedReasoning) -> None:
        if not self._is_own(entry.record):
            self._remove(entry.item, PROVIDER_CHANGED)
            return
        block = _decode_fields(entry.record.blocks)
        why = self._why_unreadable(entry.record, block)
        if why is None:
            self._add(block)
        else:
            self._remove(entry.item, why)

    def _trace(self, item: Opaque | ToolSearchCall) -> None:
        """What a provider's own tool did, in words another provider's model can read; or named as left out."""
        words = told_in_words(item) if isinstance(item, Opaque) else None
        if words is None:
            self.dropped.append(f"input.{item.type if isinstance(item, Opaque) else 'tool_search_call'}")
        else:
            self._add(Message("assistant", (OutputText(words),)))

    # -- client items --------------------------------------------------------------------------------------------------

    def _client_item(self, item: Item) -> None:
        match item:
            case Message():
                self._message(item)
            case Reasoning():
                self._client_reasoning(item)
            case FunctionCall() | CustomToolCall():
                self._call(item)
            case FunctionCallOutput() | CustomToolCallOutput():
                self._output(item)
            case ItemReference():
                raise InvalidRequest(f"Item with id '{item.id}' not found.", param="input")
            case AdditionalTools():
                if takes_item(self._quirks, "additional_tools"):  # else declared with the other tools
                    self._add(item)
            case ToolSearchCall() | ToolSearchOutput():
                self._search(item)
            case _:
                self._opaque(item)

    def _message(self, item: Message) -> None:
        if item.role == "assistant":
            self._add(_assistant(item))
            return
        role = item.role
        if role in ("system", "developer") and self._quirks.system_messages == "fold":
            self.folded.append(_joined_text(item.content, "input"))
            return
        if role == "developer" and self._quirks.system_messages == "system":
            role = "system"
        content = item.content if isinstance(item.content, str) else tuple(_input_part(part) for part in item.content)
        self._add(Message(role, content))

    def _client_reasoning(self, item: Reasoning) -> None:
        """Reasoning that is not ours: the client had it from elsewhere, perhaps from this very provider."""
        is_sealed = isinstance(item.encrypted_content, str) and item.encrypted_content != ""
        if self._quirks.reasoning == "encrypted" and is_sealed and self._quirks.reads_foreign_reasoning:
            self._add(item)
        elif self._quirks.reasoning == "text" and isinstance(item.content, tuple) and item.content:
            self._add(msgspec.structs.replace(item, encrypted_content=UNSET))
        else:
            self._remove(item, UNREADABLE)

    def _call(self, item: FunctionCall | CustomToolCall) -> None:
        bare = msgspec.structs.replace(item, id=UNSET, status=UNSET)
        if not takes_declarations(self._quirks):
            name = wire_name(item.name, item.namespace or None)
            bare = msgspec.structs.replace(bare, name=name, namespace=UNSET)
        if isinstance(bare, CustomToolCall) and not takes(self._quirks, "custom"):
            bare = FunctionCall(bare.call_id, bare.name, wrapped_input(bare.input))
        self._add(bare)

    def _output(self, item: FunctionCallOutput | CustomToolCallOutput) -> None:
        call_id = item.call_id
        if isinstance(call_id, str):
            call_id = self._call_ids.get(call_id, call_id)
        output = item.output
        if self._quirks.text_tool_outputs:
            output = _joined_text(output, "input")
        if isinstance(item, CustomToolCallOutput) and not takes(self._quirks, "custom"):
            self._add(FunctionCallOutput(output, call_id))
        else:
            self._add(msgspec.structs.replace(item, output=output, call_id=call_id, id=UNSET, status=UNSET))

    def _search(self, item: ToolSearchCall | ToolSearchOutput) -> None:
        """A search of the client's is a plain function call where the vendor has no such item."""
        item_type = "tool_search_call" if isinstance(item, ToolSearchCall) else "tool_search_output"
        if takes_item(self._quirks, item_type):
            self._add(item)
        elif not isinstance(item.call_id, str):
            self.dropped.append(f"input.{item_type}")
        elif isinstance(item, ToolSearchCall):
            self._add(FunctionCall(item.call_id, TOOL_SEARCH, bytes(item.arguments).decode()))
        else:
            names = [getattr(tool, "name", None) or getattr(tool, "type", "") for tool in item.tools]
            self._add(FunctionCallOutput(_encode({"loaded": names}).decode(), item.call_id))

    def _opaque(self, item: Opaque) -> None:
        if takes_item(self._quirks, item.type):
            fields = _decode_fields(item.raw)
            if item.type == "mcp_approval_response" and "approval_request_id" in fields:
                public = _decode_text(fields["approval_request_id"])
                fields["approval_request_id"] = _raw(self._approval_ids.get(public, public))
            self._add(fields)
        elif item.type == "compaction":
            raise InvalidRequest(
                f"A compaction item can only be read by the provider that made it, not by {self._target.name}.",
                param="input",
                code="unsupported_value",
            )
        else:
            self._trace(item)

    # -- what is sent --------------------------------------------------------------------------------------------------

    def _add(self, item: Item | Fields) -> None:
        """One input item without id, nulls and what the vendor refuses; a reasoning item always with its summary."""
        fields = item if isinstance(item, dict) else _decode_fields(_encode(item))
        item_type = _type(fields)
        refused = self._quirks.dropped_item_fields
        kept = {
            name: value
            for name, value in fields.items()
            if name not in refused and bytes(value) != _NULL and (name != "id" or item_type == _REFERRED_TO)
        }
        if item_type == "reasoning":
            kept.setdefault("summary", msgspec.Raw(b"[]"))
        self._items.append(kept)

    def _remove(self, item: Reasoning, reason: str) -> None:
        self.removed.append((item.id or "", reason))


def _is_of_model(entry: Entry) -> bool:
    """Whether reasoning can have led to this: something that a model wrote."""
    if isinstance(entry, Message):
        return entry.role == "assistant"
    return not isinstance(entry, _CLIENTS)


def _type(fields: Fields) -> str:
    return _decode_text(fields["type"]) if "type" in fields else "message"


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _has_call_ids(record: ReplayRecord) -> bool:
    """Whether each call can be told from the others: without ids their outputs could not be matched."""
    for raw in _decode_blocks(record.blocks):
        fields = _decode_fields(raw)
        if _type(fields) in _CALLS and bytes(fields.get("call_id", b"")) in (b"", b'""', _NULL):
            return False
    return True


def _assistant(item: Message) -> Message:
    """A past answer: every text part is output_text, without the log probabilities that no upstream reads."""
    if isinstance(item.content, str):
        return Message("assistant", item.content, phase=item.phase)
    return Message("assistant", tuple(_output_part(part) for part in item.content), phase=item.phase)


def _foreign_message(item: Message) -> Message:
    """Another provider's answer: its text. Annotations and phase would be claims that this provider never made."""
    bare = _assistant(msgspec.structs.replace(item, phase=UNSET))
    if isinstance(bare.content, str):
        return bare
    plain = [
        msgspec.structs.replace(part, annotations=()) if isinstance(part, OutputText) else part for part in bare.content
    ]
    return msgspec.structs.replace(bare, content=tuple(plain))


def _output_part(part: ContentPart) -> ContentPart:
    if isinstance(part, OutputText):
        return msgspec.structs.replace(part, logprobs=())
    return OutputText(part.text) if isinstance(part, (InputText, PlainText)) else part


def _input_part(part: ContentPart) -> ContentPart:
    return InputText(part.text) if isinstance(part, (OutputText, PlainText)) else part


def _joined_text(content: str | Sequence[ContentPart], param: str) -> str:
    """Content as one text; raises InvalidRequest for a part that is not text."""
    if isinstance(content, str):
        return content
    pieces: list[str] = []
    for part in content:
        if not isinstance(part, (InputText, OutputText, PlainText)):
            kind = part.__struct_config__.tag
            raise InvalidRequest(
                f"This model takes only text here, not {kind!r}: send the content in a user message.",
                param=param,
                code="unsupported_value",
            )
        pieces.append(part.text)
    return "\n".join(pieces)


def _calls_joined(items: Sequence[Fields]) -> list[Fields]:
    """Messages that stand between two calls of one turn, moved before the first: the calls stay one block."""
    joined: list[Fields] = []
    first_call: int | None = None
    for item in items:
        is_call = _type(item) in _CALLS
        is_answer = _type(item) == "message" and bytes(item.get("role", b"")) == b'"assistant"'
        if is_call and first_call is None:
            first_call = len(joined)
        if is_answer and first_call is not None:
            joined.insert(first_call, item)
            first_call += 1
            continue
        if not is_call and _type(item) != "reasoning":
            first_call = None
        joined.append(item)
    return joined
