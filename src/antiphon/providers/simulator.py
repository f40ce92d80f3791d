"""The dialect of the built-in vendor `sim`: a Turn to the simulator's request, its lines back to deltas.

`sim` goes through everything that a real provider goes through (tool names, replay records, carriers, faults), so that
an application can be tested without a key or a network. It answers inside this process: `simulator_upstream` plays the
provider. This module must stay pure and knows nothing of what the simulator will say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import InvalidRequest, UpstreamFault
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.tools import AllowedChoice, CustomTool, GrammarSpec, NamedChoice, ToolRef

from . import simulator_wire as wire
from .base import Decoder, DialectName, HttpRequest, Target, ToolName, Turn, Vendor
from .capabilities import ALL_MEDIA, Media
from .faults import classify
from .side_calls import no_such_call
from .simulator_decoder import SimulatorDecoder
from .simulator_transcript import Transcriber
from .tool_names import EMPTY_SCHEMA, LoweredTool, LoweredTools, declarations, lower_tools, referred

MODELS: Final = ("standard", "echo", "reason", "slow", "refuse", "error")
"""The models of the vendor `sim`, as `sim/NAME`."""
URL: Final = "sim://local/turns"

_TUNING: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "service_tier")


class Simulator:
    """The dialect `sim`."""

    name: DialectName = "sim"

    def encode(self, turn: Turn, target: Target) -> HttpRequest:
        """One call of the simulator.

        Raises InvalidRequest for items and parts it cannot read, and for a forced tool that only a provider could run.
        """
        request = turn.request
        lowered = lower_tools(request.tools, declarations(turn), has_custom_tools=True)
        transcriber = Transcriber(turn, target, lowered.names)
        transcript = transcriber.blocks()
        settings = request.reasoning
        body = wire.SimRequest(
            model=target.model,
            instructions=request.instructions,
            transcript=transcript,
            tools=tuple(_tool(tool, transcriber.loaded) for tool in lowered.tools),
            choice=_choice(request, lowered),
            is_parallel=request.parallel_tool_calls,
            format=wire.Format(request.text.format.type, request.text.format.schema or wire.NULL),
            max_output_tokens=request.max_output_tokens,
            effort=settings.effort if settings else None,
            summary=settings.summary if settings else None,
            top_logprobs=(request.top_logprobs or 0) if request.wants_logprobs else None,
        )
        return HttpRequest(
            "POST",
            URL,
            (("content-type", "application/json"), ("accept", "application/x-ndjson")),
            wire.encode(body),
            dropped=(*lowered.hosted_names, *transcriber.dropped, *_unheeded(request)),
            removed=tuple(transcriber.removed),
            tool_names=lowered.names,
        )

    def decoder(self, target: Target, request: HttpRequest) -> Decoder:
        """A fresh decoder of the simulator's lines."""
        del target
        return SimulatorDecoder(request)

    def reads_urls(self, target: Target) -> frozenset[Media]:
        """See `Dialect.reads_urls`."""
        del target
        return ALL_MEDIA

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        """The simulator fails with OpenAI's envelope."""
        return classify(status, headers, body)

    def count_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.count_request`: there is none."""
        del turn, target
        return None

    def read_count(self, body: bytes) -> int:
        """See `Dialect.read_count`."""
        raise no_such_call(body)

    def compact_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.compact_request`: there is none."""
        del turn, target
        return None

    def read_compaction(self, body: bytes) -> tuple[msgspec.Raw, Usage]:
        """See `Dialect.read_compaction`."""
        raise no_such_call(body)

    def models_request(self, target_vendor: Vendor) -> HttpRequest | None:
        """None: the models are `MODELS`."""
        del target_vendor
        return None


def _unheeded(request: CreateResponse) -> Iterable[str]:
    """Settings that only tune: a deterministic answer cannot heed them."""
    return (name for name in _TUNING if getattr(request, name) is not None)


def _tool(lowered: LoweredTool, loaded: frozenset[str]) -> wire.SimTool:
    tool, named = lowered.tool, lowered.tool_name
    is_deferred = tool.defer_loading is True and named.wire_name not in loaded
    if isinstance(tool, CustomTool):
        spec = tool.format
        grammar = wire.Grammar(spec.syntax, spec.definition) if isinstance(spec, GrammarSpec) else None
        return wire.SimTool(named.wire_name, "custom", lowered.description, grammar=grammar, is_deferred=is_deferred)
    schema = tool.parameters
    if not isinstance(schema, msgspec.Raw) or bytes(schema) == b"null":
        schema = EMPTY_SCHEMA
    return wire.SimTool(
        named.wire_name,
        "function",
        lowered.description,
        schema,
        is_deferred=is_deferred,
        is_search=named.is_search,
    )


def _choice(request: CreateResponse, lowered: LoweredTools) -> wire.Choice:
    choice = request.tool_choice
    match choice:
        case NamedChoice():
            return wire.Choice("required", _wire_names(lowered, (choice.tool,), is_forced=True))
        case AllowedChoice():
            return wire.Choice(choice.mode, _wire_names(lowered, choice.tools, is_forced=choice.mode == "required"))
        case "required" if not lowered.tools and lowered.hosted:
            raise _cannot_force(lowered.hosted[0].type)
        case _:
            return wire.Choice(choice)


def _wire_names(lowered: LoweredTools, refs: Sequence[ToolRef], *, is_forced: bool) -> tuple[str, ...]:
    found: list[ToolName] = [name for ref in refs for name in referred(lowered.names, ref)]
    if is_forced and not found:
        raise _cannot_force(refs[0].name or refs[0].type if refs else "none")
    return tuple(name.wire_name for name in found)


def _cannot_force(tool: str) -> InvalidRequest:
    return InvalidRequest(
        f"The simulator cannot call {tool!r}: tool_choice must name a function, custom tool or namespace in `tools`.",
        param="tool_choice",
        code="unsupported_value",
    )
