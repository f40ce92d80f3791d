"""Runs that are stopped, or find nothing to stand on, in the moments between their steps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.inprocess.rig import Json, Rig

from antiphon.protocol.parsing import parse_request
from antiphon.runs.worker import Limits
from antiphon.store.base import Job, Settlement, StoredResponse, StoreUnavailable

NONE_TO_SPARE = Limits(concurrency=0)


async def submitted(rig: Rig, **more: object) -> StoredResponse:
    """Taken on and, where there is room, begun; control has not gone back to the loop since."""
    body = msgspec.json.encode({"model": "sim/standard", "input": "#sim stall", "background": True} | more)
    return await rig.worker.submit(parse_request(body), body, rig.project, "key")


async def conversation(rig: Rig) -> str:
    found: Json = (await rig.request("POST", "/v1/conversations", b"{}")).body
    return found["id"]


async def ended(rig: Rig, response_id: str) -> Json:
    async with asyncio.timeout(5):
        while True:
            found: Json = (await rig.get(f"/responses/{response_id}")).body
            if found["status"] not in ("queued", "in_progress"):
                return found
            await asyncio.sleep(0.01)  # polling is what the API offers


async def test_a_run_cancelled_before_its_first_step_ends(tmp_path: Path) -> None:
    async with Rig.open(tmp_path) as rig, asyncio.timeout(5):
        row = await submitted(rig)
        found = await rig.worker.cancel(rig.project, row.id)
        assert found is not None
        assert found.status == "cancelled"
        assert await rig.store.background_request(row.id) is None


async def test_a_run_cancelled_while_it_asks_for_its_conversation_ends_and_gives_it_back(tmp_path: Path) -> None:
    async with Rig.open(tmp_path) as rig, asyncio.timeout(5):
        held = await conversation(rig)
        row = await submitted(rig, conversation=held)
        await asyncio.sleep(0)  # its first step
        found = await rig.worker.cancel(rig.project, row.id)
        assert found is not None
        assert found.status == "cancelled"
        assert (await rig.post({"input": "hi", "conversation": held})).status == 200


async def test_a_run_left_while_it_asks_for_its_conversation_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Rig.open(tmp_path) as rig, asyncio.timeout(5):
        held, is_locked, lock = await conversation(rig), asyncio.Event(), rig.store.lock_conversation

        async def late(*args: Any) -> None:
            await lock(*args)
            is_locked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(rig.store, "lock_conversation", late)
        request = parse_request(msgspec.json.encode({"model": "sim/standard", "input": "hi", "conversation": held}))
        run = rig.table.admit(request, rig.project, "key")
        rig.table.own(run)
        await is_locked.wait()
        await rig.table.cancel(run)
        monkeypatch.undo()
        assert (await rig.post({"input": "hi", "conversation": held})).status == 200


async def test_a_run_cancelled_in_the_queue_gives_its_conversation_back(tmp_path: Path) -> None:
    async with Rig.open(tmp_path, limits=NONE_TO_SPARE) as rig:
        held = await conversation(rig)
        row = await submitted(rig, conversation=held)
        assert (await rig.post({"input": "hi", "conversation": held})).error["code"] == "conversation_locked"
        answer = await rig.request("POST", f"/v1/responses/{row.id}/cancel")
        assert answer.response["status"] == "cancelled"
        assert (await rig.post({"input": "hi", "conversation": held})).status == 200


async def test_a_run_whose_conversation_was_deleted_in_the_queue_fails_and_says_so(tmp_path: Path) -> None:
    async with Rig.open(tmp_path, limits=Limits(concurrency=1)) as rig:
        first = await submitted(rig)
        held = await conversation(rig)
        row = await submitted(rig, conversation=held)
        assert (await rig.request("DELETE", f"/v1/conversations/{held}")).status == 200
        await rig.request("POST", f"/v1/responses/{first.id}/cancel")
        found = await ended(rig, row.id)
        assert found["status"] == "failed"
        assert held in found["error"]["message"]


async def test_who_can_wait_for_hours_waits_longer_than_others(tmp_path: Path) -> None:
    limits = Limits(concurrency=0, queue_age_s=0.2)
    async with Rig.open(tmp_path, limits=limits, lease_s=0.3) as rig, asyncio.timeout(10):
        waiting = await submitted(rig, background_options={"completion_window": "2h"})
        row = await submitted(rig, background_options={"completion_window": "soonest"})
        failed = await ended(rig, row.id)
        assert failed["error"]["message"] == "The response waited for a worker for more than 0 s."
        await asyncio.sleep(0.5)
        assert (await rig.get(f"/responses/{waiting.id}")).body["status"] == "queued"


async def test_a_body_is_held_while_its_response_is_carried_out(tmp_path: Path) -> None:
    async with Rig.open(tmp_path) as rig, asyncio.timeout(5):
        row = await submitted(rig, instructions="x" * 5000)
        held = rig.worker.intake.held_bytes
        assert 5000 < held < 5200
        other = await submitted(rig, instructions="x" * 3000)
        assert rig.worker.intake.held_bytes > held + 3000
        for one in (row, other):
            await rig.worker.cancel(rig.project, one.id)
        assert rig.worker.intake.held_bytes == 0


async def test_what_a_background_response_continues_counts_and_never_refuses_it(tmp_path: Path) -> None:
    async with Rig.open(tmp_path, max_bodies_bytes=60_000) as rig, asyncio.timeout(5):
        said = await rig.post({"input": "x" * 15_000})
        row = await submitted(rig, previous_response_id=said.body["id"])
        intake = rig.worker.intake
        while intake.held_bytes < 15_000:  # noqa: ASYNC110 - the worker takes it up by itself
            await asyncio.sleep(0.01)
        intake.hold(60_000)  # what cannot wait has come meanwhile
        other = await submitted(rig)
        await rig.worker.cancel(rig.project, row.id)
        await rig.worker.cancel(rig.project, other.id)
        assert intake.held_bytes == 60_000


async def test_what_finds_no_room_waits_in_the_queue_until_there_is(tmp_path: Path) -> None:
    async with Rig.open(tmp_path, lease_s=0.3, max_bodies_bytes=20_000) as rig, asyncio.timeout(10):
        first = await submitted(rig, instructions="x" * 9_000)
        second = await submitted(rig, instructions="x" * 9_000)  # there is some room: one more may be as large as it is
        third = await submitted(rig, input="#sim echo", instructions="x" * 9_000)
        await asyncio.sleep(0.5)  # in which it is looked for twice
        assert [(await rig.get(f"/responses/{row.id}")).body["status"] for row in (first, second, third)] == [
            "in_progress",
            "in_progress",
            "queued",
        ]
        await rig.worker.cancel(rig.project, first.id)
        assert (await ended(rig, third.id))["status"] == "completed"
        await rig.worker.cancel(rig.project, second.id)


async def test_no_more_is_claimed_at_once_than_has_room(tmp_path: Path) -> None:
    async with Rig.open(tmp_path, limits=NONE_TO_SPARE) as rig, asyncio.timeout(20):
        rows = [await submitted(rig, input="#sim echo", instructions="x" * 1000) for _ in range(9)]
    limits = Limits(body_bytes=2_000)
    async with Rig.open(tmp_path, limits=limits, max_bodies_bytes=13_000) as rig, asyncio.timeout(20):
        claim, counts = rig.store.claim, list[tuple[int, int]]()

        async def counted(owner: str, limit: int, lease_s: float) -> list[Job]:
            jobs = await claim(owner, limit, lease_s)
            counts.append((limit, len(jobs)))
            return jobs

        rig.store.claim = counted
        assert {(await ended(rig, row.id))["status"] for row in rows} == {"completed"}
        assert sum(taken for _, taken in counts) == len(rows)
        assert max(limit for limit, _ in counts) == 3
        assert rig.worker.intake.held_bytes == 0


async def test_a_reader_who_leaves_a_silent_run_is_not_waited_for(tmp_path: Path) -> None:
    async with Rig.open(tmp_path, limits=NONE_TO_SPARE) as rig:
        row = await submitted(rig, stream=True)
        read = await rig.get(f"/responses/{row.id}?stream=true", leave_after=3)  # a heartbeat is the third
        assert read.status == 200
        assert b"response.queued" in read.raw


async def test_a_run_whose_end_could_not_be_written_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Rig.open(tmp_path, lease_s=0.2) as rig:
        settle, failures = rig.store.settle, list(range(8))

        async def unreliable(end: Settlement) -> None:
            if failures:
                failures.pop()
                raise StoreUnavailable("not now")
            await settle(end)

        monkeypatch.setattr(rig.store, "settle", unreliable)
        row = await submitted(rig, input="#sim say Here I am.")
        assert (await ended(rig, row.id))["status"] == "completed"
        assert not failures
