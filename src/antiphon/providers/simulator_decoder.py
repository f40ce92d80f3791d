"""NDJSON lines of the simulator to deltas: a state machine without I/O, clock or ids.

    reading --stop--> finished     reading --error--> failed     reading --end of bytes--> TruncatedStream

Blocks are collected from the `end` lines: a reasoning block is `Carried` for its own item, all of them are `Kept` for
the turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from antiphon.protocol.deltas import (
    CallArguments,
    CallStarted,
    Carried,
    Cited,
    Delta,
    Ended,
    Failed,
    Finished,
    Kept,
    Refusal,
    Started,
    Summary,
    Text,
    Thinking,
    Thought,
    Usage,
    Used,
)
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.utf8 import as_utf8

from . import simulator_wire as wire
from .base import HttpRequest
from .faults import classify_event
from .tool_names import lift, search_call

MAX_LINE_BYTES: Final = 64 * 1024 * 1024


class SimulatorDecoder:
    """Reads one answer. Bytes that are no lines of the simulator's raise UpstreamFault("transport")."""

    def __init__(self, request: HttpRequest) -> None:
        self._names = request.tool_names
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._blocks: list[wire.Block] = []
        self._searches: dict[int, list[str]] = {}
        self._is_over = False

    def feed(self, chunk: bytes) -> list[Delta]:
        """The deltas that this chunk completes; nothing after the last line."""
        *lines, rest = chunk.split(b"\n")
        deltas: list[Delta] = []
        for line in lines:
            if self._is_over:
                return deltas
            whole = as_utf8(b"".join((*self._tail, line)))
            self._tail, self._tail_bytes = [], 0
            deltas.extend(self._line(_decoded(whole)))
        self._tail.append(rest)
        self._tail_bytes += len(rest)
        if self._tail_bytes > MAX_LINE_BYTES:
            raise UpstreamFault("transport", f"a line of the simulator is larger than {MAX_LINE_BYTES} bytes")
        return deltas

    def close(self) -> list[Delta]:
        """The bytes have ended. Raises TruncatedStream without a stop or error line."""
        if not self._is_over:
            raise TruncatedStream("the simulator's answer ended without its stop line")
        return []

    def _line(self, line: wire.Line) -> Iterator[Delta]:
        match line:
            case wire.StartLine():
                yield Started(line.model, line.id)
                yield Used(Usage(line.input_tokens, line.cached_tokens))
            case wire.StopLine():
                yield from self._stop(line)
            case wire.ErrorLine():
                self._is_over = True
                yield Failed(classify_event(line.code, None, line.message))
            case wire.EndLine():
                yield from self._end(line)
            case wire.CallLine():
                yield from self._call(line)
            case wire.ArgumentsLine() if line.key in self._searches:
                self._searches[line.key].append(line.text)
            case _:
                yield _content(line)

    def _call(self, line: wire.CallLine) -> Iterator[Delta]:
        tool = lift(self._names, line.name)
        if tool.is_search:
            self._searches[line.key] = []
        else:
            yield CallStarted(line.key, tool.name, line.call_id, tool.kind, tool.namespace)

    def _end(self, line: wire.EndLine) -> Iterator[Delta]:
        self._blocks.append(line.block)
        if isinstance(line.block, wire.ReasoningBlock):
            yield Carried(line.key, msgspec.Raw(wire.encode(line.block)))
        pieces = self._searches.pop(line.key, None)
        if pieces is not None and isinstance(line.block, wire.CallBlock):
            yield search_call(line.key, line.block.call_id, "".join(pieces))
        else:
            yield Ended(line.key, line.status)

    def _stop(self, line: wire.StopLine) -> Iterator[Delta]:
        self._is_over = True
        yield Used(
            Usage(line.input_tokens, line.cached_tokens, 0, line.output_tokens, line.reasoning_tokens),
        )
        if self._blocks:
            reasoned = any(isinstance(block, wire.ReasoningBlock) for block in self._blocks)
            yield Kept(msgspec.Raw(wire.encode(self._blocks)), essential=reasoned)
        yield Finished(line.reason)


_Content = (
    wire.TextLine
    | wire.RefusalLine
    | wire.CitationLine
    | wire.SummaryLine
    | wire.ThoughtLine
    | wire.ThinkingLine
    | wire.ArgumentsLine
)


def _content(line: _Content) -> Delta:
    match line:
        case wire.TextLine():
            return Text(line.key, line.text, None if line.logprobs == wire.NULL else line.logprobs)
        case wire.RefusalLine():
            return Refusal(line.key, line.text)
        case wire.CitationLine():
            return Cited(line.key, line.annotation)
        case wire.SummaryLine():
            return Summary(line.key, line.text, line.part)
        case wire.ThoughtLine():
            return Thought(line.key, line.text)
        case wire.ThinkingLine():
            return Thinking(line.key)
        case _:
            return CallArguments(line.key, line.text)


def _decoded(line: bytes) -> wire.Line:
    try:
        return wire.decode_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UpstreamFault("transport", "The simulator sent a line that is not its wire.") from error
