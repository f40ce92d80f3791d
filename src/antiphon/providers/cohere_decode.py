"""The answer of a Cohere v2 chat call to deltas.

    message-start                       the answer begins
    tool-plan-delta                     a message of the phase commentary, before the calls
    content-start, -delta, -end         thinking (reasoning) or text, by index
    tool-call-start, -delta, -end       a call, by index
    citation-start                      an annotation, where its source has a URL
    message-end                         why the model stopped, and usage

Source: Cohere API v2, "Chat with streaming"; reference of provider wires, §1.7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, TypeVar

import msgspec

from antiphon.protocol import deltas as de
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.sse import SseDecoder
from antiphon.protocol.utf8 import as_utf8

from . import faults
from .arguments import is_object
from .base import ToolName
from .cohere_messages import COMMENTARY, Said, assistant_message, thinking_part
from .native_items import url_citation
from .tool_names import custom_input, lift, search_call

Raw = msgspec.Raw
_T = TypeVar("_T")
_encode: Final = msgspec.json.Encoder().encode


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, frozen=True):
    id: str | None = None
    function: _Function = _Function()


class _Content(msgspec.Struct, frozen=True):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class _Source(msgspec.Struct, frozen=True):
    document: dict[str, Raw] | None = None


class _Citation(msgspec.Struct, frozen=True):
    start: int | None = None
    end: int | None = None
    sources: tuple[_Source, ...] | None = None
    type: str | None = None


class _Message(msgspec.Struct, frozen=True):
    content: Raw | msgspec.UnsetType = msgspec.UNSET
    tool_plan: str | None = None
    tool_calls: Raw | msgspec.UnsetType = msgspec.UNSET
    citations: Raw | msgspec.UnsetType = msgspec.UNSET


class _Tokens(msgspec.Struct, frozen=True):
    input_tokens: float | None = None
    output_tokens: float | None = None


class _Usage(msgspec.Struct, frozen=True):
    tokens: _Tokens | None = None
    cached_tokens: float | None = None


class _Delta(msgspec.Struct, frozen=True):
    message: _Message | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None
    error: str | None = None


class _Event(msgspec.Struct, frozen=True):
    type: str = ""
    id: str | None = None
    index: int = 0
    delta: _Delta | None = None
    message: str | _Message | None = None
    finish_reason: str | None = None
    usage: _Usage | None = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_content: Final = msgspec.json.Decoder(_Content).decode
_decode_call: Final = msgspec.json.Decoder(_Call).decode
_decode_calls: Final = msgspec.json.Decoder(tuple[_Call, ...]).decode
_decode_citation: Final = msgspec.json.Decoder(_Citation).decode
_decode_contents: Final = msgspec.json.Decoder(tuple[_Content, ...]).decode


class _OpenCall:
    """A call under construction."""

    def __init__(self, key: int, call_id: str, name: str, tool: ToolName) -> None:
        self.key = key
        self.id = call_id
        self.name = name
        self.tool = tool
        self.pieces: list[str] = []


class CohereDecoder:
    """Implements `Decoder`."""

    def __init__(self, tool_names: Sequence[ToolName]) -> None:
        self._names = tool_names
        self._sse = SseDecoder()
        self._plain: list[bytes] | None = None
        self._is_fresh = True
        self._is_over = False
        self._key = -1
        self._run = ""
        self._said = Said()
        self._text_key = -1
        self._calls: dict[int, _OpenCall] = {}
        self._finish: str | None = None

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
        out: list[de.Delta] = []
        for event in self._sse.feed(chunk):
            self._apply(event.data, out)
        return out

    def close(self) -> list[de.Delta]:
        """See `Decoder.close`."""
        out: list[de.Delta] = []
        if self._plain is not None:
            self._whole(as_utf8(b"".join(self._plain)), out)
        else:
            for event in self._sse.close():
                self._apply(event.data, out)
        if not self._is_over:
            raise TruncatedStream("the stream ended without a message-end")
        return out

    def _apply(self, data: bytes, out: list[de.Delta]) -> None:
        if self._is_over or data in (b"", b"[DONE]"):
            return
        event = _read(_decode_event, data)
        handler = self._HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event, out)
        elif not event.type and isinstance(event.message, str):
            self._fail(event.message, out)

    def _fail(self, message: str, out: list[de.Delta]) -> None:
        self._is_over = True
        out.append(de.Failed(faults.classify_event(None, None, message)))

    def _enter(self, run: str, out: list[de.Delta]) -> int:
        if run != self._run or run == "call":
            self._leave(out)
            self._key += 1
            self._run = run
        return self._key

    def _leave(self, out: list[de.Delta]) -> None:
        if self._run == "thinking":
            out.append(de.Carried(self._key, Raw(_encode([thinking_part(self._said.thinking)]))))
            out.append(de.Ended(self._key))
        self._run = ""

    # -- events

    def _on_message_start(self, event: _Event, out: list[de.Delta]) -> None:
        out.append(de.Started("", event.id or ""))

    def _on_content(self, event: _Event, out: list[de.Delta]) -> None:
        content = _part(event, _decode_content)
        if content is not None:
            self._content(content, out)

    def _content(self, content: _Content, out: list[de.Delta]) -> None:
        if content.thinking:
            self._said.thinking += content.thinking
            out.append(de.Summary(self._enter("thinking", out), content.thinking))
        if content.text:
            self._said.text += content.text
            self._text_key = self._enter("text", out)
            out.append(de.Text(self._text_key, content.text))

    def _on_plan(self, event: _Event, out: list[de.Delta]) -> None:
        message = event.delta.message if event.delta is not None else None
        self._plan((message.tool_plan if message is not None else None) or "", out)

    def _plan(self, text: str, out: list[de.Delta]) -> None:
        if text:
            self._said.plan += text
            out.append(de.Text(self._enter("plan", out), text, None, COMMENTARY))

    def _on_call_start(self, event: _Event, out: list[de.Delta]) -> None:
        call = _part(event, _decode_call, of_calls=True)
        if call is not None:
            self._start(event.index, call, out)

    def _start(self, index: int, call: _Call, out: list[de.Delta]) -> None:
        name = call.function.name or ""
        opened = _OpenCall(self._enter("call", out), call.id or "", name, lift(self._names, name))
        self._calls[index] = opened
        tool = opened.tool
        if not tool.is_search:
            out.append(de.CallStarted(opened.key, tool.name, opened.id, tool.kind, tool.namespace))
        self._arguments(opened, call.function.arguments, out)

    def _on_call_delta(self, event: _Event, out: list[de.Delta]) -> None:
        call = _part(event, _decode_call, of_calls=True)
        opened = self._calls.get(event.index)
        if call is not None and opened is not None:
            self._arguments(opened, call.function.arguments, out)

    def _arguments(self, call: _OpenCall, text: str | None, out: list[de.Delta]) -> None:
        if not text:
            return
        call.pieces.append(text)
        if not call.tool.wrapped and not call.tool.is_search:
            out.append(de.CallArguments(call.key, text))

    def _on_call_end(self, event: _Event, out: list[de.Delta]) -> None:
        call = self._calls.pop(event.index, None)
        if call is not None:
            self._end_call(call, out)

    def _end_call(self, call: _OpenCall, out: list[de.Delta]) -> None:
        arguments = "".join(call.pieces) or "{}"
        self._said.calls.append((call.id, call.name, arguments))
        if call.tool.is_search:
            out.append(search_call(call.key, call.id, arguments))
            return
        if call.tool.wrapped:
            out.append(de.CallArguments(call.key, custom_input(arguments)))
        out.append(de.Ended(call.key, "completed" if is_object(arguments) else "incomplete"))

    def _on_citation(self, event: _Event, out: list[de.Delta]) -> None:
        message = event.delta.message if event.delta is not None else None
        if message is None or message.citations is msgspec.UNSET or self._text_key < 0:
            return
        try:
            cited = _decode_citation(message.citations)
        except msgspec.MsgspecError:
            return  # a citation nobody can read is no reason to lose the answer
        for source in cited.sources or ():
            url = _text(source.document, "url")
            if url and cited.type in (None, "TEXT_CONTENT"):
                title = _text(source.document, "title") or url
                out.append(de.Cited(self._text_key, url_citation(url, title, cited.start or 0, cited.end or 0)))

    def _on_message_end(self, event: _Event, out: list[de.Delta]) -> None:
        delta = event.delta or _Delta()
        self._finished(delta.finish_reason, delta.usage, delta.error, out)

    def _finished(self, reason: str | None, usage: _Usage | None, error: str | None, out: list[de.Delta]) -> None:
        self._is_over = True
        tokens = usage.tokens if usage is not None else None
        if usage is not None and tokens is not None:
            cached = int(usage.cached_tokens or 0)
            out.append(de.Used(de.Usage(int(tokens.input_tokens or 0), cached, 0, int(tokens.output_tokens or 0))))
        if reason in ("ERROR", "TIMEOUT"):
            kind = "timeout" if reason == "TIMEOUT" else None
            out.append(de.Failed(faults.classify_event(kind, None, error or "The model stopped with an error.")))
            return
        for index in sorted(self._calls):
            self._end_call(self._calls[index], out)
        self._leave(out)
        if self._said:
            out.append(de.Kept(Raw(_encode([assistant_message(self._said)]))))
        out.append(de.Finished("max_output_tokens" if reason == "MAX_TOKENS" else None))

    def _whole(self, body: bytes, out: list[de.Delta]) -> None:
        """A plain JSON body: the same parts, each at once."""
        event = _read(_decode_event, body)
        if not isinstance(event.message, _Message):
            self._fail(event.message or "The model provider's answer cannot be read.", out)
            return
        message = event.message
        out.append(de.Started("", event.id or ""))
        self._plan(message.tool_plan or "", out)
        if message.content is not msgspec.UNSET and bytes(message.content)[:1] == b"[":
            for content in _read(_decode_contents, message.content):
                self._content(content, out)
        if message.tool_calls is not msgspec.UNSET and bytes(message.tool_calls)[:1] == b"[":
            for index, call in enumerate(_read(_decode_calls, message.tool_calls)):
                self._start(index, call, out)
        self._finished(event.finish_reason, event.usage, None, out)

    _HANDLERS: ClassVar[dict[str, Callable[[CohereDecoder, _Event, list[de.Delta]], None]]] = {
        "message-start": _on_message_start,
        "content-start": _on_content,
        "content-delta": _on_content,
        "tool-plan-delta": _on_plan,
        "tool-call-start": _on_call_start,
        "tool-call-delta": _on_call_delta,
        "tool-call-end": _on_call_end,
        "citation-start": _on_citation,
        "message-end": _on_message_end,
    }


def _read(decode: Callable[[bytes | Raw], _T], data: bytes | Raw) -> _T:
    try:
        return decode(data)
    except msgspec.MsgspecError as error:
        raise UpstreamFault("transport", "The model provider sent an event that cannot be read.") from error


def _part(event: _Event, decode: Callable[[bytes | Raw], _T], *, of_calls: bool = False) -> _T | None:
    """One part of an event's delta, or None where it has none."""
    message = event.delta.message if event.delta is not None else None
    raw = msgspec.UNSET if message is None else message.tool_calls if of_calls else message.content
    if raw is msgspec.UNSET or bytes(raw) == b"null":
        return None
    return _read(decode, raw)


def _text(document: dict[str, Raw] | None, name: str) -> str | None:
    raw = (document or {}).get(name)
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None
