"""The chunks of a `streamGenerateContent` answer: only the fields that are read, in the wire's camelCase.

Source: Gemini API reference, GenerateContentResponse; google-genai 3.4 types.
"""

from __future__ import annotations

from typing import Final

import msgspec

Raw = msgspec.Raw
NO_ARGS: Final = Raw(b"{}")


class _Wire(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Camel case on the wire."""


class FunctionCall(_Wire, frozen=True):
    name: str = ""
    id: str | None = None
    args: Raw = NO_ARGS


class Blob(_Wire, frozen=True):
    mime_type: str = ""
    data: str = ""


class Code(_Wire, frozen=True):
    code: str = ""
    id: str | None = None


class CodeResult(_Wire, frozen=True):
    outcome: str = ""
    output: str | None = None


class Part(_Wire, frozen=True):
    """One part as far as it is understood; the raw part is kept beside it."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Blob | None = None
    executable_code: Code | None = None
    code_execution_result: CodeResult | None = None


class Content(_Wire, frozen=True):
    parts: tuple[Raw, ...] | None = None


class WebChunk(_Wire, frozen=True):
    uri: str | None = None
    title: str | None = None


class Chunk(_Wire, frozen=True):
    web: WebChunk | None = None
    retrieved_context: WebChunk | None = None


class Segment(_Wire, frozen=True):
    """Byte offsets (UTF-8) into one part of the answer."""

    part_index: int | None = None
    start_index: int | None = None
    end_index: int | None = None


class Support(_Wire, frozen=True):
    segment: Segment | None = None
    grounding_chunk_indices: tuple[int, ...] | None = None


class Grounding(_Wire, frozen=True):
    web_search_queries: tuple[str, ...] | None = None
    grounding_chunks: tuple[Chunk, ...] | None = None
    grounding_supports: tuple[Support, ...] | None = None


class CitationSource(_Wire, frozen=True):
    uri: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Citations(_Wire, frozen=True):
    citations: tuple[CitationSource, ...] | None = None
    citation_sources: tuple[CitationSource, ...] | None = None


class LogprobCandidate(_Wire, frozen=True):
    token: str = ""
    log_probability: float | None = None


class TopCandidates(_Wire, frozen=True):
    candidates: tuple[LogprobCandidate, ...] | None = None


class Logprobs(_Wire, frozen=True):
    chosen_candidates: tuple[LogprobCandidate, ...] | None = None
    top_candidates: tuple[TopCandidates, ...] | None = None


class Candidate(_Wire, frozen=True):
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    continuation_token: str | None = None
    grounding_metadata: Grounding | None = None
    citation_metadata: Citations | None = None
    logprobs_result: Logprobs | None = None


class Feedback(_Wire, frozen=True):
    block_reason: str | None = None
    block_reason_message: str | None = None


class Usage(_Wire, frozen=True):
    """Cumulative; a field may be missing from later chunks."""

    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class Error(_Wire, frozen=True):
    code: int | str | None = None
    message: str | None = None
    status: str | None = None


class Answer(_Wire, frozen=True):
    candidates: tuple[Candidate, ...] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Usage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Error | None = None


decode_answer: Final = msgspec.json.Decoder(Answer).decode
decode_answers: Final = msgspec.json.Decoder(tuple[Answer, ...]).decode
decode_part: Final = msgspec.json.Decoder(Part).decode
