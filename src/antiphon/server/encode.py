"""A run to the wire: the one place where JSON and SSE differ.

Both carry the run out in the task that answers. JSON then sends the terminal response; SSE has sent the log as it grew,
and ends it. What is refused before its first event is an error in either.
"""

from __future__ import annotations

from functools import partial

from antiphon.protocol.errors import ServerFault
from antiphon.protocol.events import TERMINALS
from antiphon.runs.run import Run
from antiphon.runs.table import RunTable

from .asgi import Exchange, Headers
from .stream import EventStream, Outlet


async def send_json(exchange: Exchange, run: Run, table: RunTable) -> None:
    """The terminal response as one JSON body. Raises the run's ApiError if it was refused."""
    await table.carry(run)
    log = run.log
    if log.error is not None:
        raise log.error
    last = log.last
    if not isinstance(last, TERMINALS):
        raise ServerFault("The response has no end. Please try again.")
    await exchange.answer(200, bytes(last.response), run_headers(run))


async def send_run(exchange: Exchange, run: Run, table: RunTable, outlet: Outlet, heartbeat_s: float) -> None:
    """The run's log as server-sent events. Raises the run's ApiError if it was refused before its first event."""
    log = run.log
    stream = EventStream(
        exchange,
        log,
        heartbeat_s=heartbeat_s,
        is_padded=run.request.include_obfuscation,
        headers=lambda: run_headers(run),
    )
    async with stream:
        log.listen(partial(outlet.note, stream))
        await table.carry(run)
        log.listen(None)
        if not len(log):
            raise log.error or ServerFault("The response has no events. Please try again.")
        await stream.finish()


def run_headers(run: Run) -> Headers:
    """What a run tells beside its response: what its project has left, and what its provider was not given."""
    dropped, left = run.progress.dropped, run.admission.headers
    return (*left, ("antiphon-dropped", ", ".join(dropped))) if dropped else left
