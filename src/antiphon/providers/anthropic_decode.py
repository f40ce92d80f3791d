"""The answer of a Messages call to deltas.

    message_start         usage so far, the model's name
    content_block_start   text, thinking, redacted_thinking, tool_use open; anything else is kept as it is
    content_block_delta   text, thinking, signature (no event of its own), input_json, citations
    content_block_stop    the block is whole; citations are shown over the text they belong to
    message_delta         why the model stopped; usage, cumulative: assigned, never added (pitfall 77)
    message_stop          the end. Without a stop_reason before it, or before the bytes end, the answer was cut
    error                 any time after 200

Consecutive text blocks are one message, consecutive thinking blocks one reasoning item. A plain JSON body, which some
proxies answer to a streamed call, is read as if it had been streamed.
Source: Anthropic "Streaming messages"; reference of provider wires, §1.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Literal

import msgspec

from antiphon.protocol import deltas as de
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.sse import SseDecoder, events_in
from antiphon.protocol.utf8 import as_utf8

from . import anthropic_wire as wire
from . import faults
from .anthropic_blocks import redacted_block, text_block, thinking_block, tool_use_block
from .anthropic_native import NativeCalls
from .arguments import is_object, raw_object
from .base import ToolName
from .repeats import Repeats
from .tool_names import custom_input, lift, search_call

Raw = msgspec.Raw
Run = Literal["none", "text", "thinking"]

_INCOMPLETE: Final = ("max_tokens", "model_context_window_exceeded")
_REMOVED: Final = {
    "model_binding_mismatch": "model_mismatch",
    "prefix_binding_mismatch": "prefix_mismatch",
    "organization_binding_mismatch": "organization_mismatch",
    "end_user_binding_mismatch": "end_user_mismatch",
}


_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class _Block:
    """One content block under construction."""

    def __init__(self, start: wire.Start, raw: Raw, key: int, tool: ToolName | None) -> None:
        self.type = start.type
        self.id = start.id or start.tool_use_id
        self.name = start.name
        self.raw = raw
        self.key = key
        self.tool = tool
        self.part = 0
        self.offset = 0
        self.pieces: list[str] = []
        self.signature = start.signature or ""
        self.data = start.data
        self.citations: list[Raw] = []
        self.said: dict[str, Raw] = {}

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class AnthropicDecoder:
    """Implements `Decoder`."""

    def __init__(self, tool_names: Sequence[ToolName], include: frozenset[str] = frozenset()) -> None:
        self._names = tool_names
        self._native = NativeCalls(include)
        self._sse = SseDecoder()
        self._plain: list[bytes] | None = None
        self._is_fresh = True
        self._is_over = False
        self._repeats = Repeats(_text_of)
        self._blocks: dict[int, _Block] = {}
        self._spoke: int | None = None
        self._kept: list[Raw] = []
        self._unanswered: dict[str, Raw] = {}
        self._is_essential = self._omits_cut = False
        self._run: Run = "none"
        self._key = -1
        self._run_blocks: list[Raw] = []
        self._run_parts = 0
        self._run_length = 0
        self._usage = wire.Usage()
        self._stop_reason: str | None = None
        self._stop_details: wire.StopDetails | None = None

    def feed(self, chunk: bytes) -> list[de.Delta]:
        """See `Decoder.feed`."""
        if self._is_over:
            return []
        if self._is_fresh and chunk.strip():
            self._is_fresh = False
            if chunk.lstrip()[:1] == b"{":
                self._plain = []
        if self._plain is not None:
            self._plain.append(chunk)
            return []
        return self._repeats.read(self._sse.blocks(chunk), self)

    # -- what Repeats asks of its reader

    def text_key(self) -> int | None:
        """See `Reader.text_key`: the index of the block."""
        return None if self._is_over else self._spoke

    def texts(self, pieces: list[str]) -> de.Delta:
        """See `Reader.texts`."""
        assert self._spoke is not None, "Repeats asks for it before"
        block = self._blocks[self._spoke]
        block.pieces += pieces
        self._run_length += sum(map(len, pieces))
        return de.Texts(block.key, pieces)

    def decoded(self, blocks: bytes) -> list[de.Delta]:
        """See `Reader.decoded`."""
        out: list[de.Delta] = []
        for event in events_in(blocks):
            if not self._is_over and event.data not in (b"", b"[DONE]"):
                self._apply(event.data, out)
        return out

    def close(self) -> list[de.Delta]:
        """See `Decoder.close`."""
        out: list[de.Delta] = []
        if self._plain is not None:
            self._whole(as_utf8(b"".join(self._plain)), out)
        else:
            for event in self._sse.close():
                if not self._is_over and event.data != b"[DONE]":
                    self._apply(event.data, out)
        if not self._is_over:
            if self._stop_reason is None:
                raise TruncatedStream("the stream ended without a stop_reason")
            self._finish(out)
        return out

    def _apply(self, data: bytes, out: list[de.Delta]) -> None:
        try:
            event = wire.decode_event(data)
            handler = self._HANDLERS.get(event.type)
            if handler is not None:  # pings and events of a later version are nothing to us
                handler(self, event, out)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UpstreamFault("transport", "The model provider sent an event that cannot be read.") from error

    # -- events

    def _on_message_start(self, event: wire.Event, out: list[de.Delta]) -> None:
        message = wire.decode_message(event.message)
        out.append(de.Started(message.model, message.id))
        if message.container is not None:
            self._native.container_id = message.container.id
        self._count(message.usage, out)
        self._transformed(message.input_transformations, out)

    def _on_block_start(self, event: wire.Event, out: list[de.Delta]) -> None:
        self._open(event.index, event.content_block, out)

    def _open(self, index: int, raw: Raw, out: list[de.Delta]) -> _Block:
        start = wire.read_start(raw)
        self._enter({"text": "text", "thinking": "thinking", "redacted_thinking": "thinking"}.get(start.type), out)
        tool = lift(self._names, start.name) if start.type == "tool_use" else None
        block = self._blocks[index] = _Block(start, raw, self._key, tool)
        match start.type:
            case "text":
                block.offset = self._run_length
                self._text(block, start.text, out)
            case "thinking" | "redacted_thinking":
                block.part = self._run_parts
                self._run_parts += 1
                out.append(de.Thinking(block.key))
                self._think(block, start.thinking, out)
            case "tool_use":
                self._start_call(block, out)
            case _:
                self._is_essential = True
        return block

    def _enter(self, run: str | None, out: list[de.Delta]) -> None:
        """A block of this kind begins: it goes on with the item before it, or ends it and has a key of its own."""
        if run is not None and run == self._run:
            return
        self._leave(out)
        self._key += 1
        self._run = "text" if run == "text" else "thinking" if run == "thinking" else "none"
        self._run_blocks, self._run_parts, self._run_length = [], 0, 0

    def _leave(self, out: list[de.Delta]) -> None:
        if self._run == "thinking":
            if self._run_blocks:
                out.append(de.Carried(self._key, Raw(_encode(self._run_blocks))))
            out.append(de.Ended(self._key))
        elif self._run == "text" and self._run_length:
            out.append(de.Ended(self._key))
        self._run = "none"

    def _on_block_delta(self, event: wire.Event, out: list[de.Delta]) -> None:
        block = self._blocks.get(event.index)
        if block is None:
            return
        delta = wire.read_delta(event.delta)
        match delta.type:
            case "text_delta":
                self._text(block, delta.text, out)
                self._spoke = event.index
            case "thinking_delta":
                self._think(block, delta.thinking, out)
            case "signature_delta":
                block.signature += delta.signature
            case "input_json_delta":
                self._arguments(block, delta.partial_json, out)
            case "citations_delta":
                block.citations.append(delta.citation)
            case "compaction_delta":
                block.said |= _decode_fields(event.delta)
            case _:
                self._is_essential = True

    def _text(self, block: _Block, text: str, out: list[de.Delta]) -> None:
        if not text:
            return
        block.pieces.append(text)
        self._run_length += len(text)
        last = out[-1] if out else None
        if isinstance(last, de.Texts) and last.key == block.key:
            last.pieces.append(text)
        elif isinstance(last, de.Text) and last.key == block.key:
            out[-1] = de.Texts(block.key, [last.text, text])
        else:
            out.append(de.Text(block.key, text))

    def _think(self, block: _Block, text: str, out: list[de.Delta]) -> None:
        if text:
            block.pieces.append(text)
            out.append(de.Summary(block.key, text, block.part))

    def _start_call(self, block: _Block, out: list[de.Delta]) -> None:
        tool = block.tool
        if tool is not None and not tool.is_search:
            out.append(de.CallStarted(block.key, tool.name, block.id, tool.kind, tool.namespace))

    def _arguments(self, block: _Block, text: str, out: list[de.Delta]) -> None:
        if not text:
            return
        block.pieces.append(text)
        if block.tool is not None and not block.tool.wrapped and not block.tool.is_search:
            out.append(de.CallArguments(block.key, text))

    def _on_block_stop(self, event: wire.Event, out: list[de.Delta]) -> None:
        block = self._blocks.pop(event.index, None)
        self._spoke = None
        if block is not None:
            self._close(block, out)

    def _close(self, block: _Block, out: list[de.Delta]) -> None:
        match block.type:
            case "text":
                self._close_text(block, out)
            case "thinking":
                if block.signature:  # unsigned thinking cannot be replayed (pitfall 59)
                    self._keep_thinking(thinking_block(block.text, block.signature))
            case "redacted_thinking":
                self._keep_thinking(redacted_block(block.data))
            case "tool_use":
                self._close_call(block, out)
            case "":
                pass  # what has no type could not be sent back
            case _:
                self._close_other(block, out)

    def _close_other(self, block: _Block, out: list[de.Delta]) -> None:
        """Tools that the provider runs, and whatever else: kept as it came, shown as far as it is known."""
        kept = _as_streamed(block)
        self._kept.append(kept)
        if block.type.endswith("_tool_use"):
            self._unanswered[block.id] = kept
        elif block.type.endswith("_tool_result"):
            self._unanswered.pop(block.id, None)
        if block.type == "server_tool_use":
            arguments = block.text or bytes(wire.read_start(block.raw).input).decode()
            out += self._native.called(block.key, block.id, block.name, arguments)
        elif block.type.endswith("_tool_result"):
            out += self._native.answered(kept)

    def _keep_thinking(self, block: Raw) -> None:
        self._kept.append(block)
        self._run_blocks.append(block)

    def _close_text(self, block: _Block, out: list[de.Delta]) -> None:
        if not block.text.strip():
            return  # an empty text block is a 400 when it comes back
        self._kept.append(text_block(block.text, block.citations))
        self._is_essential = self._is_essential or bool(block.citations)
        end = block.offset + len(block.text)
        for citation in block.citations:
            annotation = _annotation(citation, block.offset, end)
            if annotation is not None:
                out.append(de.Cited(block.key, annotation))

    def _close_call(self, block: _Block, out: list[de.Delta]) -> None:
        tool = block.tool
        assert tool is not None, "a tool_use block opens with its tool"
        arguments = block.text or "{}"
        # A limit can cut a call whose block is closed all the same: only whole arguments make a whole call.
        is_whole = is_object(arguments)
        if is_whole or tool.is_search:
            self._kept.append(tool_use_block(block.id, block.name, arguments))
        else:
            self._omits_cut = True
        if tool.is_search:
            out.append(search_call(block.key, block.id, arguments))
            return
        if tool.wrapped:
            out.append(de.CallArguments(block.key, custom_input(arguments)))
        out.append(de.Ended(block.key, "completed" if is_whole else "incomplete"))

    def _on_message_delta(self, event: wire.Event, out: list[de.Delta]) -> None:
        delta = wire.read_delta(event.delta)
        if delta.stop_reason:
            self._stop_reason, self._stop_details = delta.stop_reason, delta.stop_details
        self._count(event.usage, out)
        self._transformed(event.input_transformations, out)

    def _on_message_stop(self, event: wire.Event, out: list[de.Delta]) -> None:
        del event
        if self._stop_reason is not None:
            self._finish(out)

    def _on_error(self, event: wire.Event, out: list[de.Delta]) -> None:
        error = event.error or wire.Error()
        self._is_over = True
        out.append(de.Failed(faults.classify_event(None, error.type, error.message)))

    # -- the end

    def _finish(self, out: list[de.Delta]) -> None:
        self._is_over = True
        for index in sorted(self._blocks):
            self._close(self._blocks[index], out)
        self._blocks = {}
        self._leave(out)
        if self._stop_reason == "refusal":
            details = self._stop_details or wire.StopDetails()
            text = details.explanation or details.category or "The model declined to answer."
            out.append(de.Refusal(self._key + 1, text))
        kept = self._kept
        if self._stop_reason in _INCOMPLETE:  # a call of the provider's own that was cut is a 400 when it comes back
            cut = set(map(id, self._unanswered.values()))
            kept = [block for block in kept if id(block) not in cut]
        if kept:
            out.append(de.Kept(Raw(_encode(kept)), self._is_essential, self._omits_cut))
        if self._stop_reason == "pause_turn":
            out.append(de.Paused())
        elif self._stop_reason == "refusal":
            out.append(de.Finished("content_filter"))
        else:
            out.append(de.Finished("max_output_tokens" if self._stop_reason in _INCOMPLETE else None))

    def _count(self, usage: wire.Usage | None, out: list[de.Delta]) -> None:
        """Assign what is said over what was: the counts are cumulative, and some vendors say them only at the end."""
        if usage is None:
            return
        said = {name: value for name in wire.Usage.__struct_fields__ if (value := getattr(usage, name)) is not None}
        now = self._usage = msgspec.structs.replace(self._usage, **said)
        cached, written = now.cache_read_input_tokens or 0, now.cache_creation_input_tokens or 0
        details = now.output_tokens_details or wire.Details()
        counts = de.Usage(
            (now.input_tokens or 0) + cached + written,
            cached,
            written,
            now.output_tokens or 0,
            details.thinking_tokens or 0,
        )
        out.append(de.Used(counts))

    def _transformed(self, rows: tuple[wire.Transformation, ...] | None, out: list[de.Delta]) -> None:
        """Only what was removed; a mismatch that was allowed was shown to the model all the same."""
        dropped = (row.reason for row in rows or () if row.type == "thinking_dropped")
        out.extend(de.Removed(_REMOVED.get(reason, reason or "unreadable")) for reason in dropped)

    def _whole(self, body: bytes, out: list[de.Delta]) -> None:
        """A plain JSON body: the same blocks, each at once."""
        try:
            self._document(body, out)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UpstreamFault("transport", "The model provider's answer cannot be read.") from error

    def _document(self, body: bytes, out: list[de.Delta]) -> None:
        probe = wire.decode_event(body)
        if probe.type == "error" or probe.error is not None:
            self._on_error(probe, out)
            return
        message = wire.decode_message(body)
        out.append(de.Started(message.model, message.id))
        for index, raw in enumerate(message.content):
            block = self._open(index, raw, out)
            if block.type == "tool_use":
                self._arguments(block, bytes(wire.read_start(raw).input).decode(), out)
            self._close(self._blocks.pop(index), out)
        self._count(message.usage, out)
        self._stop_reason, self._stop_details = message.stop_reason, message.stop_details

    _HANDLERS: ClassVar[dict[str, Callable[[AnthropicDecoder, wire.Event, list[de.Delta]], None]]] = {
        "message_start": _on_message_start,
        "content_block_start": _on_block_start,
        "content_block_delta": _on_block_delta,
        "content_block_stop": _on_block_stop,
        "message_delta": _on_message_delta,
        "message_stop": _on_message_stop,
        "error": _on_error,
    }


def _text_of(block: bytes) -> str:
    """The text of an event that adds to a text block, "" of any other."""
    (sent,) = events_in(block)
    event = wire.decode_event(sent.data)
    delta = wire.read_delta(event.delta)
    return delta.text if (event.type, delta.type) == ("content_block_delta", "text_delta") else ""


def _as_streamed(block: _Block) -> Raw:
    """A block nobody here reads, with what was streamed to it: an input, or a compaction's content."""
    said = {name: value for name, value in block.said.items() if name != "type"}
    if block.pieces:
        said["input"] = raw_object(block.text)
    return Raw(_encode(_decode_fields(block.raw) | said)) if said else block.raw


def _annotation(citation: Raw, start: int, end: int) -> Raw | None:
    """A `url_citation` over the whole block: the wire gives no offsets of its own. None where there is no URL."""
    try:
        said = msgspec.json.decode(citation, type=wire.Citation)
    except msgspec.MsgspecError:
        return None
    url = said.url or (said.source if said.source and said.source.startswith("http") else None)
    if url is None:
        return None
    row = {"type": "url_citation", "url": url, "title": said.title or url, "start_index": start, "end_index": end}
    return Raw(_encode(row))
