"""The simulator's own wire: one JSON request up, lines of JSON (NDJSON) down.

    request    model, instructions, transcript of blocks, tools in wire names, choice, format, limits
    answer     start, then text refusal citation summary thought thinking call arguments end, then stop or error

An `end` line carries the block of its item, whole: blocks are what a later request sends back, and for every block the
same value is the same bytes. A stream without `stop` or `error` was cut. This module must never decide anything.
Source: docs/simulator.md, docs/decisions/0006-simulator.md.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import msgspec

NULL: Final = msgspec.Raw(b"null")
"""Raw JSON that is absent: msgspec does not decode a union of Raw and None."""

# -- parts and blocks of a transcript ----------------------------------------------------------------------------------


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    text: str


class RefusalPart(msgspec.Struct, frozen=True, tag="refusal"):
    text: str


class ImagePart(msgspec.Struct, frozen=True, tag="image", omit_defaults=True):
    url: str | None = None
    file_id: str | None = None


class FilePart(msgspec.Struct, frozen=True, tag="file", omit_defaults=True):
    name: str | None = None
    content: str | None = None
    url: str | None = None
    file_id: str | None = None


class VideoPart(msgspec.Struct, frozen=True, tag="video"):
    url: str


Part = TextPart | RefusalPart | ImagePart | FilePart | VideoPart


class MessageBlock(msgspec.Struct, frozen=True, tag="message"):
    role: Literal["user", "assistant", "system", "developer"]
    content: tuple[Part, ...]


class ReasoningBlock(msgspec.Struct, frozen=True, tag="reasoning"):
    """What the simulator thought, signed: only the very same text verifies when it comes back."""

    text: str
    signature: str


class CallBlock(msgspec.Struct, frozen=True, tag="call"):
    """`text` is JSON for a function, plain text for a custom tool."""

    call_id: str
    name: str
    text: str
    kind: Literal["function", "custom"] = "function"


class OutputBlock(msgspec.Struct, frozen=True, tag="output"):
    call_id: str
    content: tuple[Part, ...]


Block = MessageBlock | ReasoningBlock | CallBlock | OutputBlock


def signature_of(text: str) -> str:
    """The signature that the simulator gives its own reasoning."""
    return "sim-" + hashlib.sha256(b"antiphon simulator reasoning\0" + text.encode()).hexdigest()[:32]


def is_intact(block: ReasoningBlock) -> bool:
    """Whether a replayed reasoning block is what the simulator wrote, to the letter."""
    return block.signature == signature_of(block.text)


# -- the request -------------------------------------------------------------------------------------------------------


class Grammar(msgspec.Struct, frozen=True):
    syntax: Literal["lark", "regex"]
    definition: str


class SimTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """`is_deferred`: not callable before a tool search found it; `is_search`: the function that searches."""

    name: str
    kind: Literal["function", "custom"] = "function"
    description: str = ""
    parameters: msgspec.Raw = msgspec.Raw(b"{}")
    grammar: Grammar | None = None
    is_deferred: bool = False
    is_search: bool = False


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """`names`: only these may be called; None means all."""

    mode: Literal["none", "auto", "required"]
    names: tuple[str, ...] | None = None


class Format(msgspec.Struct, frozen=True, omit_defaults=True):
    type: Literal["text", "json_object", "json_schema"] = "text"
    schema: msgspec.Raw = NULL


class SimRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One turn. `top_logprobs` is None where no logprobs are wanted; `summary` is the wanted kind of summary."""

    model: str
    instructions: str | None = None
    transcript: tuple[Block, ...] = ()
    tools: tuple[SimTool, ...] = ()
    choice: Choice = Choice("auto")
    is_parallel: bool = True
    format: Format = Format()
    max_output_tokens: int | None = None
    effort: str | None = None
    summary: str | None = None
    top_logprobs: int | None = None


# -- the answer --------------------------------------------------------------------------------------------------------


class StartLine(msgspec.Struct, frozen=True, tag="start"):
    model: str
    id: str
    input_tokens: int
    cached_tokens: int


class TextLine(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    key: int
    text: str
    logprobs: msgspec.Raw = NULL


class RefusalLine(msgspec.Struct, frozen=True, tag="refusal"):
    key: int
    text: str


class CitationLine(msgspec.Struct, frozen=True, tag="citation"):
    key: int
    annotation: msgspec.Raw


class SummaryLine(msgspec.Struct, frozen=True, tag="summary"):
    key: int
    part: int
    text: str


class ThoughtLine(msgspec.Struct, frozen=True, tag="thought"):
    key: int
    text: str


class ThinkingLine(msgspec.Struct, frozen=True, tag="thinking"):
    key: int


class CallLine(msgspec.Struct, frozen=True, tag="call"):
    key: int
    call_id: str
    name: str


class ArgumentsLine(msgspec.Struct, frozen=True, tag="arguments"):
    key: int
    text: str


class EndLine(msgspec.Struct, frozen=True, tag="end"):
    key: int
    status: Literal["completed", "incomplete"]
    block: Block


class StopLine(msgspec.Struct, frozen=True, tag="stop"):
    reason: Literal["max_output_tokens", "content_filter"] | None
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int


class ErrorLine(msgspec.Struct, frozen=True, tag="error"):
    code: str
    message: str


Line = (
    StartLine
    | TextLine
    | RefusalLine
    | CitationLine
    | SummaryLine
    | ThoughtLine
    | ThinkingLine
    | CallLine
    | ArgumentsLine
    | EndLine
    | StopLine
    | ErrorLine
)

encode: Final = msgspec.json.Encoder().encode
decode_line: Final = msgspec.json.Decoder[Line](Line).decode
decode_request: Final = msgspec.json.Decoder(SimRequest).decode
decode_blocks: Final = msgspec.json.Decoder(tuple[Block, ...]).decode
decode_reasoning: Final = msgspec.json.Decoder(ReasoningBlock).decode
