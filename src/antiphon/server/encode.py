"""A run's log to the wire: the one place where JSON and SSE differ.

Both wait for the first event or the refusal; JSON then waits for the close and sends the terminal response, SSE follows
the log, one write per batch of events, with a comment when the model is silent.
"""

from __future__ import annotations

from typing import Final

from antiphon.protocol.errors import ServerFault
from antiphon.protocol.events import ResponseCompleted, ResponseFailed, ResponseIncomplete
from antiphon.protocol.sse import DONE, HEARTBEAT
from antiphon.runs.log import Reader
from antiphon.runs.run import Run

from .asgi import Exchange, Headers

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
STREAM_HEADERS: Final = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


async def send_json(exchange: Exchange, run: Run) -> None:
    """The terminal response as one JSON body. Raises the run's ApiError if it was refused."""
    log = run.log
    await log.ended()
    if log.error is not None:
        raise log.error
    last = log.last
    if not isinstance(last, ResponseCompleted | ResponseIncomplete | ResponseFailed):
        raise ServerFault("The response has no end. Please try again.")
    await exchange.answer(200, bytes(last.response), run_headers(run))


async def send_run(exchange: Exchange, run: Run, heartbeat_s: float) -> None:
    """The run's log as server-sent events. Raises the run's ApiError if it was refused before its first event."""
    log = run.log
    await log.wait(0)
    if not len(log):
        raise log.error or ServerFault("The response has no events. Please try again.")
    is_padded = run.request.include_obfuscation
    await send_log(exchange, log, 0, heartbeat_s, is_padded=is_padded, headers=run_headers(run))


async def send_log(
    exchange: Exchange, log: Reader, after: int, heartbeat_s: float, *, is_padded: bool, headers: Headers = ()
) -> None:
    """Events from sequence number `after` on as server-sent events, until the log is closed or the client leaves."""
    await exchange.start(200, EVENT_STREAM, (*STREAM_HEADERS, *headers))
    sent = after
    has_news = True
    while not exchange.is_gone:
        first, sent = sent, max(len(log), sent)
        # No name is kept for the bytes: a stream that waits holds none of what was sent.
        if log.is_closed:
            await exchange.write(log.frames(first, sent, is_padded=is_padded) + DONE, is_last=True)
            return
        if sent > first or not has_news:
            await exchange.write(log.frames(first, sent, is_padded=is_padded) or HEARTBEAT)
        has_news = await log.wait(sent, heartbeat_s)


def run_headers(run: Run) -> Headers:
    """What a run tells beside its response: request fields that the model's provider could not be given."""
    dropped = run.progress.dropped
    return (("antiphon-dropped", ", ".join(dropped)),) if dropped else ()
