"""The answer of a Responses-speaking upstream, from bytes to deltas.

    response.created | in_progress | queued     Started
    response.output_item.added                  an item opens
    any event with an output_index or item_id   goes to its item (`responses_items`)
    response.output_item.done                   the item is whole
    response.completed | incomplete | failed    what was never streamed, Used, Kept, Finished or Failed
    error                                       Failed

Items are found by the upstream's output_index, because ids rotate between events of one item on some upstreams; by
item_id, because the index jumps on others; else by what kind of item the event is about. A body that is not a stream
but one response object is read as its own terminal event. Must never trust a stream that ends without one.
Source: reference of stream events and of the Responses dialects; pitfalls 2, 20, 22, 46, 74, 82, 85, 86.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from antiphon.protocol.deltas import Delta, Failed, Finished, Kept, Started, Used
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.sse import MAX_EVENT_BYTES, SseDecoder, SseEvent
from antiphon.protocol.utf8 import as_utf8

from . import faults_report
from . import responses_wire as wire
from .base import ToolName
from .faults import classify_event
from .responses_items import CallItem, MessageItem, NativeItem, ReasoningItem, UpstreamItem
from .responses_wire import OutputItem, StreamEvent, WireResponse

_OPENING: Final = frozenset({"response.created", "response.in_progress", "response.queued"})
_TERMINAL: Final[dict[str, str]] = {
    "response.completed": "completed",
    "response.done": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
# The kinds of item whose events we read ourselves, by the beginning of the event's type.
_KINDS: Final[tuple[tuple[str, type[UpstreamItem]], ...]] = (
    ("response.output_text.", MessageItem),
    ("response.refusal.", MessageItem),
    ("response.reasoning", ReasoningItem),
    ("response.function_call_arguments.", CallItem),
    ("response.custom_tool_call_input.", CallItem),
)
_CONTENT_PART: Final = "response.content_part."
_REASONING_PARTS: Final = frozenset({"reasoning_text", "summary_text", "reasoning"})

# An answer that was cut for a reason unknown to us is still cut: it must not pass as whole.
_REASONS: Final[dict[str, Literal["max_output_tokens", "content_filter"]]] = {"content_filter": "content_filter"}


class ResponsesDecoder:
    """Reads one answer. `names` are the tools as this turn's request called them."""

    def __init__(self, names: Sequence[ToolName] = ()) -> None:
        self._names = names
        self._sse = SseDecoder()
        self._body: list[bytes] | None = None
        self._body_size = 0
        self._has_bytes = False
        self._items: list[UpstreamItem] = []
        self._by_index: dict[int, UpstreamItem] = {}
        self._started: Started | None = None
        self._goes_on: MessageItem | None = None
        self._place: wire.Place = (None, None, None)
        self._is_over = False

    def feed(self, chunk: bytes) -> list[Delta]:
        """The deltas that this chunk completes; see `Decoder.feed`."""
        if self._is_over:
            return []
        if not self._has_bytes:
            chunk = chunk.lstrip()
            self._has_bytes = bool(chunk)
            # No line of an event stream begins with a brace: an upstream that ignored `stream` sends one object.
            if chunk.startswith(b"{"):
                self._body = []
        if self._body is not None:
            return self._hoard(self._body, chunk)
        return self._read(self._sse.feed(chunk))

    def close(self) -> list[Delta]:
        """The bytes have ended; raises TruncatedStream if no terminal event was among them."""
        if self._is_over:
            return []
        try:
            deltas = self._read(self._sse.close()) if self._body is None else self._whole(as_utf8(b"".join(self._body)))
        except UpstreamFault as error:
            raise TruncatedStream("The last event of the stream is cut in the middle.") from error
        if not self._is_over:
            raise TruncatedStream("The stream ended without a terminal event.")
        return deltas

    def _hoard(self, body: list[bytes], chunk: bytes) -> list[Delta]:
        self._body_size += len(chunk)
        if self._body_size > MAX_EVENT_BYTES:
            raise UpstreamFault("transport", f"The provider's answer is larger than {MAX_EVENT_BYTES} bytes.")
        body.append(chunk)
        return []

    def _whole(self, body: bytes) -> list[Delta]:
        response = wire.read(wire.decode_response, body)
        if wire.is_present(response.error) and response.output is None:
            return self._fail(response.error)
        return self._end(response, response.status or "completed")

    def _read(self, events: Iterable[SseEvent]) -> list[Delta]:
        deltas: list[Delta] = []
        pieces: list[str] = []
        for event in events:
            if self._is_over:
                break
            if self._goes_on is not None:
                if text := wire.text_at(self._place, event.data):
                    pieces.append(text)
                    continue
                deltas += self._more(pieces)
                pieces = []
            if event.data.strip() not in (b"", b"[DONE]"):
                deltas += self._event(event)
        return deltas + self._more(pieces)

    def _more(self, pieces: list[str]) -> list[Delta]:
        """More text of the message that was told of last, as most events are."""
        return [] if self._goes_on is None or not pieces else [self._goes_on.go_on(self._place, pieces)]

    def _event(self, sse: SseEvent) -> list[Delta]:
        self._goes_on = None
        event = wire.read(wire.decode_event, sse.data)
        event_type = event.type or sse.name
        if event_type in _OPENING:
            return self._start(wire.read(wire.decode_response, event.response))
        if event_type in _TERMINAL:
            response = wire.read(wire.decode_response, event.response)
            status = response.status if response.status in _TERMINAL.values() else None
            return self._end(response, status or _TERMINAL[event_type])
        if event_type == "error" or (not event_type and wire.is_present(event.error)):
            return self._fail(event.error if wire.is_present(event.error) else msgspec.Raw(sse.data))
        if event_type in ("response.output_item.added", "response.output_item.done"):
            return self._item_event(event, event_type.endswith("done")) if wire.is_present(event.item) else []
        if not event.type:
            event = msgspec.structs.replace(event, type=event_type)
        return self._about_item(event, sse.data)

    def _start(self, response: WireResponse) -> list[Delta]:
        """Once, and again when a later event corrects the service tier (`auto` becomes the tier really used)."""
        known = self._started
        model, upstream_id = response.model or "", response.id or ""
        if known is not None:
            model, upstream_id = known.model or model, known.upstream_id or upstream_id
        started = Started(model, upstream_id, response.service_tier or (known.service_tier if known else None))
        self._started = started
        return [] if started == known else [started]

    # -- items ---------------------------------------------------------------------------------------------------------

    def _item_event(self, event: StreamEvent, is_done: bool) -> list[Delta]:
        item = wire.read(wire.decode_item, event.item)
        if not item.type:
            return []
        found = self._item_at(event.output_index, item)
        if not is_done:
            if found is None or (found.is_done and found.item_id != item.id):
                found = self._open(item, event.output_index)
            return [] if found.is_done else found.added(item, event.item)
        if found is None:
            # The index has jumped and the id has changed: the one still open is meant, if there is one.
            unfinished = [known for known in self._items if known.type == item.type and not known.is_done]
            found = unfinished[0] if unfinished else self._open(item, event.output_index)
        return [] if found.is_done else found.done(item, event.item)

    def _item_at(self, index: int | None, item: OutputItem) -> UpstreamItem | None:
        """The item that `output_item.*` speaks of, if it is known: same type at the same place, or with the same id."""
        at_index = None if index is None else self._by_index.get(index)
        if at_index is not None and at_index.type == item.type:
            return at_index
        alike = [known for known in self._items if known.type == item.type]
        return next((known for known in alike if item.id and known.item_id == item.id), None)

    def _open(self, item: OutputItem, index: int | None) -> UpstreamItem:
        key = len(self._items)
        if item.type == "message":
            opened: UpstreamItem = MessageItem(key, index, item.id)
        elif item.type == "reasoning":
            opened = ReasoningItem(key, index, item.id)
        elif item.type in ("function_call", "custom_tool_call"):
            opened = CallItem(key, item.type, index, item.id, self._names)
        else:
            opened = NativeItem(key, item.type, index, item.id)
        self._items.append(opened)
        if index is not None:
            self._by_index[index] = opened
        return opened

    def _about_item(self, event: StreamEvent, data: bytes) -> list[Delta]:
        kind = _kind_of(event)
        item = self._item_of(event, kind)
        if item is None:
            item = self._implied(event, kind)
        if item is None or item.is_done:
            return []
        deltas = item.event(event, data)
        if deltas and event.type == wire.TEXT and isinstance(item, MessageItem):
            self._goes_on, self._place = item, (event.output_index, event.item_id, event.content_index)
        return deltas

    def _item_of(self, event: StreamEvent, kind: type[UpstreamItem]) -> UpstreamItem | None:
        at_index = None if event.output_index is None else self._by_index.get(event.output_index)
        if at_index is not None and isinstance(at_index, kind):
            return at_index
        alike = [item for item in self._items if isinstance(item, kind) and not item.is_done]
        named = [item for item in alike if event.item_id and item.item_id == event.item_id]
        if named:
            return named[0]
        # A native event without a place could belong to any item: better not forwarded than put on a wrong one.
        return alike[-1] if alike and kind is not NativeItem and at_index is None else None

    def _implied(self, event: StreamEvent, kind: type[UpstreamItem]) -> UpstreamItem | None:
        """An item whose `added` event the upstream left out (pitfall 25)."""
        if kind is MessageItem:
            return self._open(OutputItem("message", event.item_id), event.output_index)
        if kind is ReasoningItem:
            return self._open(OutputItem("reasoning", event.item_id), event.output_index)
        if kind is CallItem:
            is_custom = event.type.startswith("response.custom")
            item_type = "custom_tool_call" if is_custom else "function_call"
            return self._open(OutputItem(item_type, event.item_id), event.output_index)
        return None

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end(self, response: WireResponse, status: str) -> list[Delta]:
        deltas = self._start(response)
        if response.usage is not None:
            deltas.append(Used(response.usage.counted()))
        if status == "failed" or wire.is_present(response.error):
            return deltas + self._fail(response.error)
        if status == "cancelled":
            return deltas + self._failed(UpstreamFault("server", "The provider cancelled the response."))
        is_whole = status == "completed"
        deltas += self._catch_up(response.output or ())
        for item in self._items:
            if not item.is_done:
                deltas += item.finish("completed" if is_whole else None)
        deltas += self._kept()
        self._is_over = True
        if is_whole:
            return [*deltas, Finished()]
        reason = response.incomplete_details.reason if response.incomplete_details else None
        return [*deltas, Finished(_REASONS.get(reason or "", "max_output_tokens"))]

    def _catch_up(self, output: Iterable[msgspec.Raw]) -> list[Delta]:
        """The n-th item of a type in the final output is the n-th that was streamed of it; more are told now."""
        streamed = list(self._items)
        counts: dict[str, int] = {}
        deltas: list[Delta] = []
        for position, raw in enumerate(output):
            item = wire.read(wire.decode_item, raw)
            if not item.type:
                continue
            nth = counts[item.type] = counts.get(item.type, -1) + 1
            alike = [known for known in streamed if known.type == item.type]
            known = alike[nth] if nth < len(alike) else self._open(item, position)
            if not known.is_done:
                deltas += known.done(item, raw)
        return deltas

    def _kept(self) -> list[Delta]:
        """The blocks in the upstream's order, where it gave one."""
        ordered = sorted(self._items, key=lambda item: item.key if item.index is None else item.index)
        blocks = [block for item in ordered if (block := item.block()) is not None]
        if not blocks:
            return []
        is_essential = any(item.is_essential for item in self._items)
        return [Kept(msgspec.Raw(b"[" + b",".join(blocks) + b"]"), is_essential)]

    def _fail(self, error: msgspec.Raw) -> list[Delta]:
        """The fault behind an error object; one with neither code nor message still fails (pitfall 74)."""
        if not wire.is_present(error):
            return self._failed(classify_event(None, None, ""))
        report = faults_report.read(bytes(error))
        try:
            telling = wire.decode_error(error)
        except msgspec.DecodeError:
            telling = wire.WireError()
        code = None if telling.code is None else str(telling.code)
        kind = None if telling.type == "error" else telling.type
        return self._failed(classify_event(code, kind, report.message))

    def _failed(self, fault: UpstreamFault) -> list[Delta]:
        self._is_over = True
        return [Failed(fault)]


def _kind_of(event: StreamEvent) -> type[UpstreamItem]:
    """The kind of item that an event is about; what we do not read ourselves is about a native one."""
    for beginning, kind in _KINDS:
        if event.type.startswith(beginning):
            return kind
    if event.type.startswith(_CONTENT_PART) and wire.is_present(event.part):
        part = wire.read(wire.decode_part, event.part)
        return ReasoningItem if part.type in _REASONING_PARTS else MessageItem
    return NativeItem
