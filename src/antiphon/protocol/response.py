"""The Response object, its usage, and how a request is echoed in it.

Always-present fields are those that either contract requires: Open Responses wants presence_penalty,
frequency_penalty, store and non-null sampling numbers; OpenAI's types want usage details. `output` holds finished
items as encoded JSON, the same bytes that `response.output_item.done` carried, so the two cannot differ.
Source: Open Responses `ResponseResource`; OpenAI OpenAPI `Response`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final, Literal

import msgspec

from .deltas import Usage
from .request import PLAIN_TEXT, CreateResponse, PromptReference, ReasoningSettings, Text

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class InputTokensDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True, gc=False):
    """Token counts as OpenAI shows them."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int

    @classmethod
    def of(cls, usage: Usage) -> ResponseUsage:
        """The same counts."""
        return cls(
            usage.input_tokens,
            InputTokensDetails(usage.cached_tokens, usage.cache_write_tokens),
            usage.output_tokens,
            OutputTokensDetails(usage.reasoning_tokens),
            usage.total_tokens,
        )


class ResponseError(msgspec.Struct, frozen=True, gc=False):
    code: str
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True, gc=False):
    reason: Literal["max_output_tokens", "content_filter", "steered"]


class ConversationEcho(msgspec.Struct, frozen=True, gc=False):
    """The conversation that the response belongs to."""

    id: str


class FormatEcho(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """`text.format` as sent back; the JSON Schema fields only where there is a schema."""

    type: str
    name: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType | None = msgspec.UNSET
    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    strict: bool | msgspec.UnsetType | None = msgspec.UNSET


class TextEcho(msgspec.Struct, frozen=True, gc=False):
    format: FormatEcho
    verbosity: str = "medium"

    @classmethod
    def of(cls, text: Text) -> TextEcho:
        asked = text.format
        if asked.type != "json_schema":
            return cls(FormatEcho(asked.type), text.verbosity or "medium")
        echo = FormatEcho(
            "json_schema",
            asked.name or "",
            asked.description,
            asked.schema if asked.schema is not None else msgspec.Raw(b"{}"),
            True if asked.strict is None else asked.strict,
        )
        return cls(echo, text.verbosity or "medium")


class ReasoningEcho(msgspec.Struct, frozen=True, gc=False):
    """`context` and `mode` only where the client said them: Open Responses does not know them."""

    effort: str | None = None
    summary: str | None = None
    context: str | msgspec.UnsetType = msgspec.UNSET
    mode: str | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, settings: ReasoningSettings) -> ReasoningEcho:
        return cls(
            settings.effort,
            settings.summary,
            settings.context or msgspec.UNSET,
            settings.mode or msgspec.UNSET,
        )


class Response(msgspec.Struct, kw_only=True):
    """The response object. Mutable while its run lives; frozen in bytes once terminal."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Status = "in_progress"
    background: bool = False
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    model: str
    output: list[msgspec.Raw] = []
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    conversation: ConversationEcho | msgspec.UnsetType = msgspec.UNSET
    prompt: PromptReference | msgspec.UnsetType = msgspec.UNSET
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | msgspec.UnsetType = msgspec.UNSET
    prompt_cache_options: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    reasoning: ReasoningEcho = ReasoningEcho()
    safety_identifier: str | None = None
    service_tier: str = "default"
    store: bool = True
    temperature: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    text: TextEcho
    tool_choice: msgspec.Raw
    tools: tuple[msgspec.Raw, ...] = ()
    top_logprobs: int = 0
    top_p: float = 1.0
    truncation: str = "disabled"
    usage: ResponseUsage | None = None
    user: str | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, str] = {}
    input_transformations: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_terminal(self) -> bool:
        return self.status not in ("queued", "in_progress")


_RARE: Final = (
    "background",
    "max_tool_calls",
    "parallel_tool_calls",
    "conversation",
    "prompt",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "metadata",
)
_rare_of: Final = attrgetter(*_RARE)
_NOTHING_RARE: Final = _rare_of(CreateResponse(model=""))
_PLAIN_TEXT: Final = TextEcho.of(PLAIN_TEXT)
_NO_REASONING: Final = ReasoningEcho()


def new_response(request: CreateResponse, response_id: str, created_at: int) -> Response:
    """The response that a request begins, `queued` in the background; `created_at` in Unix seconds, UTC."""
    response = Response(
        id=response_id,
        created_at=created_at,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        model=request.model,
        previous_response_id=request.previous_response_id,
        prompt_cache_key=request.prompt_cache_key,
        reasoning=_NO_REASONING if request.reasoning is None else ReasoningEcho.of(request.reasoning),
        store=request.store,
        temperature=1.0 if request.temperature is None else request.temperature,
        text=_PLAIN_TEXT if request.text is PLAIN_TEXT else TextEcho.of(request.text),
        tool_choice=request.tool_choice_raw,
        tools=request.tools_raw,
    )
    if _rare_of(request) != _NOTHING_RARE:
        _echo_rare(request, response)
    return response


def _echo_rare(request: CreateResponse, response: Response) -> None:
    """What most requests do not say."""
    if request.background:
        response.background, response.status = True, "queued"
    response.max_tool_calls = request.max_tool_calls
    response.parallel_tool_calls = request.parallel_tool_calls
    if request.conversation is not None:
        response.conversation = ConversationEcho(request.conversation)
    response.prompt = request.prompt or msgspec.UNSET
    response.prompt_cache_retention = request.prompt_cache_retention or msgspec.UNSET
    response.prompt_cache_options = request.prompt_cache_options or msgspec.UNSET
    response.safety_identifier = request.safety_identifier
    response.presence_penalty = request.presence_penalty or 0.0
    response.frequency_penalty = request.frequency_penalty or 0.0
    response.top_logprobs = request.top_logprobs or 0
    response.top_p = 1.0 if request.top_p is None else request.top_p
    response.truncation = request.truncation
    response.user = request.user or msgspec.UNSET
    response.metadata = request.metadata
