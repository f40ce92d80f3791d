"""/v1/conversations and their items. Source: OpenAI OpenAPI `Conversations`; reference "State, storage, chaining"."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from antiphon.engine.conversation_items import hole_of, items_of_input
from antiphon.engine.conversations import Conversations
from antiphon.protocol.errors import InvalidRequest, NotFound
from antiphon.protocol.explain import missing_parameter
from antiphon.protocol.ids import new_id
from antiphon.protocol.item_parsing import read_item
from antiphon.protocol.items import ItemReference
from antiphon.protocol.parsing import parse_item
from antiphon.protocol.queries import parse_include_query, parse_list_query
from antiphon.protocol.request import InputItem
from antiphon.store.base import ConversationItem, ConversationRow
from antiphon.store.conversations import ConversationBusy, ItemNotFound
from antiphon.store.store import Store

from .bodies import MAX_ITEMS, Deleted, Metadata
from .pages import Page, no_such_cursor, page_of
from .resolving import resolve_reference
from .routes import Call, Query, Route, read_json

_encode: Final = msgspec.json.Encoder().encode
Items = Annotated[tuple[msgspec.Raw, ...], Meta(max_length=MAX_ITEMS)]


class ConversationCreate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/conversations."""

    items: Items | None = None
    metadata: Metadata | None = None


class ConversationUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/conversations/{id}; null empties the metadata."""

    metadata: Metadata | UnsetType | None = UNSET


class ItemsCreate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/conversations/{id}/items."""

    items: Items | UnsetType = UNSET


class Conversation(msgspec.Struct, frozen=True):
    """A conversation as OpenAI shows it."""

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: msgspec.Raw


_ONE: Final = "/v1/conversations/{conversation_id}"
_ITEMS: Final = _ONE + "/items"
_ITEM: Final = _ITEMS + "/{item_id}"
_INCLUDE: Final = Query("include[]", str, "Accepted; every field is always there.")
_PAGING: Final = (
    Query("after", str, "Id of the last item of the page before."),
    Query("limit", int, "Items a page, 1 to 100; 20 if left out."),
    Query("order", str, "`asc` or `desc`; newest first if left out."),
    _INCLUDE,
)


class ConversationsEndpoint:
    """Conversations of the caller's project."""

    def __init__(self, store: Store, known: Conversations, max_body_bytes: int) -> None:
        self._store = store
        self._known = known
        self._max_body_bytes = max_body_bytes

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "POST",
                "/v1/conversations",
                self.create,
                "Create a conversation, with up to 20 items.",
                body=ConversationCreate,
                answer=Conversation,
            ),
            Route("GET", _ONE, self.retrieve, "Retrieve a conversation.", answer=Conversation),
            Route(
                "POST",
                _ONE,
                self.update,
                "Replace the metadata of a conversation.",
                body=ConversationUpdate,
                answer=Conversation,
            ),
            Route("DELETE", _ONE, self.delete, "Delete a conversation.", answer=Deleted),
            Route(
                "POST",
                _ITEMS,
                self.create_items,
                "Add up to 20 items.",
                body=ItemsCreate,
                query=(_INCLUDE,),
                answer=Page,
            ),
            Route("GET", _ITEMS, self.list_items, "List items.", query=_PAGING, answer=Page),
            Route("GET", _ITEM, self.retrieve_item, "Retrieve an item.", query=(_INCLUDE,)),
            Route("DELETE", _ITEM, self.delete_item, "Delete an item; answers the conversation.", answer=Conversation),
        )

    async def create(self, call: Call) -> None:
        """POST /v1/conversations."""
        body = await read_json(call, self._max_body_bytes, ConversationCreate)
        if body is None:
            return
        items = await self._items(call, body.items or ())
        row = ConversationRow(new_id("conv"), call.project, call.exchange.now(), _encode(body.metadata or {}))
        await self._store.create_conversation(row, items)
        await _answer(call, row)

    async def retrieve(self, call: Call) -> None:
        """GET /v1/conversations/{id}."""
        await _answer(call, await self._find(call))

    async def update(self, call: Call) -> None:
        """POST /v1/conversations/{id}."""
        body = await read_json(call, self._max_body_bytes, ConversationUpdate)
        if body is None:
            return
        if body.metadata is UNSET:
            raise missing_parameter("metadata")
        conversation_id = call.params["conversation_id"]
        row = await self._store.update_conversation(call.project, conversation_id, _encode(body.metadata or {}))
        await _answer(call, row or _missing(conversation_id))

    async def delete(self, call: Call) -> None:
        """DELETE /v1/conversations/{id}."""
        conversation_id = call.params["conversation_id"]
        if not await self._store.delete_conversation(call.project, conversation_id):
            raise _not_found(conversation_id)
        self._known.forget(conversation_id)
        await call.exchange.answer(200, _encode(Deleted(conversation_id, "conversation.deleted", deleted=True)))

    async def create_items(self, call: Call) -> None:
        """POST /v1/conversations/{id}/items."""
        parse_include_query(call.exchange.query)
        body = await read_json(call, self._max_body_bytes, ItemsCreate)
        if body is None:
            return
        if isinstance(body.items, UnsetType):
            raise missing_parameter("items")
        conversation_id = call.params["conversation_id"]
        items = await self._items(call, body.items)
        try:
            is_there = await self._store.add_items(call.project, conversation_id, items)
        except ConversationBusy as error:
            raise _locked() from error
        if not is_there:
            raise _not_found(conversation_id)
        await call.exchange.answer(200, page_of([msgspec.Raw(item.body) for item in items], has_more=False))

    async def _items(self, call: Call, rows: tuple[msgspec.Raw, ...]) -> tuple[ConversationItem, ...]:
        read: list[InputItem] = []
        for position, raw in enumerate(rows):
            item, kept = read_item(raw, f"items[{position}]")
            if isinstance(item, ItemReference):
                kept = await resolve_reference(self._store, call.project, item.id, f"items[{position}].id")
                item = parse_item(kept)
            read.append(InputItem(item, kept))
        return items_of_input(read)

    async def list_items(self, call: Call) -> None:
        """GET /v1/conversations/{id}/items."""
        query = parse_list_query(call.exchange.query)
        row = await self._find(call)
        try:
            page = await self._store.list_items(
                row.id, after=query.after, limit=query.limit, is_ascending=query.order == "asc"
            )
        except ItemNotFound as error:
            raise no_such_cursor(str(error)) from error
        shown = [msgspec.Raw(item.body) for item in page.items]
        await call.exchange.answer(200, page_of(shown, has_more=page.has_more))

    async def retrieve_item(self, call: Call) -> None:
        """GET /v1/conversations/{id}/items/{item_id}."""
        parse_include_query(call.exchange.query)
        await call.exchange.answer(200, (await self._find_item(call)).body)

    async def delete_item(self, call: Call) -> None:
        """DELETE /v1/conversations/{id}/items/{item_id}."""
        item = await self._find_item(call)
        conversation_id = call.params["conversation_id"]
        try:
            row = await self._store.delete_item(call.project, conversation_id, item.id, hole_of(item))
        except ConversationBusy as error:
            raise _locked() from error
        except ItemNotFound as error:
            raise _no_item(item.id) from error
        await _answer(call, row or _missing(conversation_id))

    async def _find(self, call: Call) -> ConversationRow:
        conversation_id = call.params["conversation_id"]
        row = await self._store.load_conversation(call.project, conversation_id)
        return row or _missing(conversation_id)

    async def _find_item(self, call: Call) -> ConversationItem:
        row = await self._find(call)
        item_id = call.params["item_id"]
        item = await self._store.conversation_item(row.id, item_id)
        if item is None:
            raise _no_item(item_id)
        return item


async def _answer(call: Call, row: ConversationRow) -> None:
    shown = Conversation(row.id, "conversation", row.created_at, msgspec.Raw(row.metadata))
    await call.exchange.answer(200, _encode(shown))


def _missing(conversation_id: str) -> ConversationRow:
    raise _not_found(conversation_id)


def _not_found(conversation_id: str) -> NotFound:
    return NotFound(f"Conversation with id '{conversation_id}' not found.")


def _no_item(item_id: str) -> NotFound:
    return NotFound(f"Item with id '{item_id}' not found.")


def _locked() -> InvalidRequest:
    return InvalidRequest(
        "Another process is currently operating on this conversation. Please retry in a few seconds.",
        param="conversation",
        code="conversation_locked",
    )
