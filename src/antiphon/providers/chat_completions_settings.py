"""The settings of a request as body fields: sampling, limits, structured outputs, reasoning, caching, identity.

What only tunes and has no place at the target is named in `dropped`; an output format it cannot enforce is refused.
Source: OpenAI "Chat Completions" parameters; reference of provider wires, §1.2 request table and dialect matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.request import CreateResponse, TextFormat

from .quirks import ChatQuirks, ChatTuning

_SAMPLING: Final[tuple[ChatTuning, ...]] = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_SERVING: Final[tuple[ChatTuning, ...]] = (
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "user",
)
_sampling_of: Final = attrgetter(*_SAMPLING)
_serving_of: Final = attrgetter(*_SERVING)
_ANY_OBJECT: Final = {"name": "object", "schema": {"type": "object"}}


class Settings:
    """Body fields and the names of what was left out."""

    def __init__(self, request: CreateResponse, quirks: ChatQuirks, *, has_tools: bool, is_forced: bool) -> None:
        self.fields: dict[str, object] = {}
        self.dropped: list[str] = []
        self._request = request
        self._quirks = quirks
        if has_tools and request.parallel_tool_calls_said:
            is_default = request.parallel_tool_calls
            self._tune("parallel_tool_calls", request.parallel_tool_calls, is_default=is_default)
        if request.text.format.type != "text":
            self._format(request.text.format)
        self._limits_and_sampling()
        self._reasoning(is_forced=is_forced and quirks.forcing_stops_thinking)
        self._service()
        self._stream()

    def _tune(self, name: ChatTuning, value: object, *, said: str | None = None, is_default: bool = False) -> None:
        """Send a field that was said, or name it; a value that is the default anyway is not worth a word."""
        if name in self._quirks.tuning:
            self.fields[name] = value
        elif not is_default:
            self.dropped.append(said or name)

    def _tune_all(self, names: Sequence[ChatTuning], values: tuple[object, ...]) -> None:
        if values.count(None) == len(values):  # as of most requests
            return
        for name, value in zip(names, values, strict=True):
            if value is not None:
                self._tune(name, value)

    def _format(self, wanted: TextFormat) -> None:
        formats = self._quirks.response_formats
        if wanted.type == "json_object" and "json_object" in formats:
            self.fields["response_format"] = {"type": "json_object"}
            return
        if "json_schema" not in formats:
            raise InvalidRequest(
                f"The model's provider cannot be held to text.format {wanted.type!r}.",
                param="text.format.type",
                code="unsupported_value",
            )
        schema = _ANY_OBJECT if wanted.type == "json_object" else _schema(wanted)
        self.fields["response_format"] = {"type": "json_schema", "json_schema": schema}

    def _limits_and_sampling(self) -> None:
        request = self._request
        if request.max_output_tokens is not None:
            self.fields[self._quirks.max_tokens_field] = request.max_output_tokens
        self._tune_all(_SAMPLING, _sampling_of(request))
        if request.wants_logprobs:
            self._tune("logprobs", True, said="top_logprobs")
            if "logprobs" in self._quirks.tuning and request.top_logprobs:
                self.fields["top_logprobs"] = request.top_logprobs
        if request.text.verbosity is not None:
            self._tune("verbosity", request.text.verbosity, said="text.verbosity")

    def _reasoning(self, *, is_forced: bool) -> None:
        asked = self._request.reasoning
        if is_forced:
            self.fields["thinking"] = {"type": "disabled"}
        if asked is None:
            return
        if asked.effort is not None:
            effort = self._quirks.effort_map.get(asked.effort, asked.effort)
            if is_forced and asked.effort != "none":
                self.dropped.append("reasoning.effort")
            elif not is_forced:
                self._effort(asked.effort, effort)
        for name in ("summary", "context", "mode"):
            if getattr(asked, name) is not None:
                self.dropped.append(f"reasoning.{name}")

    def _effort(self, asked: str, effort: str) -> None:
        style = self._quirks.reasoning_request
        has_thinking = style in ("thinking_type", "thinking_and_effort")
        if has_thinking:
            self.fields["thinking"] = {"type": "disabled" if asked == "none" else "enabled"}
        if style == "openrouter" and effort:
            self.fields["reasoning"] = {"effort": effort}
        elif (style == "effort" and effort) or (style == "thinking_and_effort" and effort and asked != "none"):
            self.fields["reasoning_effort"] = effort
        elif not has_thinking:
            self.dropped.append("reasoning.effort")

    def _service(self) -> None:
        request = self._request
        if request.service_tier is not None:
            is_default = request.service_tier in ("auto", "default")
            self._tune("service_tier", request.service_tier, is_default=is_default)
        self._tune_all(_SERVING, _serving_of(request))
        # Metadata is kept and echoed by this server: a target without it loses nothing.
        if request.metadata:
            self._tune("metadata", request.metadata, is_default=True)
        # State is always ours; OpenAI would keep a copy unless told otherwise.
        self._tune("store", False, is_default=True)

    def _stream(self) -> None:
        self.fields["stream"] = True
        if self._quirks.has_stream_options:
            self.fields["stream_options"] = {"include_usage": True}


def _schema(wanted: TextFormat) -> dict[str, object]:
    schema: dict[str, object] = {"name": wanted.name}
    if wanted.description:
        schema["description"] = wanted.description
    schema["schema"] = wanted.schema if wanted.schema is not None else msgspec.Raw(b"{}")
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return schema
