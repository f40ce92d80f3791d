"""Output items while they are being written: one small state machine per kind.

    message    added · (part added · delta* · text/refusal done · part done)* · done
    reasoning  added · (summary part added · delta* · text done · part done)* · done
               added · part added · delta* · text done · part done · done          (raw text of open models)
    call       added · delta* · arguments/input done · done
    native     added · forwarded* · done

Each holds what it has emitted, so that the finished item is the accumulation of its own deltas and nothing else.
Must never mint an id or know a wire. Source: reference "exact Responses SSE grammar"; OpenAI OpenAPI stream events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from antiphon.protocol import events as ev
from antiphon.protocol.items import (
    CustomToolCall,
    FunctionCall,
    Message,
    OutputText,
    Reasoning,
    ReasoningText,
    RefusalPart,
    SummaryText,
)

ItemEnd = Literal["completed", "incomplete"]
_encode: Final = msgspec.json.Encoder().encode
_decode_list: Final = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ENVELOPE: Final = frozenset({"type", "sequence_number", "item_id", "output_index"})


class Place(msgspec.Struct, frozen=True):
    """Where an item stands and how its events get out."""

    item_id: str
    output_index: int
    emit: Callable[[ev.Event], None]


def raw(value: object) -> msgspec.Raw:
    """A value as JSON that is embedded verbatim."""
    return msgspec.Raw(_encode(value))


def _rows(logprobs: msgspec.Raw | None) -> tuple[msgspec.Raw, ...]:
    """The rows of a logprobs array; none of anything else an upstream may have put in its place."""
    try:
        return () if logprobs is None else _decode_list(logprobs)
    except msgspec.ValidationError:
        return ()


class _Part:
    """A message part under construction."""

    def __init__(self, kind: Literal["text", "refusal"], content_index: int) -> None:
        self.kind = kind
        self.content_index = content_index
        self.pieces: list[str] = []
        self.annotations: list[msgspec.Raw] = []
        self.logprobs: list[msgspec.Raw] = []

    def content(self) -> OutputText | RefusalPart:
        text = "".join(self.pieces)
        if self.kind == "refusal":
            return RefusalPart(text)
        return OutputText(text, tuple(self.annotations), tuple(self.logprobs))


class OpenMessage:
    """An assistant message."""

    def __init__(self, place: Place, phase: str | None) -> None:
        self.place = place
        self._phase = phase or msgspec.UNSET
        self._finished: list[OutputText | RefusalPart] = []
        self._part: _Part | None = None
        place.emit(ev.OutputItemAdded(place.output_index, self._item("in_progress")))

    def _item(self, status: Literal["in_progress", "completed", "incomplete"]) -> Message:
        return Message("assistant", tuple(self._finished), self.place.item_id, status, self._phase)

    def _open(self, kind: Literal["text", "refusal"]) -> _Part:
        part = self._part
        if part is not None and part.kind == kind:
            return part
        self._end_part()
        part = self._part = _Part(kind, len(self._finished))
        place = self.place
        place.emit(ev.ContentPartAdded(place.item_id, place.output_index, part.content_index, part.content()))
        return part

    def text(self, text: str, logprobs: msgspec.Raw | None) -> None:
        part = self._part
        if part is None or part.kind != "text":
            part = self._open("text")
        part.pieces.append(text)
        place = self.place
        delta = ev.OutputTextDelta(place.item_id, place.output_index, part.content_index, text)
        if logprobs is not None and (rows := _rows(logprobs)):
            part.logprobs.extend(rows)
            delta.logprobs = logprobs
        place.emit(delta)

    def texts(self, pieces: list[str]) -> None:
        part = self._part
        if part is None or part.kind != "text":
            part = self._open("text")
        part.pieces += pieces
        place = self.place
        for text in pieces:
            place.emit(ev.OutputTextDelta(place.item_id, place.output_index, part.content_index, text))

    def refusal(self, text: str) -> None:
        part = self._open("refusal")
        part.pieces.append(text)
        place = self.place
        place.emit(ev.RefusalDelta(place.item_id, place.output_index, part.content_index, text))

    def cite(self, annotation: msgspec.Raw) -> None:
        part = self._open("text")
        place = self.place
        index = len(part.annotations)
        part.annotations.append(annotation)
        place.emit(ev.AnnotationAdded(place.item_id, place.output_index, part.content_index, index, annotation))

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        content = part.content()
        where = (self.place.item_id, self.place.output_index, part.content_index)
        if isinstance(content, RefusalPart):
            self.place.emit(ev.RefusalDone(*where, content.refusal))
        else:
            self.place.emit(ev.OutputTextDone(*where, content.text, content.logprobs or ()))
        self.place.emit(ev.ContentPartDone(*where, content))
        self._finished.append(content)

    def close(self, status: ItemEnd) -> msgspec.Raw:
        self._end_part()
        return raw(self._item(status))


class OpenReasoning:
    """Reasoning, as summary parts, as raw text, or without any readable text."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._summary: list[SummaryText] = []
        self._pieces: list[str] = []
        self._part: int | None = None
        self._content: list[ReasoningText] = []
        self._text: list[str] | None = None
        self.encrypted_content: str | None = None
        place.emit(ev.OutputItemAdded(place.output_index, Reasoning(id=place.item_id)))

    def summary(self, text: str, part: int) -> None:
        self._end_text()
        place = self.place
        if self._part != part:
            self._end_summary()
            self._part = part
            index = len(self._summary)
            place.emit(ev.SummaryPartAdded(place.item_id, place.output_index, index, SummaryText("")))
        self._pieces.append(text)
        place.emit(ev.SummaryTextDelta(place.item_id, place.output_index, len(self._summary), text))

    def _end_summary(self) -> None:
        if self._part is None:
            return
        self._part = None
        content = SummaryText("".join(self._pieces))
        self._pieces = []
        where = (self.place.item_id, self.place.output_index, len(self._summary))
        self.place.emit(ev.SummaryTextDone(*where, content.text))
        self.place.emit(ev.SummaryPartDone(*where, content))
        self._summary.append(content)

    def thought(self, text: str) -> None:
        self._end_summary()
        place = self.place
        index = len(self._content)
        if self._text is None:
            self._text = []
            place.emit(ev.ContentPartAdded(place.item_id, place.output_index, index, ReasoningText("")))
        self._text.append(text)
        place.emit(ev.ReasoningTextDelta(place.item_id, place.output_index, index, text))

    def _end_text(self) -> None:
        if self._text is None:
            return
        content = ReasoningText("".join(self._text))
        self._text = None
        where = (self.place.item_id, self.place.output_index, len(self._content))
        self.place.emit(ev.ReasoningTextDone(*where, content.text))
        self.place.emit(ev.ContentPartDone(*where, content))
        self._content.append(content)

    def close(self, status: ItemEnd) -> msgspec.Raw:
        del status  # Open Responses knows no status on reasoning items
        self._end_summary()
        self._end_text()
        item = Reasoning(tuple(self._summary), self.place.item_id)
        if self._content:
            item = msgspec.structs.replace(item, content=tuple(self._content))
        if self.encrypted_content is not None:
            item = msgspec.structs.replace(item, encrypted_content=self.encrypted_content)
        return raw(item)


class OpenCall:
    """A call to a function or custom tool of the client's."""

    def __init__(
        self,
        place: Place,
        call_id: str,
        name: str,
        namespace: str | None,
        kind: Literal["function", "custom"],
    ) -> None:
        self.place = place
        self._call_id = call_id
        self._name = name
        self._namespace = namespace or msgspec.UNSET
        self._kind = kind
        self._pieces: list[str] = []
        place.emit(ev.OutputItemAdded(place.output_index, self._item("", "in_progress")))

    def _item(
        self, text: str, status: Literal["in_progress", "completed", "incomplete"]
    ) -> FunctionCall | CustomToolCall:
        item_id, namespace = self.place.item_id, self._namespace
        if self._kind == "custom":
            return CustomToolCall(self._call_id, self._name, text, item_id, namespace=namespace)
        return FunctionCall(self._call_id, self._name, text, item_id, status, namespace)

    def arguments(self, text: str) -> None:
        self._pieces.append(text)
        place = self.place
        if self._kind == "custom":
            place.emit(ev.CustomInputDelta(place.item_id, place.output_index, text))
        else:
            place.emit(ev.ArgumentsDelta(place.item_id, place.output_index, text))

    def close(self, status: ItemEnd) -> msgspec.Raw:
        place = self.place
        if not self._pieces and self._kind == "function":
            # A call without arguments is `{}` here, never "": clients parse it, and langchain reads only deltas.
            self.arguments("{}")
        text = "".join(self._pieces)
        if self._kind == "custom":
            place.emit(ev.CustomInputDone(place.item_id, place.output_index, text))
        else:
            place.emit(ev.ArgumentsDone(place.item_id, place.output_index, self._name, text))
        return raw(self._item(text, status))


_FIXED: Final = ("call_id", "name")
"""Fields of a native item that clients have read when it was added."""


class OpenNative:
    """An item only the provider understands: its JSON goes through, its id becomes ours."""

    def __init__(self, place: Place, item_type: str, item: msgspec.Raw) -> None:
        self.place = place
        self._event_prefix = f"response.{item_type}"
        self._latest = self._renamed(item)
        place.emit(ev.OutputItemAdded(place.output_index, self._latest))

    def _renamed(self, item: msgspec.Raw) -> msgspec.Raw:
        fields = _decode_fields(item)
        return raw({"type": fields.get("type"), "id": self.place.item_id} | _without_id(fields))

    def forward(self, event_type: str, event: msgspec.Raw) -> None:
        """An event of this kind of item; a name that is no such event's would break clients that know them all."""
        if not event_type.startswith(self._event_prefix):
            return
        fields = {key: value for key, value in _decode_fields(event).items() if key not in _ENVELOPE}
        place = self.place
        place.emit(ev.Forwarded(event_type, place.item_id, place.output_index, fields))

    def replace(self, item: msgspec.Raw) -> None:
        """The provider's later word on the item, which wins; but for what tells which call it is."""
        before = _decode_fields(self._latest)
        fixed = {name: before[name] for name in _FIXED if name in before}
        self._latest = raw(_decode_fields(self._renamed(item)) | fixed)

    def close(self, status: ItemEnd) -> msgspec.Raw:
        fields = _decode_fields(self._latest)
        if bytes(fields.get("status", b"")) == b'"in_progress"':  # no item is over and still in progress
            self._latest = raw(fields | {"status": raw(status)})
        return self._latest


def _without_id(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    return {key: value for key, value in fields.items() if key not in ("id", "type")}


OpenItem = OpenMessage | OpenReasoning | OpenCall | OpenNative
