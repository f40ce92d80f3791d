"""generationConfig, tools and toolConfig, and what of a request this wire cannot say.

Source: Gemini API reference, GenerationConfig, Tool, ToolConfig; reference of provider wires, §1.4.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.tools import AllowedChoice, CustomTool, FunctionTool, HostedTool, NamedChoice

from .base import Target, ToolName
from .capabilities import Capabilities
from .gemini_parts import Fields
from .history_items import unsent_fields
from .schemas import inline_refs
from .tool_names import EMPTY_SCHEMA, LoweredTool, LoweredTools, referred, wrapped_schema

Raw = msgspec.Raw
_BUDGETS: Final = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
_ONE_CALL: Final = "Call at most one function at a time."
_SEARCHES: Final = ("web_search", "web_search_preview")


class WireTools(msgspec.Struct, frozen=True):
    """`tools` and `toolConfig`, a sentence for what the wire has no field for, and what was dropped."""

    tools: list[Fields]
    config: Fields
    instruction: str
    dropped: list[str]


def wire_tools(request: CreateResponse, lowered: LoweredTools, target: Target) -> WireTools:
    """Everything that concerns tools. Raises InvalidRequest for a choice that cannot be kept."""
    only, calling = _choice(request, lowered)
    kept = lowered.each(_declaration, only)
    built_in, dropped = _built_in(lowered, target, has_functions=bool(kept))
    dropped += unsent_fields(lowered, only)
    tools: list[Fields] = [*built_in]
    config: Fields = {}
    if kept:
        tools.append({"functionDeclarations": kept})
        if not calling and any(lowered.each(_is_strict, only)):
            calling = {"mode": "VALIDATED"}
        if calling:
            config["functionCallingConfig"] = calling
        if built_in and target.vendor.quirks.gemini.transport == "api":
            config["includeServerSideToolInvocations"] = True
    is_serial = bool(kept) and request.parallel_tool_calls_said and not request.parallel_tool_calls
    return WireTools(tools, config, _ONE_CALL if is_serial else "", dropped)


def _choice(request: CreateResponse, lowered: LoweredTools) -> tuple[tuple[ToolName, ...] | None, Fields]:
    """The tools that are declared (None: all) and the calling mode."""
    match request.tool_choice:
        case "auto":
            return None, {}
        case "none":
            return None, {"mode": "NONE"}
        case "required":
            if not lowered.tools:
                raise _refused("No tool that this model can be made to call is left for tool_choice 'required'.")
            return None, {"mode": "ANY"}
        case NamedChoice(tool):
            found = referred(lowered.names, tool)
            if not found:
                raise _refused(f"The tool {tool.name or tool.type!r} that tool_choice forces cannot be served here.")
            return None, _any_of(found)
        case AllowedChoice() as allowed:
            found = tuple(dict.fromkeys(name for ref in allowed.tools for name in referred(lowered.names, ref)))
            if allowed.mode == "required" and not found:
                raise _refused("None of the tools that tool_choice allows can be served here.")
            if allowed.mode == "required":
                return None, _any_of(found)
            return (found, {}) if found and allowed.mode != "none" else (None, {"mode": "NONE"})


def _any_of(found: tuple[ToolName, ...]) -> Fields:
    return {"mode": "ANY", "allowedFunctionNames": [name.wire_name for name in found]}


def _built_in(lowered: LoweredTools, target: Target, *, has_functions: bool) -> tuple[list[Fields], list[str]]:
    """Hosted tools that run at Google, and the names of those that do not."""
    native = target.vendor.quirks.gemini.native_tools
    may_combine = not has_functions or target.able.combines_tools
    tools: list[Fields] = []
    dropped: list[str] = []
    for tool, name in zip(lowered.hosted, lowered.hosted_names, strict=True):
        wire = _native(tool, native) if may_combine else None
        if wire is None:
            dropped.append(name)
        else:
            tools += [one for one in wire if one not in tools]
    return tools, dropped


class _Search(msgspec.Struct, frozen=True):
    filters: dict[str, Raw] | None = None


def _native(tool: HostedTool, native: frozenset[str]) -> list[Fields] | None:
    """The wire's own tool; None where there is none, or where its filters cannot be said."""
    if tool.type in _SEARCHES and "web_search" in native:
        filters = msgspec.json.decode(tool.raw, type=_Search).filters or {}
        if any(bytes(value) not in (b"null", b"[]") for value in filters.values()):
            return None
        return [{"googleSearch": {}}, *([{"urlContext": {}}] if "url_context" in native else [])]
    if tool.type == "code_interpreter" and "code_interpreter" in native:
        return [{"codeExecution": {}}]
    return None


def _declaration(lowered: LoweredTool) -> Fields:
    row: Fields = {"name": lowered.tool_name.wire_name, "description": lowered.description or "A function."}
    tool = lowered.tool
    if isinstance(tool, CustomTool):
        return row | {"parametersJsonSchema": Raw(wrapped_schema(tool))}
    schema = tool.parameters
    is_said = isinstance(schema, Raw) and bytes(schema) != b"null"
    return row | {"parametersJsonSchema": inline_refs(schema) if is_said and isinstance(schema, Raw) else EMPTY_SCHEMA}


def _is_strict(lowered: LoweredTool) -> bool:
    return isinstance(lowered.tool, FunctionTool) and lowered.tool.strict is True


class WireConfig(NamedTuple):
    """`generationConfig`, fields beside it, and what was dropped."""

    config: Fields
    beside: Fields
    dropped: list[str]


def wire_config(request: CreateResponse, able: Capabilities, *, has_functions: bool) -> WireConfig:
    """Everything that is neither conversation nor tools. Raises InvalidRequest for a schema beside functions where
    the model cannot have both."""
    dropped: list[str] = []
    config: Fields = {}
    for name, wire in (
        ("temperature", "temperature"),
        ("top_p", "topP"),
        ("presence_penalty", "presencePenalty"),
        ("frequency_penalty", "frequencyPenalty"),
    ):
        value = getattr(request, name)
        if value is not None:
            config[wire] = value
    if request.max_output_tokens is not None:
        most = able.max_tokens if able.is_known and able.max_tokens else request.max_output_tokens
        config["maxOutputTokens"] = min(request.max_output_tokens, most)
    if request.wants_logprobs:
        config |= {"responseLogprobs": True, "logprobs": max(request.top_logprobs or 0, 1)}
    _format(request, config, may_have_schema=not has_functions or able.combines_tools)
    thinking = _thinking(request, able, dropped)
    if thinking:
        config["thinkingConfig"] = thinking
    beside = _tier(request, dropped)
    _unsaid(request, dropped)
    return WireConfig(config, beside, dropped)


def _format(request: CreateResponse, config: Fields, *, may_have_schema: bool) -> None:
    asked = request.text.format
    if asked.type == "text":
        return
    if not may_have_schema:
        raise InvalidRequest(
            "This model cannot have tools and an output format in one request: leave one of them out.",
            param="text.format",
            code="unsupported_value",
        )
    config["responseMimeType"] = "application/json"
    if asked.type == "json_schema" and asked.schema is not None:
        config["responseJsonSchema"] = inline_refs(asked.schema)


def _thinking(request: CreateResponse, able: Capabilities, dropped: list[str]) -> Fields:
    asked = request.reasoning
    effort = asked.effort if asked is not None else None
    summary = asked.summary if asked is not None else None
    if effort is None and summary is None:
        return {}
    if able.thinking == "none":
        if effort not in (None, "none"):
            dropped.append("reasoning.effort")
        return {}
    thinking: Fields = {}
    if effort is not None and able.thinking == "level":
        thinking["thinkingLevel"] = _level(effort, able).upper()
    elif effort is not None:
        thinking["thinkingBudget"] = _budget(effort, able)
    if effort != "none":
        thinking["includeThoughts"] = summary is not None
    return thinking


def _level(effort: str, able: Capabilities) -> str:
    """The model's level nearest to an effort; the least one stands for none, which it cannot be."""
    if not able.levels:
        return "low" if effort in ("none", "minimal", "low") else "medium" if effort == "medium" else "high"
    if effort == "none":
        return able.levels[0]
    wanted = _LEVELS.index(effort) if effort in _LEVELS else 2
    return min(able.levels, key=lambda level: abs(_LEVELS.index(level) - wanted))


def _budget(effort: str, able: Capabilities) -> int:
    if effort == "none":
        return 0 if able.off == "disabled" else able.least_budget
    return max(able.least_budget, min(_BUDGETS.get(effort, 8_192), able.most_budget))


def _tier(request: CreateResponse, dropped: list[str]) -> Fields:
    match request.service_tier:
        case None | "auto":
            return {}
        case "default":
            return {"serviceTier": "standard"}
        case "flex" | "priority" as tier:
            return {"serviceTier": tier}
        case _:
            dropped.append("service_tier")
            return {}


def _unsaid(request: CreateResponse, dropped: list[str]) -> None:
    said = {
        "text.verbosity": request.text.verbosity,
        "prompt_cache_key": request.prompt_cache_key,
        "safety_identifier": request.safety_identifier,
    }
    dropped.extend(name for name, value in said.items() if value)


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="tool_choice", code="unsupported_value")
