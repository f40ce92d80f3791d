"""Items of a conversation: from a finished response, from a client, and back to entries of a turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from antiphon.protocol.ids import new_id
from antiphon.protocol.items import (
    CALL_OUTPUTS,
    CALLS,
    Item,
)
from antiphon.protocol.parsing import parse_item
from antiphon.protocol.request import InputItem
from antiphon.providers.base import Entry, ModelTurn, ReplayRecord
from antiphon.store.base import ConversationItem

from .history import StoredTurn, encode_input, is_cut_call

_encode: Final = msgspec.json.Encoder().encode
_decode_record: Final = msgspec.json.Decoder(ReplayRecord).decode
_decode_raws: Final = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode


class _Identified(msgspec.Struct, frozen=True):
    id: str


_decode_id: Final = msgspec.json.Decoder(_Identified).decode


def items_of_input(items: Sequence[InputItem], owner_id: str | None = None) -> tuple[ConversationItem, ...]:
    """Items as a client sent them, each with an id: made from the response's, or fresh."""
    listed = _decode_raws(encode_input(items, owner_id or new_id("resp")))
    return tuple(ConversationItem(_decode_id(raw).id, bytes(raw)) for raw in listed)


def items_of_output(
    output: Sequence[msgspec.Raw], turns: Sequence[StoredTurn], response_id: str
) -> tuple[ConversationItem, ...]:
    """A response's output items, those of one model turn marked as such; abandoned ones are left out."""
    marked: list[ConversationItem] = []
    position = 0
    for number, turn in enumerate(turns):
        marked += [ConversationItem(_decode_id(raw).id, bytes(raw)) for raw in output[position : turn.first]]
        position = turn.end
        if turn.is_abandoned:
            continue
        for index in range(turn.first, turn.end):
            record = _encode(turn.record) if turn.record is not None and index == turn.first else None
            carried = _encode(turn.carried[index]) if index in turn.carried else None
            marked.append(
                ConversationItem(
                    _decode_id(output[index]).id,
                    bytes(output[index]),
                    f"{response_id}.{number}",
                    turn.end - turn.first,
                    record,
                    carried,
                )
            )
    return (*marked, *(ConversationItem(_decode_id(raw).id, bytes(raw)) for raw in output[position:]))


def items_bytes(items: Sequence[ConversationItem]) -> int:
    """How much is stored of them."""
    return sum(len(item.body) + len(item.record or b"") for item in items)


def conversation_entries(items: Sequence[ConversationItem]) -> list[Entry]:
    """The items as a turn sees them: model turns whole again, with their record if nothing of them is missing."""
    entries: list[Entry] = []
    position = 0
    while position < len(items):
        turn = items[position].turn
        end = position + 1
        while turn is not None and end < len(items) and items[end].turn == turn:
            end += 1
        group = items[position:end]
        position = end
        if turn is None:
            entries.append(_item(group[0]))
            continue
        if entry := _model_turn(group):
            entries.append(entry)
    return entries


def _model_turn(group: Sequence[ConversationItem]) -> ModelTurn | None:
    parsed = [_item(item) for item in group]
    whole = tuple(item for item in parsed if not is_cut_call(item))
    if not whole:
        return None
    record = group[0].record if len(whole) == group[0].turn_size else None
    return ModelTurn(whole, None if record is None else _decode_record(record))


def _item(item: ConversationItem) -> Item:
    return parse_item(msgspec.Raw(item.body))


def hole_of(item: ConversationItem) -> str:
    """The call id that loses its other half with this item, or ""."""
    parsed = _item(item)
    if isinstance(parsed, (*CALLS, *CALL_OUTPUTS)):
        return parsed.call_id if isinstance(parsed.call_id, str) else ""
    return ""
