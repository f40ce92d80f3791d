"""The answer of a converse-stream call to deltas: binary frames, one JSON event each.

    messageStart                            the answer begins
    contentBlockStart                       a call opens; text and reasoning open with their first delta
    contentBlockDelta, contentBlockStop     by contentBlockIndex; calls may interleave
    messageStop                             why the model stopped
    metadata                                usage, after messageStop: the end waits for it
    exception frames                        an error inside of the stream

Source: Amazon Bedrock runtime API, ConverseStreamOutput; reference of provider wires, §1.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from antiphon.protocol import deltas as de
from antiphon.protocol.errors import TruncatedStream, UpstreamFault

from . import faults
from .arguments import is_object
from .base import ToolName
from .bedrock_blocks import reasoning_block, redacted_block, text_block, tool_use_block
from .eventstream import Frame, FrameDecoder
from .native_items import url_citation
from .tool_names import custom_input, lift, search_call

Raw = msgspec.Raw
_LENGTH: Final = ("max_tokens", "model_context_window_exceeded")
_FILTERED: Final = ("guardrail_intervened", "content_filtered")
_MALFORMED: Final = ("malformed_model_output", "malformed_tool_use")
_encode: Final = msgspec.json.Encoder().encode


class _Wire(msgspec.Struct, frozen=True, rename="camel"):
    """Camel case on the wire."""


class _ToolUse(_Wire, frozen=True):
    tool_use_id: str = ""
    name: str = ""
    input: str = ""


class _Start(_Wire, frozen=True):
    tool_use: _ToolUse | None = None


class _Reasoning(_Wire, frozen=True):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Web(_Wire, frozen=True):
    url: str | None = None


class _Location(_Wire, frozen=True):
    web: _Web | None = None


class _Citation(_Wire, frozen=True):
    title: str | None = None
    source: str | None = None
    location: _Location | None = None


class _Delta(_Wire, frozen=True):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citation: _Citation | None = None


class _Usage(_Wire, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class _Tier(_Wire, frozen=True):
    type: str | None = None


class _Event(_Wire, frozen=True):
    """Every event's fields in one shape."""

    content_block_index: int = 0
    start: _Start | None = None
    delta: _Delta | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    service_tier: _Tier | None = None
    message: str | None = None
    original_message: str | None = None
    original_status_code: int | None = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode
Kind = Literal["text", "reasoning", "call", "other"]


class _Block:
    """One content block under construction."""

    def __init__(self, kind: Kind, key: int) -> None:
        self.kind: Kind = kind
        self.key = key
        self.offset = 0
        self.call_id = ""
        self.name = ""
        self.tool: ToolName | None = None
        self.pieces: list[str] = []
        self.signature = ""
        self.redacted = ""
        self.citations: list[_Citation] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class BedrockDecoder:
    """Implements `Decoder`."""

    def __init__(self, tool_names: Sequence[ToolName]) -> None:
        self._names = tool_names
        self._frames = FrameDecoder()
        self._is_over = False
        self._key = -1
        self._run: Kind = "other"
        self._run_length = 0
        self._carried: list[Raw] = []
        self._blocks: dict[int, _Block] = {}
        self._kept: dict[int, Raw] = {}
        self._is_essential = self._omits_cut = False
        self._stop_reason: str | None = None

    def feed(self, chunk: bytes) -> list[de.Delta]:
        """See `Decoder.feed`."""
        out: list[de.Delta] = []
        if not self._is_over:
            for frame in self._frames.feed(chunk):
                if not self._is_over:
                    self._apply(frame, out)
        return out

    def close(self) -> list[de.Delta]:
        """See `Decoder.close`. A frame that was begun and not ended is a cut, whatever came before it."""
        out: list[de.Delta] = []
        if not self._is_over:
            if self._frames.is_partial or self._stop_reason is None:
                raise TruncatedStream("the stream ended without a messageStop")
            self._finish(out)
        return out

    def _apply(self, frame: Frame, out: list[de.Delta]) -> None:
        try:
            event = _decode_event(frame.payload) if frame.payload else _Event()
        except msgspec.MsgspecError as error:
            raise UpstreamFault("transport", "The model provider sent an event that cannot be read.") from error
        if frame.headers.get(":message-type", "event") != "event":
            self._fail(frame, event, out)
            return
        match frame.headers.get(":event-type"):
            case "messageStart":
                out.append(de.Started())
            case "contentBlockStart":
                self._on_start(event, out)
            case "contentBlockDelta":
                self._on_delta(event, out)
            case "contentBlockStop":
                self._close(event.content_block_index, out)
            case "messageStop":
                self._stop_reason = event.stop_reason or "end_turn"
            case "metadata":
                self._on_metadata(event, out)
            case _:
                pass  # an event of a later version

    def _fail(self, frame: Frame, event: _Event, out: list[de.Delta]) -> None:
        headers = frame.headers
        code = headers.get(":exception-type") or headers.get(":error-code") or "server_error"
        message = event.original_message or event.message or headers.get(":error-message") or ""
        self._is_over = True
        out.append(de.Failed(faults.classify_event(code, None, message)))

    # -- blocks

    def _enter(self, kind: Kind, out: list[de.Delta]) -> int:
        """A block of this kind begins: it goes on with the item before it, or ends it and has a key of its own."""
        if kind != self._run or kind not in ("text", "reasoning"):
            self._leave(out)
            self._key += 1
            self._run = kind
            self._run_length = 0
            self._carried = []
        return self._key

    def _leave(self, out: list[de.Delta]) -> None:
        if self._run == "reasoning":
            if self._carried:
                out.append(de.Carried(self._key, Raw(_encode(self._carried))))
            out.append(de.Ended(self._key))
        elif self._run == "text" and self._run_length:
            out.append(de.Ended(self._key))
        self._run = "other"

    def _on_start(self, event: _Event, out: list[de.Delta]) -> None:
        use = event.start.tool_use if event.start is not None else None
        if use is None:
            return
        block = _Block("call", self._enter("call", out))
        block.call_id, block.name, block.tool = use.tool_use_id, use.name, lift(self._names, use.name)
        self._blocks[event.content_block_index] = block
        if not block.tool.is_search:
            tool = block.tool
            out.append(de.CallStarted(block.key, tool.name, block.call_id, tool.kind, tool.namespace))

    def _on_delta(self, event: _Event, out: list[de.Delta]) -> None:
        delta = event.delta or _Delta()
        if delta.tool_use is not None:
            self._arguments(event.content_block_index, delta.tool_use.input, out)
        elif delta.reasoning_content is not None:
            self._reason(self._opened(event.content_block_index, "reasoning", out), delta.reasoning_content, out)
        elif delta.text is not None:
            block = self._opened(event.content_block_index, "text", out)
            if delta.text:
                block.pieces.append(delta.text)
                self._run_length += len(delta.text)
                out.append(de.Text(block.key, delta.text))
        elif delta.citation is not None:
            self._opened(event.content_block_index, "text", out).citations.append(delta.citation)

    def _opened(self, index: int, kind: Kind, out: list[de.Delta]) -> _Block:
        """Text and reasoning have no start of their own: their first delta opens them."""
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = _Block(kind, self._enter(kind, out))
            block.offset = self._run_length
            if kind == "reasoning":
                out.append(de.Thinking(block.key))
        return block

    def _reason(self, block: _Block, said: _Reasoning, out: list[de.Delta]) -> None:
        if said.text:
            block.pieces.append(said.text)
            out.append(de.Summary(block.key, said.text))
        block.signature += said.signature or ""
        block.redacted += said.redacted_content or ""

    def _arguments(self, index: int, text: str, out: list[de.Delta]) -> None:
        block = self._blocks.get(index)
        if block is None or not text:
            return
        block.pieces.append(text)
        if block.tool is not None and not block.tool.wrapped and not block.tool.is_search:
            out.append(de.CallArguments(block.key, text))

    def _close(self, index: int, out: list[de.Delta]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        match block.kind:
            case "text":
                self._close_text(index, block, out)
            case "reasoning":
                kept = redacted_block(block.redacted) if block.redacted else None
                if kept is None and block.signature:
                    kept = reasoning_block(block.text, block.signature)
                if kept is not None:
                    self._kept[index] = kept
                    self._carried.append(kept)
            case _:
                self._close_call(index, block, out)

    def _close_text(self, index: int, block: _Block, out: list[de.Delta]) -> None:
        if not block.text.strip():
            return  # an empty text block is a 400 when it comes back
        self._kept[index] = text_block(block.text)
        for cited in block.citations:
            web = cited.location.web if cited.location is not None else None
            url = (web.url if web is not None else None) or cited.source
            if url and url.startswith("http"):
                row = url_citation(url, cited.title or url, block.offset, block.offset + len(block.text))
                out.append(de.Cited(block.key, row))

    def _close_call(self, index: int, block: _Block, out: list[de.Delta]) -> None:
        tool = block.tool
        assert tool is not None, "a call opens with its tool"
        arguments = block.text or "{}"
        is_whole = is_object(arguments)
        if is_whole or tool.is_search:
            self._kept[index] = tool_use_block(block.call_id, block.name, arguments)
        else:
            self._omits_cut = True
        if tool.is_search:
            out.append(search_call(block.key, block.call_id, arguments))
            return
        if tool.wrapped:
            out.append(de.CallArguments(block.key, custom_input(arguments)))
        out.append(de.Ended(block.key, "completed" if is_whole else "incomplete"))

    # -- the end

    def _on_metadata(self, event: _Event, out: list[de.Delta]) -> None:
        if event.service_tier is not None and event.service_tier.type:
            out.append(de.Started(service_tier=event.service_tier.type))
        if event.usage is not None:
            used = event.usage
            cached, written = used.cache_read_input_tokens or 0, used.cache_write_input_tokens or 0
            out.append(de.Used(de.Usage(used.input_tokens + cached + written, cached, written, used.output_tokens)))
        if self._stop_reason is not None:
            self._finish(out)

    def _finish(self, out: list[de.Delta]) -> None:
        self._is_over = True
        if self._stop_reason in _MALFORMED:
            out.append(de.Failed(UpstreamFault("server", f"The model stopped: {self._stop_reason}.")))
            return
        for index in sorted(self._blocks):
            self._close(index, out)
        self._leave(out)
        if self._kept:
            kept = [self._kept[index] for index in sorted(self._kept)]
            out.append(de.Kept(Raw(_encode(kept)), self._is_essential, self._omits_cut))
        reason: Literal["max_output_tokens", "content_filter"] | None = None
        if self._stop_reason in _LENGTH:
            reason = "max_output_tokens"
        elif self._stop_reason in _FILTERED:
            reason = "content_filter"
        out.append(de.Finished(reason))
