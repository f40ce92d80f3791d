"""What every dialect asks of history: the text of content, whether a record may be read, why reasoning is left out.

Source: reference of provider wires, §2.1 and §2.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.protocol.items import (
    ContentPart,
    InputText,
    OutputText,
    PlainText,
    Reasoning,
    ReasoningText,
    RefusalPart,
    SummaryText,
)
from antiphon.protocol.tools import FunctionTool

from .base import DialectName, ReplayRecord, Target, ToolName
from .tool_names import LoweredTool, LoweredTools


def text_of(part: ContentPart) -> str | None:
    """The text of a part; None for media."""
    match part:
        case InputText() | OutputText() | PlainText() | SummaryText() | ReasoningText():
            return part.text
        case RefusalPart():
            return part.refusal
        case _:
            return None


def plain_text(parts: str | Sequence[ContentPart]) -> str:
    """The text of content alone, its parts joined."""
    return parts if isinstance(parts, str) else "".join(text_of(part) or "" for part in parts)


def is_readable(record: ReplayRecord, family: DialectName, target: Target) -> bool:
    """Blocks go back only to the account that made them, and only in the wire they were made in."""
    return record.family == family and record.scope == target.vendor.scope


def removal(item: Reasoning, record: ReplayRecord | None, family: DialectName) -> tuple[str, str]:
    """A row of `HttpRequest.removed`: another account of this family, or another kind of model altogether."""
    is_ours = record is not None and record.family == family
    return item.id or "", "organization_mismatch" if is_ours else "model_mismatch"


def unsent_fields(lowered: LoweredTools, only: Sequence[ToolName] | None) -> list[str]:
    """Fields of declarations that only OpenAI's own wire has, as `antiphon-dropped` names them."""
    return [name for names in lowered.each(unsent, only) for name in names]


def unsent(lowered: LoweredTool) -> list[str]:
    """Fields of a tool's declaration that only OpenAI's own wire has, as `antiphon-dropped` names them."""
    tool, names = lowered.tool, list[str]()
    if isinstance(tool, FunctionTool):
        schema = tool.output_schema
        if isinstance(schema, msgspec.Raw) and bytes(schema) != b"null":
            names.append("output_schema")
    if tool.async_:
        names.append("async")
    if tool.allowed_callers:
        names.append("allowed_callers")
    return [f"tools.{lowered.tool_name.wire_name}.{name}" for name in names]
