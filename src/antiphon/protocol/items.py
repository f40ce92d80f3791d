"""Input and output items of the Responses API that the program itself reads, and `Opaque` for all others.

Absent and null are different on this wire: Open Responses wants absent, OpenAI allows both. Optional fields are
therefore `UNSET` by default, accepted as null, and never written when absent. JSON that is only carried (schemas,
annotations, grammar definitions) stays `msgspec.Raw`; its null is Raw `null`, because msgspec decodes no union of Raw
and None.
Source: OpenAI OpenAPI `InputItem`, `OutputItem`; Open Responses 2026-04-24 `ItemParam`, `ItemField`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from .tools import Tool

Role = Literal["user", "assistant", "system", "developer"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
Execution = Literal["server", "client"]


class InputText(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="input_text", tag_field="type"):
    text: str
    prompt_cache_breakpoint: msgspec.Raw | UnsetType = UNSET


class InputImage(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="input_image", tag_field="type"
):
    """`image_url` is an http(s) or data: URL."""

    detail: Literal["low", "high", "auto", "original"] | UnsetType | None = UNSET
    image_url: str | UnsetType | None = UNSET
    file_id: str | UnsetType | None = UNSET
    prompt_cache_breakpoint: msgspec.Raw | UnsetType = UNSET


class InputFile(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="input_file", tag_field="type"):
    """One of file_data (base64 or data: URL), file_url, file_id."""

    filename: str | UnsetType | None = UNSET
    file_data: str | UnsetType | None = UNSET
    file_url: str | UnsetType | None = UNSET
    file_id: str | UnsetType | None = UNSET
    detail: Literal["auto", "low", "high"] | UnsetType | None = UNSET
    prompt_cache_breakpoint: msgspec.Raw | UnsetType = UNSET


class InputAudio(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="input_audio", tag_field="type"
):
    input_audio: msgspec.Raw


class InputVideo(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="input_video", tag_field="type"
):
    """Open Responses only, inside function_call_output."""

    video_url: str


class OutputText(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="output_text", tag_field="type"
):
    text: str
    annotations: tuple[msgspec.Raw, ...] = ()
    logprobs: tuple[msgspec.Raw, ...] | None = ()


class RefusalPart(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="refusal", tag_field="type"):
    refusal: str


class SummaryText(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="summary_text", tag_field="type"
):
    text: str


class ReasoningText(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="reasoning_text", tag_field="type"
):
    text: str


class PlainText(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="text", tag_field="type"):
    """A `text` part, as conversation items and some clients write it."""

    text: str


ContentPart = (
    InputText
    | InputImage
    | InputFile
    | InputAudio
    | InputVideo
    | OutputText
    | RefusalPart
    | SummaryText
    | ReasoningText
    | PlainText
)


class Message(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="message", tag_field="type"):
    """A message of any role; `content` as the client or the model wrote it."""

    role: Role
    content: str | tuple[ContentPart, ...]
    id: str | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET
    phase: str | UnsetType | None = UNSET


class FunctionCall(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="function_call", tag_field="type"
):
    """`arguments` is JSON text exactly as the model wrote it."""

    call_id: str
    name: str
    arguments: str
    id: str | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET
    namespace: str | UnsetType | None = UNSET
    caller: msgspec.Raw | UnsetType = UNSET
    async_: bool | UnsetType | None = msgspec.field(name="async", default=UNSET)


class FunctionCallOutput(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="function_call_output", tag_field="type"
):
    output: str | tuple[ContentPart, ...]
    call_id: str | UnsetType | None = UNSET
    id: str | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    namespace: str | UnsetType | None = UNSET
    caller: msgspec.Raw | UnsetType = UNSET


class CustomToolCall(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="custom_tool_call", tag_field="type"
):
    """`input` is free text."""

    call_id: str
    name: str
    input: str
    id: str | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET
    namespace: str | UnsetType | None = UNSET
    caller: msgspec.Raw | UnsetType = UNSET
    async_: bool | UnsetType | None = msgspec.field(name="async", default=UNSET)


class CustomToolCallOutput(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="custom_tool_call_output", tag_field="type"
):
    call_id: str
    output: str | tuple[ContentPart, ...]
    id: str | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET
    caller: msgspec.Raw | UnsetType = UNSET


class Reasoning(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="reasoning", tag_field="type"):
    """`encrypted_content` is ours (sealed replay record) or, on a native upstream's items, the provider's."""

    summary: tuple[SummaryText, ...] = ()
    id: str | UnsetType | None = UNSET
    content: tuple[ReasoningText, ...] | UnsetType | None = UNSET
    encrypted_content: str | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET


class ItemReference(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="item_reference", tag_field="type"
):
    id: str


class AdditionalTools(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="additional_tools", tag_field="type"
):
    """More tools from this place of the conversation on (Codex "responses lite" sends all its tools so)."""

    tools: tuple[Tool, ...]
    role: str = "developer"
    id: str | UnsetType | None = UNSET


class ToolSearchCall(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="tool_search_call", tag_field="type"
):
    """`arguments` is any JSON value. With execution "client" the client runs the search."""

    arguments: msgspec.Raw
    id: str | UnsetType | None = UNSET
    call_id: str | UnsetType | None = UNSET
    execution: Execution | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET


class ToolSearchOutput(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="tool_search_output", tag_field="type"
):
    tools: tuple[Tool, ...]
    id: str | UnsetType | None = UNSET
    call_id: str | UnsetType | None = UNSET
    execution: Execution | UnsetType | None = UNSET
    status: ItemStatus | UnsetType | None = UNSET


# For isinstance: a union is put together anew at every check, which costs four times as much.
CALLS: Final = (FunctionCall, CustomToolCall)
CALL_OUTPUTS: Final = (FunctionCallOutput, CustomToolCallOutput)
DECLARATIONS: Final = (AdditionalTools, ToolSearchOutput)
MEDIA: Final = (InputImage, InputFile, InputAudio, InputVideo)


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """An item whose inside nobody here reads: kept as it came, JSON and all."""

    type: str
    id: str | None
    raw: msgspec.Raw


Item = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | CustomToolCall
    | CustomToolCallOutput
    | Reasoning
    | ItemReference
    | AdditionalTools
    | ToolSearchCall
    | ToolSearchOutput
    | Opaque
)

ITEMS: Final = (
    Message,
    FunctionCall,
    FunctionCallOutput,
    CustomToolCall,
    CustomToolCallOutput,
    Reasoning,
    ItemReference,
    AdditionalTools,
    ToolSearchCall,
    ToolSearchOutput,
    Opaque,
)
