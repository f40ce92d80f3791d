"""One upstream output item while it streams: events in, deltas out, and its block for the replay record.

    message     part texts, refusals, annotations          Text Refusal Cited
    reasoning   summary parts, raw text                    Thinking Summary Thought Carried
    call        function and custom calls                  CallStarted CallArguments
    native      every other type, verbatim                 Native NativeEvent

Every text is known three times: by its deltas, by its `.done` event and by the finished item; upstreams leave out any
two of them. What has not been told yet is told when a later one brings it, and nothing is told twice.
Source: reference of stream events; pitfalls 1, 16, 17, 18, 19, 25, 83, 87, 89.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from antiphon.protocol.deltas import (
    CallArguments,
    CallStarted,
    Carried,
    Cited,
    Delta,
    Ended,
    Native,
    NativeEvent,
    Refusal,
    Summary,
    Text,
    Texts,
    Thinking,
    Thought,
)
from antiphon.protocol.items import Message, OutputText, Reasoning, ReasoningText

from . import responses_wire as wire
from .base import ToolName
from .responses_wire import OutputItem, Part, StreamEvent
from .tool_names import custom_input, lift, search_call

_encode: Final = msgspec.json.Encoder().encode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NO_LOGPROBS: Final = (b"", b"null", b"[]")


class _Told:
    """The text of one part that was told so far."""

    __slots__ = ("annotations", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.annotations = 0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, text: str) -> str:
        if text:
            self.pieces.append(text)
        return text

    def rest_of(self, whole: str) -> str:
        """What `whole` has beyond what was told; a contradicting whole adds nothing."""
        told = self.text
        return self.add(whole[len(told) :]) if whole.startswith(told) else ""


class _Parts:
    """The parts of one item by their index."""

    def __init__(self) -> None:
        self._parts: dict[int, _Told] = {}
        self._streamed: list[str] = []

    def at(self, position: int) -> _Told:
        told = self._parts.get(position)
        if told is None:
            told = self._parts[position] = _Told()
        return told

    def streamed(self, position: int, text: str) -> str:
        """A delta of a part."""
        if text:
            self.went_on(position, [text])
        return text

    def went_on(self, position: int, pieces: list[str]) -> None:
        """Deltas of a part, none of them empty."""
        self._streamed += pieces
        self.at(position).pieces += pieces

    def rest_of(self, position: int, whole: str) -> str:
        """What the finished part has beyond what was told.

        Some servers count content_index up with every delta: then the part is what all deltas told (pitfall 83).
        """
        if "".join(self._streamed).startswith(whole):
            return ""
        return self.at(position).rest_of(whole)

    @property
    def text(self) -> str:
        return "".join(self._parts[position].text for position in sorted(self._parts))


class UpstreamItem(ABC):
    """What all kinds share. `key` names the item in the deltas, `index` and `item_id` are the upstream's."""

    def __init__(self, key: int, item_type: str, index: int | None, item_id: str | None) -> None:
        self.key = key
        self.type = item_type
        self.index = index
        self.item_id = item_id
        self.is_done = False
        self.is_essential = False
        self._is_open = False
        self._raw: msgspec.Raw | None = None

    @abstractmethod
    def added(self, item: OutputItem, raw: msgspec.Raw) -> list[Delta]:
        """`output_item.added` was seen, perhaps after the first deltas, perhaps twice."""

    @abstractmethod
    def event(self, event: StreamEvent, data: bytes) -> list[Delta]:
        """An event about this item."""

    def finish(self, status: Literal["completed", "incomplete"] | None) -> list[Delta]:
        """No more will come; `status` None leaves the item to be closed with the turn."""
        self.is_done = True
        if not self._is_open or status is None:
            return []
        return [Ended(self.key, status)]

    def done(self, item: OutputItem, raw: msgspec.Raw) -> list[Delta]:
        """The upstream's last word on the item: tell what was not told, then end it."""
        self._raw = raw
        deltas = self.caught_up(item)
        return deltas + self.finish("incomplete" if item.status == "incomplete" else "completed")

    @abstractmethod
    def caught_up(self, item: OutputItem) -> list[Delta]:
        """The deltas that the finished item has beyond those told."""

    def block(self) -> bytes | None:
        """The item as it goes back to this upstream; None where there is nothing to send."""
        return None if self._raw is None else bytes(self._raw)


class MessageItem(UpstreamItem):
    """Text, refusals and annotations of one assistant message."""

    def __init__(self, key: int, index: int | None, item_id: str | None) -> None:
        super().__init__(key, "message", index, item_id)
        self._parts = _Parts()
        self._phase: str | None = None

    def added(self, item: OutputItem, raw: msgspec.Raw) -> list[Delta]:
        self._phase = item.phase
        return []

    def event(self, event: StreamEvent, data: bytes) -> list[Delta]:
        position = event.content_index or 0
        if event.type == wire.TEXT:
            return self._text(self._parts.streamed(position, wire.text_of(event.delta)), event.logprobs)
        if event.type == "response.refusal.delta":
            return self._refusal(self._parts.streamed(position, wire.text_of(event.delta)))
        if event.type == "response.output_text.annotation.added":
            return self._cite((event.annotation,), position)
        part = _part_of(event, "output_text")
        # content_part.added opens a part that is still empty; any text in it would come again as deltas.
        return [] if part is None or event.type.endswith(".added") else self._catch_up(position, part)

    def go_on(self, place: wire.Place, pieces: list[str]) -> Delta:
        """More text of a part that has begun, each piece from an event of its own."""
        self._parts.went_on(place[2] or 0, pieces)
        return Texts(self.key, pieces)

    def caught_up(self, item: OutputItem) -> list[Delta]:
        self._phase = self._phase or item.phase
        return [delta for position, part in enumerate(item.parts) for delta in self._catch_up(position, part)]

    def block(self) -> bytes | None:
        """The message, or what was streamed of it where the upstream's own last word is empty (pitfall 89)."""
        if self._raw is not None and any(part.text or part.refusal for part in wire.decode_item(self._raw).parts):
            return bytes(self._raw)
        if not self._parts.text:
            return None
        content = (OutputText(self._parts.text),)
        return _encode(Message("assistant", content, status="completed", phase=self._phase or msgspec.UNSET))

    def _catch_up(self, position: int, part: Part) -> list[Delta]:
        if part.refusal is not None:
            return self._refusal(self._parts.rest_of(position, part.refusal))
        deltas = self._text(self._parts.rest_of(position, part.text or ""), part.logprobs)
        told = self._parts.at(position).annotations
        return deltas + self._cite((part.annotations or ())[told:], position)

    def _text(self, text: str, logprobs: msgspec.Raw) -> list[Delta]:
        if not text:
            return []
        phase = None if self._is_open else self._phase
        self._is_open = True
        has_logprobs = bytes(logprobs) not in _NO_LOGPROBS
        return [Text(self.key, text, logprobs if has_logprobs else None, phase)]

    def _refusal(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._is_open = True
        return [Refusal(self.key, text)]

    def _cite(self, annotations: Sequence[msgspec.Raw], position: int) -> list[Delta]:
        self._parts.at(position).annotations += len(annotations)
        kept = [annotation for annotation in annotations if wire.is_present(annotation)]
        self._is_open |= bool(kept)
        return [Cited(self.key, annotation) for annotation in kept]


class ReasoningItem(UpstreamItem):
    """Summary parts and raw text of one reasoning item; its own bytes are what carries it to the next turn."""

    def __init__(self, key: int, index: int | None, item_id: str | None) -> None:
        super().__init__(key, "reasoning", index, item_id)
        self._summaries = _Parts()
        self._thoughts = _Parts()

    def opened(self) -> list[Delta]:
        """Announce the item: it exists even if none of it can be read."""
        if self._is_open:
            return []
        self._is_open = True
        return [Thinking(self.key)]

    def added(self, item: OutputItem, raw: msgspec.Raw) -> list[Delta]:
        return self.opened()

    def event(self, event: StreamEvent, data: bytes) -> list[Delta]:
        is_summary = event.type.startswith("response.reasoning_summary")
        position = (event.summary_index if is_summary else event.content_index) or 0
        parts = self._summaries if is_summary else self._thoughts
        text = ""
        if event.type.endswith(".delta"):
            text = parts.streamed(position, wire.text_of(event.delta))
        elif event.type.endswith(".done"):
            part = _part_of(event, "reasoning_text")
            text = parts.rest_of(position, (part.text if part else None) or "")
        return self.opened() + self._told(text, position if is_summary else None)

    def caught_up(self, item: OutputItem) -> list[Delta]:
        deltas = self.opened()
        for position, part in enumerate(item.summary or ()):
            deltas += self._told(self._summaries.rest_of(position, part.text or ""), position)
        for position, part in enumerate(item.parts):
            deltas += self._told(self._thoughts.rest_of(position, part.text or ""), None)
        self.is_essential = bool(item.encrypted_content)
        if self._raw is not None and (item.encrypted_content or item.parts):
            deltas.append(Carried(self.key, self._raw))
        return deltas

    def block(self) -> bytes | None:
        if self._raw is not None:
            return bytes(self._raw)
        text = self._thoughts.text
        return _encode(Reasoning(content=(ReasoningText(text),))) if text else None

    def _told(self, text: str, summary: int | None) -> list[Delta]:
        if not text:
            return []
        return [Thought(self.key, text) if summary is None else Summary(self.key, text, summary)]


class CallItem(UpstreamItem):
    """A function or custom call. It is announced once its name is known; until then its arguments wait."""

    def __init__(
        self, key: int, item_type: str, index: int | None, item_id: str | None, names: Sequence[ToolName]
    ) -> None:
        super().__init__(key, item_type, index, item_id)
        self._names = names
        self._told = _Told()
        self._waiting: list[str] = []
        self._tool: ToolName | None = None
        self._call_id = ""
        self._namespace: str | None = None

    def added(self, item: OutputItem, raw: msgspec.Raw) -> list[Delta]:
        # Arguments in `added` are a placeholder ("{}") or come again as deltas: only the last word on them counts.
        return self._named(item.name, item)

    def event(self, event: StreamEvent, data: bytes) -> list[Delta]:
        if event.type.endswith(".delta"):
            return self._more(self._told.add(wire.text_of(event.delta)))
        deltas = self._named(event.name, None)
        return deltas + self._more(self._told.rest_of(wire.text_of(event.arguments) or wire.text_of(event.input)))

    def caught_up(self, item: OutputItem) -> list[Delta]:
        deltas = self._named(item.name, item)
        return deltas + self._more(self._told.rest_of(wire.text_of(item.arguments) or wire.text_of(item.input)))

    def finish(self, status: Literal["completed", "incomplete"] | None) -> list[Delta]:
        deltas: list[Delta] = []
        if self._tool is not None and not self.is_done:
            if self._tool.is_search and status == "completed":
                deltas.append(search_call(self.key, self._call_id, self._told.text))
            elif self._tool.wrapped:
                deltas.append(CallArguments(self.key, custom_input(self._told.text)))
        return deltas + super().finish(status)

    def block(self) -> bytes | None:
        """The call as the upstream wrote it, under the call id that was announced."""
        if self._tool is None:
            return None
        if self._raw is None:
            content = {"input" if self.type == "custom_tool_call" else "arguments": self._told.text}
            return _encode({"type": self.type, "call_id": self._call_id, "name": self._tool.wire_name} | content)
        if wire.decode_item(self._raw).call_id == self._call_id:
            return bytes(self._raw)
        return _encode(_decode_fields(self._raw) | {"call_id": self._call_id})

    def _named(self, name: str | None, item: OutputItem | None) -> list[Delta]:
        if item is not None:
            self._call_id = self._call_id or item.call_id or ""
            self._namespace = self._namespace or item.namespace
        if self._tool is not None or not name:
            return []
        tool = self._tool = lift(self._names, name)
        if tool.is_search:
            return []
        self._is_open = True
        kind = "custom" if self.type == "custom_tool_call" else tool.kind
        started = CallStarted(self.key, tool.name, self._call_id, kind, self._namespace or tool.namespace)
        waiting, self._waiting = "".join(self._waiting), []
        return [started, *self._more(waiting)]

    def _more(self, text: str) -> list[Delta]:
        if self._tool is None:
            self._waiting.append(text)
            return []
        if not text or self._tool.wrapped or self._tool.is_search:
            return []
        return [CallArguments(self.key, text)]


class NativeItem(UpstreamItem):
    """An item of a type that only the provider understands."""

    def __init__(self, key: int, item_type: str, index: int | None, item_id: str | None) -> None:
        super().__init__(key, item_type, index, item_id)
        self.is_essential = True

    def added(self, item: OutputItem, raw: msgspec.Raw) -> list[Delta]:
        if self._raw is not None:
            return []
        self._raw = raw
        return [Native(self.key, self.type, raw, "added")]

    def event(self, event: StreamEvent, data: bytes) -> list[Delta]:
        return [NativeEvent(self.key, event.type, msgspec.Raw(data))]

    def caught_up(self, item: OutputItem) -> list[Delta]:
        """The finished item itself: it closes what is open, so no Ended follows."""
        return [] if self._raw is None else [Native(self.key, self.type, self._raw, "done")]


def _part_of(event: StreamEvent, part_type: str) -> Part | None:
    """The part that an event is about: spelled out, or by the whole text of a `.done` event."""
    if wire.is_present(event.part):
        return wire.read(wire.decode_part, event.part)
    if event.text is None and event.refusal is None:
        return None
    return Part(part_type, event.text, event.refusal, None, event.logprobs)
