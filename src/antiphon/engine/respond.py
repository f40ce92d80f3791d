"""The agent loop of one response: model turns until the model is done. A coroutine that emits.

    context -> Turn -> (encode, send, decode, assemble)+ -> Outcome

Before the first upstream 2xx every error is raised and becomes an HTTP status; afterwards, and for background
responses from the start, it becomes the terminal `response.failed`. The terminal event is returned, not emitted: the
response must be stored first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import ApiError, UpstreamFault, without_frames
from antiphon.protocol.events import Terminal
from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.protocol.response import Response, new_response
from antiphon.providers.base import HttpRequest, ReplayRecord, Target, Turn

from .assembler import Assembler, Emit
from .compaction import compact_context, compaction_item, wants_compaction
from .context import build_context
from .context_base import Context, Origin
from .estimate import turn_tokens
from .history import StoredTurn
from .holding import Holding
from .ports import Ports, Reply
from .recovery import Checkpoint, restore
from .truncation import Trimmer
from .upstream import Answering, check_honoured, open_upstream

MAX_CONTINUATIONS: Final = 10
"""How often one turn may be paused and continued; beyond it the response ends as incomplete."""


class Recovered(msgspec.Struct, frozen=True):
    """What is left of a background response's earlier workers: recorded events, and what they had finished."""

    events: Sequence[bytes]
    checkpoint: Checkpoint


class Assignment(msgspec.Struct, frozen=True):
    """One response to make. `recovered` is set for background responses, at their first attempt too."""

    request: CreateResponse
    response_id: str
    created_at: int
    origin: Origin
    recovered: Recovered | None = None


class Outcome(msgspec.Struct, frozen=True):
    """A finished response: its terminal event, and what the store needs of it."""

    terminal: Terminal
    response: Response
    own_input: tuple[InputItem, ...]
    turns: tuple[StoredTurn, ...]
    usage: Usage
    target: str


class Progress:
    """What is known of a response while it runs, for the edge (headers), for metering a cut one, and to go on from.

    `reading` is the upstream's answer while it is read.
    """

    def __init__(self) -> None:
        self.dropped: tuple[str, ...] = ()
        self.target = ""
        self.assembler: Assembler | None = None
        self.own_input: tuple[InputItem, ...] = ()
        self.checkpoint = Checkpoint()
        self.is_steered = False
        self.reading: Reply | None = None

    def steer(self) -> None:
        """New input of the user has come: end the answer here, unless the client owes it outputs of calls already."""
        self.is_steered = True
        if self.reading is not None and self.assembler is not None and not self.assembler.has_calls:
            self.reading.hang_up()

    @property
    def usage(self) -> Usage:
        return self.assembler.usage if self.assembler is not None else Usage()

    def outcome(self, terminal: Terminal) -> Outcome:
        """The outcome of a response that ends with `terminal`, wherever it stands."""
        assembler = self.assembler
        assert assembler is not None, "a response that ends was begun"
        return Outcome(
            terminal, assembler.response, self.own_input, tuple(assembler.turns), assembler.usage, self.target
        )


async def respond(assignment: Assignment, ports: Ports, emit: Emit, progress: Progress) -> Outcome:
    """Run one request to its end.

    Raises ApiError only before anything was emitted; after that the outcome's terminal event tells the failure.
    """
    request, recovered = assignment.request, assignment.recovered
    response = new_response(request, assignment.response_id, assignment.created_at)
    seal = _sealing(ports, assignment.origin.project) if request.wants_carrier else None
    assembler = Assembler(response, emit, seal=seal)
    with Holding(ports.room, may_wait=recovered is not None) as holding:
        loop = _Loop(ports, assembler, progress, assignment.origin.project, holding)
        if recovered is not None:
            loop.take_up(recovered, emit)
        try:
            targets = ports.resolve(request.model)
            loop.is_strict = ports.is_strict is not None and await ports.is_strict(assignment.origin.project)
            context = await build_context(request, ports, assignment.origin, holding)
            progress.own_input = context.own_input
            assembler.take_call_ids(context.call_ids)
            terminal = await loop.run(request, context, targets)
        except ApiError as error:
            if not loop.has_begun:
                raise
            terminal = assembler.fail(without_frames(error))  # its frames hold the run, and the run holds it
    return progress.outcome(terminal)


def _sealing(ports: Ports, project: str) -> Callable[[ReplayRecord], str]:
    def seal(record: ReplayRecord) -> str:
        return ports.sealer.seal(record, project)

    return seal


class _Loop:
    """Model turns of one response, one upstream call after another."""

    def __init__(self, ports: Ports, assembler: Assembler, progress: Progress, project: str, holding: Holding) -> None:
        self._ports = ports
        self._holding = holding
        self._assembler = assembler
        self._progress = progress
        self._project = project
        self.has_begun = False
        self.is_strict = False
        self._has_called = False

    def take_up(self, recovered: Recovered, emit: Emit) -> None:
        """A background response: it was created when it was queued, and perhaps begun by another worker."""
        checkpoint = recovered.checkpoint
        self._progress.assembler = self._assembler
        self._progress.checkpoint = checkpoint
        self._progress.target = checkpoint.target
        self.has_begun = True
        if not restore(self._assembler, recovered.events, checkpoint, emit):
            self._assembler.proceed()

    async def run(self, request: CreateResponse, context: Context, targets: tuple[Target, ...]) -> Terminal:
        """Every model turn. Raises ApiError."""
        if not request.generate:
            return self._warm_up()
        checkpoint = self._progress.checkpoint
        if checkpoint.is_over:
            self._assembler.finished = checkpoint.finished
            return self._assembler.finish(self._now())
        turn = context.turn(request)
        if wants_compaction(turn, partial(self._ports.learned.corrected, targets[0].name)):
            context = await self._compact(request, context, targets)
            if context.is_only_compaction:
                return self._assembler.finish(self._now())
            turn = context.turn(request)
        if checkpoint.is_paused:
            targets = self._ports.resolve(checkpoint.target)
            turn = replace(turn, pending=checkpoint.pending())
        for _ in range(MAX_CONTINUATIONS):
            answered_by = await self._call(turn, targets)
            if self._is_cut_by_steering() and self._assembler.finished is None:
                return self._assembler.steer()
            if not self._assembler.paused:
                break
            targets = (answered_by,)  # the blocks to continue are this target's own
            turn = replace(turn, pending=(*turn.pending, *self._last_record()))
        return self._assembler.finish(self._now())

    def _now(self) -> int:
        return int(self._ports.now())

    def _warm_up(self) -> Terminal:
        self._progress.assembler = self._assembler
        self._assembler.begin()
        return self._assembler.finish(self._now())

    async def _compact(self, request: CreateResponse, context: Context, targets: tuple[Target, ...]) -> Context:
        compacted = await compact_context(request, context, targets, self._ports, self._project)
        self._progress.assembler = self._assembler
        self._begin()
        self._assembler.add_usage(compacted.usage)
        self._assembler.add_item(
            "compaction", compaction_item, compacted.encrypted_content, "response.compaction.compacting"
        )
        return compacted.context

    def _last_record(self) -> tuple[ReplayRecord, ...]:
        record = self._assembler.turns[-1].record
        return () if record is None else (record,)

    async def _call(self, turn: Turn, targets: tuple[Target, ...]) -> Target:
        async with await self._open(turn, targets) as answering:
            target = answering.target
            for item_id, reason in () if self._has_called else answering.removed:
                self._assembler.note_removed(item_id, reason)
            self._has_called = True
            self._begin()
            self._assembler.begin_turn(target.vendor.dialect, target.vendor.scope, target.model)
            try:
                await self._read(answering)
            finally:
                self._assembler.end_turn()
        if self._assembler.failure is not None:
            raise self._assembler.failure
        self._note_turn()
        self._learn(turn, target)
        return target

    def _learn(self, turn: Turn, target: Target) -> None:
        """Hold our estimate of a first model turn against what the provider counted."""
        counted = self._assembler.usage.input_tokens
        if len(self._assembler.turns) == 1 and counted and self._ports.learned.is_due(target.name):
            self._ports.learned.observe(target.name, turn_tokens(turn), counted)

    async def _open(self, turn: Turn, targets: tuple[Target, ...]) -> Answering:
        """Open the upstream; a context that is too long is cut from its beginning where the request allows it."""
        trimmer = Trimmer(turn, partial(self._ports.learned.corrected, targets[0].name))
        turn = trimmer.fit(targets)
        try:
            return await open_upstream(turn, targets, self._ports, self._holding, self._note_attempt)
        except UpstreamFault as fault:
            shorter = trimmer.shorten(fault)
            if shorter is None:
                raise
            return await open_upstream(shorter, targets, self._ports, self._holding, self._note_attempt)

    def _note_attempt(self, target: Target, request: HttpRequest) -> None:
        if self.is_strict:
            check_honoured(request, target)
        self._progress.target = target.name
        self._progress.dropped = request.dropped
        self._progress.assembler = self._assembler

    def _note_turn(self) -> None:
        """A model turn is whole: from here another worker could go on."""
        assembler = self._assembler
        self._progress.checkpoint = Checkpoint(
            tuple(assembler.turns),
            assembler.usage,
            self._progress.target,
            not assembler.paused,
            assembler.paused,
            assembler.finished,
        )

    def _is_cut_by_steering(self) -> bool:
        """New input of the user ends the answer where it is, unless the client owes it outputs of calls already."""
        return self._progress.is_steered and not self._assembler.has_calls

    def _begin(self) -> None:
        if not self.has_begun:
            self.has_begun = True
            self._assembler.begin()

    async def _read(self, answering: Answering) -> None:
        self._progress.reading = answering.reply
        try:
            await answering.read(self._assembler, self._is_cut_by_steering)
        finally:
            self._progress.reading = None
