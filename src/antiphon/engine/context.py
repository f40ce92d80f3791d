"""previous_response_id and the request's own items to the whole context of a turn.

    chain      each stored response in order: its input, its model turns with their replay records
    conversation  its items in order, those of one model turn together again
    compaction sealed summaries opened; what they replace is left out
    reference  item_reference -> the stored item
    reasoning  encrypted_content of ours -> the provider's blocks; an id of ours -> the blocks kept with that response;
               anything else stays a plain Reasoning item (a native upstream may read it, others drop it)

Then every call must have its output and every output its call, as OpenAI demands. Source: OpenAI conversation-state
guide; reference "State, storage, chaining".
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.protocol.errors import InvalidRequest, NotFound
from antiphon.protocol.ids import response_of_item
from antiphon.protocol.items import (
    CALL_OUTPUTS,
    CALLS,
    ItemReference,
    Message,
    Reasoning,
)
from antiphon.protocol.parsing import parse_item
from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.providers.base import Entry, ModelTurn, ReplayedReasoning
from antiphon.store.base import ConversationRow, StoredResponse
from antiphon.store.store import Store

from .carrier import Sealer
from .compaction import expand
from .context_base import Context, Origin
from .conversation_items import conversation_entries
from .history import Link, carried_record, find_item, in_parts
from .ports import Ports


async def build_context(request: CreateResponse, ports: Ports, origin: Origin) -> Context:
    """Assemble what the model sees.

    Raises InvalidRequest (previous_response_not_found; calls and outputs that do not pair) and NotFound for an
    item_reference to nothing in this project.
    """
    past = _Past(ports, origin)
    if request.previous_response_id is not None:
        await past.read_chain(request.previous_response_id)
    elif origin.conversation is not None:
        await past.read_conversation(origin.conversation)
    entries, resolver = past.entries, past.resolver
    own: list[InputItem] = []
    for position, item in enumerate(request.input):
        named = item.item
        resolved = await resolver.dereference(named, position) if isinstance(named, ItemReference) else item
        own.append(resolved)
        entry = resolved.item
        if past.is_abandoned(entry):
            continue
        entries.append(in_parts(entry) if isinstance(entry, Message) else await past.opened(entry))
    entries = expand(entries, ports.sealer, origin.project)
    return Context(tuple(entries), tuple(own), _check_pairs(entries))


class _Past:
    """What the model has seen before this request."""

    def __init__(self, ports: Ports, origin: Origin) -> None:
        self.entries: list[Entry] = []
        self.resolver = _Resolver(ports.store, ports.sealer, origin.project)
        self._store = ports.store
        self._origin = origin
        self._known = ports.links
        self._abandoned: set[str] = set()

    async def read_chain(self, response_id: str) -> None:
        chain = await self._links(response_id)
        if chain is None:
            raise InvalidRequest(
                f"Previous response with id '{response_id}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        root = chain[0].stored
        if root.conversation is not None:
            await self._read_items(root.conversation, root.conversation_position)
        self.resolver.remember(chain)
        for link in chain:
            if self._abandoned or link.has_reasoning:
                # A client that kept its own history sent our carriers back: they were stored with its input, sealed.
                standing = [entry for entry in link.entries if not self.is_abandoned(entry)]
                self.entries += [await self.opened(entry) for entry in standing]
            else:
                self.entries += link.entries
            if link.abandoned:
                self._abandoned |= link.abandoned

    async def opened(self, entry: Entry) -> Entry:
        """A reasoning item of ours with its provider's blocks; any other entry as it is."""
        return await self.resolver.opened(entry) if isinstance(entry, Reasoning) else entry

    async def _links(self, response_id: str) -> list[Link] | None:
        """The chain, oldest first: its newest links from this connection's memory, the rest as the store has it."""
        local: list[Link] = []
        oldest: str | None = response_id
        while oldest is not None and (link := self._origin.local.get(oldest)) is not None:
            # One that the store has too is here for the sake of those before it, which it has not.
            if link.is_kept and await self._store.status(self._origin.project, oldest) is None:
                return None
            local.append(link)
            oldest = link.stored.previous_response_id
        local.reverse()
        if oldest is None:
            return local
        stored = await self._known.chain(self._store, self._origin.project, oldest)
        return None if stored is None else [*stored, *local]

    async def read_conversation(self, conversation: ConversationRow) -> None:
        await self._read_items(conversation.id, None)
        holes = set(conversation.holes.split("\n")) - {""}
        if holes:
            self.entries = [entry for entry in self.entries if not _is_of(entry, holes)]

    async def _read_items(self, conversation_id: str, before: int | None) -> None:
        items = await self._store.all_items(conversation_id, before)
        entries = conversation_entries(items)
        has_reasoning = Reasoning in set(map(type, entries))
        self.entries += [await self.opened(entry) for entry in entries] if has_reasoning else entries

    def is_abandoned(self, entry: Entry) -> bool:
        """An output for a call that no model asked for."""
        return bool(self._abandoned) and _is_of(entry, self._abandoned)


def _is_of(entry: Entry, call_ids: set[str]) -> bool:
    """A call, or an output, by one of these ids; of a model turn, a turn that is that call alone."""
    if isinstance(entry, ModelTurn):
        return all(_is_of(item, call_ids) for item in entry.items)
    if isinstance(entry, (*CALLS, *CALL_OUTPUTS)):
        return entry.call_id in call_ids
    return False


class _Resolver:
    """Looks stored items up, each response at most once."""

    def __init__(self, store: Store, sealer: Sealer | None, project: str) -> None:
        self._store = store
        self._sealer = sealer
        self._project = project
        self._chain: Sequence[Link] = ()
        self._loaded: dict[str, StoredResponse | None] = {}

    def remember(self, chain: Sequence[Link]) -> None:
        self._chain = chain

    async def _response_of(self, item_id: str) -> StoredResponse | None:
        response_id = response_of_item(item_id)
        if response_id is None:
            return None
        if self._chain:  # few requests look anything up
            self._loaded |= {link.stored.id: link.stored for link in self._chain}
            self._chain = ()
        if response_id not in self._loaded:
            self._loaded[response_id] = await self._store.load(self._project, response_id)
        return self._loaded[response_id]

    async def dereference(self, reference: ItemReference, position: int) -> InputItem:
        """The stored item that a reference names."""
        stored = await self._response_of(reference.id)
        raw = find_item(stored, reference.id) if stored is not None else None
        if raw is None:
            kept = await self._store.find_item(self._project, reference.id)
            raw = None if kept is None else msgspec.Raw(kept.body)
        if raw is None:
            raise NotFound(
                f"Item with id '{reference.id}' not found. Items are not persisted when `store` is set to false. "
                "Try again with `store` set to true, or remove this item from your input.",
                param=f"input[{position}].id",
            )
        return InputItem(parse_item(raw), raw)

    async def opened(self, item: Reasoning) -> Entry:
        """A reasoning item of ours with its provider's blocks."""
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


def _check_pairs(entries: Sequence[Entry]) -> set[str]:
    """Every call has its output and every output its call; returns all call ids."""
    calls: dict[str, bool] = {}
    answered: set[str] = set()
    items = [
        item
        for entry in entries
        for item in (entry.items if type(entry) is ModelTurn else (entry,))
        if type(item) is not Message  # most of a long history is said
    ]
    for item in items:
        if isinstance(item, CALLS):
            calls[item.call_id] = item.async_ is True
        elif isinstance(item, CALL_OUTPUTS) and isinstance(item.call_id, str):
            if item.call_id not in calls:
                raise InvalidRequest(
                    f"No tool call found for function call output with call_id {item.call_id}.", param="input"
                )
            answered.add(item.call_id)
    for call_id, may_come_later in calls.items():
        if call_id not in answered and not may_come_later:
            raise InvalidRequest(f"No tool output found for function call {call_id}.", param="input")
    return set(calls)
