"""The whole server inside the test's process, driven through ASGI: real store, real simulator, no sockets.

async with Rig.open(tmp_path) as rig:
    answer = await rig.post({"model": "sim/standard", "input": "Hi"})
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import msgspec
from tests.harness.contracts import check_error, check_event, check_response

from antiphon.access.keys import Keys, NewKey
from antiphon.access.secret import Secret
from antiphon.app import dialects, edge_of
from antiphon.config import ModelAlias, Settings
from antiphon.engine.carrier import Sealer
from antiphon.engine.ports import Ports
from antiphon.protocol.grammar import StreamChecker
from antiphon.protocol.sse import SseDecoder
from antiphon.providers.base import Vendor
from antiphon.providers.catalog import load_vendors
from antiphon.providers.guarded import GuardedClient
from antiphon.providers.simulator_upstream import SimulatorUpstream
from antiphon.providers.transport import Deadlines, Transport
from antiphon.routing.models import Router
from antiphon.runs.intake import Intake
from antiphon.runs.outbox import Outbox
from antiphon.runs.table import RunTable
from antiphon.runs.worker import Limits, Worker
from antiphon.server.app import Edge, handle
from antiphon.store.sqlite import open_sqlite

WAIT_S = 5.0
Json = dict[str, Any]
SIM = next(vendor for vendor in load_vendors(Settings(), {}) if vendor.name == "sim")
ALIASES = (ModelAlias("fast", ["gone/model", "sim/standard"]),)


@dataclass
class Answer:
    """One HTTP answer as it left the application."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    writes: int = 0

    @property
    def body(self) -> Json:
        return msgspec.json.decode(self.raw)

    @property
    def error(self) -> Json:
        check_error(self.body)
        return self.body["error"]

    @property
    def events(self) -> list[Json]:
        """The events of a stream, held to the grammar and to both contracts."""
        checker = StreamChecker()
        events = [msgspec.json.decode(one.data) for one in SseDecoder().feed(self.raw) if one.data != b"[DONE]"]
        for event in events:
            checker.feed(event)
            check_event(event)
        checker.finish()
        return events

    @property
    def response(self) -> Json:
        """The response, JSON or streamed."""
        is_stream = self.headers["content-type"].startswith("text/event-stream")
        found: Json = self.events[-1]["response"] if is_stream else self.body
        check_response(found)
        return found


class Rig:
    """A running edge with one project's key."""

    def __init__(self, edge: Edge, worker: Worker, keys: Keys, new: NewKey, path: Path) -> None:
        self._path = path
        self.edge = edge
        self.worker = worker
        self.table = worker.table
        self.store = worker.table.ports.store
        self.keys = keys
        self.key = new.key
        self.project = new.row.project

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        *,
        limits: Limits | None = None,
        lease_s: float = 15.0,
        max_bodies_bytes: int = 8 << 20,
        **deadlines: float,
    ) -> AsyncIterator[Rig]:
        async with AsyncExitStack() as stack:
            path = folder / "antiphon.db"
            store = await open_sqlite(path)
            stack.push_async_callback(store.close)
            patience = Deadlines(**({"connect_s": 1.0, "first_byte_s": 2.0, "idle_s": 2.0, "total_s": 4.0} | deadlines))
            transport = await stack.enter_async_context(Transport(patience, SimulatorUpstream()))
            gone = Vendor("gone", "chat_completions", "http://127.0.0.1:9/v1", "none", scope="gone")
            router = Router((SIM, gone), ALIASES)
            secret = Secret.of(b"the tests' own secret, 32 bytes!")
            intake = Intake(max_bodies_bytes)
            ports = Ports(
                store=store,
                resolve=router.resolve,
                dialects=dialects(),
                send=transport.send,
                sealer=Sealer(secret.sealing),
                now=time.time,
                sleep=_no_wait,
                retention_s=3600,
                lease_s=lease_s,
                room=intake,
            )
            table = RunTable(ports)
            keys = Keys(store, secret)
            new = await keys.create("default")
            worker = Worker(table, limits or Limits(), intake)
            receivers = await stack.enter_async_context(GuardedClient(allow_private=True))
            outbox = Outbox(store, ports.sealer, receivers, time.time, lambda attempts: 0.0)
            settings = Settings(webhooks_allow_private=True, max_body_bytes=1 << 20, heartbeat_s=0.05)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            working = [group.create_task(work) for work in (worker.work(), outbox.work())]
            yield cls(edge_of(settings, keys, router, worker, outbox), worker, keys, new, path)
            await table.drain(0)
            for one in working:
                one.cancel()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        leave_after: int | None = None,
    ) -> Answer:
        """One request; with `leave_after` the client goes away after so many writes (0: before the first)."""
        answer = Answer()
        gone = asyncio.Event()
        if leave_after == 0:
            gone.set()
        pieces = [body[: len(body) // 2], body[len(body) // 2 :]]

        async def receive() -> Json:
            if pieces:
                piece = pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                return
            answer.raw += message["body"]
            answer.writes += 1
            if leave_after is not None and answer.writes >= leave_after:
                gone.set()
                await asyncio.sleep(0)

        sent = {"authorization": f"Bearer {self.key}"} | dict(headers or {})
        path, _, query = path.partition("?")
        scope: Json = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
        async with asyncio.timeout(WAIT_S):
            await handle(self.edge, scope, receive, send)
        return answer

    async def post(self, body: Json, **more: Any) -> Answer:
        return await self.request(
            "POST", "/v1/responses", msgspec.json.encode({"model": "sim/standard"} | body), **more
        )

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.request("GET", "/v1" + path, **more)

    def ledger(self) -> list[tuple[str, str, int]]:
        """(response, status, output tokens) of every run that reached a model."""
        query = "SELECT response_id, status, output_tokens FROM usage ORDER BY response_id"
        with apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY) as connection:
            return list(connection.execute(query))


async def _no_wait(seconds: float) -> None:
    del seconds
    await asyncio.sleep(0)
