"""A run's log to the wire: the one place where JSON and SSE differ.

Both wait for the first event or the refusal; JSON then waits for the close and sends the terminal response, SSE follows
the log, one write per batch of events, with a comment when the model is silent.
"""

from __future__ import annotations

from typing import Final

from antiphon.protocol.errors import ServerFault
from antiphon.protocol.events import ResponseCompleted, ResponseFailed, ResponseIncomplete
from antiphon.protocol.sse import DONE, HEARTBEAT
from antiphon.runs.run import Run

from .asgi import Exchange, Headers

_EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
_STREAM_HEADERS: Final = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


async def send_json(exchange: Exchange, run: Run) -> None:
    """The terminal response as one JSON body. Raises the run's ApiError if it was refused."""
    log = run.log
    while not log.is_closed:
        await log.wait(len(log))
    if log.error is not None:
        raise log.error
    last = log.last
    if not isinstance(last, ResponseCompleted | ResponseIncomplete | ResponseFailed):
        raise ServerFault("The response has no end. Please try again.")
    await exchange.answer(200, bytes(last.response), _run_headers(run))


async def send_stream(exchange: Exchange, run: Run, heartbeat_s: float) -> None:
    """The log as server-sent events. Raises the run's ApiError if it was refused before its first event."""
    log = run.log
    await log.wait(0)
    if not len(log):
        raise log.error or ServerFault("The response has no events. Please try again.")
    is_padded = run.request.include_obfuscation
    await exchange.start(200, _EVENT_STREAM, (*_STREAM_HEADERS, *_run_headers(run)))
    sent = 0
    while not exchange.is_gone:
        end = len(log)
        frames = log.frames(sent, end, is_padded=is_padded)
        sent = end
        if log.is_closed:
            await exchange.write(frames + DONE, is_last=True)
            return
        if frames:
            await exchange.write(frames)
        if not await log.wait(sent, heartbeat_s):
            await exchange.write(HEARTBEAT)


def _run_headers(run: Run) -> Headers:
    dropped = run.progress.dropped
    return (("antiphon-dropped", ", ".join(dropped)),) if dropped else ()
