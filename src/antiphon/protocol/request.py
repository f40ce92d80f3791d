"""A validated `POST /v1/responses`: what the rest of the program sees of a request.

`protocol.parsing` makes it from bytes and is the only place that raises for a malformed one; here every field has its
documented type, explicit nulls have become the default, and lists are tuples.
Source: OpenAI OpenAPI `CreateResponse`; Open Responses `CreateResponseBody`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from .items import Item
from .tools import Tool, ToolChoice

INCLUDE_ENCRYPTED_REASONING: Final = "reasoning.encrypted_content"
INCLUDE_LOGPROBS: Final = "message.output_text.logprobs"


class InputItem(msgspec.Struct, frozen=True, gc=False):
    """One input item: as the program reads it, and the JSON object the client sent (tolerated extras removed)."""

    item: Item
    raw: msgspec.Raw


class TextFormat(msgspec.Struct, frozen=True, gc=False):
    """`text.format`. `schema` is the client's JSON Schema, only with type json_schema; its `name` is then set too."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: msgspec.Raw | None = None
    description: str | None = None
    strict: bool | None = None


class Text(msgspec.Struct, frozen=True, gc=False):
    format: TextFormat = TextFormat()
    verbosity: Literal["low", "medium", "high"] | None = None


PLAIN_TEXT: Final = Text()


class ReasoningSettings(msgspec.Struct, frozen=True, gc=False):
    """`effort`: none minimal low medium high xhigh max; `summary`: auto concise detailed."""

    effort: str | None = None
    summary: str | None = None
    context: str | None = None
    mode: str | None = None


class PromptReference(msgspec.Struct, frozen=True, gc=False):
    """`prompt`: a template by id, one of its versions, and values for its placeholders (JSON text or content part)."""

    id: str
    version: str | None = None
    variables: dict[str, msgspec.Raw] | None = None


class CreateResponse(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One request. None means "not said" where the API has no documented default."""

    model: str
    input: tuple[InputItem, ...] = ()
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | None = None
    prompt: PromptReference | None = None
    compact_threshold: int | None = None
    """`context_management`: tokens of context from which on it is compacted before the model is asked."""
    generate: bool = True
    """False warms a WebSocket connection up: the response is made and chained to, no model is asked."""
    store: bool = True
    stream: bool = False
    include_obfuscation: bool = True
    background: bool = False
    completion_window_s: int = 0
    """`background_options`: the seconds that the client can wait, 0 if it named no window."""
    include: frozenset[str] = frozenset()
    tools: tuple[Tool, ...] = ()
    tools_raw: tuple[msgspec.Raw, ...] = ()
    """The tools as echoed in the response: the client's own, with description, parameters and strict on functions."""
    tool_choice: ToolChoice = "auto"
    tool_choice_raw: msgspec.Raw = msgspec.Raw(b'"auto"')
    parallel_tool_calls: bool = True
    parallel_tool_calls_said: bool = False
    """The client sent parallel_tool_calls itself; dialects forward it only then."""
    max_tool_calls: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    truncation: Literal["auto", "disabled"] = "disabled"
    text: Text = PLAIN_TEXT
    reasoning: ReasoningSettings | None = None
    metadata: dict[str, str] = {}
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: msgspec.Raw | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    user: str | None = None

    @property
    def wants_logprobs(self) -> bool:
        """OpenAI returns logprobs when asked by top_logprobs or by include."""
        return bool(self.top_logprobs) or INCLUDE_LOGPROBS in self.include

    @property
    def wants_carrier(self) -> bool:
        """Whether reasoning items must carry the sealed replay record."""
        return not self.store or INCLUDE_ENCRYPTED_REASONING in self.include
