"""The decoder: bytes of a Chat Completions stream (or of one whole JSON answer) to deltas.

    chunk                               becomes
    the first of any kind               Started
    delta.reasoning*, thinking chunks   Thought, Summary (a run ends where text or a call begins)
    delta.content, delta.refusal        Text, Refusal (a message ends where reasoning or a call begins)
    delta.tool_calls, function_call     CallStarted, CallArguments (calls end with the answer, never before)
    usage, x_groq.usage                 Used
    error, in any place                 Failed
    finish_reason                       remembered: usage may still follow
    [DONE], or the end of the bytes     Kept, Finished; without a finish_reason the stream was truncated

Chunks without choices (usage, content filters, heartbeats) are ordinary. A server that answers a stream request with
one JSON document is read as one chunk, at the end of its bytes.
Source: OpenAI "Streaming chat completions"; reference of provider wires, §1.2; pitfalls by number in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from antiphon.protocol.deltas import Delta, Failed, Finished, Kept, Started, Usage, Used
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.sse import SseDecoder, SseEvent, events_in
from antiphon.protocol.utf8 import as_utf8

from .base import HttpRequest, Target
from .chat_completions_answer import Answer
from .chat_completions_wire import NULL, CallDelta, Choice, Chunk, MessageDelta, ReportedError, UsageWire
from .faults import classify_event
from .faults_report import read
from .quirks import ChatQuirks
from .repeats import Repeats

_DONE: Final = b"[DONE]"
_LAST: Final = b"\n\ndata: [DONE]\n\n"
_BEGIN: Final = b"data: {"
_NEXT: Final = b"}\n\n" + _BEGIN
_NEXT_LINE: Final = b"}\n{"
_MAX_DOCUMENT_BYTES: Final = 64 * 1024 * 1024
_LIMIT_REASONS: Final = frozenset({"length", "model_length", "max_tokens", "max_output_tokens"})
_FILTER_REASONS: Final = frozenset({"content_filter", "safety"})
_FAILED_REASONS: Final = frozenset({"error", "insufficient_system_resource"})
_decoder: Final = msgspec.json.Decoder(Chunk, strict=False)
_decode_chunk: Final = _decoder.decode
_decode_lines: Final = _decoder.decode_lines


class ChatDecoder:
    """One answer. Implements `Decoder`."""

    def __init__(self, target: Target, request: HttpRequest) -> None:
        self._quirks: ChatQuirks = target.vendor.quirks.chat_completions
        self._answer = Answer(target, request.tool_names)
        self._sse = SseDecoder()
        self._repeats = Repeats(_text_of)
        self._document: bytearray | None = None
        self._head = b""
        self._has_begun = False
        self._has_started = False
        self._finish_reason = ""
        self._usage: Usage | None = None
        self._was_done = False
        self._is_over = False

    def feed(self, chunk: bytes) -> list[Delta]:
        """See `Decoder.feed`."""
        if self._is_over:
            return []
        if not self._has_begun:
            chunk = self._begin(chunk)
        if self._document is not None:
            self._document += chunk
            if len(self._document) > _MAX_DOCUMENT_BYTES:
                raise UpstreamFault("transport", f"the answer is larger than {_MAX_DOCUMENT_BYTES} bytes")
            return []
        return self._repeats.read(self._sse.blocks(chunk), self)

    def close(self) -> list[Delta]:
        """See `Decoder.close`."""
        deltas: list[Delta] = []
        if self._document is not None:
            deltas = self._events([SseEvent(as_utf8(bytes(self._document)))], _truncated)
            if not self._has_started and not self._is_over:
                deltas = [self._fail(bytes(self._document))]
        elif not self._is_over:
            deltas = self._events(self._sse.close(), _truncated)
        if self._is_over:
            return deltas
        if not self._is_whole:
            raise TruncatedStream("The stream ended without a finish_reason.")
        return deltas + self._finish()

    @property
    def _is_whole(self) -> bool:
        if self._finish_reason:
            return True
        return self._quirks.is_end_lenient and (self._was_done or self._usage is not None)

    def _begin(self, chunk: bytes) -> bytes:
        """Tell a JSON document from events by its first byte; white space before it is neither."""
        self._head += chunk
        first = self._head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if not first or first == b"\xef":
            return b""
        self._has_begun = True
        if first == b"{":
            self._document = bytearray()
            return self._head.removeprefix(b"\xef\xbb\xbf")
        return self._head

    # -- what Repeats asks of its reader

    def text_key(self) -> int | None:
        """See `Reader.text_key`."""
        return None if self._is_over else self._answer.open_text()

    def texts(self, pieces: list[str]) -> Delta:
        """See `Reader.texts`."""
        return self._answer.go_on(pieces)

    def decoded(self, blocks: bytes) -> list[Delta]:
        """See `Reader.decoded`."""
        is_last = blocks.endswith(_LAST)
        chunks = _chunks_in(blocks[: -len(_LAST)] if is_last else blocks.removesuffix(b"\n\n"))
        if chunks is None:
            return self._events(events_in(blocks), _unreadable)
        deltas = self._said(chunks)
        return deltas + self._done() if is_last and not self._is_over else deltas

    def _said(self, chunks: Sequence[Chunk]) -> list[Delta]:
        deltas: list[Delta] = []
        pieces: list[str] = []
        for chunk in chunks:
            text = _text_alone(chunk)
            if text and (pieces or self.text_key() is not None):
                pieces.append(text)
                continue
            if pieces:
                deltas.append(self._answer.go_on(pieces))
                pieces = []
            if self._is_over:
                break
            deltas += self._chunk(chunk)
        return [*deltas, self._answer.go_on(pieces)] if pieces else deltas

    def _events(self, events: list[SseEvent], on_broken: Callable[[Exception], Exception]) -> list[Delta]:
        """Events one by one: those that are not all chunks, and what cannot be read."""
        deltas: list[Delta] = []
        for event in events:
            if self._is_over:
                break
            payload = event.data.strip()
            if payload in (b"", _DONE):
                deltas += self._done() if payload else []
                continue
            try:
                chunk = _decode_chunk(payload)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise on_broken(error) from error
            if event.name == "error" and chunk.error == NULL:
                deltas.append(self._fail(payload))
            else:
                deltas += self._said((chunk,))
        return deltas

    def _done(self) -> list[Delta]:
        self._was_done = True
        return self._finish() if self._is_whole else []

    def _chunk(self, chunk: Chunk) -> list[Delta]:
        if failure := _error_of(chunk):
            return [self._fail(failure)]
        deltas: list[Delta] = []
        if not self._has_started and _is_answer(chunk):
            self._has_started = True
            deltas.append(Started(chunk.model or "", chunk.id or "", chunk.service_tier))
        self._answer.note(chunk)
        deltas += self._used(chunk)
        for choice in chunk.choices or ():
            if choice.index in (None, 0) and not self._is_over:
                deltas += self._choice(choice)
        return deltas

    def _choice(self, choice: Choice) -> list[Delta]:
        deltas: list[Delta] = []
        said = choice.delta or choice.message
        if said is not None:
            deltas += self._message(said, choice)
        if choice.finish_reason in _FAILED_REASONS:
            kind = "overloaded" if choice.finish_reason == "insufficient_system_resource" else "server_error"
            self._is_over = True
            message = f"The provider stopped with finish_reason {choice.finish_reason!r}."
            deltas.append(Failed(classify_event(kind, None, message)))
        elif choice.finish_reason:
            self._finish_reason = choice.finish_reason
        return deltas

    def _message(self, said: MessageDelta, choice: Choice) -> list[Delta]:
        answer = self._answer
        deltas = answer.reason(said)
        deltas += answer.say(said.content, choice.logprobs.content if choice.logprobs else None)
        if said.refusal:
            deltas += answer.refuse(said.refusal)
        if said.annotations:
            deltas += answer.annotate(said.annotations)
        for piece in said.tool_calls or ():
            deltas += answer.call(piece)
        if said.function_call is not None:
            deltas += answer.call(CallDelta(function=said.function_call))
        return deltas

    def _used(self, chunk: Chunk) -> list[Delta]:
        wire = chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)
        if wire is None:
            return []
        usage = usage_of(wire, self._quirks.reasoning_is_extra)
        if usage == self._usage:
            return []
        self._usage = usage
        return [Used(usage)]

    def _fail(self, body: bytes) -> Failed:
        self._is_over = True
        return Failed(reported_fault(body))

    def _finish(self) -> list[Delta]:
        self._is_over = True
        reason = _why(self._finish_reason)
        deltas = self._answer.end("incomplete" if reason else "completed")
        if self._answer.has_nameless_call:
            return [*deltas, Failed(UpstreamFault("server", "The provider called a tool and never named it."))]
        return [*deltas, Kept(self._answer.kept()), Finished(reason)]


def _chunks_in(blocks: bytes) -> list[Chunk] | None:
    """The chunks of blocks that are nothing else, a line each, as nearly all are; None of any others.

    Where an object ends before a line's end and another begins after it, no value of JSON goes on: so it is one chunk a
    line, if there are as many as lines.
    """
    if not blocks.startswith(_BEGIN):
        return None
    body = blocks[len(_BEGIN) - 1 :]
    lines = body.replace(_NEXT, _NEXT_LINE)
    count = 1 + (len(body) - len(lines)) // (len(_NEXT) - len(_NEXT_LINE))
    if lines.count(b"\n") != count - 1:
        return None
    try:
        chunks = _decode_lines(lines)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return chunks if len(chunks) == count else None


def usage_of(wire: UsageWire, reasoning_is_extra: bool) -> Usage:
    """Counts in OpenAI's sense, as far as they are told; null details are none (pitfall 71)."""
    prompt, completion = wire.prompt_tokens_details, wire.completion_tokens_details
    cached = (prompt.cached_tokens if prompt else None) or wire.prompt_cache_hit_tokens or wire.cached_tokens
    reasoning = (completion.reasoning_tokens if completion else None) or 0
    return Usage(
        input_tokens=wire.prompt_tokens or 0,
        cached_tokens=cached or 0,
        cache_write_tokens=(prompt.cache_write_tokens if prompt else None) or 0,
        output_tokens=(wire.completion_tokens or 0) + (reasoning if reasoning_is_extra else 0),
        reasoning_tokens=reasoning,
    )


def reported_fault(body: bytes) -> UpstreamFault:
    """The fault that an error object (or an unexpected document) inside a 200 answer reports."""
    report = read(body)
    try:
        said = msgspec.json.decode(body, type=ReportedError, strict=False)
    except msgspec.DecodeError:
        said = ReportedError()
    code = "content_filter" if report.was_flagged else None if said.code is None else str(said.code)
    return classify_event(code or next(iter(sorted(report.codes)), None), said.type, report.message)


def _why(finish_reason: str) -> Literal["max_output_tokens", "content_filter"] | None:
    """Why an answer is not whole; a reason nobody knows (pitfall 75) is none."""
    if finish_reason in _LIMIT_REASONS:
        return "max_output_tokens"
    return "content_filter" if finish_reason in _FILTER_REASONS else None


def _text_alone(chunk: Chunk) -> str:
    """The text of a chunk that says nothing else, as most do; "" of any other."""
    choices = chunk.choices
    if not choices or chunk.usage is not None or chunk.error is not NULL or chunk.x_groq is not None:
        return ""
    choice = choices[0]
    said = choice.delta
    if said is None or choice.index or choice.finish_reason or choice.logprobs or choice.error is not NULL:
        return ""
    if len(choices) > 1 or chunk.search_results or chunk.citations:
        return ""
    if said.tool_calls or said.reasoning_content or said.reasoning or said.reasoning_details:
        return ""
    if said.refusal or said.annotations or said.function_call is not None:
        return ""
    return said.content if isinstance(said.content, str) else ""


def _text_of(block: bytes) -> str:
    """The text of a block that says nothing else."""
    (event,) = events_in(block)
    return _text_alone(_decode_chunk(event.data))


def _error_of(chunk: Chunk) -> bytes:
    """The JSON of an error that a chunk reports, b"" for none. `"error": {}` reports nothing."""
    choices = chunk.choices or ()
    if chunk.error is NULL and chunk.x_groq is None and (not choices or choices[0].error is NULL) and len(choices) < 2:
        return b""  # as every chunk of a good answer
    places = [chunk.error]
    if chunk.x_groq is not None:
        places.append(chunk.x_groq.error)
    places += [choice.error for choice in choices]
    return next((bytes(raw) for raw in places if bytes(raw) not in (b"null", b"{}", b'""')), b"")


def _is_answer(chunk: Chunk) -> bool:
    """A part of an answer, and not just any JSON object."""
    return chunk.choices is not None or chunk.usage is not None or bool(chunk.id or chunk.model)


def _unreadable(error: Exception) -> Exception:
    return UpstreamFault("transport", f"The provider sent an event that is not a chat completion chunk: {error}.")


def _truncated(error: Exception) -> Exception:
    return TruncatedStream(f"The stream ended inside an event: {error}.")
