"""The context of a turn as blocks of the simulator's wire.

A past turn that the simulator wrote itself goes back as its own blocks; any other is rendered from its public items,
without its reasoning, which is named in `removed`. Rendering a turn's items gives the same blocks as its record, so a
conversation has one prefix however the client keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    AdditionalTools,
    ContentPart,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputFile,
    InputImage,
    InputVideo,
    Item,
    Message,
    Opaque,
    Reasoning,
    RefusalPart,
    ToolSearchCall,
    ToolSearchOutput,
)
from antiphon.protocol.tools import HostedTool, NamespaceTool

from . import simulator_wire as wire
from .base import ModelTurn, ReplayedReasoning, ReplayRecord, Target, ToolName, Turn
from .tool_names import TOOL_SEARCH, wire_name

_NOT_OURS: Final = "The reasoning was written by another model provider."


class Transcriber:
    """Renders one turn's context; `removed`, `dropped` and `loaded` are known once `blocks` was called."""

    def __init__(self, turn: Turn, target: Target, names: Iterable[ToolName]) -> None:
        self._turn = turn
        self._target = target
        self._wire_names = {(name.namespace, name.name): name.wire_name for name in names}
        self._call_ids: dict[str, str] = {}
        self._loaded: set[str] = set()
        self.removed: list[tuple[str, str]] = []
        self.dropped: list[str] = []

    @property
    def loaded(self) -> frozenset[str]:
        """Wire names of the tools that a tool search has found."""
        return frozenset(self._loaded)

    def blocks(self) -> tuple[wire.Block, ...]:
        """The whole transcript. Raises InvalidRequest where a client's item cannot be read."""
        entries = self._turn.context
        first_own = len(entries) - len(self._turn.request.input)
        rendered: list[wire.Block] = []
        for position, entry in enumerate(entries):
            if isinstance(entry, ModelTurn):
                rendered.extend(self._model_turn(entry))
            elif isinstance(entry, ReplayedReasoning):
                rendered.extend(self._reasoning(entry))
            else:
                where = f"input[{position - first_own}]" if position >= first_own else "previous_response_id"
                rendered.extend(self._item(entry, where))
        return tuple(rendered)

    def _is_ours(self, record: ReplayRecord) -> bool:
        return record.family == "sim" and record.scope == self._target.vendor.scope

    def _model_turn(self, turn: ModelTurn) -> Iterator[wire.Block]:
        if turn.record is not None and self._is_ours(turn.record):
            self._call_ids |= turn.record.call_ids
            yield from wire.decode_blocks(turn.record.blocks)
            return
        for item in turn.items:
            if isinstance(item, Opaque):
                # Only another provider's model could have made it; what it found stands in that turn's message.
                self.dropped.append(f"context.{item.type}")
            else:
                yield from self._item(item, "previous_response_id")

    def _reasoning(self, entry: ReplayedReasoning) -> Iterator[wire.Block]:
        if self._is_ours(entry.record):
            yield wire.decode_reasoning(entry.record.blocks)
        else:
            self._remove(entry.item)

    def _remove(self, item: Reasoning) -> None:
        self.removed.append((item.id if isinstance(item.id, str) else "", _NOT_OURS))

    def _item(self, item: Item, where: str) -> Iterator[wire.Block]:
        match item:
            case Message():
                yield wire.MessageBlock(item.role, self._parts(item.content, f"{where}.content"))
            case FunctionCall() | CustomToolCall():
                yield self._call(item)
            case FunctionCallOutput() | CustomToolCallOutput():
                call_id = self._call_id(item.call_id if isinstance(item.call_id, str) else "")
                yield wire.OutputBlock(call_id, self._parts(item.output, f"{where}.output"))
            case ToolSearchCall():
                yield wire.CallBlock(self._call_id(item.call_id or ""), TOOL_SEARCH, bytes(item.arguments).decode())
            case ToolSearchOutput():
                yield self._found(item)
            case Reasoning():
                self._remove(item)
            case AdditionalTools():
                return  # its tools are lowered with the rest
            case _:
                kind = item.type if isinstance(item, Opaque) else "item_reference"
                raise InvalidRequest(
                    f"The simulator cannot read an input item of type {kind!r}.",
                    param=f"{where}.type" if where.startswith("input") else where,
                    code="unsupported_value",
                )

    def _call_id(self, public: str | msgspec.UnsetType) -> str:
        return self._call_ids.get(public, public) if isinstance(public, str) else ""

    def _call(self, item: FunctionCall | CustomToolCall) -> wire.CallBlock:
        namespace = item.namespace if isinstance(item.namespace, str) else None
        name = self._wire_names.get((namespace, item.name)) or wire_name(item.name, namespace)
        call_id = self._call_id(item.call_id)
        if isinstance(item, CustomToolCall):
            return wire.CallBlock(call_id, name, item.input, "custom")
        return wire.CallBlock(call_id, name, item.arguments)

    def _found(self, item: ToolSearchOutput) -> wire.OutputBlock:
        found: list[str] = []
        for tool in item.tools:
            if isinstance(tool, NamespaceTool):
                found.extend(wire_name(inner.name, tool.name) for inner in tool.tools)
            elif not isinstance(tool, HostedTool):
                found.append(wire_name(tool.name))
        self._loaded.update(found)
        listed = ", ".join(found) or "nothing"
        return wire.OutputBlock(self._call_id(item.call_id or ""), (wire.TextPart(f"found {listed}"),))

    def _parts(self, content: str | Sequence[ContentPart], where: str) -> tuple[wire.Part, ...]:
        if isinstance(content, str):
            return (wire.TextPart(content),)
        return tuple(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: ContentPart, where: str) -> wire.Part:
    match part:
        case InputImage():
            return wire.ImagePart(part.image_url or None, part.file_id or None)
        case InputFile():
            return wire.FilePart(
                part.filename or None, part.file_data or None, part.file_url or None, part.file_id or None
            )
        case InputVideo():
            return wire.VideoPart(part.video_url)
        case InputAudio():
            raise InvalidRequest(
                "The simulator cannot hear: send the words of the audio as input_text.",
                param=f"{where}.type",
                code="unsupported_value",
            )
        case RefusalPart():
            return wire.RefusalPart(part.refusal)
        case _:
            return wire.TextPart(part.text)
