"""One run: admit, respond, settle, save, close. The three hooks of a response's life are visible here and only here."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final, Literal

import msgspec

from antiphon.access.limits import FREE, Admission
from antiphon.engine.assembler import Assembler
from antiphon.engine.context_base import Origin
from antiphon.engine.conversation_items import items_of_input, items_of_output
from antiphon.engine.estimate import request_tokens
from antiphon.engine.history import encode_input, encode_turns
from antiphon.engine.ports import Ports
from antiphon.engine.recovery import restore
from antiphon.engine.respond import Assignment, Outcome, Progress, Recovered, respond
from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import ApiError, InvalidRequest, NotFound, ServerFault, Unavailable
from antiphon.protocol.events import ResponseFailed, Terminal
from antiphon.protocol.ids import new_id
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.response import ResponseError, new_response
from antiphon.store.base import (
    ConversationItem,
    ConversationRow,
    IdempotentAnswer,
    LeaseLost,
    Settlement,
    StoredResponse,
    StoreUnavailable,
    UsageRow,
    WebhookEvent,
)
from antiphon.store.conversations import ConversationBusy

from .echoes import Echoes, long_echoes
from .log import EventLog
from .recorder import Recorder

logger: Final = logging.getLogger("antiphon.runs")
POLLED_S: Final = 600
"""How long a background response with store:false is there to be polled."""
_SETTLE_TRIES: Final = 8

Stop = Literal["left", "cancelled", "lost", "draining"]


class Run(msgspec.Struct, eq=False):
    """A request in progress. `progress` is what the edge may tell before the end.

    `recorder` is there for background runs: it writes down what they come to. `stop` says why the task was cancelled.
    `admission` is what it takes from its project's limits.
    `queued` is the row that a background run began with; `stored` the response as its row, once it is over, where it
    goes into the store or `is_remembered` by whoever asked for it; `cost_nano_usd` what it cost by then, None where its
    model has no price.
    """

    id: str
    project: str
    key_id: str
    request: CreateResponse
    log: EventLog = msgspec.field(default_factory=EventLog)
    progress: Progress = msgspec.field(default_factory=Progress)
    origin: Origin = Origin("")
    created_at: int = 0
    recorder: Recorder | None = None
    recovered: Recovered | None = None
    idempotency_key: str | None = None
    stop: Stop = "left"
    stored: StoredResponse | None = None
    is_remembered: bool = False
    queued: StoredResponse | None = None
    cost_nano_usd: int | None = None
    admission: Admission = FREE


async def execute(run: Run, ports: Ports) -> None:
    """Carry the run to the close of its log, whatever happens; raises only CancelledError."""
    try:
        await _admit(run, ports)
        outcome = await respond(_assignment(run, ports), ports, run.log.extend, run.progress)
        await _settle(run, outcome, ports)
    except asyncio.CancelledError:
        await asyncio.shield(_cut(run, ports))
        raise
    except ApiError as error:
        await _refuse(run, error, ports)
    except LeaseLost:
        logger.warning("run was taken over by another worker", extra={"run": run.id})
        run.stop = "lost"
        run.log.close()
    except StoreUnavailable as error:
        logger.error("store unavailable", extra={"run": run.id, "reason": str(error)})
        run.log.close(
            Unavailable("The server cannot reach its database now. Please try again.", code="store_unavailable")
        )
    except Exception:
        logger.exception("run failed", extra={"run": run.id})
        await _close_broken(run, ports)
    finally:
        _settle_limits(run)


def _assignment(run: Run, ports: Ports) -> Assignment:
    run.created_at = run.created_at or int(ports.now())
    return Assignment(run.request, run.id, run.created_at, run.origin, run.recovered)


async def _admit(run: Run, ports: Ports) -> None:
    """Take from the project's limits, and hold the conversation, if the request names one."""
    if run.recorder is None:
        run.admission = await admit(run.project, run.request, ports)
    elif ports.limits is not None:
        run.admission = await ports.limits.admitted(run.project, partial(request_tokens, run.request))
    if run.request.conversation is not None:
        row = await hold_conversation(run.project, run.request.conversation, run.id, ports, ports.lease_s * 4)
        run.origin = Origin(run.project, row, run.origin.local)


async def admit(project: str, request: CreateResponse, ports: Ports) -> Admission:
    """What a request takes from its project's limits. Raises LimitReached and StoreUnavailable."""
    if ports.limits is None:
        return FREE
    return await ports.limits.admit(project, partial(request_tokens, request))


async def hold_conversation(
    project: str, conversation_id: str, holder: str, ports: Ports, lease_s: float
) -> ConversationRow:
    """The conversation, held for one response. Raises NotFound, and InvalidRequest (conversation_locked)."""
    try:
        row = await ports.store.lock_conversation(project, conversation_id, holder, lease_s)
    except ConversationBusy as error:
        raise InvalidRequest(
            "Another process is currently operating on this conversation. Please retry in a few seconds.",
            param="conversation",
            code="conversation_locked",
        ) from error
    if row is None:
        raise NotFound(f"Conversation with id '{conversation_id}' not found.")
    return row


async def keep(run: Run, ports: Ports) -> None:
    """Renew what the run holds for as long as it takes."""
    while True:
        await asyncio.sleep(ports.lease_s)
        try:
            if run.request.conversation is not None:
                await ports.store.renew_conversation(run.request.conversation, run.id, ports.lease_s * 4)
            if run.idempotency_key is not None:
                await ports.store.renew_key(run.project, run.idempotency_key, run.id, ports.lease_s * 4)
        except StoreUnavailable as error:
            logger.error("store unavailable", extra={"run": run.id, "reason": str(error)})


async def _settle(run: Run, outcome: Outcome, ports: Ports) -> None:
    """Store first, then say so: whoever has seen the terminal event can refer to the response."""
    seen = ports.links.seen(run.request.previous_response_id)
    terminal = outcome.terminal
    if run.recorder is not None:
        await run.recorder.stop()
        run.log.append(terminal)  # followers see what is recorded, and this is recorded with the response
        await _settle_surely(settlement(run, outcome, ports), ports)
        _keep_link(run, seen, ports)
        run.log.close()
        return
    try:
        await ports.store.settle(settlement(run, outcome, ports))
        _keep_link(run, seen, ports)
    except StoreUnavailable as error:
        logger.error("response not stored", extra={"run": run.id, "reason": str(error)})
        if not run.request.stream:
            raise
        terminal = _not_stored(outcome)
    run.log.append(terminal)
    run.log.close()


def _keep_link(run: Run, seen: int | None, ports: Ports) -> None:
    """What goes on with a chain that is in memory is likely to be gone on with."""
    if seen is not None and run.stored is not None and run.request.store:
        ports.links.keep(run.stored, seen)


async def _settle_surely(end: Settlement, ports: Ports) -> None:
    """A finished background answer waits for its database rather than be made again. Raises as `settle`."""
    for attempt in range(_SETTLE_TRIES):
        try:
            await ports.store.settle(end)
        except StoreUnavailable as error:
            logger.error("response not stored", extra={"run": end.usage.response_id, "reason": str(error)})
            if attempt == _SETTLE_TRIES - 1:
                raise
            await ports.sleep(min(0.25 * 2**attempt, 5.0))
        else:
            return


def settlement(run: Run, outcome: Outcome, ports: Ports) -> Settlement:
    """What the end of this run writes."""
    response = outcome.response
    is_recorded = run.recorder is not None
    is_stored = run.request.store or is_recorded
    is_made = is_stored or run.is_remembered
    echoes = long_echoes(response, run.request, partial(ports.store.meet, run.project)) if is_made else Echoes()
    run.stored = stored_response(run, outcome, echoes, ports) if is_made else None
    has_items = run.origin.conversation is not None and response.status in ("completed", "incomplete")
    return Settlement(
        response=run.stored if is_stored else None,
        usage=_usage_row(run, response.status, ports),
        echoes=tuple(filter(None, echoes)) if is_stored else (),
        holder=run.id,
        conversation=run.request.conversation,
        items=_conversation_items(run, outcome) if has_items else (),
        lease=run.recorder.lease if run.recorder is not None else None,
        events=run.log.batch(run.recorder.written) if run.recorder is not None else None,
        events_expire_at=int(ports.now()) + ports.events_s,
        keeps_events=run.request.stream,
        webhook=_webhook_event(run, response.status, ports) if is_recorded else None,
        idempotency_key=None if is_recorded else run.idempotency_key,
        idempotent=None if is_recorded or run.idempotency_key is None else _idempotent(run, outcome.terminal),
    )


def stored_response(run: Run, outcome: Outcome, echoes: Echoes, ports: Ports) -> StoredResponse:
    """The response as its row, without these echoes."""
    response = outcome.response
    expires_at = None if ports.retention_s is None else response.created_at + ports.retention_s
    if not run.request.store:
        expires_at = int(ports.now()) + POLLED_S
    conversation = run.origin.conversation
    return StoredResponse(
        id=run.id,
        project=run.project,
        previous_response_id=response.previous_response_id,
        status=response.status,
        model=response.model,
        created_at=response.created_at,
        expires_at=expires_at,
        body=echoes.body_without(response) if any(echoes) else bytes(outcome.terminal.response),
        input=encode_input(outcome.own_input, run.id) if run.queued is None else run.queued.input,
        turns=encode_turns(outcome.turns),
        conversation=None if conversation is None else conversation.id,
        conversation_position=None if conversation is None else conversation.next_position,
        instructions_hash=echoes.instructions and echoes.instructions.hash,
        tools_hash=echoes.tools and echoes.tools.hash,
    )


def _conversation_items(run: Run, outcome: Outcome) -> tuple[ConversationItem, ...]:
    own = items_of_input(outcome.own_input, run.id)
    return (*own, *items_of_output(outcome.response.output, outcome.turns, run.id))


def _idempotent(run: Run, terminal: Terminal) -> IdempotentAnswer:
    if not run.request.stream:
        return IdempotentAnswer(run.id, "json", bytes(terminal.response))
    return IdempotentAnswer(
        run.id, "events", b"\n".join((*run.log.payloads(0, len(run.log)), run.log.preview(terminal)))
    )


def _webhook_event(run: Run, status: str, ports: Ports) -> WebhookEvent:
    """Only the id goes out; the receiver fetches the response. Source: OpenAI webhooks guide."""
    event_id, kind = new_id("evt"), f"response.{status}"
    payload = {
        "id": event_id,
        "object": "event",
        "created_at": int(ports.now()),
        "type": kind,
        "data": {"id": run.id},
    }
    return WebhookEvent(event_id, kind, msgspec.json.encode(payload))


def _usage_row(run: Run, status: str, ports: Ports) -> UsageRow:
    usage: Usage = run.progress.usage
    run.cost_nano_usd = ports.cost(run.progress.target, usage)
    return UsageRow(
        response_id=run.id,
        project=run.project,
        key_id=run.key_id,
        model=run.request.model,
        target=run.progress.target,
        created_at=int(ports.now()),
        status=status,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_nano_usd=run.cost_nano_usd,
    )


def _settle_limits(run: Run) -> None:
    """What was taken by estimate becomes what was counted.

    It stands where a model answered and nobody counted. What is used by a run that goes on elsewhere is said there.
    """
    goes_on = run.recorder is not None and run.stop in ("lost", "draining")
    used = run.progress.usage.total_tokens
    is_answered = len(run.log) > 0 and run.request.generate
    if not goes_on and (used or not is_answered):
        run.admission.settle(used)


def _not_stored(outcome: Outcome) -> Terminal:
    response = outcome.response
    response.status = "failed"
    response.completed_at = None
    response.incomplete_details = None
    response.error = ResponseError("server_error", "The response could not be stored. Please try again.")
    return ResponseFailed(msgspec.Raw(msgspec.json.encode(response)))


async def _cut(run: Run, ports: Ports) -> None:
    """The task was cancelled: what the model has produced so far is still metered, and nothing stays held."""
    try:
        match run.stop:
            case "cancelled" if run.progress.assembler is not None:
                await _settle(run, run.progress.outcome(run.progress.assembler.cancel()), ports)
            case "cancelled" if run.recorder is not None:
                await end_without_model(run, None, ports)
            case "draining" if run.recorder is not None:
                await run.recorder.hand_over()
            case "draining" if len(run.log) and run.progress.assembler is not None:
                fault = ServerFault("The server was stopped before the answer was complete. Please try again.")
                await _settle(run, run.progress.outcome(run.progress.assembler.fail(fault)), ports)
            case "lost":
                pass
            case _:
                await _give_back(run, ports)
                if run.progress.assembler is not None:
                    await ports.store.settle(Settlement(response=None, usage=_usage_row(run, "cancelled", ports)))
    except LeaseLost:
        pass  # it ended, or was taken over, in this very moment: what was written stands
    except StoreUnavailable as error:
        logger.error("end of a cut run not written", extra={"run": run.id, "reason": str(error)})
    if not run.log.is_closed:
        run.log.close(ServerFault("The run was cancelled."))


async def end_without_model(run: Run, error: ApiError | None, ports: Ports) -> None:
    """End a background run that no model is asked for (again): failed, or cancelled where there is no error.

    Raises LeaseLost and StoreUnavailable.
    """
    assert run.recovered is not None, "only background runs are taken up"
    assembler = Assembler(new_response(run.request, run.id, run.created_at), run.log.extend)
    if not restore(assembler, run.recovered.events, run.recovered.checkpoint, run.log.extend):
        assembler.proceed()
    run.progress.assembler = assembler
    run.progress.target = run.recovered.checkpoint.target
    terminal = assembler.cancel() if error is None else assembler.fail(error)
    await _settle(run, run.progress.outcome(terminal), ports)


async def _refuse(run: Run, error: ApiError, ports: Ports) -> None:
    """Nothing has begun: who asked hears why. A background response was promised already, and ends as failed."""
    if run.recorder is None:
        await _give_back(run, ports)
        run.log.close(error)
        return
    try:
        await end_without_model(run, error, ports)
    except (StoreUnavailable, LeaseLost) as fault:
        logger.error("refused run not stored", extra={"run": run.id, "reason": str(fault)})
        run.log.close(error)


async def _give_back(run: Run, ports: Ports) -> None:
    """Nothing came of it: the conversation and the idempotency key are free again."""
    try:
        if run.request.conversation is not None:  # held, or about to be when the run was stopped
            await ports.store.unlock_conversation(run.request.conversation, run.id)
        if run.idempotency_key is not None:
            await ports.store.free_key(run.project, run.idempotency_key, run.id)
    except StoreUnavailable as error:
        logger.error("store unavailable", extra={"run": run.id, "reason": str(error)})


async def _close_broken(run: Run, ports: Ports) -> None:
    """Our own bug: a status before the first event, `response.failed` after it."""
    fault = ServerFault("The server had an error while processing your request. Please try again.")
    assembler = run.progress.assembler
    if assembler is None or not (len(run.log) or run.recorder is not None):
        await _give_back(run, ports)
        run.log.close(fault)
        return
    try:
        await _settle(run, run.progress.outcome(assembler.fail(fault)), ports)
    except (StoreUnavailable, LeaseLost) as error:
        logger.error("broken run not stored", extra={"run": run.id, "reason": str(error)})
        run.log.close(fault)
