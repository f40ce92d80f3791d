"""/v1/responses: create, retrieve, delete, cancel, and the list of input items."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from antiphon.access.keys import Principal
from antiphon.engine.history import input_of, output_of
from antiphon.protocol.errors import InvalidRequest, NotFound
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.queries import ListQuery, parse_list_query, parse_retrieve_query
from antiphon.runs.run import Run
from antiphon.runs.table import RunTable
from antiphon.store.base import StoredResponse
from antiphon.store.store import Store

from .asgi import Exchange
from .encode import send_json, send_stream

_encode: Final = msgspec.json.Encoder().encode
_LARGE_BYTES: Final = 1 << 20


class ResponsesEndpoint:
    """Handlers of the Responses resource; each raises ApiError and never anything else on purpose."""

    def __init__(self, table: RunTable, store: Store, *, max_body_bytes: int, heartbeat_s: float) -> None:
        self._table = table
        self._store = store
        self._max_body_bytes = max_body_bytes
        self._heartbeat_s = heartbeat_s

    @property
    def is_draining(self) -> bool:
        return self._table.is_draining

    async def create(self, exchange: Exchange, principal: Principal) -> Run | None:
        """POST /v1/responses. Returns the run for the access log, or None if the client left before it began."""
        body = await exchange.body(self._max_body_bytes)
        if exchange.is_gone:
            return None
        # Decoding is quick; tens of megabytes of it would still hold up every other stream.
        request = parse_request(body) if len(body) < _LARGE_BYTES else await asyncio.to_thread(parse_request, body)
        run = self._table.start(request, principal.project, principal.key_id)
        async with asyncio.TaskGroup() as group:
            departure = group.create_task(self._cancel_when_gone(exchange, run))
            try:
                if request.stream:
                    await send_stream(exchange, run, self._heartbeat_s)
                else:
                    await send_json(exchange, run)
            finally:
                departure.cancel()
        return run

    async def _cancel_when_gone(self, exchange: Exchange, run: Run) -> None:
        """A foreground run ends with its reader: the upstream is closed at once."""
        while (await exchange.receive())["type"] != "http.disconnect":
            pass
        exchange.is_gone = True
        await self._table.cancel(run)

    async def _find(self, principal: Principal, response_id: str) -> StoredResponse:
        stored = await self._store.load(principal.project, response_id)
        if stored is None:
            raise NotFound(f"Response with id '{response_id}' not found.")
        return stored

    async def retrieve(self, exchange: Exchange, principal: Principal, response_id: str) -> None:
        """GET /v1/responses/{id}."""
        query = parse_retrieve_query(exchange.query)
        stored = await self._find(principal, response_id)
        if query.stream:
            raise InvalidRequest(
                "This response cannot be streamed: only responses created with `background` and `stream` "
                "set to true can.",
                param="stream",
            )
        await exchange.answer(200, stored.body)

    async def delete(self, exchange: Exchange, principal: Principal, response_id: str) -> None:
        """DELETE /v1/responses/{id}."""
        if not await self._store.delete(principal.project, response_id):
            raise NotFound(f"Response with id '{response_id}' not found.")
        await exchange.answer(200, _encode({"id": response_id, "object": "response", "deleted": True}))

    async def cancel(self, exchange: Exchange, principal: Principal, response_id: str) -> None:
        """POST /v1/responses/{id}/cancel: only background responses can be cancelled."""
        del exchange
        await self._find(principal, response_id)
        raise InvalidRequest("Cannot cancel a synchronous response.")

    async def input_items(self, exchange: Exchange, principal: Principal, response_id: str) -> None:
        """GET /v1/responses/{id}/input_items: the chain's history, then the response's own input."""
        query = parse_list_query(exchange.query)
        stored = await self._find(principal, response_id)
        chain = await self._store.chain(principal.project, response_id) or [stored]
        items: list[msgspec.Raw] = []
        for link in chain[:-1]:
            items.extend(input_of(link))
            items.extend(output_of(link))
        items.extend(input_of(chain[-1]))
        await exchange.answer(200, _page(items, query))


class _Identified(msgspec.Struct, frozen=True):
    id: str


_decode_id: Final = msgspec.json.Decoder(_Identified).decode


def _page(items: list[msgspec.Raw], query: ListQuery) -> bytes:
    ids = [_decode_id(item).id for item in items]
    order = list(range(len(items))) if query.order == "asc" else list(range(len(items) - 1, -1, -1))
    if query.after is not None:
        order = order[_position_after(query.after, [ids[index] for index in order]) :]
    shown = order[: query.limit]
    page: dict[str, object] = {
        "object": "list",
        "data": [items[index] for index in shown],
        "first_id": ids[shown[0]] if shown else None,
        "last_id": ids[shown[-1]] if shown else None,
        "has_more": len(order) > len(shown),
    }
    return _encode(page)


def _position_after(after: str, ids: list[str]) -> int:
    if after not in ids:
        raise InvalidRequest(f"No item with id '{after}' in this list.", param="after", code="invalid_value")
    return ids.index(after) + 1
