"""The `cohere` dialect: `POST {base_url}/v2/chat`, always streamed.

Source: Cohere API v2, Chat; reference of provider wires, §1.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import InvalidRequest, UpstreamFault
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.tools import AllowedChoice, CustomTool, NamedChoice

from . import faults
from .base import Decoder, DialectName, HttpRequest, Target, ToolName, Turn, Vendor, call_headers
from .capabilities import Capabilities, Media
from .cohere_decode import CohereDecoder
from .cohere_messages import Fields, Messages
from .history_items import unsent_fields
from .schemas import inline_refs
from .side_calls import no_such_call
from .tool_names import (
    EMPTY_SCHEMA,
    LoweredTool,
    LoweredTools,
    declarations,
    lower_tools,
    referred,
    wrapped_schema,
)
from .writing import write

Raw = msgspec.Raw
_BUDGETS: Final = {"minimal": 512, "low": 1_024, "medium": 4_096, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_ONE_CALL: Final = "Call at most one tool at a time."
_encode: Final = msgspec.json.Encoder().encode


class Cohere:
    """Implements `Dialect`."""

    name: DialectName = "cohere"

    def encode(self, turn: Turn, target: Target) -> HttpRequest:
        """See `Dialect.encode`. Equal turns give equal bytes."""
        request = turn.request
        lowered = lower_tools(request.tools, declarations(turn))
        messages = write(Messages(target), turn, target)
        dropped: list[str] = [*lowered.hosted_names]
        tools = _tool_fields(request, lowered, dropped)
        is_one_call = bool(tools) and request.parallel_tool_calls_said and not request.parallel_tool_calls
        written = messages.finish(_ONE_CALL if is_one_call else "")
        body: Fields = {"model": target.model, "stream": True, "messages": written}
        body |= tools | _settings(request, target.able, dropped, has_tools=bool(tools))
        return HttpRequest(
            "POST",
            target.vendor.base_url + target.vendor.quirks.cohere.path,
            call_headers(target.vendor),
            _encode(body),
            dropped=tuple(dropped),
            removed=tuple(messages.removed),
            tool_names=lowered.names,
            credential=target.vendor.credential,
        )

    def decoder(self, target: Target, request: HttpRequest) -> Decoder:
        """See `Dialect.decoder`."""
        del target
        return CohereDecoder(request.tool_names)

    def reads_urls(self, target: Target) -> frozenset[Media]:
        """See `Dialect.reads_urls`."""
        del target
        return frozenset({"image"})

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        """See `Dialect.fault`."""
        return faults.classify(status, headers, body)

    def count_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.count_request`: there is none for whole requests."""
        del turn, target
        return None

    def read_count(self, body: bytes) -> int:
        """See `Dialect.read_count`."""
        raise no_such_call(body)

    def compact_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.compact_request`: there is none."""
        del turn, target
        return None

    def read_compaction(self, body: bytes) -> tuple[Raw, Usage]:
        """See `Dialect.read_compaction`."""
        raise no_such_call(body)

    def models_request(self, target_vendor: Vendor) -> HttpRequest | None:
        """See `Dialect.models_request`."""
        url = f"{target_vendor.base_url}/v1/models?page_size=1000&endpoint=chat"
        return HttpRequest("GET", url, call_headers(target_vendor), b"", credential=target_vendor.credential)


def _tool_fields(request: CreateResponse, lowered: LoweredTools, dropped: list[str]) -> Fields:
    only, choice = _choice(request, lowered)
    kept = lowered.each(_declaration, only)
    dropped += unsent_fields(lowered, only)
    if not kept:
        return {}
    fields: Fields = {"tools": kept}
    return fields | ({"tool_choice": choice} if choice else {})


def _choice(request: CreateResponse, lowered: LoweredTools) -> tuple[tuple[ToolName, ...] | None, str]:
    """The tools that are declared (None: all), and the word for the choice ("" leaves it to the model)."""
    match request.tool_choice:
        case "auto":
            return None, ""
        case "none":
            return None, "NONE"
        case "required":
            if not lowered.tools:
                raise _refused("No tool that this model can call is left for tool_choice 'required'.")
            return None, "REQUIRED"
        case NamedChoice(tool):
            found = referred(lowered.names, tool)
            if not found:
                raise _refused(f"The tool {tool.name or tool.type!r} that tool_choice forces cannot be served here.")
            return found, "REQUIRED"
        case AllowedChoice() as allowed:
            found = tuple(dict.fromkeys(name for ref in allowed.tools for name in referred(lowered.names, ref)))
            if allowed.mode == "required" and not found:
                raise _refused("None of the tools that tool_choice allows can be served here.")
            if not found or allowed.mode == "none":
                return None, "NONE"
            return found, "REQUIRED" if allowed.mode == "required" else ""


def _declaration(lowered: LoweredTool) -> Fields:
    tool = lowered.tool
    if isinstance(tool, CustomTool):
        schema = Raw(wrapped_schema(tool))
    else:
        is_said = isinstance(tool.parameters, Raw) and bytes(tool.parameters) != b"null"
        schema = inline_refs(tool.parameters) if is_said and isinstance(tool.parameters, Raw) else EMPTY_SCHEMA
    function: Fields = {"name": lowered.tool_name.wire_name, "parameters": schema}
    if lowered.description:
        function["description"] = lowered.description
    return {"type": "function", "function": function}


def _settings(request: CreateResponse, able: Capabilities, dropped: list[str], *, has_tools: bool) -> Fields:
    fields: Fields = {}
    for name, wire, most in (
        ("temperature", "temperature", 1.0),
        ("top_p", "p", 0.99),
        ("presence_penalty", "presence_penalty", 1.0),
        ("frequency_penalty", "frequency_penalty", 1.0),
    ):
        value: float | None = getattr(request, name)
        if value is not None:
            fields[wire] = max(0.0, min(value, most))
            if not 0 <= value <= 1:
                dropped.append(name)  # what is sent is not what was said
    if request.max_output_tokens is not None:
        most_tokens = able.max_tokens if able.is_known and able.max_tokens else request.max_output_tokens
        fields["max_tokens"] = min(request.max_output_tokens, most_tokens)
    fields |= _format(request, has_tools=has_tools) | _thinking(request, able, dropped)
    said = {
        "text.verbosity": request.text.verbosity,
        "top_logprobs": request.wants_logprobs or None,
        "prompt_cache_key": request.prompt_cache_key,
        "safety_identifier": request.safety_identifier,
        "service_tier": request.service_tier not in (None, "auto", "default"),
    }
    dropped += [name for name, value in said.items() if value]
    return fields


def _format(request: CreateResponse, *, has_tools: bool) -> Fields:
    asked = request.text.format
    if asked.type == "text":
        return {}
    if has_tools:
        raise InvalidRequest(
            "This model's provider takes tools or an output format, not both: leave one of them out.",
            param="text.format",
            code="unsupported_value",
        )
    wanted: Fields = {"type": "json_object"}
    if asked.type == "json_schema" and asked.schema is not None:
        wanted["json_schema"] = inline_refs(asked.schema)
    return {"response_format": wanted}


def _thinking(request: CreateResponse, able: Capabilities, dropped: list[str]) -> Fields:
    effort = request.reasoning.effort if request.reasoning is not None else None
    if effort is None:
        return {}
    if able.is_known and able.thinking == "none":
        if effort != "none":
            dropped.append("reasoning.effort")
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled", "token_budget": _BUDGETS.get(effort, 4_096)}}


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="tool_choice", code="unsupported_value")
