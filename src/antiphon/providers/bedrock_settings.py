"""Settings and tools as the Converse wire writes them, and what it cannot say.

What Converse has no field for goes into `additionalModelRequestFields` in the model family's own words.
Source: Amazon Bedrock runtime API, ConverseStream; reference of provider wires, §1.6.
"""

from __future__ import annotations

from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.tools import AllowedChoice, CustomTool, NamedChoice

from .anthropic_settings import thinking_fields
from .base import Target, ToolName
from .bedrock_blocks import Fields
from .bedrock_messages import family_of
from .history_items import unsent_fields
from .schemas import inline_refs, lower_schema
from .tool_names import EMPTY_SCHEMA, LoweredTool, LoweredTools, referred, wrapped_schema

Raw = msgspec.Raw
_JSON_ONLY: Final = "Answer with one JSON object and nothing else: no prose, no code fence."
_ONE_CALL: Final = "Call at most one tool at a time."
_NO_CALL: Final = "Do not call any tool in this answer."
_DEFAULT_LIMIT: Final = 4_096
_GPT_OSS_EFFORTS: Final = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}


class WireSettings:
    """Body `fields`, `sentences` for what the wire has no field for, and what was `dropped`.

    Raises InvalidRequest for a choice of tools that cannot be kept. `called` names the tools that the history calls.
    """

    def __init__(self, request: CreateResponse, lowered: LoweredTools, target: Target, called: list[str]) -> None:
        self.fields: Fields = {}
        self.sentences: list[str] = []
        self.dropped: list[str] = [*lowered.hosted_names]
        self._request = request
        self._able = target.able
        self._family = family_of(target.model)
        self._inference: Fields = {}
        self._additional: Fields = {}
        self._limit(request.max_output_tokens)
        self._sampling()
        self._reasoning()
        self._tools(lowered, called)
        self._format()
        self._tier()
        self._unsaid()
        if self._inference:
            self.fields["inferenceConfig"] = self._inference
        if self._additional:
            self.fields["additionalModelRequestFields"] = self._additional

    def _limit(self, asked: int | None) -> None:
        most = self._able.max_tokens
        if asked is not None:
            self._max_tokens = min(asked, most) if self._able.is_known and most else asked
            self._inference["maxTokens"] = self._max_tokens
        elif self._family == "claude" and most:
            self._max_tokens = self._inference["maxTokens"] = most  # the wire's own default cuts at 4,096
        else:
            self._max_tokens = _DEFAULT_LIMIT

    def _sampling(self) -> None:
        for name, wire in (("temperature", "temperature"), ("top_p", "topP")):
            value: float | None = getattr(self._request, name)
            if value is None:
                continue
            if self._able.has_sampling:
                self._inference[wire] = min(value, 1.0)
            if not self._able.has_sampling or value > 1.0:
                self.dropped.append(name)

    def _reasoning(self) -> None:
        asked = self._request.reasoning
        effort = asked.effort if asked is not None else None
        if asked is None or (effort is None and asked.summary is None):
            return
        if self._family == "claude":
            self._thinking()
        elif self._family == "gpt-oss" and effort is not None:
            self._additional["reasoning_effort"] = _GPT_OSS_EFFORTS.get(effort, effort)
        elif effort not in (None, "none"):
            self.dropped.append("reasoning.effort")

    def _thinking(self) -> None:
        """A Claude's own fields, which go in beside Converse's; it does not sample while it thinks."""
        thinking, output = thinking_fields(self._request, self._able, self._max_tokens, self.dropped)
        if output:
            self._additional["output_config"] = output
        if not thinking:
            return
        self._additional["thinking"] = thinking
        if thinking["type"] != "disabled":
            sampled = {"temperature": "temperature", "topP": "top_p"}
            self.dropped += [name for wire, name in sampled.items() if self._inference.pop(wire, None) is not None]

    def _tools(self, lowered: LoweredTools, called: list[str]) -> None:
        only, choice = _choice(self._request, lowered)
        self.dropped += unsent_fields(lowered, only)
        rows = lowered.each(_declaration, only)
        if not rows:
            # A history with calls needs tools declared, also when this turn has none.
            rows = tuple(_bare(name) for name in dict.fromkeys(called))
            choice = "none"
        if rows:
            config: Fields = {"tools": rows}
            self._choose(choice, config)
            self.fields["toolConfig"] = config

    def _choose(self, choice: Fields | str, config: Fields) -> None:
        is_serial = self._request.parallel_tool_calls_said and not self._request.parallel_tool_calls
        if choice == "none":
            self.sentences.append(_NO_CALL)
        elif is_serial and self._family == "claude":
            # One of the two may say how tools are chosen, never both.
            self._additional["tool_choice"] = _claude_choice(choice) | {"disable_parallel_tool_use": True}
        else:
            if is_serial:
                self.sentences.append(_ONE_CALL)
            if isinstance(choice, dict):
                config["toolChoice"] = choice

    def _format(self) -> None:
        asked = self._request.text.format
        if asked.type == "json_object":
            self.sentences.append(_JSON_ONLY)
        elif asked.type == "json_schema" and asked.schema is not None:
            lowered = lower_schema(asked.schema) if self._family == "claude" else inline_refs(asked.schema)
            definition: Fields = {"schema": bytes(lowered).decode(), "name": asked.name or "answer"}
            if asked.description:
                definition["description"] = asked.description
            text_format: Fields = {"type": "json_schema", "structure": {"jsonSchema": definition}}
            self.fields["outputConfig"] = {"textFormat": text_format}

    def _tier(self) -> None:
        match self._request.service_tier:
            case None | "auto":
                pass
            case "default" | "priority" | "flex" as tier:
                self.fields["serviceTier"] = {"type": tier}
            case _:
                self.dropped.append("service_tier")

    def _unsaid(self) -> None:
        request = self._request
        said = {
            "text.verbosity": request.text.verbosity,
            "top_logprobs": request.wants_logprobs or None,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
            "prompt_cache_key": request.prompt_cache_key,
            "safety_identifier": request.safety_identifier,
        }
        self.dropped += [name for name, value in said.items() if value]


def _claude_choice(choice: Fields | str) -> Fields:
    if isinstance(choice, str):
        return {"type": "auto"}
    if "any" in choice:
        return {"type": "any"}
    return {"type": "tool", "name": msgspec.convert(choice, _Named).tool["name"]}


class _Named(msgspec.Struct):
    tool: dict[str, str]


def _choice(request: CreateResponse, lowered: LoweredTools) -> tuple[tuple[ToolName, ...] | None, Fields | str]:
    """The tools that are declared (None: all), and toolChoice, "auto" (not sent) or "none"."""
    match request.tool_choice:
        case "auto" | "none" as word:
            return None, word
        case "required":
            if not lowered.tools:
                raise _refused("No tool that this model can call is left for tool_choice 'required'.")
            return None, {"any": {}}
        case NamedChoice(tool):
            found = referred(lowered.names, tool)
            if not found:
                raise _refused(f"The tool {tool.name or tool.type!r} that tool_choice forces cannot be served here.")
            return (None, {"tool": {"name": found[0].wire_name}}) if len(found) == 1 else (found, {"any": {}})
        case AllowedChoice() as allowed:
            found = tuple(dict.fromkeys(name for ref in allowed.tools for name in referred(lowered.names, ref)))
            if allowed.mode == "required" and not found:
                raise _refused("None of the tools that tool_choice allows can be served here.")
            if not found or allowed.mode == "none":
                return None, "none"
            return found, {"any": {}} if allowed.mode == "required" else "auto"


def _declaration(lowered: LoweredTool) -> Fields:
    tool = lowered.tool
    if isinstance(tool, CustomTool):
        schema = Raw(wrapped_schema(tool))
    else:
        is_said = isinstance(tool.parameters, Raw) and bytes(tool.parameters) != b"null"
        schema = inline_refs(tool.parameters) if is_said and isinstance(tool.parameters, Raw) else EMPTY_SCHEMA
    return {
        "toolSpec": {
            "name": lowered.tool_name.wire_name,
            "description": lowered.description or lowered.tool_name.name,
            "inputSchema": {"json": schema},
        }
    }


def _bare(name: str) -> Fields:
    return {"toolSpec": {"name": name, "description": name, "inputSchema": {"json": EMPTY_SCHEMA}}}


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="tool_choice", code="unsupported_value")
