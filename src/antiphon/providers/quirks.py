"""What a vendor does differently from its dialect's norm, as data: one Struct per dialect.

Each field is read in exactly one place, in that dialect's module; catalog rows set them as `quirks.<dialect>.<field>`.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class ChatQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of a chat_completions vendor."""


class ResponsesQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of a responses vendor; the defaults are api.openai.com's behaviour.

    Source: reference of provider mappings, "OpenAI Responses (native) and its dialects".
    """

    query: str = ""
    """Query string of the call, without `?`: Azure legacy `api-version=2025-04-01-preview`."""
    tool_types: frozenset[str] | None = None
    """Tool types that are accepted; None: all. Without `namespace` namespaces are flattened, without `custom` custom
    tools become functions, without `tool_search` a client-run search becomes a function; other types are left out.
    Local engines: `["function"]`; Mistral: `["function", "namespace"]`."""
    item_types: frozenset[str] | None = None
    """Input item types that are accepted; None: all. What is missing is lowered to messages and function calls, or left
    out and named. Mistral, local engines: `["message", "function_call", "function_call_output", "reasoning"]`."""
    tool_choice_types: frozenset[str] | None = None
    """`type` of the tool_choice objects that are accepted; None: all. Mistral, local engines: `["function"]`.
    `allowed_tools` is then honoured by declaring only the allowed tools."""
    dropped_fields: frozenset[str] = frozenset()
    """Body fields that are refused, never sent. Named in `antiphon-dropped` where the client set them; a field that
    changes the meaning (`text`, `tool_choice`) is 400 instead. xAI: `["metadata"]`; Groq: `["store", "truncation",
    "include", "prompt_cache_key", "safety_identifier"]`; Mistral: `["top_logprobs", "truncation"]`."""
    allowed_values: dict[str, frozenset[str]] = {}
    """Body path to the only values accepted there, such as `{"reasoning.summary": ["auto"]}` (Bedrock Mantle)."""
    dropped_tool_fields: dict[str, frozenset[str]] = {}
    """Tool type to fields refused on it. xAI: `{web_search = ["search_context_size", "external_web_access"],
    code_interpreter = ["container"]}`."""
    dropped_item_fields: frozenset[str] = frozenset()
    """Fields refused on input items besides `id`, at their top level. Azure: `["status"]`."""
    reasoning: Literal["encrypted", "text", "none"] = "encrypted"
    """How reasoning items are read back: by encrypted_content (which is then asked for by `include`), by their plain
    `content` (vLLM, llama.cpp, LM Studio, Mistral, DeepSeek), or not at all."""
    reads_foreign_reasoning: bool = True
    """Whether encrypted reasoning that a client brings from elsewhere is forwarded, or removed and named."""
    reasoning_crosses_models: bool = False
    """Whether another model of the same account may be sent this model's reasoning."""
    system_messages: Literal["keep", "system", "fold"] = "keep"
    """`system`: developer messages are sent as system; `fold`: both move into `instructions` (Fireworks)."""
    text_tool_outputs: bool = False
    """Tool outputs must be strings, not content lists (llama.cpp)."""
    joins_parallel_calls: bool = False
    """No message may stand between two parallel calls (DeepSeek): it is moved before them."""
    takes_obfuscation_option: bool = False
    """`stream_options.include_obfuscation` is known: the padding is switched off, it would be thrown away (OpenAI)."""


class AnthropicQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of an anthropic vendor."""


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them; a vendor uses the section of its dialect."""

    chat_completions: ChatQuirks = ChatQuirks()
    responses: ResponsesQuirks = ResponsesQuirks()
    anthropic: AnthropicQuirks = AnthropicQuirks()
