"""Try the targets of a model in order until one answers 2xx.

Retries and failover happen here and only before the first byte of a model's answer: afterwards nothing is repeated.
A fault says by its kind whether the same target may be asked again and whether another one may (`FAULTS`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from antiphon.protocol.errors import InvalidRequest, UpstreamFault
from antiphon.providers.base import Dialect, HttpRequest, Target, Turn

from .ports import Ports, Reply

ATTEMPTS_PER_TARGET: Final = 3
MAX_WAIT_S: Final = 8.0
_MAX_ERROR_BYTES: Final = 256 * 1024


class Answering:
    """A target that answered 2xx, and what is needed to read it."""

    def __init__(self, target: Target, dialect: Dialect, request: HttpRequest, reply: Reply) -> None:
        self.target = target
        self.dialect = dialect
        self.request = request
        self.reply = reply


async def open_upstream(
    turn: Turn,
    targets: Sequence[Target],
    ports: Ports,
    stack: AsyncExitStack,
    on_attempt: Callable[[Target, HttpRequest], None],
) -> Answering:
    """The first target that answers; its connection belongs to `stack`.

    Raises InvalidRequest when the turn cannot be encoded for any target, UpstreamFault when none answered.
    """
    last: UpstreamFault | InvalidRequest | None = None
    for target in targets:
        dialect = ports.dialects[target.vendor.dialect]
        try:
            request = dialect.encode(turn, target)
        except InvalidRequest as refusal:
            last = refusal  # what one provider cannot be asked, the next one perhaps can
            continue
        on_attempt(target, request)
        try:
            reply = await _attempts(dialect, request, ports, stack)
        except UpstreamFault as fault:
            last = fault
            if not fault.fault.fall_over:
                raise
        else:
            return Answering(target, dialect, request, reply)
    assert last is not None, "a model resolves to at least one target"
    raise last


def check_encodable(turn: Turn, targets: Sequence[Target], ports: Ports) -> None:
    """Raises InvalidRequest when the turn cannot be encoded for any target."""
    last: InvalidRequest | None = None
    for target in targets:
        try:
            ports.dialects[target.vendor.dialect].encode(turn, target)
        except InvalidRequest as refusal:
            last = refusal
        else:
            return
    if last is not None:
        raise last


async def _attempts(dialect: Dialect, request: HttpRequest, ports: Ports, stack: AsyncExitStack) -> Reply:
    attempt = 1
    while True:
        try:
            return await _attempt(dialect, request, ports, stack)
        except UpstreamFault as fault:
            wait_s = _wait_s(fault, attempt)
            if wait_s is None:
                raise
        await ports.sleep(wait_s)
        attempt += 1


async def _attempt(dialect: Dialect, request: HttpRequest, ports: Ports, stack: AsyncExitStack) -> Reply:
    async with AsyncExitStack() as attempt:
        reply = await attempt.enter_async_context(ports.send(request))
        if not 200 <= reply.status < 300:
            body = await reply.read(_MAX_ERROR_BYTES)
            raise dialect.fault(reply.status, reply.headers, body)
        stack.push_async_exit(attempt.pop_all())
        return reply


def _wait_s(fault: UpstreamFault, attempt: int) -> float | None:
    """Seconds before the same target is asked again, or None not to ask it again.

    A hint longer than a client would wait is passed on to the client instead of being slept through.
    """
    may_retry = fault.fault.retry_same if fault.should_retry is None else fault.should_retry
    if not may_retry or attempt >= ATTEMPTS_PER_TARGET:
        return None
    if fault.retry_after_s is not None:
        return fault.retry_after_s if fault.retry_after_s <= MAX_WAIT_S else None
    backoff_s = min(0.5 * 2 ** (attempt - 1), MAX_WAIT_S)
    return backoff_s * (0.75 + random.random() / 4)  # noqa: S311 - jitter, not a secret
