"""What a vendor does differently from its dialect's norm, as data: one Struct per dialect.

Each field is read in exactly one place, in that dialect's module; catalog rows set them as
`quirks.<dialect>.<field>`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ChatTuning = Literal[
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "parallel_tool_calls",
    "verbosity",
    "user",
    "metadata",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "store",
]
ChatInput = Literal["image", "image_url", "audio", "video", "file", "file_url"]
ChatChoice = Literal["none", "required", "function", "allowed_tools"]


class ChatQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Deviations of a chat_completions vendor.

    The defaults suit a server nobody has described yet: OpenAI's older field names, only fields that every
    implementation takes, reasoning accepted under any name and sent back as it came.
    """

    system_role: Literal["system", "developer"] = "system"
    """The role that instructions and developer messages get."""
    single_system: bool = False
    """Only one leading system message is taken: leading ones merge, later ones become tagged user text."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name of the output limit."""
    has_stream_options: bool = True
    """The server takes `stream_options` and then ends with a usage chunk."""
    tuning: frozenset[ChatTuning] = frozenset(
        {
            "temperature",
            "top_p",
            "presence_penalty",
            "frequency_penalty",
            "logprobs",
            "parallel_tool_calls",
            "user",
        }
    )
    """Request fields that only tune and that the server takes; others are dropped by name.

    "store" sends `store:false`, "logprobs" both of its fields.
    """
    extra_body: dict[str, str | bool | int | float | dict[str, str | bool | int | float]] = {}
    """Constant fields of every request, such as Groq's `reasoning_format`."""

    reasoning_request: Literal["none", "effort", "openrouter", "thinking_type", "thinking_and_effort"] = "effort"
    """How effort is asked for: `reasoning_effort`, `reasoning:{effort}`, `thinking:{type}`, or 1 and 3."""
    effort_map: dict[str, str] = msgspec.field(
        default_factory=lambda: {"minimal": "low", "xhigh": "high", "max": "high"}
    )
    """Our effort words to the vendor's; words that are absent go as they are, "" leaves the effort out."""
    replays_reasoning: bool = True
    """The model's own reasoning is sent back with its turn; False where the server refuses the field."""
    empty_reasoning_field: Literal["", "reasoning_content", "reasoning"] = ""
    """The field that must stand, empty, on tool-calling turns of other models (DeepSeek, Kimi)."""
    unsigned_call_extra: dict[str, dict[str, str]] = {}
    """The `extra_content` that the first call of other models' turns must bear (Gemini's dummy signature)."""
    think_models: tuple[str, ...] = ()
    """Models (shell patterns) whose text opens with `<think>...</think>`, to be split off as reasoning."""
    tool_markup_models: tuple[str, ...] = ()
    """Models (shell patterns) whose calls may come as `<tool_call>` markup in the text, to be lifted out."""
    reasoning_is_extra: bool = False
    """Usage counts reasoning tokens outside `completion_tokens` (xAI)."""

    inputs: frozenset[ChatInput] = frozenset({"image", "image_url", "audio"})
    """Input parts taken: "image" and "file" come inline, "image_url" and "file_url" the server fetches."""
    has_original_detail: bool = False
    """Images may ask for `detail: original`; elsewhere it is sent as `high`."""
    audio_as_data_url: bool = False
    """`input_audio.data` is a data: URL, not bare base64 (Qwen-Omni)."""
    prompt_cache_breakpoint: Literal["none", "native", "cache_control"] = "none"
    """A cache breakpoint of an input part; `cache_control` is Anthropic's way, at most four a body."""

    custom_tools: Literal["wrapped", "native"] = "wrapped"
    """Custom tools as functions with one string argument, or as such (OpenAI)."""
    grammar: Literal["told", "pattern"] = "told"
    """A wrapped tool's grammar: told in words, a regex also as a schema `pattern` (guided decoding)."""
    has_strict_tools: bool = True
    """Functions may carry `strict`."""
    tool_choices: frozenset[ChatChoice] = frozenset({"none", "required", "function"})
    """Forms of tool_choice besides "auto"; a missing one is emulated by filtering tools or refused."""
    required_word: Literal["required", "any"] = "required"
    """How `tool_choice: required` is spelled (Mistral: any)."""
    forcing_stops_thinking: bool = False
    """A forced tool call is refused while thinking: thinking is switched off for that call (DeepSeek)."""
    tool_call_id_length: int = 0
    """Tool call ids must be exactly so many alphanumerics; others are re-encoded. 0: any id (Mistral: 9)."""
    bridges_tool_to_user: bool = False
    """No user message may follow a tool message: a short assistant message goes between (Mistral)."""
    empty_content: Literal["null", "omitted", "empty"] = "null"
    """The `content` of an assistant message that only calls tools."""
    has_refusal_field: bool = False
    """Assistant messages may carry `refusal`; elsewhere a refusal is plain text."""
    response_formats: frozenset[Literal["json_schema", "json_object"]] = frozenset({"json_schema", "json_object"})
    """Structured outputs the server enforces. Without json_object a schema of any object stands in for it."""

    is_end_lenient: bool = False
    """An end without finish_reason is a whole answer if `[DONE]` or usage came (old Ollama, some proxies)."""
    path: str = "/chat/completions"
    """Where answers are asked for, below base_url; `{model}` is the model (Azure's dated surface)."""
    models_path: str = "/models"
    """Where the vendor lists its models, below base_url; "" where it does not."""
    query: str = ""
    """Query string of every call, without "?" (Azure's dated surface: `api-version=...`)."""


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
    compacts: bool = False
    """`POST /responses/compact` is served (OpenAI)."""
    counts_tokens: bool = False
    """`POST /responses/input_tokens` is served (OpenAI, Mistral)."""
    takes_obfuscation_option: bool = False
    """`stream_options.include_obfuscation` is known: the padding is switched off, it would be thrown away (OpenAI)."""


class AnthropicQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of an anthropic vendor."""

    version: str = ""
    """The `anthropic-version` this vendor wants; "" chooses by request and model."""
    dates_old_models: bool = True
    """Models that still sample know the newest version too; on Bedrock they do not."""
    max_tokens: int = 0
    """`max_tokens` when the client says none; 0 takes what the model's family allows."""
    counts_tokens: bool = False
    """`POST /v1/messages/count_tokens` is served (Anthropic)."""
    caches: bool = True
    """Whether `cache_control` may stand at the top of the body (automatic caching)."""
    transport: Literal["messages", "vertex"] = "messages"
    """`vertex`: the model stands in the path, the version in the body (Vertex AI)."""
    native_tools: frozenset[Literal["web_search", "web_fetch", "code_interpreter"]] = frozenset()
    """Hosted tools that run there: `web_fetch` serves what a web search opens."""


class GeminiQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of a gemini vendor; the defaults are the Gemini API's behaviour."""

    transport: Literal["api", "vertex"] = "api"
    """Vertex AI names models below its publishers, and does without ids of calls."""
    counts_tokens: bool = False
    """`:countTokens` is served."""
    has_models_list: bool = True
    """`GET /models` is served."""
    native_tools: frozenset[Literal["web_search", "code_interpreter", "url_context"]] = frozenset(
        {"web_search", "code_interpreter"}
    )
    """Hosted tools that run there; `url_context` opens pages beside a web search."""


class BedrockQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of a bedrock vendor (the Converse wire)."""

    counts_tokens: bool = False
    """`/count-tokens` is served."""


class CohereQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of a cohere vendor."""

    path: str = "/v2/chat"
    """Where answers are asked for, below base_url."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What any vendor can take."""

    context_window: int | None = None
    """Tokens of context and answer together, the smallest of the vendor's models; None is not known."""


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them; a vendor uses the section of its dialect."""

    chat_completions: ChatQuirks = ChatQuirks()
    responses: ResponsesQuirks = ResponsesQuirks()
    anthropic: AnthropicQuirks = AnthropicQuirks()
    gemini: GeminiQuirks = GeminiQuirks()
    bedrock: BedrockQuirks = BedrockQuirks()
    cohere: CohereQuirks = CohereQuirks()
    limits: Limits = Limits()
