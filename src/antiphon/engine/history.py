"""What a stored response contributes to its chain, as JSON in the store and as entries of a Turn.

A response stores its own new input items, its output and, per model turn, the replay record. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeGuard

import msgspec

from antiphon.protocol.ids import input_item_id
from antiphon.protocol.items import (
    CALLS,
    ContentPart,
    InputText,
    Item,
    Message,
    Opaque,
    OutputText,
    Reasoning,
)
from antiphon.protocol.parsing import parse_items
from antiphon.protocol.request import InputItem
from antiphon.providers.base import Entry, ModelTurn, ReplayRecord
from antiphon.store.base import StoredResponse

from .growing import Growing, Known


class StoredTurn(msgspec.Struct, frozen=True):
    """One model turn of a response: its output items are `output[first:end]`.

    `carried` maps an output index to the record of that reasoning item alone. `is_abandoned`: its worker was lost and
    the turn was asked again; clients have seen the items, no model sees them any more.
    """

    first: int
    end: int
    record: ReplayRecord | None
    carried: dict[int, ReplayRecord] = {}
    is_abandoned: bool = False


class _Body(msgspec.Struct, frozen=True):
    output: msgspec.Raw
    store: bool = True


_decode_body: Final = msgspec.json.Decoder(_Body).decode
_decode_turns: Final = msgspec.json.Decoder(tuple[StoredTurn, ...]).decode
_decode_raws: Final = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
_NONE: Final = frozenset[str]()
_SPECIAL: Final = frozenset[type]((*CALLS, Opaque))
"""What may have been cut off, or stand between turns."""
_SEALED: Final = frozenset[type]((Reasoning, Opaque))
"""What may hold something of ours that has to be opened."""
COMPACTION: Final = "compaction"
TRIGGER: Final = "compaction_trigger"


def encode_turns(turns: Sequence[StoredTurn]) -> bytes:
    """The `turns` column of a StoredResponse."""
    return _encode(turns)


def output_of(stored: StoredResponse) -> tuple[msgspec.Raw, ...]:
    """The output items of a stored response, as JSON."""
    return _decode_raws(_decode_body(stored.body).output)


def input_of(stored: StoredResponse) -> tuple[msgspec.Raw, ...]:
    """The response's own new input items, each with an id, as JSON."""
    return _decode_raws(stored.input)


def turns_of(stored: StoredResponse) -> tuple[StoredTurn, ...]:
    """The model turns of a stored response."""
    return _decode_turns(stored.turns)


class Opener(Protocol):
    """Opens what was sealed for one project."""

    def at_once(self, item: Reasoning) -> Entry | None:
        """A reasoning item as its provider reads it, whoever asks and when; None where the store has to tell."""
        ...

    def expanded(self, before: Sequence[Entry], entries: Sequence[Entry]) -> Sequence[Entry]:
        """What is known already and what follows, with our compaction items opened. Raises InvalidRequest."""
        ...


class Link:
    """A stored response as its chain sees it, read once; but for `growing` it never changes.

    `entries`: its input, then its model turns, as the next turn sees them. `abandoned`: call ids of abandoned turns,
    which a client may answer though no model asked for them. `has_reasoning`: a client sent items of it, and they stand
    among the entries, sealed. `is_kept`: False for a background response with store:false, which is there for a while
    only to be polled. `is_plain`: the entries stand in every later context as they are here, opened, or as what a
    compaction among them leaves. `growing`: see `known_of`.
    """

    def __init__(self, stored: StoredResponse) -> None:
        body = _decode_body(stored.body)
        turns = turns_of(stored)
        output = parse_items(body.output)
        self.stored = stored
        self.growing: Growing | None = None
        self.is_kept = body.store
        self.entries = (*parse_items(stored.input), *_entries_of(output, turns))
        self.has_reasoning = Reasoning in map(type, self.entries)
        lost = [item for turn in turns if turn.is_abandoned for item in output[turn.first : turn.end]]
        self.abandoned = frozenset(item.call_id for item in lost if isinstance(item, CALLS)) if lost else _NONE
        self.is_plain = not (self.abandoned or stored.conversation is not None)


def grown(growing: Growing, entries: Sequence[Entry], opener: Opener) -> Growing | None:
    """What is said with the entries that follow; None where later ones, or the store, may change it.

    A compaction leaves something new, which grows from there on. Raises InvalidRequest for an output without its call,
    and for a compaction item that cannot be read.
    """
    if Reasoning in map(type, entries):
        opened = [opener.at_once(entry) if isinstance(entry, Reasoning) else entry for entry in entries]
        entries = [entry for entry in opened if entry is not None]
        if len(entries) < len(opened):
            return None
    if any(map(changes_context, entries)):
        entries = opener.expanded(growing.entries, entries)
        if any(map(changes_context, entries)):  # a provider's own, which that provider alone reads
            return None
        growing = Growing()
    growing.add(entries)
    return growing


def followed(growing: Growing, links: Sequence[Link], opener: Opener) -> Growing | None:
    """What is said before these links and in all of them; None where that is not what goes on. Raises as `grown`."""
    if not all(link.is_plain for link in links):
        return None
    entries = [entry for link in links for entry in link.entries]
    if _SEALED.isdisjoint(map(type, entries)):
        growing.add(entries)
        return growing
    for link in links:
        following = grown(growing, link.entries, opener)
        link.is_plain = following is not None
        if following is None:
            return None
        growing = following
    return growing


def known_of(chain: Sequence[Link], opener: Opener) -> Known | None:
    """What a chain says that its owner holds link by link, kept with the last of them; None where some are not plain.

    Raises as `grown`.
    """
    newest = chain[-1]
    if newest.growing is None:
        before = chain[-2] if len(chain) > 1 else None
        growing = None if before is None else before.growing
        latest: Sequence[Link] = chain if growing is None else (newest,)
        if not all(link.is_plain for link in latest):
            return None
        if before is not None:
            before.growing = None  # it goes over
        newest.growing = followed(growing or Growing(), latest, opener)
        if newest.growing is None:
            return None
    return newest.growing.known()


def _entries_of(output: tuple[Item, ...], turns: Sequence[StoredTurn]) -> list[Entry]:
    """Model turns, and compaction items between them.

    Calls that were cut off (status incomplete) are left out, and with them the turn's record unless they are not in it:
    no provider takes a call whose arguments end in mid-word.
    """
    if len(turns) == 1 and turns[0].end - turns[0].first == len(output) and _SPECIAL.isdisjoint(map(type, output)):
        turn = turns[0]  # as nearly all are
        return [] if turn.is_abandoned or not output else [ModelTurn(output, turn.record)]
    entries: list[Entry] = []
    position = 0
    for turn in turns:
        entries += [item for item in output[position : turn.first] if is_compaction(item)]
        position = turn.end
        if turn.is_abandoned:
            continue
        items = tuple(output[turn.first : turn.end])
        whole = tuple(item for item in items if not is_cut_call(item))
        if whole:
            is_same = len(whole) == len(items) or (turn.record is not None and turn.record.omits_cut)
            entries.append(ModelTurn(whole, turn.record if is_same else None))
    return entries + [item for item in output[position:] if is_compaction(item)]


def is_compaction(entry: Entry, kind: str = COMPACTION) -> TypeGuard[Opaque]:
    """A compaction, or what asks for one; between model turns it is of our own making."""
    return isinstance(entry, Opaque) and entry.type == kind


def changes_context(entry: Entry) -> bool:
    """An item on compaction: what stands before it may be left out."""
    return isinstance(entry, Opaque) and entry.type in (COMPACTION, TRIGGER)


def is_cut_call(item: Item) -> bool:
    return isinstance(item, CALLS) and item.status == "incomplete"


def carried_record(stored: StoredResponse, item_id: str) -> ReplayRecord | None:
    """The record of one reasoning item of a stored response, by its id."""
    for turn in turns_of(stored):
        for index, record in turn.carried.items():
            if _id_of(output_of(stored)[index]) == item_id:
                return record
    return None


def find_item(stored: StoredResponse, item_id: str) -> msgspec.Raw | None:
    """An input or output item of a stored response, by its id."""
    for raw in (*output_of(stored), *input_of(stored)):
        if _id_of(raw) == item_id:
            return raw
    return None


class _Identified(msgspec.Struct, frozen=True):
    id: str | None = None


_decode_id: Final = msgspec.json.Decoder(_Identified).decode


def _id_of(raw: msgspec.Raw) -> str | None:
    return _decode_id(raw).id


def encode_input(items: Sequence[InputItem], response_id: str) -> bytes:
    """The `input` column: the request's own items as GET input_items shows them, each with an id and a type."""
    return _encode([_listed(item, response_id, ordinal) for ordinal, item in enumerate(items)])


def _listed(item: InputItem, response_id: str, ordinal: int) -> msgspec.Raw | Message:
    parsed = item.item
    if isinstance(parsed, Message):
        return _listed_message(parsed, response_id, ordinal)
    given = parsed.id
    if isinstance(given, str) and given:
        return item.raw
    item_type = _type_of(parsed)
    if given is msgspec.UNSET:  # its JSON names a type and no id
        new_id = _encode(input_item_id(response_id, item_type, ordinal))
        return msgspec.Raw(b'{"id":' + new_id + b"," + bytes(item.raw).lstrip()[1:])
    fields = _decode_fields(item.raw)
    identified = {
        "type": msgspec.Raw(_encode(item_type)),
        "id": msgspec.Raw(_encode(input_item_id(response_id, item_type, ordinal))),
    }
    rest = {key: value for key, value in fields.items() if key not in identified}
    return msgspec.Raw(_encode(identified | rest))


def _type_of(item: Item) -> str:
    tag = type(item).__struct_config__.tag
    return tag if isinstance(tag, str) else getattr(item, "type", "message")


def in_parts(message: Message) -> Message:
    """The message with its content as parts: the one form it is stored and rendered in, now and in every later turn."""
    if not isinstance(message.content, str):
        return message
    return Message(message.role, _parts(message), message.id, message.status, message.phase)


def _listed_message(message: Message, response_id: str, ordinal: int) -> Message:
    return Message(
        message.role,
        _parts(message),
        message.id or input_item_id(response_id, "message", ordinal),
        message.status or "completed",
        message.phase,
    )


def _parts(message: Message) -> tuple[ContentPart, ...]:
    content = message.content
    if not isinstance(content, str):
        return content
    return (OutputText(content) if message.role == "assistant" else InputText(content),)
