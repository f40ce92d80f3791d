"""previous_response_id and the request's own items to the whole context of a turn.

    chain      each stored response in order: its input, its model turns with their replay records
    reference  item_reference -> the stored item
    reasoning  encrypted_content of ours -> the provider's blocks; an id of ours -> the blocks kept with that response;
               anything else stays a plain Reasoning item (a native upstream may read it, others drop it)

Then every call must have its output and every output its call, as OpenAI demands. Source: OpenAI conversation-state
guide; reference "State, storage, chaining".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from antiphon.protocol.errors import InvalidRequest, NotFound
from antiphon.protocol.ids import response_of_item
from antiphon.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    ItemReference,
    Message,
    Reasoning,
)
from antiphon.protocol.parsing import parse_item
from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.providers.base import Entry, ModelTurn, ReplayedReasoning
from antiphon.store.base import StoredResponse
from antiphon.store.store import Store

from .carrier import Sealer
from .history import carried_record, entries_of, find_item, in_parts


@dataclass(frozen=True, slots=True)
class Context:
    """The entries of the turn, oldest first; the request's own items with references resolved; call ids in use."""

    entries: tuple[Entry, ...]
    own_input: tuple[InputItem, ...]
    call_ids: set[str]


async def build_context(request: CreateResponse, store: Store, sealer: Sealer, project: str) -> Context:
    """Assemble what the model sees.

    Raises InvalidRequest (previous_response_not_found; calls and outputs that do not pair) and NotFound for an
    item_reference to nothing in this project.
    """
    entries: list[Entry] = []
    if request.previous_response_id is not None:
        entries = await _chain(request.previous_response_id, store, sealer, project)
    resolver = _Resolver(store, sealer, project)
    own: list[InputItem] = []
    for position, item in enumerate(request.input):
        resolved = await resolver.dereference(item, position)
        own.append(resolved)
        entries.append(await resolver.entry(resolved.item))
    return Context(tuple(entries), tuple(own), _check_pairs(entries))


async def _chain(response_id: str, store: Store, sealer: Sealer, project: str) -> list[Entry]:
    chain = await store.chain(project, response_id)
    if chain is None:
        raise InvalidRequest(
            f"Previous response with id '{response_id}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    resolver = _Resolver(store, sealer, project)
    entries: list[Entry] = []
    for stored in chain:
        resolver.remember(stored)
        # A client that kept its own history sent our carriers back: they were stored with its input, sealed.
        kept = entries_of(stored)
        entries += [await resolver.entry(entry) if isinstance(entry, Reasoning) else entry for entry in kept]
    return entries


class _Resolver:
    """Looks stored items up, each response at most once."""

    def __init__(self, store: Store, sealer: Sealer | None, project: str) -> None:
        self._store = store
        self._sealer = sealer
        self._project = project
        self._loaded: dict[str, StoredResponse | None] = {}

    def remember(self, stored: StoredResponse) -> None:
        self._loaded[stored.id] = stored

    async def _response_of(self, item_id: str) -> StoredResponse | None:
        response_id = response_of_item(item_id)
        if response_id is None:
            return None
        if response_id not in self._loaded:
            self._loaded[response_id] = await self._store.load(self._project, response_id)
        return self._loaded[response_id]

    async def dereference(self, item: InputItem, position: int) -> InputItem:
        """The item itself, or the stored item that an item_reference names."""
        reference = item.item
        if not isinstance(reference, ItemReference):
            return item
        stored = await self._response_of(reference.id)
        raw = find_item(stored, reference.id) if stored is not None else None
        if raw is None:
            raise NotFound(
                f"Item with id '{reference.id}' not found. Items are not persisted when `store` is set to false. "
                "Try again with `store` set to true, or remove this item from your input.",
                param=f"input[{position}].id",
            )
        return InputItem(parse_item(raw), raw)

    async def entry(self, item: Item) -> Entry:
        """A reasoning item of ours with its provider's blocks; any other item as the next turns will see it."""
        if isinstance(item, Message):
            return in_parts(item)
        if not isinstance(item, Reasoning):
            return item
        sealed = item.encrypted_content
        if isinstance(sealed, str) and self._sealer is not None and self._sealer.is_ours(sealed):
            record = self._sealer.unseal(sealed, self._project)
            if record is not None:
                return ReplayedReasoning(item, record)
            # Sealed by us and unreadable now (another project, a lost key): never forward it to a provider.
            return msgspec.structs.replace(item, encrypted_content=msgspec.UNSET)
        if isinstance(item.id, str):
            stored = await self._response_of(item.id)
            record = carried_record(stored, item.id) if stored is not None else None
            if record is not None:
                return ReplayedReasoning(item, record)
        return item


def _items(entries: Iterable[Entry]) -> Iterable[Item]:
    for entry in entries:
        if isinstance(entry, ModelTurn):
            yield from entry.items
        elif isinstance(entry, ReplayedReasoning):
            yield entry.item
        else:
            yield entry


def _check_pairs(entries: Sequence[Entry]) -> set[str]:
    """Every call has its output and every output its call; returns all call ids."""
    calls: dict[str, bool] = {}
    answered: set[str] = set()
    for item in _items(entries):
        if isinstance(item, FunctionCall | CustomToolCall):
            calls[item.call_id] = item.async_ is True
        elif isinstance(item, FunctionCallOutput | CustomToolCallOutput) and isinstance(item.call_id, str):
            if item.call_id not in calls:
                raise InvalidRequest(
                    f"No tool call found for function call output with call_id {item.call_id}.", param="input"
                )
            answered.add(item.call_id)
    for call_id, may_come_later in calls.items():
        if call_id not in answered and not may_come_later:
            raise InvalidRequest(f"No tool output found for function call {call_id}.", param="input")
    return set(calls)
