"""/v1/responses: create, retrieve, delete, cancel, and the list of input items."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final

import msgspec

from antiphon.engine.conversation_items import items_bytes
from antiphon.engine.history import input_of, output_of
from antiphon.protocol.errors import InvalidRequest, NotFound
from antiphon.protocol.queries import RetrieveQuery, parse_list_query, parse_retrieve_query
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.request_schema import RequestWire
from antiphon.protocol.response import Response
from antiphon.runs.run import Run
from antiphon.runs.stored_log import StoredLog, follow
from antiphon.runs.table import RunTable
from antiphon.runs.worker import Worker
from antiphon.store.base import StoredResponse
from antiphon.store.store import Store

from .asgi import Exchange
from .bodies import Deleted
from .encode import send_json, send_run
from .idempotency import Idempotency, Ticket
from .pages import Page, page_from
from .reading import RequestReader
from .routes import Call, Query, Route
from .stream import EventStream, Outlet

_encode: Final = msgspec.json.Encoder().encode
_MOMENT_S: Final = 0.02
_RUNNING: Final = ("queued", "in_progress")
_LIST: Final = (
    Query("after", str, "Id of the last item of the page before."),
    Query("limit", int, "Items a page, 1 to 100; 20 if left out."),
    Query("order", str, "`asc` or `desc`; newest first if left out."),
    Query("include[]", str, "Accepted; every field is always there."),
)
_RETRIEVE: Final = (
    Query("stream", bool, "Events as server-sent events, recorded ones first and then live."),
    Query("starting_after", int, "Sequence number after which the stream begins."),
    Query("include_obfuscation", bool, "Whether deltas are padded."),
    Query("include[]", str, "Accepted; every field is always there."),
)


class _Body(msgspec.Struct, frozen=True):
    background: bool = False


class _Asked(msgspec.Struct, frozen=True):
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class Edges:
    """Limits of what comes in and goes out: bytes of a body, seconds of silence before a heartbeat."""

    max_body_bytes: int
    heartbeat_s: float


class ResponsesEndpoint:
    """Handlers of the Responses resource; each raises ApiError and never anything else on purpose."""

    def __init__(
        self, table: RunTable, worker: Worker, reader: RequestReader, idempotency: Idempotency, edges: Edges
    ) -> None:
        self._table = table
        self._worker = worker
        self._reader = reader
        self._idempotency = idempotency
        self._store: Store = table.ports.store
        self._edges = edges
        self._outlet = Outlet()

    def routes(self) -> tuple[Route, ...]:
        one = "/v1/responses/{response_id}"
        return (
            Route(
                "POST",
                "/v1/responses",
                self.create,
                "Create a response: JSON, server-sent events with `stream`, or in the background.",
                body=RequestWire,
                answer=Response,
                keeps_own_answer=True,
            ),
            Route(
                "GET",
                one,
                self.retrieve,
                "Retrieve a response, or follow a background one with `stream`.",
                query=_RETRIEVE,
                answer=Response,
            ),
            Route("DELETE", one, self.delete, "Delete a response.", answer=Deleted),
            Route("POST", one + "/cancel", self.cancel, "Cancel a background response.", answer=Response),
            Route(
                "GET",
                one + "/input_items",
                self.input_items,
                "List the input of a response, with its chain's history.",
                query=_LIST,
                answer=Page,
            ),
        )

    async def create(self, call: Call) -> None:
        """POST /v1/responses."""
        exchange = call.exchange
        body = await exchange.body(self._edges.max_body_bytes)
        if exchange.is_gone:
            return
        async with await self._idempotency.ticket(call, body) as ticket:
            if ticket.answer is not None:
                await self._replay(call, ticket)
                return
            request, body = await self._reader.read(body, call.project)
            exchange.forget_body()
            ticket.forget_body()
            if request.background:
                await self._create_in_background(call, request, body, ticket)
            else:
                del body  # it may be large, and the answer may take long
                await self._create_and_wait(call, request, ticket)

    async def _create_and_wait(self, call: Call, request: CreateResponse, ticket: Ticket) -> None:
        exchange, principal = call.exchange, call.principal
        run = self._table.admit(
            request, principal.project, principal.key_id, run_id=ticket.holder, idempotency_key=ticket.key
        )
        ticket.is_passed_on = True
        call.trace.run = run
        async with _Departure(exchange, partial(self._cancel_when_gone, call, run)):
            if request.stream:
                await send_run(exchange, run, self._table, self._outlet, self._edges.heartbeat_s)
            else:
                await send_json(exchange, run, self._table)

    async def _cancel_when_gone(self, call: Call, run: Run) -> None:
        """A foreground run ends with its reader: the upstream is closed at once."""
        await _departure(call)
        await self._table.cancel(run)

    async def _create_in_background(self, call: Call, request: CreateResponse, body: bytes, ticket: Ticket) -> None:
        principal = call.principal
        idempotency = None if ticket.key is None or ticket.holder is None else (ticket.key, ticket.holder)
        stored = await self._worker.submit(request, body, principal.project, principal.key_id, idempotency)
        ticket.is_passed_on = True
        if request.stream:
            await self._follow(call, stored.id, 0, is_padded=request.include_obfuscation)
        else:
            await call.exchange.answer(200, stored.body)

    async def _replay(self, call: Call, ticket: Ticket) -> None:
        """The answer that the key's first request was given."""
        kept = ticket.answer
        assert kept is not None, "a ticket with an answer"
        if kept.kind != "background":
            await ticket.replay(call)
            return
        stored = await self._find(call.project, kept.response_id)
        if ticket.is_stream:
            await self._follow(call, stored.id, 0, is_padded=True)
        else:
            await call.exchange.answer(200, stored.body, ticket.headers)

    async def _follow(self, call: Call, response_id: str, after: int, *, is_padded: bool) -> None:
        """Stream a background response's events; a reader who leaves leaves the run alone."""
        async with follow(self._store, call.project, response_id, after) as log, asyncio.TaskGroup() as group:
            departure = group.create_task(_close_when_gone(call, log))
            heartbeat_s = self._edges.heartbeat_s
            try:
                async with EventStream(
                    call.exchange, log, heartbeat_s=heartbeat_s, is_padded=is_padded, after=after
                ) as stream:
                    await stream.follow()
            finally:
                departure.cancel()

    async def _find(self, project: str, response_id: str) -> StoredResponse:
        stored = await self._store.load(project, response_id)
        if stored is None:
            raise not_found(response_id)
        return stored

    async def retrieve(self, call: Call) -> None:
        """GET /v1/responses/{id}."""
        query = parse_retrieve_query(call.exchange.query)
        stored = await self._find(call.project, call.params["response_id"])
        if query.stream:
            await self._check_streamed(stored)
            await self._resume(call, stored, query)
        elif query.starting_after is not None:
            raise InvalidRequest("'starting_after' is for streams: set 'stream' to true.", param="starting_after")
        else:
            await call.exchange.answer(200, stored.body)

    async def _check_streamed(self, stored: StoredResponse) -> None:
        """Events are kept of responses that were created to be streamed."""
        request = await self._store.background_request(stored.id)
        if request is not None and msgspec.json.decode(request, type=_Asked).stream is not True:
            raise _not_streamed()

    async def _resume(self, call: Call, stored: StoredResponse, query: RetrieveQuery) -> None:
        after = 0 if query.starting_after is None else query.starting_after + 1
        if query.starting_after is not None and query.starting_after < 0:
            raise InvalidRequest("'starting_after' is a sequence number, 0 or more.", param="starting_after")
        recorded = await self._store.events(stored.id)
        if not recorded:
            raise _not_streamed()
        total = recorded[-1].first + recorded[-1].count
        if after > total and stored.status not in _RUNNING:
            raise InvalidRequest(
                f"'starting_after' is beyond the last event of this response, which is {total - 1}.",
                param="starting_after",
            )
        await self._follow(call, stored.id, after, is_padded=query.include_obfuscation)

    async def delete(self, call: Call) -> None:
        """DELETE /v1/responses/{id}: a background response that runs is cancelled first."""
        response_id = call.params["response_id"]
        stored = await self._find(call.project, response_id)
        if stored.status in _RUNNING:
            await self._worker.cancel(call.project, response_id)
        if not await self._store.delete(call.project, response_id):
            raise not_found(response_id)
        self._table.ports.links.forget(response_id)
        await call.exchange.answer(200, _encode(Deleted(response_id, "response", deleted=True)))

    async def cancel(self, call: Call) -> None:
        """POST /v1/responses/{id}/cancel: only background responses can be; one that has ended is answered as it is."""
        response_id = call.params["response_id"]
        stored = await self._find(call.project, response_id)
        if not msgspec.json.decode(stored.body, type=_Body).background:
            raise InvalidRequest("Cannot cancel a synchronous response.")
        if stored.status in _RUNNING:
            stored = await self._worker.cancel(call.project, response_id)
            if stored is None:
                raise not_found(response_id)
        await call.exchange.answer(200, stored.body)

    async def input_items(self, call: Call) -> None:
        """GET /v1/responses/{id}/input_items: the chain's history, then the response's own input."""
        query = parse_list_query(call.exchange.query)
        stored = await self._find(call.project, call.params["response_id"])
        known = await self._store.chain(call.project, stored.id)
        chain = [stored] if known is None else known.links
        call.exchange.hold(sum(link.size_bytes for link in chain))
        items: list[msgspec.Raw] = []
        root = chain[0]
        if root.conversation is not None:
            kept = await self._store.all_items(root.conversation, root.conversation_position)
            call.exchange.hold(items_bytes(kept))
            items.extend(msgspec.Raw(item.body) for item in kept)
        for link in chain[:-1]:
            items.extend(input_of(link))
            items.extend(output_of(link))
        items.extend(input_of(chain[-1]))
        await call.exchange.answer(200, page_from(items, query))


class _Departure:
    """Watches for the client's leaving while its block runs; what is answered in a moment needs no watch."""

    def __init__(self, exchange: Exchange, watch: Callable[[], Coroutine[None, None, None]]) -> None:
        self._exchange = exchange
        self._watch = watch
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_MOMENT_S, self._begin)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._watch())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._task is None:
            return
        if self._exchange.is_gone and kind is not asyncio.CancelledError:
            await self._task  # what the leaving set off is over, too
        else:
            self._task.cancel()


async def _close_when_gone(call: Call, log: StoredLog) -> None:
    await _departure(call)
    log.close()


async def _departure(call: Call) -> None:
    """Returns when the client has left."""
    while (await call.exchange.receive())["type"] != "http.disconnect":
        pass
    call.exchange.is_gone = True


def _not_streamed() -> InvalidRequest:
    return InvalidRequest(
        "This response cannot be streamed: only responses created with `background` and `stream` set to true can, "
        "while their events are kept.",
        param="stream",
    )


def not_found(response_id: str) -> NotFound:
    return NotFound(f"Response with id '{response_id}' not found.")
