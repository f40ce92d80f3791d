"""`GET /v1/responses` with Upgrade: many responses over one connection.

    reader     one message after the other: a create goes to its lane, a steer to the response it names
    lane       its creates in order; each is a run of the run table, its log is followed event by event
    keeper     at the connection's age limit, and when the server drains: no new creates, what runs may finish

A slow reader holds up its own sends and nothing else; the log of a run is as long as its answer and no longer. When the
client is gone its runs are cancelled. Source: reference "WebSocket mode"; Open Responses "WebSocket Transport".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from antiphon.access.keys import Principal
from antiphon.engine.context_base import Origin
from antiphon.protocol.errors import ApiError, InvalidRequest, RateLimited, ServerFault, Unavailable
from antiphon.protocol.events import SteerAccepted, SteerPending, SteerReceipt
from antiphon.protocol.ids import new_id
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.socket_events import (
    Create,
    Steer,
    error_event,
    on_lane,
    parse_client_event,
    parse_steer_input,
    steer_failed,
)
from antiphon.runs.intake import Intake
from antiphon.runs.run import Run
from antiphon.runs.table import RunTable
from antiphon.store.base import StoredResponse, StoreUnavailable

from .asgi import Message, Receive, Send
from .lanes import MAX_STEERS, AcceptedSteer, Lane, Memory, required_input
from .reading import RequestReader

logger: Final = logging.getLogger("antiphon.server")
MAX_ACTIVE: Final = 16
MAX_NAMED_LANES: Final = 32
MAX_WAITING: Final = 256
MAX_AGE_S: Final = 3600.0
_DONE: Final = ("completed", "incomplete")


@dataclass(frozen=True, slots=True)
class SocketServices:
    """What connections need of the rest of the server. `max_age_s` is how long one may live."""

    table: RunTable
    reader: RequestReader
    intake: Intake
    max_age_s: float = MAX_AGE_S


class Connection:
    """One accepted WebSocket."""

    def __init__(self, services: SocketServices, principal: Principal, receive: Receive, send: Send) -> None:
        self.responses = 0
        self._services = services
        self._table = services.table
        self._intake = services.intake
        self._principal = principal
        self._receive = receive
        self._send_message = send
        self._lanes: dict[str | None, Lane] = {None: Lane(None)}
        self._memory = Memory()
        self._slots = asyncio.Semaphore(MAX_ACTIVE)
        self._sending = asyncio.Lock()
        self._refusal: Callable[[], ApiError] | None = None
        self._is_gone = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def serve(self) -> None:
        """Until the client leaves or the connection's time is over."""
        await self._deliver({"type": "websocket.accept"})
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep())
            try:
                await self._read(group)
            finally:
                self._is_gone = True
                keeper.cancel()
                for lane in self._lanes.values():
                    self._intake.give_back(sum(len(create.body) for create in lane.waiting))
                    lane.waiting.clear()
                    if lane.run is not None:
                        group.create_task(self._table.cancel(lane.run))

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            if message["type"] != "websocket.receive":
                continue
            try:
                await self._take(_payload(message), group)
            except ApiError as error:
                await self._send(error_event(error, None))

    async def _take(self, payload: bytes, group: asyncio.TaskGroup) -> None:
        match parse_client_event(payload):
            case Create() as create:
                lane = self._lane(create.stream_id)
                if sum(len(other.waiting) for other in self._lanes.values()) >= MAX_WAITING:
                    raise RateLimited(
                        f"{MAX_WAITING} creates wait on this connection already.",
                        retry_after_s=1,
                        code="websocket_queue_full",
                    )
                self._intake.take(len(create.body))
                lane.waiting.append(create)
                if not lane.is_working:
                    lane.is_working = True
                    self._quiet.clear()
                    group.create_task(self._work(lane))
            case Steer() as steer:
                await self._steer(steer)

    def _lane(self, name: str | None) -> Lane:
        lane = self._lanes.get(name)
        if lane is not None:
            return lane
        if len(self._lanes) > MAX_NAMED_LANES:
            raise InvalidRequest(
                f"A connection has at most {MAX_NAMED_LANES} named streams: use one of them again, or another "
                "connection.",
                param="stream_id",
                code="websocket_stream_limit_reached",
            )
        self._lanes[name] = Lane(name)
        return self._lanes[name]

    # -- a lane

    async def _work(self, lane: Lane) -> None:
        """Carry out what waits on a lane, one after the other."""
        try:
            while lane.waiting and not self._is_gone:
                async with self._slots:
                    if lane.waiting:  # the client may have left meanwhile
                        await self._create(lane, lane.waiting.popleft())
        finally:
            lane.is_working = False
            if not any(other.is_working for other in self._lanes.values()):
                self._quiet.set()

    async def _create(self, lane: Lane, create: Create) -> None:
        previous: str | None = None
        size_bytes = len(create.body)
        try:
            if self._refusal is not None:
                raise self._refusal()
            request, _ = await self._services.reader.read(create.body, self._principal.project)
            request = msgspec.structs.replace(request, stream=True, generate=create.generate)
            del create  # it may be large, and the answer may take long
            previous = request.previous_response_id
            if previous is not None and previous in lane.owed:
                steered = [item for steer in lane.owed.pop(previous) for item in steer.items]
                request = msgspec.structs.replace(request, input=(*steered, *request.input))
            while request is not None:
                request = await self._run(lane, request)
        except ApiError as error:
            self._evict(lane, previous)
            await self._send(error_event(error, lane.name))
        except StoreUnavailable as error:
            logger.error("store unavailable", extra={"reason": str(error)})
            fault = Unavailable("The server cannot reach its database now.", code="store_unavailable")
            await self._send(error_event(fault, lane.name))
        except Exception:
            # One create must not take the others of its connection with it.
            logger.exception("create failed", extra={"project": self._principal.project})
            await self._send(error_event(ServerFault("The server had an error. Please try again."), lane.name))
        finally:
            self._intake.give_back(size_bytes)

    def _evict(self, lane: Lane, previous: str | None) -> None:
        """A continuation that failed leaves its parent unusable here; another lane's parent stays."""
        if previous is not None and lane.latest == previous:
            self._memory.evict(lane, list(self._lanes.values()))

    async def _run(self, lane: Lane, request: CreateResponse) -> CreateResponse | None:
        """One response to its end; its successor, if it was steered. Raises ApiError if it was refused."""
        if self._is_gone:  # while this waited for a slot, or was read: nobody is left to stop what begins now
            return None
        lanes = list(self._lanes.values())
        origin = Origin(self._principal.project, local=self._memory.local(request.previous_response_id, lanes))
        run = self._table.admit(request, self._principal.project, self._principal.key_id, origin=origin)
        run.is_remembered = True
        self._table.own(run)
        self.responses += 1
        lane.run, lane.request = run, request
        try:
            await self._follow(run, lane)
        finally:
            lane.run = None
            if not run.log.is_closed:  # sending failed, and nobody else knows of this run any more
                await self._table.cancel(run)
        done = run.stored if run.stored is not None and run.stored.status in _DONE else None
        if done is not None:
            self._memory.keep(lane, done, list(self._lanes.values()), is_stored=request.store)
        return await self._after(lane, run, request, done)

    async def _follow(self, run: Run, lane: Lane) -> None:
        """Send a run's events as they come. Raises the run's error if it was refused before its first event."""
        log, sent = run.log, 0
        while not self._is_gone:
            await log.wait(sent)
            end = len(log)
            for payload in log.payloads(sent, end):
                await self._send(on_lane(payload, lane.name))
            sent = end
            if log.is_closed and sent == len(log):
                break
        if not len(log) and log.error is not None:
            raise log.error

    # -- steering

    async def _steer(self, steer: Steer) -> None:
        """Take new input of the user for a response that runs on this connection."""
        lane = next((one for one in self._lanes.values() if _runs(one, steer.previous_response_id)), None)
        name = None if lane is None else lane.name
        try:
            items = parse_steer_input(steer.input)
        except InvalidRequest as error:
            await self._send(steer_failed(steer, None, "invalid_input", error.message, name))
            return
        code, message = self._why_not(lane, steer)
        if code or lane is None or lane.run is None:
            await self._send(steer_failed(steer, None, code, message, name))
            return
        accepted = AcceptedSteer(SteerReceipt(new_id("steer"), steer.previous_response_id), steer, items)
        lane.steers.append(accepted)
        lane.run.log.append(SteerAccepted(accepted.receipt))
        lane.run.progress.steer()

    def _why_not(self, lane: Lane | None, steer: Steer) -> tuple[str, str]:
        """Code and message of a refusal, or two empty texts."""
        if lane is None or lane.request is None or lane.run is None:
            if any(one.latest == steer.previous_response_id for one in self._lanes.values()):
                return "response_already_completed", "The response has ended: continue it with response.create."
            return "response_not_found", f"No response '{steer.previous_response_id}' runs on this connection."
        if lane.request.conversation is not None or lane.request.compact_threshold is not None:
            return "steering_not_supported", "A response in a conversation or with automatic compaction is not steered."
        if lane.run.log.is_closed or not len(lane.run.log):
            return "response_not_active", "The response takes no more input."
        if len(lane.steers) >= MAX_STEERS:
            return "too_many_pending_steers", f"{MAX_STEERS} steers wait for this response already."
        return "", ""

    async def _after(
        self, lane: Lane, run: Run, request: CreateResponse, done: StoredResponse | None
    ) -> CreateResponse | None:
        """What becomes of steers once their response has ended: a successor, a wait, or their return."""
        steers, lane.steers = lane.steers, []
        if not steers or self._is_gone:
            return None
        if done is None:
            for one in steers:
                message = "The response failed before the input could be used."
                await self._send(
                    steer_failed(one.steer, one.receipt.id, "successor_creation_failed", message, lane.name)
                )
            return None
        owed = required_input(msgspec.Raw(done.body))
        if not owed:
            items = tuple(item for one in steers for item in one.items)
            return msgspec.structs.replace(request, previous_response_id=run.id, input=items)
        lane.owed[run.id] = steers
        for offset, one in enumerate(steers):
            event = SteerPending(one.receipt, owed)
            event.sequence_number = len(run.log) + offset
            await self._send(on_lane(msgspec.json.encode(event), lane.name))
        return None

    # -- the connection

    async def _keep(self) -> None:
        """End the connection in good order when its time is over or the server drains."""
        try:
            async with asyncio.timeout(self._services.max_age_s):
                await self._table.draining.wait()
        except TimeoutError:
            self._refusal = _too_old
            await self._send(error_event(_too_old(), None))
        else:
            self._refusal = _draining
        await self._quiet.wait()
        code = 1000 if self._refusal is _too_old else 1012
        await self._deliver({"type": "websocket.close", "code": code})

    async def _send(self, payload: bytes) -> None:
        await self._deliver({"type": "websocket.send", "text": payload.decode()})

    async def _deliver(self, message: Message) -> None:
        """One message at a time; waits while the client reads slowly."""
        async with self._sending:
            if self._is_gone:
                return
            try:
                await self._send_message(message)
            except OSError:  # the client has left; the reader hears of it too
                self._is_gone = True


def _payload(message: Message) -> bytes:
    text: str | None = message.get("text")
    data: bytes | None = message.get("bytes")
    return text.encode("utf-8", "surrogatepass") if text is not None else data or b""


def _runs(lane: Lane, response_id: str) -> bool:
    return lane.run is not None and lane.run.id == response_id


def _too_old() -> InvalidRequest:
    return InvalidRequest(
        "This connection has reached its maximum age of 60 minutes. Open a new one.",
        code="websocket_connection_limit_reached",
    )


def _draining() -> Unavailable:
    return Unavailable("The server is shutting down. Open a new connection.")
