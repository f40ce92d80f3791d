"""From a request to everything that the simulator will do: an error, or steps to play one after the other.

    script -> HTTP failure?  -> start -> reasoning? -> refusal | calls | text -> stop

Pieces of about a word are written one by one: each costs an output token, and after each the script may wait, fail,
stop or hang up. Pure: the same request gives the same steps. Waiting is a step, played by `simulator_upstream`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from . import simulator_wire as wire
from .simulator_calls import PlannedCall, planned_calls
from .simulator_hints import Hints
from .simulator_json import Impossible
from .simulator_scene import Scene, described_parts, pieces
from .simulator_schema import value_for
from .simulator_script import Cut, Failure
from .simulator_talk import filler, talk

MODELS: Final = frozenset({"standard", "echo", "reason", "slow", "refuse", "error"})
SLOW_MODEL_DELAY_S: Final = 0.1
TOKENS_PER_BLOCK: Final = 3
TOKENS_PER_PART: Final = 85
"""What an image, file or video costs, whatever its size."""
_EFFORT_SENTENCES: Final = {"minimal": 1, "low": 2, "medium": 4, "high": 8, "xhigh": 12, "max": 16}
_SENTENCES_PER_PART: Final = {"auto": 4, "detailed": 2}
_ERROR_CODES: Final = {
    400: "invalid_request_error",
    401: "invalid_api_key",
    403: "permission_denied",
    404: "model_not_found",
    429: "rate_limit_exceeded",
    503: "server_is_overloaded",
}


@dataclass(frozen=True, slots=True)
class Wait:
    """Silence for so many seconds."""

    seconds: float


Step = wire.Line | Wait
StopReason = Literal["max_output_tokens", "content_filter"] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status 200 with steps, or an error with a body."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    steps: tuple[Step, ...] = ()


def answer(request: wire.SimRequest) -> Answer:
    """What the simulator does with a request."""
    if request.model not in MODELS:
        return _error(Failure(404, None, None), f"The model '{request.model}' does not exist.")
    scene = Scene(request)
    failure = scene.script.failure
    if failure is None and request.model == "error":
        failure = Failure(500, None, None)
    if failure is not None and failure.after is None:
        return _error(failure, f"The simulator was asked to fail with {failure.status}.")
    return Answer(200, {"content-type": "application/x-ndjson"}, steps=tuple(_Writer(scene).write()))


def _error(failure: Failure, message: str) -> Answer:
    code = _ERROR_CODES.get(failure.status, "server_error" if failure.status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": code, "param": None, "code": code}}
    headers = {"content-type": "application/json"}
    if failure.retry_after_s is not None:
        headers["retry-after-ms"] = str(round(failure.retry_after_s * 1000))
        headers["retry-after"] = str(-(-round(failure.retry_after_s * 1000) // 1000))
    return Answer(failure.status, headers, msgspec.json.encode(body))


class _Stopped(Exception):
    """The answer ends here: with this reason, or (None) without a stop line."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__()
        self.reason: StopReason = reason


class _Writer:
    """Writes the steps of one answer and counts its tokens."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._steps: list[Step] = []
        self._key = -1
        self._count = 0
        self._reasoning_count = 0
        script = scene.script
        self._delay_s = script.delay_s or (SLOW_MODEL_DELAY_S if scene.request.model == "slow" else 0.0)
        limit = scene.request.max_output_tokens
        self._cut = script.cut
        if limit is not None and (self._cut is None or limit <= self._cut.after):
            self._cut = Cut("max_output_tokens", limit)

    def write(self) -> list[Step]:
        request = self._scene.request
        digest = hashlib.sha256(wire.encode(request)).hexdigest()
        input_tokens, cached_tokens = counted_input(request)
        self._steps.append(wire.StartLine(request.model, f"sim_{digest[:24]}", input_tokens, cached_tokens))
        reason: StopReason = None
        try:
            self._events(0)
            self._reasoning()
            self._content(digest)
            self._events(None)
            if self._scene.script.cut is not None:
                reason = self._scene.script.cut.reason  # the answer was shorter than the cut
        except _Stopped as stopped:
            reason = stopped.reason
            if reason is None:
                return self._steps
        self._steps.append(wire.StopLine(reason, input_tokens, cached_tokens, self._count, self._reasoning_count))
        return self._steps

    # -- pieces --

    def _events(self, count: int | None) -> None:
        """What the script has happen after `count` pieces; None: at the end, for counts that were never reached."""
        script = self._scene.script

        def is_due(after: int) -> bool:
            return after == count if count is not None else after > self._count

        if script.stall is not None and is_due(script.stall.after):
            self._steps.append(Wait(script.stall.seconds))
        if script.failure is not None and script.failure.after is not None and is_due(script.failure.after):
            code = _ERROR_CODES.get(script.failure.status, "server_error")
            message = f"The simulator was asked to fail with {script.failure.status} in the middle."
            self._steps.append(wire.ErrorLine(code, message))
            raise _Stopped(None)
        if script.hangup_after is not None and is_due(script.hangup_after):
            raise _Stopped(None)

    def _write(self, text: str, line: Callable[[str], wire.Line]) -> str:
        """Write a text piece by piece; returns it. Raises _Stopped at a cut, then `_written` is what came out."""
        self._written = ""
        for piece in pieces(text):
            if self._cut is not None and self._count >= self._cut.after:
                raise _Stopped(self._cut.reason)
            if self._delay_s:
                self._steps.append(Wait(self._delay_s))
            self._steps.append(line(piece))
            self._written += piece
            self._count += 1
            self._events(self._count)
        return text

    def _item(self, text: str, line: Callable[[str], wire.Line], block: Callable[[str], wire.Block]) -> None:
        """One item of the answer, from its first piece to its `end` line."""
        try:
            self._write(text, line)
        except _Stopped as stopped:
            if stopped.reason is not None:
                self._steps.append(wire.EndLine(self._key, "incomplete", block(self._written)))
            raise
        self._steps.append(wire.EndLine(self._key, "completed", block(text)))

    # -- items --

    def _reasoning(self) -> None:
        effort = self._effort()
        if effort not in _EFFORT_SENTENCES:
            return
        self._key += 1
        key, request = self._key, self._scene.request
        sentences = _thoughts(self._scene, _EFFORT_SENTENCES[effort])
        parts = _summary_parts(sentences, request.summary)
        is_aloud = self._scene.script.thinks_aloud or (request.model == "reason" and request.summary is None)
        before = self._count
        try:
            if is_aloud:
                self._item(" ".join(sentences), lambda piece: wire.ThoughtLine(key, piece), _signed)
            elif request.summary is not None:
                self._summary(key, parts)
            else:
                self._steps.append(wire.ThinkingLine(key))
                # Hidden reasoning costs tokens and time, and shows nothing.
                self._item(" ".join(sentences), lambda _: wire.ThinkingLine(key), _signed)
        finally:
            self._reasoning_count = self._count - before

    def _summary(self, key: int, parts: list[str]) -> None:
        whole = "\n\n".join(parts)
        for index, part in enumerate(parts):
            is_last = index == len(parts) - 1

            def line(piece: str, index: int = index) -> wire.Line:
                return wire.SummaryLine(key, index, piece)

            if is_last:
                self._item(part, line, lambda _: _signed(whole))
            else:
                try:
                    self._write(part, line)
                except _Stopped as stopped:
                    if stopped.reason is not None:
                        self._steps.append(wire.EndLine(key, "incomplete", _signed(whole)))
                    raise

    def _effort(self) -> str:
        request, script = self._scene.request, self._scene.script
        default = "medium" if request.model == "reason" else "none"
        return script.effort or request.effort or default

    def _content(self, digest: str) -> None:
        script = self._scene.script
        refusal = script.refusal
        if refusal is None and self._scene.request.model == "refuse":
            refusal = "I'm sorry, but I can't help with that."
        calls = planned_calls(self._scene) if refusal is None and script.complaint is None else ()
        if refusal is not None:
            self._key += 1
            key = self._key
            self._item(
                refusal,
                lambda piece: wire.RefusalLine(key, piece),
                lambda text: wire.MessageBlock("assistant", (wire.RefusalPart(text),)),
            )
        elif calls:
            for index, call in enumerate(calls):
                self._call(call, f"call_{digest[24:44]}{index:04d}")
        else:
            self._text(_said(self._scene))

    def _call(self, call: PlannedCall, call_id: str) -> None:
        self._key += 1
        key, tool = self._key, call.tool
        self._steps.append(wire.CallLine(key, call_id, tool.name))
        self._item(
            call.text,
            lambda piece: wire.ArgumentsLine(key, piece),
            lambda text: wire.CallBlock(call_id, tool.name, text, tool.kind),
        )

    def _text(self, text: str) -> None:
        self._key += 1
        key, wanted = self._key, self._scene.request.top_logprobs
        citations = self._scene.script.citations

        def line(piece: str) -> wire.Line:
            return wire.TextLine(key, piece) if wanted is None else wire.TextLine(key, piece, _logprobs(piece, wanted))

        try:
            self._write(text, line)
        except _Stopped as stopped:
            if stopped.reason is not None:
                block = wire.MessageBlock("assistant", (wire.TextPart(self._written),))
                self._steps.append(wire.EndLine(key, "incomplete", block))
            raise
        for url, title in citations:
            self._steps.append(wire.CitationLine(key, _citation(url, title, len(text))))
        self._steps.append(wire.EndLine(key, "completed", wire.MessageBlock("assistant", (wire.TextPart(text),))))


def _signed(text: str) -> wire.ReasoningBlock:
    return wire.ReasoningBlock(text, wire.signature_of(text))


def _thoughts(scene: Scene, count: int) -> list[str]:
    """So many sentences about the question."""
    about = " ".join(scene.text.split()[:8]) or "this"
    openings = ("The user asks about", "I consider the words of", "I check the answer to", "I settle the answer to")
    return [f'{openings[index % len(openings)]} "{about}", step {index + 1}.' for index in range(count)]


def _summary_parts(sentences: list[str], summary: str | None) -> list[str]:
    """concise: the first sentence; auto and detailed: parts of four and of two sentences."""
    if summary not in _SENTENCES_PER_PART:
        return sentences[:1]
    size = _SENTENCES_PER_PART[summary]
    return [" ".join(sentences[start : start + size]) for start in range(0, len(sentences), size)]


def _said(scene: Scene) -> str:
    """The text of the answer, in the format that the request demands."""
    wanted = scene.request.format
    script = scene.script
    if wanted.type == "text" or script.complaint is not None or script.said is not None:
        return talk(scene)
    if wanted.type == "json_object":
        return _json({"answer": talk(scene)})
    try:
        return _json(value_for(wanted.schema, Hints(_material(scene))))
    except Impossible:
        return _json({})


def _material(scene: Scene) -> str:
    """What the values are drawn from: tool outputs, then the user's words."""
    return "\n".join(filter(None, (scene.text, *(given for _, given in scene.outputs))))


def _json(value: Any) -> str:
    """With a space after colons and commas, as models write it: so it has pieces to stream."""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def _logprobs(piece: str, top: int) -> msgspec.Raw:
    """Made up from the piece alone; the piece itself is always the likeliest."""
    certainty = hashlib.sha256(piece.encode()).digest()[0] / 2560
    entry = {"token": piece, "bytes": list(piece.encode()), "logprob": -certainty}
    others = [word for word in filler(top + 1).split() if word != piece.strip()]
    rivals = [
        {"token": word, "bytes": list(word.encode()), "logprob": -certainty - 1.5 - rank}
        for rank, word in enumerate(others[: max(top - 1, 0)])
    ]
    return msgspec.Raw(wire.encode([entry | {"top_logprobs": ([entry] if top else []) + rivals}]))


def _citation(url: str, title: str, length: int) -> msgspec.Raw:
    annotation = {"type": "url_citation", "start_index": 0, "end_index": length, "url": url, "title": title}
    return msgspec.Raw(wire.encode(annotation))


# -- input tokens ------------------------------------------------------------------------------------------------------


def counted_input(request: wire.SimRequest) -> tuple[int, int]:
    """Input tokens, and how many of them an earlier request must have sent already.

    That is everything before the last thing that the model itself wrote: it was the input of that turn.
    """
    fixed = len(pieces(request.instructions or ""))
    fixed += sum(
        len(pieces(f"{tool.name} {tool.description} {bytes(tool.parameters).decode()}")) for tool in request.tools
    )
    counts = [TOKENS_PER_BLOCK + _block_tokens(block) for block in request.transcript]
    first_new = next(
        (index for index in reversed(range(len(counts))) if _starts_own_turn(request.transcript, index)), None
    )
    cached = fixed + sum(counts[:first_new]) if first_new is not None else 0
    return fixed + sum(counts), cached


def _starts_own_turn(transcript: tuple[wire.Block, ...], index: int) -> bool:
    """The first block of a run that the model wrote."""
    return _is_own(transcript[index]) and (index == 0 or not _is_own(transcript[index - 1]))


def _is_own(block: wire.Block) -> bool:
    if isinstance(block, wire.MessageBlock):
        return block.role == "assistant"
    return isinstance(block, wire.ReasoningBlock | wire.CallBlock)


def _block_tokens(block: wire.Block) -> int:
    match block:
        case wire.MessageBlock() | wire.OutputBlock():
            texts = [part for part in block.content if isinstance(part, wire.TextPart | wire.RefusalPart)]
            others = len(block.content) - len(texts)
            return len(pieces(described_parts(texts))) + TOKENS_PER_PART * others
        case wire.CallBlock():
            return len(pieces(f"{block.name} {block.text}"))
        case _:
            return len(pieces(block.text))
