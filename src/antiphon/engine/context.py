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
from antiphon.protocol.resent import Resent
from antiphon.providers.base import Entry, ModelTurn, ReplayedReasoning
from antiphon.store.base import ConversationRow, StoredResponse
from antiphon.store.store import Store

from .carrier import Sealer
from .compaction import expand
from .context_base import Context, Origin
from .conversation_items import conversation_entries, items_bytes
from .growing import Known
from .history import Link, carried_record, changes_context, find_item, in_parts, known_of
from .holding import Holding
from .links import Chain
from .pairs import Pairs
from .ports import Ports
from .sent import known_again


async def build_context(request: CreateResponse, ports: Ports, origin: Origin, holding: Holding) -> Context:
    """Assemble what the model sees.

    Raises InvalidRequest (previous_response_not_found; calls and outputs that do not pair), NotFound for an
    item_reference to nothing in this project, and Overloaded for want of room.
    """
    history = _History(ports, origin, holding)
    if request.previous_response_id is not None:
        await history.read_chain(request.previous_response_id)
    elif origin.conversation is not None:
        await history.read_conversation(origin.conversation)
    elif isinstance(request.input, Resent):
        history.recall(request.input)
    resolver = history.resolver
    own = [*request.input[: history.recalled]]
    latest: list[Entry] = []
    for position, item in enumerate(request.input[history.recalled :], history.recalled):
        named = item.item
        resolved = await resolver.dereference(named, position) if isinstance(named, ItemReference) else item
        own.append(resolved)
        entry = resolved.item
        if history.is_abandoned(entry):
            continue
        latest.append(in_parts(entry) if isinstance(entry, Message) else await history.opened(entry))
    known = history.known
    if known is None or any(map(changes_context, latest)):
        before = resolver.expanded((), history.entries) if known is None else known.entries
        entries = (*resolver.expanded(before, latest),)
        past, pairs = None, Pairs()
        pairs.read(entries)
    else:
        entries, past, pairs = (*known.entries, *latest), known.past, known.pairs
        pairs.read(latest)
    pairs.check()
    return Context(entries, tuple(own), pairs.call_ids, past)


class _History:
    """What the model has seen before this request. `known`: all of it, where it is known as what goes on.

    `recalled`: so many of the request's own items are among it, for they were sent before.
    """

    def __init__(self, ports: Ports, origin: Origin, holding: Holding) -> None:
        self.entries: Sequence[Entry] = ()
        self.known: Known | None = None
        self.recalled = 0
        self.resolver = _Resolver(ports.store, ports.sealer, origin.project)
        self._store = ports.store
        self._origin = origin
        self._holding = holding
        self._kept = ports.links
        self._conversations = ports.conversations
        self._abandoned: set[str] = set()

    async def read_chain(self, response_id: str) -> None:
        found = await self._links(response_id)
        if found is None:
            raise InvalidRequest(
                f"Previous response with id '{response_id}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        self._holding.take(found.size_bytes)
        self.resolver.remember(found.links)
        self.known = found.known
        self.entries = await self._entries_of(found.links) if found.known is None else found.known.entries

    def recall(self, sent: Resent) -> None:
        """What the client has sent before this request, and sends again with it. Raises as `grown`."""
        self.known = known_again(sent, self.resolver)
        self.recalled = 0 if self.known is None else sent.known

    async def _entries_of(self, chain: Sequence[Link]) -> list[Entry]:
        root, entries = chain[0].stored, list[Entry]()
        if root.conversation is not None:
            entries += await self._items(root.conversation, root.conversation_position)
        for link in chain:
            if self._abandoned or link.has_reasoning:
                # A client that kept its own history sent our carriers back: they were stored with its input, sealed.
                standing = [entry for entry in link.entries if not self.is_abandoned(entry)]
                entries += [await self.opened(entry) for entry in standing]
            else:
                entries += link.entries
            if link.abandoned:
                self._abandoned |= link.abandoned
        return entries

    async def opened(self, entry: Entry) -> Entry:
        """A reasoning item of ours with its provider's blocks; any other entry as it is."""
        return await self.resolver.opened(entry) if isinstance(entry, Reasoning) else entry

    async def _links(self, response_id: str) -> Chain | None:
        """The chain: its newest links from this connection's memory, the rest as the store has it."""
        local: list[Link] = []
        oldest: str | None = response_id
        while oldest is not None and (link := self._origin.local.get(oldest)) is not None:
            # One that the store has too is here for the sake of those before it, which it has not.
            if link.is_kept and await self._store.status(self._origin.project, oldest) is None:
                return None
            local.append(link)
            oldest = link.stored.previous_response_id
        local.reverse()
        stored = Chain(()) if oldest is None else await self._chain(oldest)
        if stored is None or not local:
            return stored
        links = [*stored.links, *local]
        return Chain(links, stored.size_bytes, known_of(links, self.resolver))

    async def _chain(self, response_id: str) -> Chain | None:
        return await self._kept.chain(self._store, self._origin.project, response_id, self.resolver)

    async def read_conversation(self, conversation: ConversationRow) -> None:
        said = await self._conversations.read(self._store, conversation, self.resolver)
        self._holding.take(said.size_bytes)
        if said.known is not None:
            self.known, self.entries = said.known, said.entries
            return
        holes = set(conversation.holes.split("\n")) - {""}
        self.entries = [await self.opened(entry) for entry in said.entries if not (holes and _is_of(entry, holes))]

    async def _items(self, conversation_id: str, before: int | None) -> list[Entry]:
        items = await self._store.all_items(conversation_id, before)
        self._holding.take(items_bytes(items))
        return [await self.opened(entry) for entry in conversation_entries(items)]

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

    def __init__(self, store: Store, sealer: Sealer, project: str) -> None:
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

    def at_once(self, item: Reasoning) -> Entry | None:
        """See `Opener.at_once`."""
        sealed = item.encrypted_content
        if isinstance(sealed, str) and self._sealer.is_ours(sealed):
            record = self._sealer.unseal(sealed, self._project)
            if record is not None:
                return ReplayedReasoning(item, record)
            # Sealed by us and unreadable now (another project, a lost key): never forward it to a provider.
            return msgspec.structs.replace(item, encrypted_content=msgspec.UNSET)
        names_ours = isinstance(item.id, str) and response_of_item(item.id) is not None
        return None if names_ours else item

    async def opened(self, item: Reasoning) -> Entry:
        """A reasoning item of ours with its provider's blocks."""
        entry = self.at_once(item)
        if entry is None and isinstance(item.id, str):
            stored = await self._response_of(item.id)
            record = carried_record(stored, item.id) if stored is not None else None
            if record is not None:
                return ReplayedReasoning(item, record)
        return entry or item

    def expanded(self, before: Sequence[Entry], entries: Sequence[Entry]) -> list[Entry]:
        """See `Opener.expanded`."""
        return expand(entries, self._sealer, self._project, before)
