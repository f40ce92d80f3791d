"""A response that a lost worker had begun, taken up again: recorded events and a checkpoint back to an assembler.

Items that were open when the worker was lost are closed as `incomplete`, by the very state machines that opened them:
their recorded deltas are fed in once more without being emitted. Recorded batches end between the chunks of an answer,
so an item is never found half closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from antiphon.protocol import events as ev
from antiphon.protocol.deltas import Finished, Usage
from antiphon.protocol.items import CALLS
from antiphon.protocol.parsing import parse_item
from antiphon.providers.base import ReplayRecord

from .assembler import Assembler, Emit
from .history import StoredTurn
from .open_items import OpenCall, OpenItem, OpenMessage, OpenNative, OpenReasoning, Place


class Checkpoint(msgspec.Struct, frozen=True):
    """What a run has finished: its whole model turns, and how the last of them ended.

    `target` is the one that answered. `is_over`: the last turn was the answer's last. `is_paused`: it is to be
    continued with its own blocks appended.
    """

    turns: tuple[StoredTurn, ...] = ()
    usage: Usage = Usage()
    target: str = ""
    is_over: bool = False
    is_paused: bool = False
    finished: Finished | None = None

    def pending(self) -> tuple[ReplayRecord, ...]:
        """The blocks of the turn that is to be continued."""
        return tuple(turn.record for turn in self.turns if turn.record is not None)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as the store keeps it."""
    return msgspec.json.encode(checkpoint)


def decode_checkpoint(stored: bytes) -> Checkpoint:
    """A checkpoint from the store; b"" is an empty one."""
    return msgspec.json.decode(stored, type=Checkpoint) if stored else Checkpoint()


class _Told(msgspec.Struct, frozen=True):
    """Of a recorded event, what its item is rebuilt from."""

    type: str
    output_index: int = -1
    item_id: str = ""
    item: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    delta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    logprobs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    annotation: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    summary_index: int = 0


class _Item(msgspec.Struct, frozen=True):
    type: str
    id: str
    call_id: str = ""
    name: str = ""
    namespace: str | None = None
    phase: str | None = None


_decode: Final = msgspec.json.Decoder(_Told).decode
_decode_item: Final = msgspec.json.Decoder(_Item).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def restore(assembler: Assembler, events: Sequence[bytes], checkpoint: Checkpoint, emit: Emit) -> bool:
    """Bring a fresh assembler to where the events end; whether `response.in_progress` was among them."""
    said: list[ev.Event] = []
    told = [_decode(event) for event in events]
    output: dict[int, msgspec.Raw] = {}
    still_open: dict[int, OpenItem] = {}
    for event in told:
        if event.type == "response.output_item.added" and isinstance(event.item, msgspec.Raw):
            still_open[event.output_index] = _opened(event.item, event.output_index, said.append)
        elif event.type == "response.output_item.done" and isinstance(event.item, msgspec.Raw):
            output[event.output_index] = event.item
            still_open.pop(event.output_index, None)
        elif event.output_index in still_open:
            _feed(still_open[event.output_index], event)
    said.clear()  # all of it was emitted when it was recorded
    for index, item in sorted(still_open.items()):
        output[index] = item.close("incomplete")
        said.append(ev.OutputItemDone(index, output[index]))
    if said:
        emit(said)
    items = [output[index] for index in sorted(output)]
    assembler.restore(items, checkpoint.turns, checkpoint.usage)
    assembler.take_call_ids(_call_ids(items))
    return any(event.type == "response.in_progress" for event in told)


def _call_ids(items: Sequence[msgspec.Raw]) -> set[str]:
    parsed = [parse_item(item) for item in items]
    return {item.call_id for item in parsed if isinstance(item, CALLS)}


def _opened(raw: msgspec.Raw, index: int, say: Callable[[ev.Event], None]) -> OpenItem:
    item = _decode_item(raw)
    place = Place(item.id, index, say)
    match item.type:
        case "message":
            return OpenMessage(place, item.phase)
        case "reasoning":
            return OpenReasoning(place)
        case "function_call":
            return OpenCall(place, item.call_id, item.name, item.namespace, "function")
        case "custom_tool_call":
            return OpenCall(place, item.call_id, item.name, item.namespace, "custom")
        case _:
            return OpenNative(place, item.type, raw)


def _feed(item: OpenItem, event: _Told) -> None:
    kind = event.type.removeprefix("response.")
    if isinstance(event.annotation, msgspec.Raw) and isinstance(item, OpenMessage):
        item.cite(event.annotation)
    if not isinstance(event.delta, msgspec.Raw) or isinstance(item, OpenNative):
        return
    text = _decode_text(event.delta)
    match item:
        case OpenMessage() if kind == "refusal.delta":
            item.refusal(text)
        case OpenMessage():
            item.text(text, event.logprobs if isinstance(event.logprobs, msgspec.Raw) else None)
        case OpenReasoning() if kind == "reasoning_text.delta":
            item.thought(text)
        case OpenReasoning():
            item.summary(text, event.summary_index)
        case OpenCall():
            item.arguments(text)
