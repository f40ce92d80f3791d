"""The `responses` dialect: upstreams that speak the Responses API themselves.

State is ours: every call is stateless (`store: false`), streamed, and carries the whole context, so a conversation
can move between accounts and providers. What vendors do differently is data (`ResponsesQuirks`). Must never send
previous_response_id, an item_reference or an item id of ours.
Source: reference "OpenAI Responses (native) and its dialects"; OpenAI OpenAPI `CreateResponse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import InvalidRequest, UpstreamFault
from antiphon.protocol.request import (
    INCLUDE_ENCRYPTED_REASONING,
    INCLUDE_LOGPROBS,
    CreateResponse,
    ReasoningSettings,
    TextFormat,
)

from . import faults
from .base import Decoder, DialectName, HttpRequest, Target, Turn, Vendor, call_headers
from .capabilities import ALL_MEDIA, Media
from .quirks import ResponsesQuirks
from .responses_decoder import ResponsesDecoder
from .responses_input import InputRenderer
from .responses_tools import WireTools, render_tools
from .side_calls import read_compaction, read_count, side_call
from .writing import write

Body = dict[str, object]

_encode: Final = msgspec.json.Encoder().encode
# The one setting that changes what the answer means: it is honoured or refused, never left out.
_FORMAT: Final = "text.format"
_COUNTED: Final = frozenset(
    {"model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation"}
)
_COMPACTED: Final = frozenset({"model", "input", "instructions", "prompt_cache_key", "service_tier"})


class Responses:
    """Speaks the Responses API to any vendor of `dialect = "responses"`."""

    name: DialectName = "responses"

    def encode(self, turn: Turn, target: Target) -> HttpRequest:
        """One streamed, stateless call. Raises InvalidRequest for what changes the meaning and cannot be honoured."""
        quirks = target.vendor.quirks.responses
        tools = render_tools(turn, target)
        renderer = write(InputRenderer(target), turn, target)
        body: Body = {"model": target.model, "input": renderer.items()}
        instructions = [text for text in (turn.request.instructions, *renderer.folded) if text]
        if instructions:
            body["instructions"] = "\n\n".join(instructions)
        said = _settings(turn.request)
        dropped = _fit(said, quirks, target)
        body |= _tool_fields(turn.request, tools) | _nested(said) | _ours(turn.request, quirks)
        if "include" in quirks.dropped_fields and turn.request.include - {INCLUDE_ENCRYPTED_REASONING}:
            dropped.append("include")
        return HttpRequest(
            "POST",
            _url(target.vendor, "/responses"),
            call_headers(target.vendor),
            _encode(body),
            dropped=tuple(dict.fromkeys([*dropped, *tools.dropped, *renderer.dropped])),
            removed=tuple(renderer.removed),
            tool_names=tools.names,
            credential=target.vendor.credential,
        )

    def decoder(self, target: Target, request: HttpRequest) -> Decoder:
        """A fresh decoder for the answer to `request`."""
        del target
        return ResponsesDecoder(request.tool_names)

    def reads_urls(self, target: Target) -> frozenset[Media]:
        """See `Dialect.reads_urls`."""
        return frozenset() if target.vendor.is_local else ALL_MEDIA

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        """Classify a non-2xx answer. Header names are lower case."""
        return faults.classify(status, headers, body)

    def count_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.count_request`."""
        if not target.vendor.quirks.responses.counts_tokens:
            return None
        return side_call(self.encode(turn, target), _url(target.vendor, "/responses/input_tokens"), _COUNTED)

    def read_count(self, body: bytes) -> int:
        """See `Dialect.read_count`."""
        return read_count(body)

    def compact_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.compact_request`."""
        if not target.vendor.quirks.responses.compacts:
            return None
        return side_call(self.encode(turn, target), _url(target.vendor, "/responses/compact"), _COMPACTED)

    def read_compaction(self, body: bytes) -> tuple[msgspec.Raw, Usage]:
        """See `Dialect.read_compaction`."""
        return read_compaction(body)

    def models_request(self, target_vendor: Vendor) -> HttpRequest | None:
        """The call that lists this vendor's models."""
        url = _url(target_vendor, "/models")
        return HttpRequest("GET", url, call_headers(target_vendor), b"", credential=target_vendor.credential)


def _url(vendor: Vendor, path: str) -> str:
    query = vendor.quirks.responses.query
    return f"{vendor.base_url}{path}?{query}" if query else f"{vendor.base_url}{path}"


def _tool_fields(request: CreateResponse, tools: WireTools) -> Body:
    """None of these three is sent without tools: several upstreams answer 400 (pitfalls 10, 63)."""
    if not tools.tools:
        return {}
    fields: Body = {"tools": tools.tools}
    if tools.choice is not None:
        fields["tool_choice"] = tools.choice
    if request.parallel_tool_calls_said:
        fields["parallel_tool_calls"] = request.parallel_tool_calls
    return fields


def _settings(request: CreateResponse) -> Body:
    """What the client said, by its path in the body, and nothing it did not say: defaults stay the upstream's own."""
    reasoning = request.reasoning or ReasoningSettings()
    said: Body = {
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_logprobs": request.top_logprobs,
        # Only Open Responses has these two; a zero is every model's default, and OpenAI refuses even that.
        "presence_penalty": request.presence_penalty or None,
        "frequency_penalty": request.frequency_penalty or None,
        "truncation": None if request.truncation == "disabled" else request.truncation,
        "text.format": _format(request.text.format),
        "text.verbosity": request.text.verbosity,
        "reasoning.effort": reasoning.effort,
        "reasoning.summary": reasoning.summary,
        "reasoning.context": reasoning.context,
        "reasoning.mode": reasoning.mode,
        "metadata": request.metadata or None,
        "service_tier": request.service_tier,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_options": request.prompt_cache_options,
        "prompt_cache_retention": request.prompt_cache_retention,
        "safety_identifier": request.safety_identifier,
        "user": request.user,
    }
    return {path: value for path, value in said.items() if value is not None}


def _format(asked: TextFormat) -> Body | None:
    if asked.type == "text":
        return None
    if asked.type == "json_object":
        return {"type": asked.type}
    schema: Body = {"type": asked.type, "name": asked.name, "schema": asked.schema}
    if asked.description is not None:
        schema["description"] = asked.description
    return schema if asked.strict is None else schema | {"strict": asked.strict}


def _ours(request: CreateResponse, quirks: ResponsesQuirks) -> Body:
    """How we call: streamed, stateless, with everything included that a later turn or the client needs."""
    include = set(request.include) - {INCLUDE_ENCRYPTED_REASONING}
    if quirks.reasoning == "encrypted":
        include.add(INCLUDE_ENCRYPTED_REASONING)
    if request.wants_logprobs:
        include.add(INCLUDE_LOGPROBS)
    fields: Body = {"stream": True, "store": False}
    if include:
        fields["include"] = sorted(include)
    if quirks.takes_obfuscation_option:
        fields["stream_options"] = {"include_obfuscation": False}
    return {name: value for name, value in fields.items() if name not in quirks.dropped_fields}


def _fit(said: Body, quirks: ResponsesQuirks, target: Target) -> list[str]:
    """Take out of the settings what the vendor refuses; the paths of what the client had said."""
    dropped: list[str] = []
    for path in list(said):
        value = said[path]
        allowed = quirks.allowed_values.get(path)
        is_refused = path in quirks.dropped_fields or path.partition(".")[0] in quirks.dropped_fields
        if not is_refused and (allowed is None or value in allowed):
            continue
        if path == _FORMAT:
            raise InvalidRequest(
                f"{target.name} cannot be held to an output format: use another model or leave out text.format.",
                param=_FORMAT,
                code="unsupported_parameter",
            )
        del said[path]
        dropped.append(path)
    return dropped


def _nested(said: Body) -> Body:
    """Paths of two steps as objects: `text.format` becomes `{"text": {"format": ...}}`."""
    body: Body = {}
    inner: dict[str, Body] = {}
    for path, value in said.items():
        parent, _, child = path.partition(".")
        if child:
            inner.setdefault(parent, {})[child] = value
        else:
            body[parent] = value
    return body | inner
