"""Try the targets of a model in order until one answers 2xx.

Retries and failover happen here and only before the first byte of a model's answer: afterwards nothing is repeated.
A fault says by its kind whether the same target may be asked again and whether another one may (`FAULTS`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final

from antiphon.protocol.errors import InvalidRequest, TruncatedStream, UpstreamFault
from antiphon.providers.base import Dialect, HttpRequest, Target, Turn

from .assembler import Assembler
from .holding import Holding
from .media import with_media
from .ports import Ports, Reply

ATTEMPTS_PER_TARGET: Final = 3
MAX_WAIT_S: Final = 8.0
_MAX_ERROR_BYTES: Final = 256 * 1024


class _Call:
    """An upstream call whose block may hand it on: then it stays open, and closes with the block of its Answering."""

    def __init__(self, opening: AbstractAsyncContextManager[Reply]) -> None:
        self.opening = opening
        self.is_handed_on = False

    async def __aenter__(self) -> _Call:
        self.reply = await self.opening.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.is_handed_on:
            await self.opening.__aexit__(kind, error, trace)


class Answering:
    """A target that answered 2xx, and what is needed to read it: not the request, whose body may be large.

    Its block owns the connection. `removed` as in HttpRequest.
    """

    def __init__(self, target: Target, dialect: Dialect, request: HttpRequest, call: _Call) -> None:
        self.target = target
        self.decoder = dialect.decoder(target, request)
        self.removed = request.removed
        self.reply = call.reply
        self._opening = call.opening

    async def __aenter__(self) -> Answering:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opening.__aexit__(kind, error, trace)

    async def read(self, assembler: Assembler, is_cut: Callable[[], bool] = lambda: False) -> None:
        """Assemble the answer to its end, or to where it fails or is cut. Raises UpstreamFault.

        `is_cut` is asked before and after: who cuts an answer while it is read hangs up.
        """
        decoder = self.decoder

        def take(data: bytes) -> bool:
            assembler.apply_all(decoder.feed(data))
            # Some servers keep the connection open after their last event.
            return assembler.finished is None and assembler.failure is None

        if not is_cut():
            await self.reply.pour(take)
        if assembler.failure is not None or is_cut():
            return
        try:
            assembler.apply_all(decoder.close())
        except TruncatedStream as error:
            raise UpstreamFault(
                "transport", "The model provider closed the stream before the answer was complete."
            ) from error


async def open_upstream(
    turn: Turn,
    targets: Sequence[Target],
    ports: Ports,
    holding: Holding,
    on_attempt: Callable[[Target, HttpRequest], None],
) -> Answering:
    """The first target that answers; the caller enters it at once.

    `on_attempt` hears of every call before it is sent, and may refuse it with InvalidRequest. Raises InvalidRequest
    when the turn cannot be encoded for any target, UpstreamFault when none answered.
    """
    last: UpstreamFault | InvalidRequest | None = None
    for target in targets:
        dialect = ports.dialects[target.vendor.dialect]
        try:
            request = dialect.encode(await readable(turn, target, ports, holding), target)
            on_attempt(target, request)
        except InvalidRequest as refusal:
            last = refusal  # what one provider cannot be asked, the next one perhaps can
            continue
        try:
            call = await _attempts(dialect, request, ports)
        except UpstreamFault as fault:
            last = fault
            if not fault.fault.fall_over:
                raise
        else:
            return Answering(target, dialect, request, call)
    assert last is not None, "a model resolves to at least one target"
    raise last


async def readable(turn: Turn, target: Target, ports: Ports, holding: Holding) -> Turn:
    """The turn with what the target cannot fetch itself. Raises InvalidRequest for what nobody can, and Overloaded."""
    if ports.fetch_media is None:
        return turn
    reads = ports.dialects[target.vendor.dialect].reads_urls(target)
    return await with_media(turn, reads, ports.fetch_media, holding)


def check_honoured(request: HttpRequest, target: Target) -> None:
    """Raises InvalidRequest for what the target cannot honour: for projects that are strict."""
    if request.dropped:
        raise InvalidRequest(
            f"Unsupported parameter: '{request.dropped[0]}' cannot be honoured by {target.name}, and this project is "
            "strict. Leave it out, or choose another model.",
            param=request.dropped[0],
            code="unsupported_parameter",
        )


async def check_encodable(
    turn: Turn, targets: Sequence[Target], ports: Ports, holding: Holding, *, is_strict: bool
) -> None:
    """Raises InvalidRequest when the turn cannot be encoded for any target."""
    last: InvalidRequest | None = None
    for target in targets:
        try:
            asked = await readable(turn, target, ports, holding)
            request = ports.dialects[target.vendor.dialect].encode(asked, target)
            if is_strict:
                check_honoured(request, target)
        except InvalidRequest as refusal:
            last = refusal
        else:
            return
    if last is not None:
        raise last


async def _attempts(dialect: Dialect, request: HttpRequest, ports: Ports) -> _Call:
    attempt = 1
    while True:
        try:
            return await _attempt(dialect, request, ports)
        except UpstreamFault as fault:
            wait_s = 0.0 if _is_stale(fault, request, attempt) else _wait_s(fault, attempt)
            if wait_s is None:
                raise
        await ports.sleep(wait_s)
        attempt += 1


async def _attempt(dialect: Dialect, request: HttpRequest, ports: Ports) -> _Call:
    async with _Call(ports.send(request)) as call:
        reply = call.reply
        if not 200 <= reply.status < 300:
            body = await reply.read(_MAX_ERROR_BYTES)
            raise dialect.fault(reply.status, reply.headers, body)
        call.is_handed_on = True
        return call


def _is_stale(fault: UpstreamFault, request: HttpRequest, attempt: int) -> bool:
    """A credential that a cloud has taken back before its time: the next attempt is signed with a new one."""
    return fault.kind == "auth" and request.credential is not None and fault.status is not None and attempt == 1


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
