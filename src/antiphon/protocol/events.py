"""The streamed events, one Struct each, tagged by `type`.

What a response, an item or a part was at some time is held as such, and written when a reader asks for the event;
what is kept of it, finished items and the terminal response, is `Raw`: written once, and shared by all.
`sequence_number` is set by the log when the event is written; nobody else may set it.
Source: OpenAI OpenAPI `ResponseStreamEvent`; Open Responses `*StreamingEvent`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import lru_cache
from typing import Final

import msgspec

from .items import Item, OutputText, ReasoningText, RefusalPart, SummaryText
from .response import Response

NO_LOGPROBS: Final = msgspec.Raw(b"[]")
Part = OutputText | RefusalPart | ReasoningText


class _Event(msgspec.Struct, tag_field="type", kw_only=True):
    sequence_number: int = -1


class Snapshot:
    """The response as it was when several events were made of it; its JSON, once one of them is written."""

    __slots__ = ("_raw", "_response")

    def __init__(self, response: Response) -> None:
        self._response = copy(response)
        self._raw: msgspec.Raw | None = None

    def raw(self) -> msgspec.Raw:
        """The JSON."""
        if self._raw is None:
            self._raw = msgspec.Raw(msgspec.json.encode(self._response))
        return self._raw


class _BeforeEnd(_Event, kw_only=False):
    response: msgspec.Raw | Snapshot


class _AboutResponse(_Event, kw_only=False):
    response: msgspec.Raw


class ResponseCreated(_BeforeEnd, tag="response.created"):
    """The upstream answered 2xx: the response exists."""


class ResponseQueued(_AboutResponse, tag="response.queued"):
    """A background response waits for a worker."""


class ResponseInProgress(_BeforeEnd, tag="response.in_progress"):
    """The model works."""


class ResponseCompleted(_AboutResponse, tag="response.completed"):
    """Terminal: a whole answer."""


class ResponseIncomplete(_AboutResponse, tag="response.incomplete"):
    """Terminal: cut short, `incomplete_details` says why."""


class ResponseFailed(_AboutResponse, tag="response.failed"):
    """Terminal: `error` says why."""


class OutputItemAdded(_Event, tag="response.output_item.added", kw_only=False):
    output_index: int
    item: msgspec.Raw | Item


class OutputItemDone(_Event, tag="response.output_item.done", kw_only=False):
    output_index: int
    item: msgspec.Raw


class _InItem(_Event, kw_only=False):
    item_id: str
    output_index: int


class _InPart(_InItem, kw_only=False):
    content_index: int


class ContentPartAdded(_InPart, tag="response.content_part.added", kw_only=False):
    part: Part


class ContentPartDone(_InPart, tag="response.content_part.done", kw_only=False):
    part: Part


class OutputTextDelta(_InPart, tag="response.output_text.delta", kw_only=False, gc=False):
    delta: str
    logprobs: msgspec.Raw = NO_LOGPROBS


class OutputTextDone(_InPart, tag="response.output_text.done", kw_only=False):
    text: str
    logprobs: tuple[msgspec.Raw, ...] = ()


class AnnotationAdded(_InPart, tag="response.output_text.annotation.added", kw_only=False):
    annotation_index: int
    annotation: msgspec.Raw


class RefusalDelta(_InPart, tag="response.refusal.delta", kw_only=False):
    delta: str


class RefusalDone(_InPart, tag="response.refusal.done", kw_only=False):
    refusal: str


class ReasoningTextDelta(_InPart, tag="response.reasoning_text.delta", kw_only=False):
    delta: str


class ReasoningTextDone(_InPart, tag="response.reasoning_text.done", kw_only=False):
    text: str


class _InSummary(_InItem, kw_only=False):
    summary_index: int


class SummaryPartAdded(_InSummary, tag="response.reasoning_summary_part.added", kw_only=False):
    part: SummaryText


class SummaryPartDone(_InSummary, tag="response.reasoning_summary_part.done", kw_only=False):
    part: SummaryText


class SummaryTextDelta(_InSummary, tag="response.reasoning_summary_text.delta", kw_only=False):
    delta: str


class SummaryTextDone(_InSummary, tag="response.reasoning_summary_text.done", kw_only=False):
    text: str


class ArgumentsDelta(_InItem, tag="response.function_call_arguments.delta", kw_only=False):
    delta: str


class ArgumentsDone(_InItem, tag="response.function_call_arguments.done", kw_only=False):
    name: str
    arguments: str


class CustomInputDelta(_InItem, tag="response.custom_tool_call_input.delta", kw_only=False):
    delta: str


class CustomInputDone(_InItem, tag="response.custom_tool_call_input.done", kw_only=False):
    input: str


class SteerReceipt(msgspec.Struct, frozen=True):
    """A steering submission and the response it is for."""

    id: str
    previous_response_id: str


class SteerAccepted(_Event, tag="response.steer.accepted", kw_only=False):
    """WebSocket only: the server owns the input; the successor's `response.created` is when it is applied."""

    steer: SteerReceipt


class SteerPending(_Event, tag="response.steer.pending", kw_only=False):
    """WebSocket only, after the terminal event: the input waits for tool outputs that the client owes."""

    steer: SteerReceipt
    required_input: tuple[msgspec.Raw, ...]
    reason: str = "waiting_for_required_input"


class Forwarded:
    """An event about a native item: the upstream's own fields under our ids; `fields` has no envelope keys."""

    __slots__ = ("fields", "item_id", "output_index", "sequence_number", "type")

    def __init__(self, event_type: str, item_id: str, output_index: int, fields: dict[str, msgspec.Raw]) -> None:
        self.type = event_type
        self.item_id = item_id
        self.output_index = output_index
        self.fields = fields
        self.sequence_number = -1


Terminal = ResponseCompleted | ResponseIncomplete | ResponseFailed
TERMINALS: Final = (ResponseCompleted, ResponseIncomplete, ResponseFailed)
Event = (
    ResponseCreated
    | ResponseQueued
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | AnnotationAdded
    | RefusalDelta
    | RefusalDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | SummaryPartAdded
    | SummaryPartDone
    | SummaryTextDelta
    | SummaryTextDone
    | ArgumentsDelta
    | ArgumentsDone
    | CustomInputDelta
    | CustomInputDone
    | SteerAccepted
    | SteerPending
    | Forwarded
)

DELTAS: Final = (
    OutputTextDelta,
    RefusalDelta,
    ReasoningTextDelta,
    SummaryTextDelta,
    ArgumentsDelta,
    CustomInputDelta,
)
"""Events whose frames carry `obfuscation` padding unless the client declines it."""

DELTA_TYPES: Final = frozenset(str(kind.__struct_config__.tag) for kind in DELTAS)
TERMINAL_TYPES: Final = frozenset(str(kind.__struct_config__.tag) for kind in TERMINALS)


def type_of(event: Event) -> str:
    """The event's `type`, which is also its SSE event name."""
    if isinstance(event, Forwarded):
        return event.type
    return str(event.__struct_config__.tag)


def frame_head(event: Event) -> bytes:
    """The first line of the event's frame, and the beginning of its second."""
    return DELTA_HEADS.get(type(event)) or _frame_head(type_of(event))


@lru_cache(maxsize=512)
def _frame_head(event_type: str) -> bytes:
    return b"event: " + event_type.encode() + b"\ndata: "


DELTA_HEADS: Final[dict[type[object], bytes]] = {kind: _frame_head(str(kind.__struct_config__.tag)) for kind in DELTAS}
"""What `frame_head` says of deltas."""


def _as_json(value: object) -> dict[str, object] | msgspec.Raw:
    """A forwarded event as its object, or a snapshot: the kinds that msgspec does not know."""
    if isinstance(value, Snapshot):
        return value.raw()
    assert isinstance(value, Forwarded), "all others are structs"
    envelope: dict[str, object] = {
        "type": value.type,
        "sequence_number": value.sequence_number,
        "item_id": value.item_id,
        "output_index": value.output_index,
    }
    return envelope | value.fields


encode_event: Final[Callable[[Event], bytes]] = msgspec.json.Encoder(enc_hook=_as_json).encode
"""The event as one JSON object."""
