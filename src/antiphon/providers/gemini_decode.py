"""The answer of a streamGenerateContent call to deltas.

Each chunk is a whole GenerateContentResponse and nothing in it marks where an item begins: a run of parts of one kind
is one item. A part's signature goes with that part: on a call it stands in a reasoning item before the call, for
clients that keep their own history; a stored chain keeps the parts as they came.

    thought text          reasoning summary
    text                  message; grounding and citations are put on it when they come, mostly at the end
    functionCall          a call, whole at once
    executableCode        code_interpreter_call, ended by codeExecutionResult
    inlineData image      image_generation_call
    finishReason          the end; CONTINUATION wants another call

Source: Gemini API reference, GenerateContentResponse; reference of provider wires, §1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from antiphon.protocol import deltas as de
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.sse import SseDecoder
from antiphon.protocol.utf8 import as_utf8

from . import faults
from . import gemini_wire as wire
from . import native_items as native
from .base import ToolName
from .gemini_grounding import citations_of, logprobs
from .gemini_parts import CONTINUATION, text_part
from .tool_names import custom_input, lift, search_call

Raw = msgspec.Raw
Run = Literal["none", "text", "thinking", "code"]
CONTAINER: Final = "gemini"
"""Gemini names no container; the field is required."""
_FILTERED: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    }
)
_FAILED: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "LANGUAGE",
        "NO_IMAGE",
        "IMAGE_OTHER",
    }
)
_encode: Final = msgspec.json.Encoder().encode


class GeminiDecoder:
    """Implements `Decoder`."""

    def __init__(self, tool_names: Sequence[ToolName], include: frozenset[str]) -> None:
        self._names = tool_names
        self._include = include
        self._sse = SseDecoder()
        self._plain: list[bytes] | None = None
        self._is_fresh = True
        self._is_over = False
        self._has_started = False
        self._key = 0
        self._run: Run = "none"
        self._code = ""
        self._carried: list[Raw] = []
        self._kept: list[Raw] = []
        self._texts: list[str] = []
        self._thoughts = False
        self._message_key: int | None = None
        self._said: list[str] = []
        self._grounding: wire.Grounding | None = None
        self._citations: wire.Citations | None = None
        self._usage = wire.Usage()
        self._finish: wire.Candidate | None = None
        self._has_content = False

    def feed(self, chunk: bytes) -> list[de.Delta]:
        """See `Decoder.feed`."""
        if self._is_over:
            return []
        if self._is_fresh and chunk.strip():
            self._is_fresh = False
            if chunk.lstrip()[:1] in b"[{":
                self._plain = []
        if self._plain is not None:
            self._plain.append(chunk)
            return []
        out: list[de.Delta] = []
        for event in self._sse.feed(chunk):
            if not self._is_over and event.data not in (b"", b"[DONE]"):
                self._apply(_answer(event.data), out)
        return out

    def close(self) -> list[de.Delta]:
        """See `Decoder.close`. The wire has no last event: the end is the end of the bytes after a finishReason."""
        out: list[de.Delta] = []
        if self._plain is not None:
            for answer in _answers(as_utf8(b"".join(self._plain))):
                self._apply(answer, out)
        else:
            for event in self._sse.close():
                if not self._is_over and event.data not in (b"", b"[DONE]"):
                    self._apply(_answer(event.data), out)
        if not self._is_over:
            if self._finish is None:
                raise TruncatedStream("the stream ended without a finishReason")
            self._end(self._finish, out)
        return out

    def _apply(self, answer: wire.Answer, out: list[de.Delta]) -> None:
        if answer.error is not None:
            error = answer.error
            code = None if error.code is None else str(error.code)
            self._fail(faults.classify_event(code, error.status, error.message or ""), out)
            return
        if not self._has_started:
            self._has_started = True
            out.append(de.Started(answer.model_version or "", answer.response_id or ""))
        self._count(answer.usage_metadata, out)
        candidate = answer.candidates[0] if answer.candidates else None
        if candidate is not None:
            self._candidate(candidate, out)
        elif answer.prompt_feedback is not None and answer.prompt_feedback.block_reason:
            feedback = answer.prompt_feedback
            said = feedback.block_reason_message or f"The prompt was blocked: {feedback.block_reason}."
            self._fail(UpstreamFault("content_policy", said), out)

    def _candidate(self, candidate: wire.Candidate, out: list[de.Delta]) -> None:
        tokens = logprobs(candidate.logprobs_result)
        for raw in (candidate.content and candidate.content.parts) or ():
            tokens = self._part(raw, tokens, out)
        self._grounding = candidate.grounding_metadata or self._grounding
        self._citations = candidate.citation_metadata or self._citations
        if candidate.finish_reason:
            self._finish = candidate

    # -- parts

    def _part(self, raw: Raw, tokens: Raw | None, out: list[de.Delta]) -> Raw | None:
        """One part; gives back the log probabilities that no text has taken yet."""
        try:
            part = wire.decode_part(raw)
        except msgspec.MsgspecError as error:
            raise UpstreamFault("transport", "The model provider sent a part that cannot be read.") from error
        if part.function_call is not None:
            self._call(part, part.function_call, raw, out)
        elif part.executable_code is not None:
            self._executable(part.executable_code, raw, out)
        elif part.code_execution_result is not None:
            self._executed(part.code_execution_result, raw, out)
        elif part.inline_data is not None:
            self._media(part.inline_data, raw, out)
        elif part.text is not None:
            return self._text(part, part.text, tokens, out)
        else:
            self._keep(raw)
        return tokens

    def _keep(self, raw: Raw) -> None:
        self._flush(None)
        self._kept.append(Raw(bytes(raw)))

    def _flush(self, signature: str | None) -> None:
        """Text that came in pieces is one part; a signature closes it."""
        text, self._texts = "".join(self._texts), []
        if text or signature:
            self._kept.append(text_part(text, signature, is_thought=self._thoughts))

    def _text(self, part: wire.Part, text: str, tokens: Raw | None, out: list[de.Delta]) -> Raw | None:
        is_thought = bool(part.thought)
        if is_thought != self._thoughts:
            self._flush(None)
            self._thoughts = is_thought
        if text:
            self._enter("thinking" if is_thought else "text", out)
            self._texts.append(text)
            if is_thought:
                out.append(de.Summary(self._key, text))
            else:
                self._has_content = True
                self._said.append(text)
                out.append(de.Text(self._key, text, tokens))
                tokens = None
        if part.thought_signature:
            self._flush(part.thought_signature)
            if is_thought and self._run == "thinking":
                self._carried.append(self._kept[-1])
        return tokens

    def _enter(self, run: Run, out: list[de.Delta]) -> None:
        """A part of this kind begins: it goes on with the item before it, or ends it and has a key of its own."""
        if run == self._run:
            return
        self._leave(out)
        self._key += 1
        self._run = run
        self._carried = []
        if run == "text":
            self._message_key, self._said = self._key, []

    def _leave(self, out: list[de.Delta]) -> None:
        if self._run == "thinking":
            if self._carried:
                out.append(de.Carried(self._key, Raw(_encode(self._carried))))
            out.append(de.Ended(self._key))
        elif self._run == "code":
            self._code_ended("", "incomplete", out)
        # A message stays open: what grounds it comes after it, and the next item closes it anyway.
        self._run = "none"

    def _call(self, part: wire.Part, call: wire.FunctionCall, raw: Raw, out: list[de.Delta]) -> None:
        if part.thought_signature:
            if self._run != "thinking":
                self._enter("thinking", out)
                out.append(de.Thinking(self._key))
            self._carried.append(Raw(_encode({"thoughtSignature": part.thought_signature})))
        self._keep(raw)
        self._leave(out)
        self._key += 1
        self._has_content = True
        tool = lift(self._names, call.name)
        arguments = bytes(call.args).decode()
        if tool.is_search:
            out.append(search_call(self._key, call.id or "", arguments))
            return
        out.append(de.CallStarted(self._key, tool.name, call.id or "", tool.kind, tool.namespace))
        out.append(de.CallArguments(self._key, custom_input(arguments) if tool.wrapped else arguments))
        out.append(de.Ended(self._key))

    def _executable(self, code: wire.Code, raw: Raw, out: list[de.Delta]) -> None:
        self._keep(raw)
        self._leave(out)
        self._enter("code", out)
        self._code = code.code
        self._has_content = True
        out += native.code_begun(self._key, CONTAINER)
        out += native.code_written(self._key, code.code)
        out += native.code_runs(self._key, code.code)

    def _executed(self, result: wire.CodeResult, raw: Raw, out: list[de.Delta]) -> None:
        self._keep(raw)
        if self._run == "code":
            failed = bool(result.outcome) and result.outcome != "OUTCOME_OK"
            self._code_ended(result.output or "", "failed" if failed else "completed", out)
            self._run = "none"

    def _code_ended(self, logs: str, status: native.Status, out: list[de.Delta]) -> None:
        out += native.code_ended(self._key, self._code, CONTAINER, logs, self._include, status)

    def _media(self, blob: wire.Blob, raw: Raw, out: list[de.Delta]) -> None:
        self._keep(raw)
        if blob.mime_type.startswith("image/"):
            self._leave(out)
            self._key += 1
            self._has_content = True
            out += native.image_made(self._key, blob.data)

    # -- the end

    def _fail(self, fault: UpstreamFault, out: list[de.Delta]) -> None:
        self._is_over = True
        out.append(de.Failed(fault))

    def _end(self, finish: wire.Candidate, out: list[de.Delta]) -> None:
        reason = finish.finish_reason or ""
        if reason in _FAILED or (reason == "OTHER" and not self._has_content):
            said = finish.finish_message or f"The model stopped: {reason}."
            self._fail(UpstreamFault("server", said), out)
            return
        self._flush(None)
        self._is_over = True
        was_text = self._run == "text"
        self._leave(out)
        self._ground(out, is_open=was_text)
        is_paused = reason == "CONTINUATION" and bool(finish.continuation_token)
        if is_paused:
            self._kept.append(Raw(_encode({CONTINUATION: finish.continuation_token})))
        if self._kept:
            # Signatures of text, and parts that no item shows, are in the parts alone.
            out.append(
                de.Kept(
                    Raw(_encode(self._kept)), essential=any(b"thoughtSignature" in bytes(part) for part in self._kept)
                )
            )
        if is_paused:
            out.append(de.Paused())
        elif reason in ("MAX_TOKENS", "CONTINUATION"):
            out.append(de.Finished("max_output_tokens"))
        else:
            out.append(de.Finished("content_filter" if reason in _FILTERED else None))

    def _ground(self, out: list[de.Delta], *, is_open: bool) -> None:
        """What the last message was grounded on: annotations on it, and after it the search that was made."""
        if is_open and self._message_key is not None:
            rows = citations_of("".join(self._said), self._grounding, self._citations)
            out.extend(de.Cited(self._message_key, row) for row in rows)
            out.append(de.Ended(self._message_key))
        grounding = self._grounding
        if grounding is None or not grounding.web_search_queries:
            return
        self._key += 1
        chunks = grounding.grounding_chunks or ()
        sources = [chunk.web.uri for chunk in chunks if chunk.web is not None and chunk.web.uri]
        action = native.search_action(grounding.web_search_queries, sources, self._include)
        out += [*native.search_begun(self._key, action), *native.search_ended(self._key, action)]

    def _count(self, usage: wire.Usage | None, out: list[de.Delta]) -> None:
        """The counts are cumulative, and one that was said may be missing later: the last word on each holds."""
        if usage is None:
            return
        said = {name: value for name in wire.Usage.__struct_fields__ if (value := getattr(usage, name)) is not None}
        now = self._usage = msgspec.structs.replace(self._usage, **said)
        thoughts = now.thoughts_token_count or 0
        counts = de.Usage(
            (now.prompt_token_count or 0) + (now.tool_use_prompt_token_count or 0),
            now.cached_content_token_count or 0,
            0,
            (now.candidates_token_count or 0) + thoughts,
            thoughts,
        )
        out.append(de.Used(counts))


def _answer(data: bytes) -> wire.Answer:
    try:
        return wire.decode_answer(data)
    except msgspec.MsgspecError as error:
        raise UpstreamFault("transport", "The model provider sent an event that cannot be read.") from error


def _answers(body: bytes) -> tuple[wire.Answer, ...]:
    """A plain JSON body: one answer, or the array of chunks that the wire gives without `alt=sse`."""
    try:
        return wire.decode_answers(body) if body.lstrip()[:1] == b"[" else (wire.decode_answer(body),)
    except msgspec.MsgspecError as error:
        raise UpstreamFault("transport", "The model provider's answer cannot be read.") from error
