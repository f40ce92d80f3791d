"""How much a project may ask for in a minute: requests and tokens, by its `[[project]]` table.

    admit     takes one request and the tokens that it may need, or says when to come back
    settle    corrects the tokens, once they are counted
    share     tells the store what was taken here, and hears what was taken everywhere

A limit is a bucket that holds a minute's worth and fills evenly. All processes of an installation take from the same
ones, and tell each other once a second, and at once where one took much: what they let in meanwhile is owed
(decision 0029).
Source: OpenAI's guide to rate limits and its headers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from antiphon.protocol.errors import Headers, LimitReached
from antiphon.store.base import StoreUnavailable
from antiphon.store.engine import Watch
from antiphon.store.rate_limits import Spent
from antiphon.store.store import Store

from .projects import Projects

logger: Final = logging.getLogger("antiphon.access")
Clock = Callable[[], float]
Kind = Literal["requests", "tokens"]
_MINUTE_S: Final = 60.0
_SHARED_EVERY_S: Final = 1.0
_MOST_OWED_S: Final = 600.0
"""Whatever a provider claims to have counted, a project waits no longer for it."""
_MUCH_S: Final = 2.0
"""Who took more than flows in meanwhile tells the others at once: a thirtieth of what there can be."""
_INSTANT_S: Final = 1e-6
"""Sums of floats are as good as this."""


class _Bucket:
    """One limit of one project. It will be full at `full_at`; `untold_s` of that the store does not know yet.

    `due` is woken where that is much.
    """

    def __init__(self, project: str, kind: Kind, per_minute: int, due: Watch) -> None:
        self.project = project
        self.kind: Final = kind
        self.per_minute = per_minute
        self.full_at = 0.0
        self.untold_s = 0.0
        self._refill_s = _MINUTE_S / per_minute
        self._names = tuple(f"x-ratelimit-{what}-{kind}" for what in ("limit", "remaining", "reset"))
        self._limit = str(per_minute)
        self._due = due

    def needed(self, tokens: int) -> int:
        """What a request takes that may need so many tokens: no more than there can be."""
        return 1 if self.kind == "requests" else min(tokens, self.per_minute)

    def owed_s(self, now: float) -> float:
        """Until it is full."""
        return max(self.full_at - now, 0.0)

    def left(self, owed_s: float) -> int:
        """What there is, where so much is owed."""
        return min(max(int((_MINUTE_S - owed_s + _INSTANT_S) / self._refill_s), 0), self.per_minute)

    def wait_s(self, amount: int, now: float) -> float:
        """Until there is so much; none or less if it is there."""
        return self.owed_s(now) + amount * self._refill_s - _MINUTE_S - _INSTANT_S

    def take(self, amount: int, now: float) -> None:
        """Take so much, whether it is there or not; less than nothing is given back."""
        full_at = max(self.full_at, now)
        self.full_at = min(full_at + amount * self._refill_s, now + _MOST_OWED_S)
        self.untold_s += self.full_at - full_at
        if self.untold_s > _MUCH_S:
            self._due.wake()

    def headers(self, now: float) -> Headers:
        """OpenAI's x-ratelimit headers."""
        limit, remaining, reset = self._names
        owed_s = self.owed_s(now)
        return (limit, self._limit), (remaining, str(self.left(owed_s))), (reset, _duration(owed_s))


class Admission:
    """What one request has taken from the limits of its project. `headers` tell what was left then."""

    def __init__(self, buckets: Sequence[_Bucket], estimate: int, clock: Clock, headers: Headers) -> None:
        self._buckets = buckets
        self._estimate = estimate
        self._clock = clock
        self.headers = headers

    def settle(self, tokens: int) -> None:
        """So many tokens were used in the end."""
        for bucket in self._buckets:
            if bucket.kind == "tokens":
                bucket.take(tokens - bucket.needed(self._estimate), self._clock())


FREE: Final = Admission((), 0, time.monotonic, ())
"""Of a project without limits."""


class RateLimits:
    """The limits of all projects, as this process knows them."""

    def __init__(self, projects: Projects, store: Store, clock: Clock = time.monotonic) -> None:
        """`clock`: seconds that only grow."""
        self._projects = projects
        self._store = store
        self._clock = clock
        self._buckets: dict[str, Sequence[_Bucket]] = {}
        self._due = Watch(_SHARED_EVERY_S)

    async def admit(self, project: str, estimate: Callable[[], int]) -> Admission:
        """Take a request, and the tokens that it is estimated to need. Raises LimitReached and StoreUnavailable."""
        buckets = self._buckets.get(project) or await self._buckets_of(project)
        if not buckets:
            return FREE
        tokens, now = estimate(), self._clock()
        for bucket in buckets:
            amount = bucket.needed(tokens)
            if bucket.wait_s(amount, now) > 0:
                raise _reached(bucket, amount, now, _headers(buckets, now))
        for bucket in buckets:
            bucket.take(bucket.needed(tokens), now)
        return Admission(buckets, tokens, self._clock, _headers(buckets, now))

    async def admitted(self, project: str, estimate: Callable[[], int]) -> Admission:
        """Of a request that was taken on before, here or in another process; tells nothing. Raises StoreUnavailable."""
        buckets = await self._buckets_of(project)
        if not buckets:
            return FREE
        return Admission(buckets, estimate(), self._clock, ())

    async def _buckets_of(self, project: str) -> Sequence[_Bucket]:
        """A project's limits; those that this process does not know yet are asked for."""
        known = self._buckets.get(project)
        if known is not None:
            return known
        row = await self._projects.row(project)
        found: list[_Bucket] = []
        if row is not None and row.requests_per_minute is not None:
            found.append(_Bucket(project, "requests", row.requests_per_minute, self._due))
        if row is not None and row.tokens_per_minute is not None:
            found.append(_Bucket(project, "tokens", row.tokens_per_minute, self._due))
        await self._exchange(found)
        return self._buckets.setdefault(project, tuple(found))

    async def share(self) -> None:
        """Tell the store what is taken, for as long as this runs; there may be nothing to tell, ever."""
        while self._projects.are_limited:
            await self._due.wait()
            if not await self.tell():
                await asyncio.sleep(_SHARED_EVERY_S)

    async def tell(self) -> bool:
        """Tell the store what was taken since it was last told; False where it cannot be told now."""
        active = [buckets for buckets in self._buckets.values() if any(bucket.untold_s for bucket in buckets)]
        try:
            await self._exchange([bucket for buckets in active for bucket in buckets])
        except StoreUnavailable as error:
            logger.error("limits not shared", extra={"reason": str(error)})
            return False
        return True

    async def _exchange(self, buckets: Sequence[_Bucket]) -> None:
        if not buckets:
            return
        told = sorted(buckets, key=lambda bucket: (bucket.project, bucket.kind))  # in one order: nobody waits in a ring
        spent = [Spent(bucket.project, bucket.kind, bucket.untold_s) for bucket in told]
        for bucket in told:
            bucket.untold_s = 0.0
        try:
            owed_s = await self._store.spend(spent)
        except StoreUnavailable:
            for bucket, one in zip(told, spent, strict=True):
                bucket.untold_s += one.refill_s
            raise
        now = self._clock()
        for bucket, seconds in zip(told, owed_s, strict=True):
            bucket.full_at = now + max(seconds, 0.0) + bucket.untold_s


def _reached(bucket: _Bucket, amount: int, now: float, told: Headers) -> LimitReached:
    wait_s, left = bucket.wait_s(amount, now), bucket.left(bucket.owed_s(now))
    message = (
        f"This project may use {bucket.per_minute:,} {bucket.kind} a minute: {left:,} are left now and "
        f"{amount:,} are needed. Please try again in {_duration(wait_s)}."
    )
    return LimitReached(message, bucket.kind, retry_after_s=wait_s, limits=told)


def _headers(buckets: Sequence[_Bucket], now: float) -> Headers:
    return tuple([header for bucket in buckets for header in bucket.headers(now)])


def _duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: `120ms`, `7.5s`, `6m0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest_s = divmod(round(seconds), 60)
    return f"{minutes}m{rest_s}s" if minutes else f"{milliseconds / 1000:g}s"
