"""The shapes of a Chat Completions answer, streamed or whole, as lenient Structs.

Only what is read is declared, every field may be absent or null, enums are plain strings: a provider adds fields and
values monthly and none of them may break a stream. A whole answer is a chunk whose choice has `message` for `delta`.
Source: OpenAI "Chat Completions" objects; vendor fields as named in the reference of provider wires, §1.2.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

NULL = Raw(b"null")


class FunctionDelta(msgspec.Struct, frozen=True, gc=False):
    """`arguments` is a piece of JSON text; Ollama and Mistral also send the object itself."""

    name: str | None = None
    arguments: Raw = NULL


class CustomDelta(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    input: str | None = None


class CallDelta(msgspec.Struct, frozen=True, gc=False):
    """`extra_content` is Google's: the thought signature of a call, which must come back with it."""

    index: int | None = None
    id: str | None = None
    function: FunctionDelta | None = None
    custom: CustomDelta | None = None
    extra_content: Raw = NULL


class TextChunk(msgspec.Struct, frozen=True, gc=False):
    text: str | None = None


class ContentChunk(msgspec.Struct, frozen=True, gc=False):
    """One chunk of list content (Mistral): text, thinking, reference, tool_reference."""

    type: str = "text"
    text: str | None = None
    thinking: tuple[TextChunk, ...] | str | None = None
    signature: str | None = None
    closed: bool | None = None
    url: str | None = None
    title: str | None = None


class ReasoningDetail(msgspec.Struct):
    """One entry of OpenRouter's `reasoning_details`; fields as they are replayed, in this order."""

    type: str
    text: str | msgspec.UnsetType | None = msgspec.UNSET
    summary: str | msgspec.UnsetType | None = msgspec.UNSET
    data: str | msgspec.UnsetType | None = msgspec.UNSET
    signature: str | msgspec.UnsetType | None = msgspec.UNSET
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    format: str | msgspec.UnsetType | None = msgspec.UNSET
    index: int | msgspec.UnsetType | None = msgspec.UNSET


class UrlCitation(msgspec.Struct, frozen=True, gc=False):
    """OpenAI's and OpenRouter's nested citation; offsets count characters."""

    url: str = ""
    title: str | None = None
    start_index: int = 0
    end_index: int = 0


class Annotation(msgspec.Struct, frozen=True, gc=False):
    type: str = ""
    url_citation: UrlCitation | None = None


class MessageDelta(msgspec.Struct, frozen=True, gc=False):
    content: str | tuple[ContentChunk, ...] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: tuple[ReasoningDetail, ...] | None = None
    tool_calls: tuple[CallDelta, ...] | None = None
    function_call: FunctionDelta | None = None
    annotations: tuple[Annotation, ...] | None = None


class Logprobs(msgspec.Struct, frozen=True, gc=False):
    content: tuple[Raw, ...] | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    index: int | None = None
    delta: MessageDelta | None = None
    message: MessageDelta | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    error: Raw = NULL


class PromptDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class UsageWire(msgspec.Struct, frozen=True, gc=False):
    """`prompt_cache_hit_tokens` is DeepSeek's, `cached_tokens` Moonshot's word for the cached part."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None


class GroqExtra(msgspec.Struct, frozen=True, gc=False):
    usage: UsageWire | None = None
    error: Raw = NULL


class SearchResult(msgspec.Struct, frozen=True, gc=False):
    url: str = ""
    title: str | None = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    choices: tuple[Choice, ...] | None = None
    usage: UsageWire | None = None
    error: Raw = NULL
    x_groq: GroqExtra | None = None
    citations: tuple[str, ...] | None = None
    search_results: tuple[SearchResult, ...] | None = None


class ReportedError(msgspec.Struct, frozen=True, gc=False):
    """An error object; a code may be a number (OpenRouter: the HTTP status)."""

    message: str | None = None
    code: str | int | None = None
    type: str | None = None
