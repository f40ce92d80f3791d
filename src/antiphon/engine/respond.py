"""The agent loop of one response: model turns until the model is done. A coroutine that emits.

    context -> Turn -> (encode, send, decode, assemble)+ -> Outcome

Before the first upstream 2xx every error is raised and becomes an HTTP status; afterwards it becomes the terminal
`response.failed`. The terminal event is returned, not emitted: the response must be stored first.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import ApiError, TruncatedStream, UpstreamFault
from antiphon.protocol.events import Event, Terminal
from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.protocol.response import Response, new_response
from antiphon.providers.base import Decoder, HttpRequest, ReplayRecord, Target, Turn

from .assembler import Assembler
from .context import build_context
from .history import StoredTurn
from .ports import Ports, Reply
from .upstream import Answering, open_upstream

MAX_CONTINUATIONS: Final = 10
"""How often one turn may be paused and continued; beyond it the response ends as incomplete."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished response: its terminal event, and what the store needs of it."""

    terminal: Terminal
    response: Response
    own_input: tuple[InputItem, ...]
    turns: tuple[StoredTurn, ...]
    usage: Usage
    target: str


class Progress:
    """What is known of a response while it runs, for the edge (headers) and for metering a cut one."""

    def __init__(self) -> None:
        self.dropped: tuple[str, ...] = ()
        self.target = ""
        self.assembler: Assembler | None = None

    @property
    def usage(self) -> Usage:
        return self.assembler.usage if self.assembler is not None else Usage()


async def respond(
    request: CreateResponse,
    response_id: str,
    project: str,
    ports: Ports,
    emit: Callable[[Event], None],
    progress: Progress,
) -> Outcome:
    """Run one request to its end.

    Raises ApiError only before anything was emitted; after that the outcome's terminal event tells the failure.
    """
    targets = ports.resolve(request.model)
    context = await build_context(request, ports.store, ports.sealer, project)
    response = new_response(request, response_id, int(ports.now()))
    seal = _sealing(ports, project) if request.wants_carrier else None
    assembler = Assembler(response, emit, seal=seal, taken_call_ids=context.call_ids)
    loop = _Loop(ports, assembler, progress)
    terminal = await loop.run(Turn(request, context.entries), targets)
    return Outcome(terminal, response, context.own_input, tuple(assembler.turns), assembler.usage, progress.target)


def _sealing(ports: Ports, project: str) -> Callable[[ReplayRecord], str]:
    def seal(record: ReplayRecord) -> str:
        return ports.sealer.seal(record, project)

    return seal


class _Loop:
    """Model turns of one response, one upstream call after another."""

    def __init__(self, ports: Ports, assembler: Assembler, progress: Progress) -> None:
        self._ports = ports
        self._assembler = assembler
        self._progress = progress
        self._has_begun = False

    async def run(self, turn: Turn, targets: tuple[Target, ...]) -> Terminal:
        try:
            for _ in range(MAX_CONTINUATIONS):
                answered_by = await self._call(turn, targets)
                if not self._assembler.paused:
                    break
                targets = (answered_by,)  # the blocks to continue are this target's own
                turn = replace(turn, pending=(*turn.pending, *self._last_record()))
        except ApiError as error:
            if not self._has_begun:
                raise
            return self._assembler.fail(error)
        return self._assembler.finish(int(self._ports.now()))

    def _last_record(self) -> tuple[ReplayRecord, ...]:
        record = self._assembler.turns[-1].record
        return () if record is None else (record,)

    async def _call(self, turn: Turn, targets: tuple[Target, ...]) -> Target:
        async with AsyncExitStack() as stack:
            answering = await open_upstream(turn, targets, self._ports, stack, self._note_attempt)
            target = answering.target
            self._begin(answering)
            self._assembler.begin_turn(target.vendor.dialect, target.vendor.scope, target.model)
            try:
                await self._read(answering.reply, answering.dialect.decoder(target, answering.request))
            finally:
                self._assembler.end_turn()
        if self._assembler.failure is not None:
            raise self._assembler.failure
        return target

    def _note_attempt(self, target: Target, request: HttpRequest) -> None:
        self._progress.target = target.name
        self._progress.dropped = request.dropped
        self._progress.assembler = self._assembler

    def _begin(self, answering: Answering) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        for item_id, reason in answering.request.removed:
            self._assembler.note_removed(item_id, reason)
        self._assembler.begin()

    async def _read(self, reply: Reply, decoder: Decoder) -> None:
        assembler = self._assembler
        async for chunk in reply.chunks():
            assembler.apply_all(decoder.feed(chunk))
            if assembler.failure is not None:
                return
            if assembler.finished is not None:
                break  # some servers keep the connection open after their last event
        try:
            assembler.apply_all(decoder.close())
        except TruncatedStream as error:
            raise UpstreamFault(
                "transport", "The model provider closed the stream before the answer was complete."
            ) from error
