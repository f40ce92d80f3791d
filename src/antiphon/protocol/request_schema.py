"""The request as it stands on the wire, field by field in the order OpenAI checks them, and what is not served yet.

`input`, `tools`, `tool_choice` and schemas stay raw here and are read by their own modules.
Source: OpenAI OpenAPI `CreateResponse`; reference "responses.create parameters".
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Raw = msgspec.Raw
Maybe = Raw | UnsetType
MAX_INPUT_CHARACTERS: Final = 10_485_760
MAX_METADATA: Final = 16
MAX_INTEGER: Final = 2**53 - 1  # what every JSON reader keeps exactly

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class TextFormatText(_Strict, tag="text", tag_field="type"):
    pass


class TextFormatObject(_Strict, tag="json_object", tag_field="type"):
    pass


class TextFormatSchema(_Strict, tag="json_schema", tag_field="type"):
    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    schema: dict[str, Raw]
    description: str | None = None
    strict: bool | None = None


class TextWire(_Strict):
    format: TextFormatText | TextFormatObject | TextFormatSchema | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningWire(_Strict):
    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: str | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class StreamOptions(_Strict):
    include_obfuscation: bool | None = None


class ConversationWire(_Strict):
    id: str


class PromptWire(_Strict):
    id: str
    version: str | None = None
    variables: dict[str, Raw] | None = None


class ContextManagement(_Strict):
    type: Literal["compaction"]
    compact_threshold: Annotated[int, Meta(ge=1000, le=MAX_INTEGER)] | None = None


class BackgroundOptions(_Strict):
    completion_window: Literal["soonest", "2h", "8h"] | None = None
    continuation_id: str | None = None


class RequestWire(_Strict, kw_only=True):
    """Every parameter of `POST /v1/responses`; None and absent mean the same."""

    model: str | None = None
    input: Maybe = UNSET
    instructions: str | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=MAX_METADATA)] | None = None
    text: TextWire | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=16, le=MAX_INTEGER)] | None = None
    max_tool_calls: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None
    parallel_tool_calls: bool | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    background: bool | None = None
    background_options: BackgroundOptions | None = None
    include: tuple[Include, ...] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    reasoning: ReasoningWire | None = None
    service_tier: Tier | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationWire | None = None
    prompt: PromptWire | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=64)] | None = None
    prompt_cache_options: Maybe = UNSET
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    safety_identifier: Annotated[str, Meta(max_length=128)] | None = None
    user: str | None = None
    context_management: tuple[ContextManagement, ...] | None = None
    moderation: Maybe = UNSET
    multi_agent: Maybe = UNSET
    image: Maybe = UNSET
    access_programs: Maybe = UNSET
    client_metadata: dict[str, Raw] | None = None
    tools: tuple[Raw, ...] | None = None
    tool_choice: Maybe = UNSET


_COMMON: Final = frozenset(
    {
        "model",
        "input",
        "instructions",
        "text",
        "temperature",
        "max_output_tokens",
        "store",
        "stream",
        "include",
        "reasoning",
        "previous_response_id",
        "prompt_cache_key",
        "client_metadata",
        "tools",
        "tool_choice",
    }
)
RARE: Final = tuple(name for name in RequestWire.__struct_fields__ if name not in _COMMON)
"""Parameters that most requests do not name: they are looked at one by one only where one of them is there."""


class PromptCacheOptions(_Strict):
    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m", "12h"] | None = None
    prewarm: bool | None = None
    comparison_response_id: str | None = None


DEFAULT_COMPACT_THRESHOLD: Final = 100_000
"""Tokens, where `context_management` names none."""

LATER: Final = ("moderation", "multi_agent", "access_programs")
"""Parameters of features this release does not have: refused by name, never ignored."""
