"""The composition root: settings to a running ASGI application. The only place that names concrete classes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from antiphon.access.keys import Keys
from antiphon.access.limits import RateLimits
from antiphon.access.prices import Prices
from antiphon.access.projects import Projects
from antiphon.access.secret import Secret, load_secret
from antiphon.config import Settings
from antiphon.engine.carrier import Sealer
from antiphon.engine.conversations import Conversations
from antiphon.engine.links import Links
from antiphon.engine.ports import Ports
from antiphon.protocol.errors import ConfigError
from antiphon.protocol.resent import Histories
from antiphon.protocol.spellings import Spellings
from antiphon.providers.anthropic import Anthropic
from antiphon.providers.base import Dialect, DialectName
from antiphon.providers.bedrock import Bedrock
from antiphon.providers.capabilities import Registry
from antiphon.providers.catalog import load_capabilities, load_vendors
from antiphon.providers.chat_completions import ChatCompletions
from antiphon.providers.cohere import Cohere
from antiphon.providers.gemini import Gemini
from antiphon.providers.guarded import GuardedClient
from antiphon.providers.media_fetch import MediaFetcher
from antiphon.providers.responses import Responses
from antiphon.providers.simulator import Simulator
from antiphon.providers.simulator_upstream import SimulatorUpstream
from antiphon.providers.transport import Deadlines, Transport
from antiphon.routing.discovery import probe_local, refresh_models
from antiphon.routing.models import Router
from antiphon.runs.intake import Intake
from antiphon.runs.outbox import Outbox
from antiphon.runs.table import RunTable
from antiphon.runs.worker import Limits, Worker
from antiphon.server.app import Edge, handle, handle_socket
from antiphon.server.asgi import Receive, Scope, Send
from antiphon.server.conversations import ConversationsEndpoint
from antiphon.server.counting import CountingEndpoint
from antiphon.server.idempotency import Idempotency
from antiphon.server.logs import configure_logging
from antiphon.server.models import ModelsEndpoint
from antiphon.server.open_files import open_files, responses_within
from antiphon.server.openapi import OpenApiEndpoint
from antiphon.server.probes import Probes
from antiphon.server.prompts import Prompts, PromptsEndpoint
from antiphon.server.reading import RequestReader
from antiphon.server.responses import Edges, ResponsesEndpoint
from antiphon.server.routes import RouteTable
from antiphon.server.webhooks import WebhooksEndpoint
from antiphon.server.websocket import SocketServices
from antiphon.store.postgres import open_postgres, postgres_schema
from antiphon.store.sqlite import ALONE_POLL_S, POLL_S, open_sqlite
from antiphon.store.sqlite_connections import sqlite_schema
from antiphon.store.store import Store

logger: Final = logging.getLogger("antiphon")
SignalHandler = Callable[[int, FrameType | None], object]
_DAY_S: Final = 86_400
_PURGE_EVERY_S: Final = 600.0
_REFRESH_EVERY_S: Final = 6 * 3600.0
_CHORE_RETRY_S: Final = 60.0
_PURGE_BATCH: Final = 1_000
# No request leaves a cycle (tests/inprocess/test_garbage_in_process.py). With Python's 700, the requests under way are
# walked over and over for nothing: a tenth of what a request costs where 64 are served at once.
_OBJECTS_PER_COLLECTION: Final = 20_000
_SQLITE: Final = "sqlite:///"


def dialects() -> dict[DialectName, Dialect]:
    """Every dialect by its name."""
    return {
        "responses": Responses(),
        "chat_completions": ChatCompletions(),
        "anthropic": Anthropic(),
        "gemini": Gemini(),
        "bedrock": Bedrock(),
        "cohere": Cohere(),
        "sim": Simulator(),
    }


async def open_store(settings: Settings) -> Store:
    """The store that the settings name, with its schema up to date. Raises ConfigError."""
    store = await open_url(settings.store_url, is_alone=settings.workers == 1)
    store.max_context_bytes = min(settings.max_context_bytes, settings.max_bodies_bytes // 2)
    return store


async def open_url(url: str, *, is_alone: bool = True) -> Store:
    """The store at sqlite:///PATH or postgresql://…, with its schema up to date. Raises ConfigError.

    `is_alone`: no other process serves from the same file.
    """
    if url.startswith(_SQLITE):
        poll_s = ALONE_POLL_S if is_alone else POLL_S
        return await open_sqlite(Path(url.removeprefix(_SQLITE)), poll_s=poll_s)
    return await open_postgres(url)


async def schema_of(url: str) -> tuple[int, int]:
    """The schema version of the store at a URL, 0 where there is none yet, and the newest of this release.

    Changes nothing. Raises ConfigError if the store cannot be looked at, or a newer release wrote it.
    """
    if url.startswith(_SQLITE):
        return await asyncio.to_thread(sqlite_schema, Path(url.removeprefix(_SQLITE)))
    return await postgres_schema(url)


class Application:
    """The ASGI application of one worker process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._edge: Edge | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert self._edge is not None, "the server starts with lifespan on"
            await handle(self._edge, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            assert self._edge is not None, "the server starts with lifespan on"
            await handle_socket(self._edge, scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with AsyncExitStack() as stack:
                table, chores = await self._open(stack, scope.setdefault("state", {}))
                await send({"type": "lifespan.startup.complete"})
                await receive()
                late = await table.drain(self._settings.drain_s)
                if late:
                    logger.warning("runs cancelled at the drain deadline", extra={"runs": late})
                for chore in chores:
                    chore.cancel()
            await send({"type": "lifespan.shutdown.complete"})
        except ConfigError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})

    async def _open(self, stack: AsyncExitStack, state: dict[str, Any]) -> tuple[RunTable, list[asyncio.Task[None]]]:
        """What the process works with. `state` is what the server's connections know of it: the `intake`."""
        settings = self._settings
        configure_logging(settings.log_level, settings.log_format)
        store = await open_store(settings)
        stack.push_async_callback(store.close)
        secret = load_secret(settings.data_dir)
        router = Router(load_vendors(settings, os.environ), settings.models, Registry(load_capabilities(settings)))
        transport = await stack.enter_async_context(Transport(_deadlines(settings), _simulator(settings)))
        media = await stack.enter_async_context(GuardedClient(allow_private=settings.media_allow_private))
        intake = Intake(settings.max_bodies_bytes)
        fetcher = MediaFetcher(media, settings.media_max_bytes)
        projects = Projects(store, settings.projects)
        limits = RateLimits(projects, store)
        stack.push_async_callback(limits.tell)
        ports = replace(
            _ports(settings, store, secret, router, transport, fetcher),
            room=intake,
            limits=limits,
            is_strict=projects.is_strict,
        )
        table = RunTable(ports, _most_responses(settings))
        worker = Worker(table, _limits(settings), intake)
        keys = Keys(store, secret, has_project_header=settings.compat_project_header)
        client = await stack.enter_async_context(GuardedClient(allow_private=settings.webhooks_allow_private))
        outbox = Outbox(store, ports.sealer, client, time.time)
        self._edge = edge_of(settings, keys, router, worker, outbox)
        state["intake"] = worker.intake
        group = await stack.enter_async_context(asyncio.TaskGroup())
        chores = [
            group.create_task(_chore("purge", partial(_purge, store))),
            group.create_task(_chore("background", worker.work)),
            group.create_task(_chore("webhooks", outbox.work)),
            group.create_task(_chore("limits", limits.share)),
            group.create_task(_chore("discover", partial(_discover, router, transport, ports))),
        ]
        _drain_on_signal(table)
        gc.freeze()  # start-up objects live as long as the process: do not walk them again
        gc.set_threshold(_OBJECTS_PER_COLLECTION)
        gc.enable()  # `antiphon serve` starts without it
        return table, chores


def _ports(
    settings: Settings, store: Store, secret: Secret, router: Router, transport: Transport, media: MediaFetcher
) -> Ports:
    return Ports(
        store=store,
        resolve=router.resolve,
        dialects=dialects(),
        send=transport.send,
        sealer=Sealer(secret.sealing),
        now=time.time,
        sleep=asyncio.sleep,
        retention_s=settings.retention_days * _DAY_S or None,
        lease_s=settings.lease_s,
        events_s=int(settings.events_hours * 3600),
        cost=Prices(settings.prices).cost,
        fetch_media=media.fetch,
        links=Links(max_bytes=settings.max_known_bytes // 2),
        conversations=Conversations(max_bytes=settings.max_known_bytes // 4),
    )


def edge_of(settings: Settings, keys: Keys, router: Router, worker: Worker, outbox: Outbox) -> Edge:
    """Every endpoint over one worker, its run table and its store."""
    table = worker.table
    ports, store, limit = table.ports, table.ports.store, settings.max_body_bytes
    allow_private = settings.webhooks_allow_private
    idempotency = Idempotency(store, lease_s=ports.lease_s, max_body_bytes=limit)
    edges = Edges(limit, settings.heartbeat_s)
    histories = Histories(max_bytes=settings.max_known_bytes // 4)
    reader = RequestReader(Prompts(store), _spellings(settings), histories)
    openapi = OpenApiEndpoint(lambda: routes.routes)
    routes = RouteTable(
        (
            *ResponsesEndpoint(table, worker, reader, idempotency, edges).routes(),
            *CountingEndpoint(ports, limit).routes(),
            *ConversationsEndpoint(store, ports.conversations, limit).routes(),
            *PromptsEndpoint(store, limit).routes(),
            *WebhooksEndpoint(store, ports.sealer, outbox, limit, allow_private=allow_private).routes(),
            *ModelsEndpoint(router).routes(),
            *openapi.routes(),
            *Probes(store, lambda: table.is_draining).routes(),
        )
    )
    sockets = SocketServices(table, reader, worker.intake)
    return Edge(keys, routes, idempotency, sockets, worker.intake, settings.compat_api_prefix)


def _spellings(settings: Settings) -> Spellings:
    return Spellings(
        settings.compat_max_tokens,
        settings.compat_reasoning_effort,
        settings.compat_nested_format,
        settings.compat_include_usage,
    )


def _most_responses(settings: Settings) -> int:
    """As many as the settings say, if the files that this process may open are enough."""
    files = open_files()
    possible = responses_within(files)
    if possible < settings.max_responses:
        logger.warning(
            "open files bound the responses at once: raise the limit (ulimit -n, LimitNOFILE)",
            extra={"open_files": files, "responses": possible, "max_responses": settings.max_responses},
        )
    return min(possible, settings.max_responses)


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.background_concurrency,
        settings.background_queue,
        settings.background_queue_age_s,
        settings.background_attempts,
        settings.max_body_bytes,
    )


def _deadlines(settings: Settings) -> Deadlines:
    return Deadlines(settings.connect_s, settings.first_byte_s, settings.idle_s, settings.total_s)


def _simulator(settings: Settings) -> SimulatorUpstream | None:
    return SimulatorUpstream() if settings.is_sim_enabled else None


async def _purge(store: Store) -> None:
    """Remove expired responses, and what no response echoes any more, a bounded batch at a time."""
    while True:
        purged = await store.purge(int(time.time()), _PURGE_BATCH)
        swept = await store.sweep(_PURGE_BATCH)
        await asyncio.sleep(0 if max(purged, swept) >= _PURGE_BATCH else _PURGE_EVERY_S)


async def _discover(router: Router, transport: Transport, ports: Ports) -> None:
    """Learn which models the local engines and the vendors have, and what they can do; again from time to time."""
    while True:
        await probe_local(router, ports.dialects, transport.fetch)
        await refresh_models(router, ports.dialects, transport.fetch)
        await asyncio.sleep(_REFRESH_EVERY_S)


async def _chore(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Housekeeping beside the requests: what goes wrong there is logged, tried again later, and never stops serving."""
    with suppress(asyncio.CancelledError):
        while True:
            try:
                await work()
            except Exception:
                logger.exception("housekeeping failed", extra={"chore": name})
            else:
                return
            await asyncio.sleep(_CHORE_RETRY_S)


def _drain_on_signal(table: RunTable) -> None:
    """Refuse new runs from the moment the process is told to stop; the server's own handler then goes on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)
        if not callable(previous):
            continue

        with suppress(ValueError):  # not the main thread: the embedding program owns its signals
            signal.signal(number, _draining_first(table, previous))


def _draining_first(table: RunTable, previous: SignalHandler) -> SignalHandler:
    def handle_signal(received: int, frame: FrameType | None) -> None:
        table.begin_drain()
        previous(received, frame)

    return handle_signal


def create_app(settings: Settings) -> Application:
    """The ASGI application for these settings; everything opens in its lifespan."""
    return Application(settings)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the first process found and made before any worker starts. `new_key` only on the very first start."""

    new_key: str | None
    vendors: tuple[str, ...]


async def prepare(settings: Settings) -> Prepared:
    """Migrate the store, make the first project and key, and name the active vendors. Raises ConfigError."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds conversations
    vendors = load_vendors(settings, os.environ)
    Router(vendors, settings.models, Registry(load_capabilities(settings)))
    store = await open_store(settings)
    try:
        keys = Keys(store, load_secret(settings.data_dir))
        new_key = None
        if settings.bootstrap_key is not None:
            await keys.bootstrap(settings.bootstrap_key)
        elif not await keys.list():
            new_key = (await keys.create("default")).key
        return Prepared(new_key, tuple(vendor.name for vendor in vendors))
    finally:
        await store.close()
