"""Buckets by a clock that stands still until it is told: what is let in, what is left, and what others took."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.access.limits import FREE, RateLimits, _duration
from antiphon.access.projects import Projects
from antiphon.config import ProjectRow
from antiphon.protocol.errors import LimitReached, envelope_of
from antiphon.store.base import KeyRow, StoreUnavailable
from antiphon.store.rate_limits import Spent
from antiphon.store.sqlite import open_sqlite
from antiphon.store.store import Store


class Clock:
    """Seconds, as the test turns them."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_sqlite(tmp_path / "a.db")
    for project in ("ann", "bob"):
        await store.add_key(KeyRow(f"key_{project}", f"proj_{project}", project, f"hash {project}", "sk-…", 1))
    yield store
    await store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits_of(store: Store, clock: Clock) -> Callable[..., RateLimits]:
    return lambda *rows: RateLimits(Projects(store, rows), store, clock)


def needing(tokens: int) -> Callable[[], int]:
    return lambda: tokens


def unasked() -> int:
    raise AssertionError("nobody needs an estimate")


async def test_a_project_without_limits_takes_nothing_and_needs_no_estimate(
    limits_of: Callable[..., RateLimits],
) -> None:
    limits = limits_of(ProjectRow("bob", requests_per_minute=1))
    for _ in range(3):
        assert await limits.admit("proj_ann", unasked) is FREE
    FREE.settle(1_000)
    assert FREE.headers == ()


async def test_requests_beyond_a_minutes_worth_are_told_when_to_come_back(
    limits_of: Callable[..., RateLimits], clock: Clock
) -> None:
    limits = limits_of(ProjectRow("ann", requests_per_minute=2))
    left = [dict((await limits.admit("proj_ann", needing(5))).headers) for _ in range(2)]
    assert [one["x-ratelimit-remaining-requests"] for one in left] == ["1", "0"]
    assert [one["x-ratelimit-reset-requests"] for one in left] == ["30s", "1m0s"]
    clock.now += 10
    with pytest.raises(LimitReached) as caught:
        await limits.admit("proj_ann", needing(5))
    told = dict(caught.value.headers)
    assert (told["retry-after"], told["retry-after-ms"]) == ("20", "20000")
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-remaining-requests"]) == ("2", "0")
    error = envelope_of(caught.value).error
    assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
    assert "2 requests a minute" in error.message
    assert "20s" in error.message
    clock.now += 20
    await limits.admit("proj_ann", needing(5))


@pytest.mark.parametrize("start", [0.1, 1_000.3, 12_345.678, 9_876_543.21])
@pytest.mark.parametrize("per_minute", [1, 7, 60, 299])
async def test_at_one_instant_a_full_bucket_gives_exactly_what_it_holds(
    limits_of: Callable[..., RateLimits], clock: Clock, start: float, per_minute: int
) -> None:
    clock.now = start
    limits = limits_of(ProjectRow("ann", requests_per_minute=per_minute))
    for left in reversed(range(per_minute)):
        told = dict((await limits.admit("proj_ann", needing(0))).headers)
        assert told["x-ratelimit-remaining-requests"] == str(left)
    with pytest.raises(LimitReached):
        await limits.admit("proj_ann", needing(0))


async def test_tokens_are_taken_by_estimate_and_corrected_by_count(
    limits_of: Callable[..., RateLimits], clock: Clock
) -> None:
    limits = limits_of(ProjectRow("ann", tokens_per_minute=1_000))
    first = await limits.admit("proj_ann", needing(900))
    with pytest.raises(LimitReached) as caught:
        await limits.admit("proj_ann", needing(200))
    assert envelope_of(caught.value).error.type == "tokens"
    first.settle(300)
    second = await limits.admit("proj_ann", needing(200))
    second.settle(2_700)  # it took more than anybody thought: the project waits for it
    with pytest.raises(LimitReached) as caught:
        await limits.admit("proj_ann", needing(1))
    assert caught.value.retry_after_s == pytest.approx(120.06)
    clock.now += 120.1
    await limits.admit("proj_ann", needing(1))


async def test_no_count_of_a_provider_keeps_a_project_out_for_long(
    limits_of: Callable[..., RateLimits], clock: Clock
) -> None:
    limits = limits_of(ProjectRow("ann", tokens_per_minute=1_000))
    for _ in range(3):
        (await limits.admitted("proj_ann", needing(0))).settle(10**15)
    with pytest.raises(LimitReached) as caught:
        await limits.admit("proj_ann", needing(1))
    assert caught.value.retry_after_s < 600
    clock.now += 600
    await limits.admit("proj_ann", needing(1_000))


async def test_a_request_that_needs_more_than_there_can_be_is_let_in_when_all_is_there(
    limits_of: Callable[..., RateLimits], clock: Clock
) -> None:
    limits = limits_of(ProjectRow("ann", tokens_per_minute=1_000))
    (await limits.admit("proj_ann", needing(50_000))).settle(100)
    with pytest.raises(LimitReached):
        await limits.admit("proj_ann", needing(50_000))
    clock.now += 6
    await limits.admit("proj_ann", needing(50_000))


async def test_what_one_limit_refuses_takes_nothing_from_the_other(limits_of: Callable[..., RateLimits]) -> None:
    limits = limits_of(ProjectRow("ann", requests_per_minute=3, tokens_per_minute=100))
    await limits.admit("proj_ann", needing(60))
    with pytest.raises(LimitReached):
        await limits.admit("proj_ann", needing(60))
    left = dict((await limits.admit("proj_ann", needing(40))).headers)
    assert (left["x-ratelimit-remaining-requests"], left["x-ratelimit-remaining-tokens"]) == ("1", "0")


async def test_what_is_given_back_is_never_more_than_a_full_bucket(
    limits_of: Callable[..., RateLimits], clock: Clock
) -> None:
    limits = limits_of(ProjectRow("ann", tokens_per_minute=100))
    late = await limits.admit("proj_ann", needing(100))
    clock.now += 60
    late.settle(0)
    left = dict((await limits.admit("proj_ann", needing(0))).headers)
    assert left["x-ratelimit-remaining-tokens"] == "100"
    await limits.admit("proj_ann", needing(100))
    with pytest.raises(LimitReached):
        await limits.admit("proj_ann", needing(10))


async def test_the_row_for_all_others_is_for_each_of_them_by_itself(limits_of: Callable[..., RateLimits]) -> None:
    limits = limits_of(ProjectRow("*", requests_per_minute=1), ProjectRow("bob", requests_per_minute=2))
    await limits.admit("proj_ann", needing(0))
    for _ in range(2):
        await limits.admit("proj_bob", needing(0))
    for project in ("proj_ann", "proj_bob"):
        with pytest.raises(LimitReached):
            await limits.admit(project, needing(0))


async def test_processes_take_from_the_same_limits(limits_of: Callable[..., RateLimits]) -> None:
    row = ProjectRow("ann", requests_per_minute=6_000, tokens_per_minute=600_000)
    here, there = limits_of(row), limits_of(row)
    await there.admit("proj_ann", needing(0))
    for _ in range(1_000):
        await here.admit("proj_ann", needing(400))
    await there.admit("proj_ann", needing(0))  # a moment ago, nobody knew
    await here.tell()
    await there.tell()
    left = dict((await there.admit("proj_ann", needing(100_000))).headers)
    assert 4_990 <= int(left["x-ratelimit-remaining-requests"]) <= 5_500  # a few seconds may have passed
    assert 100_000 <= int(left["x-ratelimit-remaining-tokens"]) <= 150_000
    late = limits_of(row)  # one that starts now
    assert int(dict((await late.admit("proj_ann", needing(0))).headers)["x-ratelimit-remaining-tokens"]) < 250_000


@pytest.mark.parametrize("takes", ["estimate", "count"])
async def test_who_takes_much_tells_at_once(
    limits_of: Callable[..., RateLimits], store: Store, monkeypatch: pytest.MonkeyPatch, takes: str
) -> None:
    monkeypatch.setattr("antiphon.access.limits._SHARED_EVERY_S", 3_600.0)
    limits, told, spend = limits_of(ProjectRow("ann", tokens_per_minute=60_000)), asyncio.Event(), store.spend

    async def spending(spent: Sequence[Spent]) -> list[float]:
        if any(one.refill_s for one in spent):
            told.set()
        return await spend(spent)

    monkeypatch.setattr(store, "spend", spending)
    sharing = asyncio.get_running_loop().create_task(limits.share())
    admission = await limits.admit("proj_ann", needing(500 if takes == "count" else 5_000))
    if takes == "count":
        admission.settle(5_000)
    async with asyncio.timeout(5):
        await told.wait()
    sharing.cancel()


async def test_what_the_store_could_not_be_told_is_told_the_next_time(
    limits_of: Callable[..., RateLimits], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ProjectRow("ann", requests_per_minute=6_000)
    limits = limits_of(row)
    for _ in range(1_000):
        await limits.admit("proj_ann", needing(0))

    async def down(_: object) -> list[float]:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "spend", down)
        await limits.tell()
        await limits.admit("proj_ann", needing(0))  # what is known already goes on
        with pytest.raises(StoreUnavailable):
            await limits_of(row).admit("proj_ann", needing(0))
    await limits.tell()
    left = dict((await limits_of(row).admit("proj_ann", needing(0))).headers)
    assert int(left["x-ratelimit-remaining-requests"]) <= 5_500


@given(st.floats(0, 10_000))
def test_durations_are_written_as_openai_writes_them(seconds: float) -> None:
    written = _duration(seconds)
    assert re.fullmatch(r"\d+ms|\d+(\.\d+)?s|\d+m[0-5]?\ds", written), written
    parts = re.fullmatch(r"(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:(\d+)ms)?", written)
    assert parts is not None
    minutes, rest, milliseconds = (float(part or 0) for part in parts.groups())
    assert minutes * 60 + rest + milliseconds / 1000 == pytest.approx(seconds, abs=0.51 if seconds >= 59.9 else 0.0006)
