"""item_reference outside a request's own context: the stored item behind an id."""

from __future__ import annotations

import msgspec

from antiphon.engine.history import find_item
from antiphon.protocol.errors import NotFound
from antiphon.protocol.ids import response_of_item
from antiphon.store.store import Store


async def resolve_reference(store: Store, project: str, item_id: str, param: str) -> msgspec.Raw:
    """The item, from the response it belongs to or a conversation that has it. Raises NotFound."""
    response_id = response_of_item(item_id)
    stored = None if response_id is None else await store.load(project, response_id)
    raw = None if stored is None else find_item(stored, item_id)
    if raw is not None:
        return raw
    kept = await store.find_item(project, item_id)
    if kept is None:
        raise NotFound(f"Item with id '{item_id}' not found.", param=param)
    return msgspec.Raw(kept.body)
