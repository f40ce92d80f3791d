"""Settings of a request as the Messages wire writes them, and which of them it cannot say.

What only tunes is left out and named; what changes the meaning is honoured. Nothing the client did not say is sent,
except `max_tokens`, which the wire demands, and automatic caching.
Source: reference of provider wires, §1.3 request table; Anthropic "Extended thinking", "Structured outputs".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from antiphon.protocol.request import CreateResponse, TextFormat

from .anthropic_blocks import Block
from .capabilities import Capabilities
from .quirks import AnthropicQuirks
from .schemas import lower_schema

NEW_VERSION: Final = "2026-10-21"
OLD_VERSION: Final = "2023-06-01"
BINDING_BETA: Final = "thinking-binding-controls-2026-08-01"
_CAUTIOUS_MAX_TOKENS: Final = 16_384
_LEAST_BUDGET: Final = 1_024
_BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 10_000, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_DISABLED: Final = {"type": "disabled"}
_JSON_ONLY: Final = "Answer with one JSON object and nothing else: no prose, no code fence."


class WireSettings(NamedTuple):
    """Body fields, headers, a system sentence for what the wire has no field for, and what was dropped."""

    fields: Block
    version: str
    betas: tuple[str, ...]
    instruction: str
    dropped: list[str]


def wire_settings(
    request: CreateResponse, able: Capabilities, quirks: AnthropicQuirks, *, replays_thinking: bool
) -> WireSettings:
    """Everything that is neither conversation nor tools."""
    dropped: list[str] = []
    fields: Block = {"max_tokens": _max_tokens(request, able, quirks), "stream": True}
    output: Block = {}
    betas: list[str] = []
    thinking = _thinking(request, able, fields, output, dropped)
    if replays_thinking and able.binds:
        # The prefix may differ from the one the blocks were made under (other instructions, other tools): let the
        # provider drop what no longer fits instead of refusing the whole turn.
        thinking = thinking or {"type": "adaptive", "display": "omitted"}
        if thinking["type"] == "adaptive":
            thinking["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
            betas.append(BINDING_BETA)
    if thinking:
        fields["thinking"] = thinking
    _format(request.text.format, output)
    if output:
        fields["output_config"] = output
    version = _sampling(request, able, fields, dropped)
    if able.has_sampling and not quirks.dates_old_models:
        version = OLD_VERSION
    _account(request, fields, dropped)
    if quirks.caches:
        _caching(request, fields)
    _unsaid(request, dropped)
    instruction = _JSON_ONLY if request.text.format.type == "json_object" else ""
    return WireSettings(fields, quirks.version or version, tuple(betas), instruction, dropped)


def _max_tokens(request: CreateResponse, able: Capabilities, quirks: AnthropicQuirks) -> int:
    """The wire demands a limit, and refuses one above the model's own."""
    asked = request.max_output_tokens
    most = able.max_tokens or _CAUTIOUS_MAX_TOKENS
    if asked is None:
        return quirks.max_tokens or most
    return min(asked, most) if able.is_known and able.max_tokens else asked


def _thinking(request: CreateResponse, able: Capabilities, fields: Block, output: Block, dropped: list[str]) -> Block:
    asked = request.reasoning
    effort = asked.effort if asked is not None else None
    summary = asked.summary if asked is not None else None
    if effort is None and summary is None:
        return {}
    if able.thinking == "none":
        dropped.append("reasoning")
        return {}
    if effort == "none":
        return _off(able, output)
    display = "summarized" if summary else "omitted"
    if able.thinking == "adaptive":
        if effort is not None:
            output["effort"] = _effort(effort, able)
        return {"type": "adaptive", "display": display}
    return _budget(effort or "medium", fields, dropped)


def thinking_fields(
    request: CreateResponse, able: Capabilities, max_tokens: int, dropped: list[str]
) -> tuple[Block, Block]:
    """`thinking` and `output_config` of a request, for wires that carry a Claude's own fields inside of theirs."""
    output: Block = {}
    thinking = _thinking(request, able, {"max_tokens": max_tokens}, output, dropped)
    return thinking, output


def _off(able: Capabilities, output: Block) -> Block:
    if able.off == "never":
        output["effort"] = "low"
        return {}
    return {"type": able.off}


def _effort(effort: str, able: Capabilities) -> str:
    if effort == "minimal":
        return "low"
    return "max" if effort == "xhigh" and not able.has_xhigh else effort


def _budget(effort: str, fields: Block, dropped: list[str]) -> Block:
    """A token budget that leaves a quarter of `max_tokens` to the answer; a small limit leaves no room to think."""
    most = fields["max_tokens"]
    assert isinstance(most, int), "max_tokens is set first"
    if most <= _LEAST_BUDGET:
        dropped.append("reasoning.effort")
        return {}
    budget = max(_LEAST_BUDGET, min(_BUDGETS.get(effort, 10_000), most * 3 // 4))
    return {"type": "enabled", "budget_tokens": budget}


def _format(asked: TextFormat, output: Block) -> None:
    if asked.type == "json_schema" and asked.schema is not None:
        output["format"] = {"type": "json_schema", "schema": lower_schema(asked.schema)}


def _sampling(request: CreateResponse, able: Capabilities, fields: Block, dropped: list[str]) -> str:
    """Sampling exists only under the older version, and only where the model takes it; one of the two at most."""
    said = {name: value for name in ("temperature", "top_p") if (value := getattr(request, name)) is not None}
    if not said:
        return NEW_VERSION
    if not able.has_sampling or fields.get("thinking", _DISABLED) != _DISABLED:
        dropped.extend(said)
        return NEW_VERSION
    name, value = next(iter(said.items()))
    dropped.extend(other for other in said if other != name)
    if value > 1:
        dropped.append(name)  # OpenAI's temperatures go to 2, and what is sent is not what was said
    fields[name] = min(value, 1.0)
    return OLD_VERSION


def _account(request: CreateResponse, fields: Block, dropped: list[str]) -> None:
    user = request.safety_identifier or request.user
    if user:
        # Kept constant in a conversation by the client: thinking can be bound to the end user.
        fields["metadata"] = {"user_id": user}
    match request.service_tier:
        case None:
            pass
        case "auto":
            fields["service_tier"] = "auto"
        case "default":
            fields["service_tier"] = "standard_only"
        case _:
            dropped.append("service_tier")


def _caching(request: CreateResponse, fields: Block) -> None:
    options = bytes(request.prompt_cache_options or b"")
    if b'"explicit"' in options:
        return
    is_long = b'"12h"' in options or request.prompt_cache_retention == "24h"
    fields["cache_control"] = {"type": "ephemeral"} | ({"ttl": "1h"} if is_long else {})


def _unsaid(request: CreateResponse, dropped: list[str]) -> None:
    said = {
        "text.verbosity": request.text.verbosity,
        "top_logprobs": request.wants_logprobs or None,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "prompt_cache_key": request.prompt_cache_key,
    }
    dropped.extend(name for name, value in said.items() if value)
