"""One run: admit, respond, settle, save, close. The three hooks of a response's life are visible here and only here."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

import msgspec

from antiphon.engine.history import encode_input, encode_turns
from antiphon.engine.ports import Ports
from antiphon.engine.respond import Outcome, Progress, respond
from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import ApiError, ServerFault, Unavailable
from antiphon.protocol.events import ResponseFailed, Terminal
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.response import ResponseError
from antiphon.store.base import Settlement, StoredResponse, StoreUnavailable, UsageRow

from .log import EventLog

logger: Final = logging.getLogger("antiphon.runs")


@dataclass(slots=True)
class Run:
    """A request in progress. `progress` is what the edge may tell before the end."""

    id: str
    project: str
    key_id: str
    request: CreateResponse
    log: EventLog = field(default_factory=EventLog)
    progress: Progress = field(default_factory=Progress)


async def execute(run: Run, ports: Ports) -> None:
    """Carry the run to the close of its log, whatever happens; raises only CancelledError."""
    try:
        outcome = await respond(run.request, run.id, run.project, ports, run.log.append, run.progress)
        await _settle(run, outcome, ports)
    except asyncio.CancelledError:
        # The client left, or the server stops: what the model has produced so far is still metered.
        await asyncio.shield(_meter_cut(run, ports))
        run.log.close(ServerFault("The run was cancelled."))
        raise
    except ApiError as error:
        run.log.close(error)
    except StoreUnavailable as error:
        logger.error("store unavailable", extra={"run": run.id, "reason": str(error)})
        run.log.close(Unavailable("The server cannot reach its database now. Please try again."))
    except Exception:
        logger.exception("run failed", extra={"run": run.id})
        _close_broken(run)


async def _settle(run: Run, outcome: Outcome, ports: Ports) -> None:
    """Store first, then say so: whoever has seen the terminal event can refer to the response."""
    terminal = outcome.terminal
    try:
        usage = _usage_row(run, outcome.response.status, ports)
        await ports.store.settle(Settlement(response=_stored(run, outcome, ports), usage=usage))
    except StoreUnavailable as error:
        logger.error("response not stored", extra={"run": run.id, "reason": str(error)})
        if not run.request.stream:
            raise
        terminal = _not_stored(outcome)
    run.log.append(terminal)
    run.log.close()


def _stored(run: Run, outcome: Outcome, ports: Ports) -> StoredResponse | None:
    if not run.request.store:
        return None
    response = outcome.response
    expires_at = None if ports.retention_s is None else response.created_at + ports.retention_s
    return StoredResponse(
        id=run.id,
        project=run.project,
        previous_response_id=response.previous_response_id,
        status=response.status,
        model=response.model,
        created_at=response.created_at,
        expires_at=expires_at,
        body=bytes(outcome.terminal.response),
        input=encode_input(outcome.own_input, run.id),
        turns=encode_turns(outcome.turns),
    )


def _usage_row(run: Run, status: str, ports: Ports) -> UsageRow:
    usage: Usage = run.progress.usage
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
    )


def _not_stored(outcome: Outcome) -> Terminal:
    response = outcome.response
    response.status = "failed"
    response.completed_at = None
    response.error = ResponseError("server_error", "The response could not be stored. Please try again.")
    return ResponseFailed(msgspec.Raw(msgspec.json.encode(response)))


async def _meter_cut(run: Run, ports: Ports) -> None:
    if run.progress.assembler is None:
        return
    try:
        await ports.store.settle(Settlement(response=None, usage=_usage_row(run, "cancelled", ports)))
    except StoreUnavailable as error:
        logger.error("cut run not metered", extra={"run": run.id, "reason": str(error)})


def _close_broken(run: Run) -> None:
    """Our own bug: a status before the first event, `response.failed` after it."""
    fault = ServerFault("The server had an error while processing your request. Please try again.")
    assembler = run.progress.assembler
    if len(run.log) and assembler is not None:
        run.log.append(assembler.fail(fault))
        run.log.close()
    else:
        run.log.close(fault)
