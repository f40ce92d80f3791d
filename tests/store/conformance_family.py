"""What any store must do beside responses and keys: background runs, conversations, prompts, webhooks, idempotency."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.store.conformance import FAR, response, usage

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.ids import new_id
from antiphon.store.background import QueueFull, topic_of
from antiphon.store.base import (
    ConversationItem,
    ConversationRow,
    EventBatch,
    IdempotentAnswer,
    Lease,
    LeaseLost,
    NewJob,
    PromptRow,
    Settlement,
    StoredResponse,
    WebhookEvent,
    WebhookRow,
)
from antiphon.store.conversations import ConversationBusy, ItemNotFound
from antiphon.store.rate_limits import Spent
from antiphon.store.store import Store

FIRST = EventBatch(0, 2, b'{"n":0}\n{"n":1}')
LONG_S = 60.0


def job(owner: str | None = None, **changes: Any) -> NewJob:
    fields = {"lease_s": LONG_S, "max_queued": 100} | changes
    return NewJob("key_1", b'{"model":"m"}', FIRST, FAR, owner, **fields)


async def queued(store: Store, owner: str | None = None, **changes: Any) -> tuple[StoredResponse, Lease | None]:
    row = response(status="queued")
    return row, await store.enqueue(row, job(owner, **changes))


def item(name: str, **changes: Any) -> ConversationItem:
    return ConversationItem(name, b'{"id":"' + name.encode() + b'"}', **changes)


class FamilyConformance:
    """The meaning of the store's other tables."""

    # -- background

    async def test_a_queued_run_is_claimed_once_and_oldest_first(self, store: Store) -> None:
        rows = [(await queued(store))[0] for _ in range(5)]
        claims = await asyncio.gather(*(store.claim(f"w{number}", 2, LONG_S) for number in range(4)))
        claimed = [one.response.id for jobs in claims for one in jobs]
        assert sorted(claimed) == sorted(row.id for row in rows)
        assert len(set(claimed)) == 5
        assert await store.claim("w", 10, LONG_S) == []
        assert all(one.lease.attempt == 1 and one.request == b'{"model":"m"}' for jobs in claims for one in jobs)

    async def test_a_run_enqueued_for_its_own_worker_is_nobody_elses(self, store: Store) -> None:
        row, lease = await queued(store, "me")
        assert lease == Lease(row.id, "me", 1)
        assert await store.claim("other", 10, LONG_S) == []
        assert await store.waiting() == 0

    async def test_a_silent_worker_loses_its_run_and_writes_nothing_more(self, store: Store) -> None:
        row, lost = await queued(store, "first", lease_s=0.001)
        assert lost is not None
        taken = await _claimed(store, "second", row.id)
        assert taken.attempt == 2
        more = EventBatch(2, 1, b"{}")
        with pytest.raises(LeaseLost):
            await store.record(lost, more, expires_at=FAR, lease_s=LONG_S, checkpoint=b"x")
        with pytest.raises(LeaseLost):
            await store.settle(Settlement(response=row, usage=usage(row), lease=lost, events=more))
        assert await store.events(row.id) == [FIRST]
        assert (await store.load("proj_a", row.id)) == row
        await store.record(taken, more, expires_at=FAR, lease_s=LONG_S)
        assert await store.events(row.id, 2) == [more]

    async def test_a_checkpoint_reaches_the_next_worker(self, store: Store) -> None:
        row, lease = await queued(store, "first")
        assert lease is not None
        await store.record(lease, None, expires_at=FAR, lease_s=0.001, checkpoint=b"half")
        taken = await _job(store, "second", row.id)
        assert (taken.checkpoint, taken.lease.attempt) == (b"half", 2)

    async def test_a_released_run_is_free_at_once_and_the_attempt_does_not_count(self, store: Store) -> None:
        _, lease = await queued(store, "first")
        assert lease is not None
        await store.release(lease)
        assert [one.lease.attempt for one in await store.claim("second", 1, LONG_S)] == [1]

    async def test_a_beat_renews_the_leases_that_it_is_told_and_says_which_are_held(self, store: Store) -> None:
        _, kept = await queued(store, "me", lease_s=0.001)
        _, lost = await queued(store, "me", lease_s=0.001)
        row, dropped = await queued(store, "me", lease_s=0.001)
        assert kept is not None
        assert lost is not None
        assert dropped is not None
        await _claimed(store, "other", lost.response_id)
        assert await store.beat((kept, lost), LONG_S) == {kept}
        assert [one.response.id for one in await store.claim("other", 10, LONG_S)] == [row.id]

    async def test_the_end_is_written_whole_and_once(self, store: Store) -> None:
        row, lease = await queued(store, "me")
        assert lease is not None
        last = EventBatch(2, 1, b'{"n":2}')
        done = response(id=row.id, status="completed", body=b'{"output":[1]}', turns=b"[1]")
        end = Settlement(response=done, usage=usage(done), lease=lease, events=last, events_expire_at=FAR)
        await store.settle(end)
        assert await store.load("proj_a", row.id) == done
        assert await store.events(row.id) == [FIRST, last]
        assert await store.background_request(row.id) is None
        with pytest.raises(LeaseLost):
            await store.settle(end)
        assert await store.claim("w", 1, LONG_S) == []

    async def test_events_that_nobody_may_follow_go_with_the_end(self, store: Store) -> None:
        row, lease = await queued(store, "me")
        await store.settle(Settlement(response=row, usage=usage(row), lease=lease, keeps_events=False))
        assert await store.events(row.id) == []

    async def test_a_cancellation_is_heard_by_the_worker_of_the_run(self, store: Store) -> None:
        row, _ = await queued(store, "me")
        assert not await store.request_cancel("proj_b", row.id)
        assert await store.cancelled_of("me") == []
        assert await store.request_cancel("proj_a", row.id)
        assert await store.cancelled_of("me") == [row.id]
        assert not await store.request_cancel("proj_a", "resp_none")

    async def test_no_more_may_wait_than_is_allowed(self, store: Store) -> None:
        for _ in range(2):
            await queued(store, max_queued=2)
        with pytest.raises(QueueFull):
            await queued(store, max_queued=2)
        await queued(store, "me", max_queued=2)  # one that is begun does not wait
        assert await store.waiting() == 2

    async def test_what_has_waited_too_long_is_claimed_to_be_ended(self, store: Store) -> None:
        row, _ = await queued(store)
        await queued(store, "me")
        assert await store.overdue(LONG_S, 10, "w", LONG_S) == []
        assert [one.response.id for one in await store.overdue(0.0, 10, "w", LONG_S)] == [row.id]

    async def test_what_is_delayed_comes_after_others_and_may_wait_longer(self, store: Store) -> None:
        delayed, _ = await queued(store, delay_s=LONG_S)
        early, _ = await queued(store, delay_s=-LONG_S)
        row, _ = await queued(store)
        order = [(await store.claim("w", 1, LONG_S))[0].response.id for _ in range(3)]
        assert order == [early.id, row.id, delayed.id]
        delayed, _ = await queued(store, delay_s=LONG_S)
        row, _ = await queued(store)
        assert [one.response.id for one in await store.overdue(0.0, 10, "w", LONG_S)] == [row.id]
        assert [one.response.id for one in await store.overdue(-2 * LONG_S, 10, "w", LONG_S)] == [delayed.id]

    async def test_a_deleted_response_takes_its_run_and_events_along(self, store: Store) -> None:
        row, lease = await queued(store, "me")
        assert lease is not None
        assert await store.delete("proj_a", row.id)
        assert await store.events(row.id) == []
        with pytest.raises(LeaseLost):
            await store.record(lease, EventBatch(2, 1, b"{}"), expires_at=FAR, lease_s=LONG_S)

    async def test_who_watches_hears_of_new_events(self, store: Store) -> None:
        row, lease = await queued(store, "me")
        assert lease is not None
        with store.watch(topic_of(row.id)) as watch:
            async with asyncio.TaskGroup() as group, asyncio.timeout(5):
                heard = group.create_task(watch.wait())
                await store.record(lease, EventBatch(2, 1, b"{}"), expires_at=FAR, lease_s=LONG_S)
        assert heard.result()

    # -- conversations

    async def test_items_stand_in_order_and_are_listed_both_ways(self, store: Store) -> None:
        await store.create_conversation(ConversationRow("c", "proj_a", 1, b"{}"), (item("i0"), item("i1")))
        assert await store.add_items("proj_a", "c", (item("i2"), item("i3")))
        assert not await store.add_items("proj_b", "c", (item("x"),))
        assert [one.id for one in await store.all_items("c")] == ["i0", "i1", "i2", "i3"]
        assert [one.id for one in await store.all_items("c", 2)] == ["i0", "i1"]
        assert [one.id for one in await store.all_items("c", first=3)] == ["i3"]
        assert [one.id for one in await store.all_items("c", 3, first=1)] == ["i1", "i2"]
        newest = await store.list_items("c", after=None, limit=2, is_ascending=False)
        assert ([one.id for one in newest.items], newest.has_more) == (["i3", "i2"], True)
        rest = await store.list_items("c", after="i1", limit=9, is_ascending=True)
        assert ([one.id for one in rest.items], rest.has_more) == (["i2", "i3"], False)
        with pytest.raises(ItemNotFound):
            await store.list_items("c", after="none", limit=9, is_ascending=True)

    async def test_no_more_items_are_read_than_may_be(self, store: Store) -> None:
        made = [ConversationItem(f"i{number}", b"x" * 90, record=b"y" * 10) for number in range(5)]
        await store.create_conversation(ConversationRow("c", "proj_a", 1, b"{}"), tuple(made))
        store.max_context_bytes = 300
        assert [one.id for one in await store.all_items("c", 3)] == ["i0", "i1", "i2"]
        assert [one.id for one in await store.all_items("c", first=2)] == ["i2", "i3", "i4"]
        assert await store.all_items("c", first=5) == []
        for before, first in ((None, 0), (4, 0), (None, 1)):
            with pytest.raises(InvalidRequest) as refused:
                await store.all_items("c", before, first=first)
            assert refused.value.code == "context_length_exceeded"

    async def test_a_page_ends_with_the_item_that_makes_it_large(self, store: Store) -> None:
        sizes = {"i0": 10, "i1": 200, "i2": 10, "i3": 10, "i4": 300}
        items = tuple(ConversationItem(name, b"x" * size) for name, size in sizes.items())
        await store.create_conversation(ConversationRow("c", "proj_a", 1, b"{}"), items)

        async def page(after: str | None, limit: int, *, is_ascending: bool = True) -> tuple[list[str], bool]:
            found = await store.list_items("c", after=after, limit=limit, is_ascending=is_ascending, most_bytes=100)
            return [one.id for one in found.items], found.has_more

        assert await page(None, 9) == (["i0", "i1"], True)
        assert await page("i1", 9) == (["i2", "i3", "i4"], False)  # the last item makes it large
        assert await page("i1", 3) == (["i2", "i3", "i4"], False)
        assert await page("i1", 2) == (["i2", "i3"], True)
        assert await page("i4", 9) == ([], False)
        assert await page(None, 9, is_ascending=False) == (["i4"], True)
        assert await page("i4", 9, is_ascending=False) == (["i3", "i2", "i1"], True)

    async def test_one_response_at_a_time_holds_a_conversation(self, store: Store) -> None:
        await store.create_conversation(ConversationRow("c", "proj_a", 1, b"{}"), ())
        outcomes = await asyncio.gather(
            *(store.lock_conversation("proj_a", "c", f"r{number}", LONG_S) for number in range(8)),
            return_exceptions=True,
        )
        assert sum(isinstance(one, ConversationRow) for one in outcomes) == 1
        assert sum(isinstance(one, ConversationBusy) for one in outcomes) == 7
        assert await store.lock_conversation("proj_b", "c", "r", LONG_S) is None
        with pytest.raises(ConversationBusy):
            await store.add_items("proj_a", "c", (item("x"),))
        holder = next(f"r{number}" for number, one in enumerate(outcomes) if isinstance(one, ConversationRow))
        await store.unlock_conversation("c", "another")
        with pytest.raises(ConversationBusy):
            await store.lock_conversation("proj_a", "c", "r", LONG_S)
        await store.unlock_conversation("c", holder)
        assert await store.lock_conversation("proj_a", "c", "r", 0.001) is not None
        async with asyncio.timeout(5):
            while True:  # a holder that died loses it
                try:
                    assert await store.lock_conversation("proj_a", "c", "next", LONG_S) is not None
                    break
                except ConversationBusy:
                    continue

    async def test_items_and_response_are_written_together_and_the_lock_is_given_back(self, store: Store) -> None:
        await store.create_conversation(ConversationRow("c", "proj_a", 1, b"{}"), (item("i0"),))
        await store.lock_conversation("proj_a", "c", "resp_1", LONG_S)
        row = response(conversation="c", conversation_position=1)
        end = Settlement(
            response=row,
            usage=usage(row),
            holder="resp_1",
            conversation="c",
            items=(item("i1", turn="t", turn_size=1),),
        )
        await store.settle(end)
        assert await store.load("proj_a", row.id) == row
        assert [(one.id, one.turn) for one in await store.all_items("c")] == [("i0", None), ("i1", "t")]
        assert await store.lock_conversation("proj_a", "c", "resp_2", LONG_S) is not None

    async def test_removed_items_are_counted_by_conversation(self, store: Store) -> None:
        for name in "cd":
            await store.create_conversation(
                ConversationRow(name, "proj_a", 1, b"{}"), (item(f"{name}0"), item(f"{name}1"))
            )
        for gone in ("c0", "c1"):
            await store.delete_item("proj_a", "c", gone, "")
        assert await store.add_items("proj_a", "c", (item("c2"),))
        held = [await store.lock_conversation("proj_a", name, "r", LONG_S) for name in "cd"]
        assert [row and row.removals for row in held] == [2, 0]

    async def test_a_deleted_item_leaves_its_hole_and_a_deleted_conversation_nothing(self, store: Store) -> None:
        await store.create_conversation(ConversationRow("c", "proj_a", 1, b"{}"), (item("i0"), item("i1")))
        assert await store.delete_item("proj_b", "c", "i0", "") is None
        assert await store.delete_item("proj_a", "c", "i0", "call_1") is not None
        with pytest.raises(ItemNotFound):
            await store.delete_item("proj_a", "c", "i0", "")
        found = await store.load_conversation("proj_a", "c")
        assert found is not None
        assert found.holes.split() == ["call_1"]
        assert found.removals == 1
        assert await store.find_item("proj_a", "i1") is not None
        assert await store.find_item("proj_b", "i1") is None
        assert not await store.delete_conversation("proj_b", "c")
        assert await store.delete_conversation("proj_a", "c")
        assert await store.find_item("proj_a", "i1") is None
        assert not await store.delete_conversation("proj_a", "c")

    # -- prompts

    async def test_versions_are_numbered_without_gaps_however_many_add_at_once(self, store: Store) -> None:
        await store.create_prompt(PromptRow("p", "proj_a", "n", 1, 1, 1), b"v1")
        await asyncio.gather(*(store.add_version("proj_a", "p", b"v", 2, is_default=False) for _ in range(10)))
        versions = await store.list_versions("proj_a", "p")
        assert versions is not None
        assert [one.version for one in versions] == list(range(1, 12))
        default = await store.load_version("proj_a", "p", None)
        assert default is not None
        assert default.body == b"v1"
        assert await store.update_prompt("proj_a", "p", None, 12) is None
        assert await store.load_version("proj_b", "p", 1) is None

    # -- idempotency

    async def test_of_many_who_claim_a_key_one_gets_it(self, store: Store) -> None:
        claims = await asyncio.gather(
            *(store.claim_key("proj_a", "k", f"r{number}", "f", LONG_S, FAR) for number in range(8))
        )
        assert sum(claim.is_mine for claim in claims) == 1
        assert all(claim.answer is None for claim in claims)
        assert (await store.claim_key("proj_b", "k", "r", "f", LONG_S, FAR)).is_mine

    async def test_a_kept_answer_is_given_until_it_expires(self, store: Store) -> None:
        await store.claim_key("proj_a", "k", "r1", "f", LONG_S, FAR)
        kept = IdempotentAnswer("r1", "json", b"\x00\xff")
        await store.answer_key("proj_a", "k", "someone", IdempotentAnswer("x", "json", b"no"))
        await store.answer_key("proj_a", "k", "r1", kept)
        claim = await store.claim_key("proj_a", "k", "r2", "other", LONG_S, FAR)
        assert (claim.is_mine, claim.fingerprint, claim.answer) == (False, "f", kept)
        await store.free_key("proj_a", "k", "r1")
        assert (await store.claim_key("proj_a", "k", "r2", "f", LONG_S, FAR)).answer == kept
        await store.claim_key("proj_a", "old", "r1", "f", LONG_S, 1)
        assert (await store.claim_key("proj_a", "old", "r2", "g", LONG_S, FAR)).is_mine

    async def test_a_key_whose_holder_died_can_be_claimed_again(self, store: Store) -> None:
        await store.claim_key("proj_a", "k", "r1", "f", 0.001, FAR)
        async with asyncio.timeout(5):
            while not (await store.claim_key("proj_a", "k", "r2", "f", LONG_S, FAR)).is_mine:
                pass
        await store.free_key("proj_a", "k", "r2")
        assert (await store.claim_key("proj_a", "k", "r3", "f", LONG_S, FAR)).is_mine

    # -- limits

    async def test_what_is_taken_from_a_bucket_flows_in_again(self, store: Store) -> None:
        took = [Spent("proj_a", "requests", 10.0), Spent("proj_a", "tokens", 1.0), Spent("proj_b", "requests", 0.0)]
        owed_s = await store.spend(took)
        assert owed_s == [pytest.approx(10, abs=1), pytest.approx(1, abs=1), pytest.approx(0, abs=1)]
        (owed,) = await store.spend([Spent("proj_a", "requests", 20.0)])
        assert 20 < owed <= 30
        (owed,) = await store.spend([Spent("proj_a", "requests", -25.0)])
        assert -5 < owed <= 5

    async def test_a_full_bucket_gives_no_credit(self, store: Store) -> None:
        (owed,) = await store.spend([Spent("proj_a", "tokens", -50.0)])
        assert owed <= 0
        (owed,) = await store.spend([Spent("proj_a", "tokens", 20.0)])
        assert 15 < owed <= 20

    async def test_many_take_from_one_bucket_and_nothing_is_lost(self, store: Store) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(store.spend([Spent("proj_a", "requests", 10.0)]))
        (owed,) = await store.spend([Spent("proj_a", "requests", 0.0)])
        assert 190 < owed <= 200

    # -- webhooks

    async def test_an_event_is_put_out_once_for_each_endpoint_that_wants_it(self, store: Store) -> None:
        for name, project, types in (
            ("we_1", "proj_a", "response.completed response.failed"),
            ("we_2", "proj_a", "response.failed"),
            ("we_3", "proj_b", "response.completed"),
        ):
            await store.create_webhook(WebhookRow(name, project, "n", "https://x", types, b"s", "h", 1, 1))
        row, lease = await queued(store, "me")
        event = WebhookEvent(new_id("evt"), "response.completed", b"{}")
        await store.settle(Settlement(response=row, usage=usage(row), lease=lease, webhook=event))
        assert await store.is_delivery_due()
        claimed = await store.claim_deliveries(10, LONG_S)
        assert [(one.endpoint, one.event_id, one.attempts) for one, _ in claimed] == [("we_1", event.id, 1)]
        assert claimed[0][1].url == "https://x"
        assert not await store.is_delivery_due()
        delivery = claimed[0][0]
        await store.finish_delivery(delivery.id, "pending", 0.0, b'[{"at":1}]')
        again = await store.claim_deliveries(10, LONG_S)
        assert [(one.attempts, one.log) for one, _ in again] == [(2, b'[{"at":1}]')]
        await store.finish_delivery(delivery.id, "delivered", 0.0, b"[]")
        assert await store.claim_deliveries(10, LONG_S) == []
        assert [one.state for one in await store.list_deliveries("we_1", 10)] == ["delivered"]
        assert await store.delete_webhook("proj_a", "we_1")
        assert await store.list_deliveries("we_1", 10) == []

    # -- retention

    async def test_everything_that_expires_is_purged(self, store: Store) -> None:
        row, lease = await queued(store, "me")
        assert lease is not None
        await store.record(lease, EventBatch(2, 1, b"{}"), expires_at=5, lease_s=LONG_S)
        await store.claim_key("proj_a", "k", "r", "f", LONG_S, 5)
        await store.answer_key("proj_a", "k", "r", IdempotentAnswer("r", "json", b"x"))
        await store.purge(10)
        assert await store.events(row.id) == [FIRST]
        assert (await store.claim_key("proj_a", "k", "r2", "g", LONG_S, FAR)).is_mine


async def _job(store: Store, owner: str, response_id: str) -> Any:
    """The run, once its last worker's lease has run out."""
    async with asyncio.timeout(5):
        while (found := await store.claim_one(response_id, owner, LONG_S)) is None:
            pass
    return found


async def _claimed(store: Store, owner: str, response_id: str) -> Lease:
    lease: Lease = (await _job(store, owner, response_id)).lease
    return lease
