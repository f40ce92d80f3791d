"""What any store must do. A suite for one engine subclasses `StoreConformance` and gives it a fixture `store`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.ids import new_id
from antiphon.store.base import KeyRow, Settlement, StoredResponse, StoreUnavailable, UsageRow
from antiphon.store.store import Store

FAR = 4_000_000_000
PAST = 1_000


def response(previous: str | None = None, **changes: Any) -> StoredResponse:
    """A small stored response of project `proj_a`."""
    row = StoredResponse(
        id=new_id("resp"),
        project="proj_a",
        previous_response_id=previous,
        status="completed",
        model="sim/talk",
        created_at=1_700_000_000,
        expires_at=None,
        body=b'{"output":[]}',
        input=b"[]",
        turns=b"[]",
    )
    return replace(row, **changes)


def usage(row: StoredResponse) -> UsageRow:
    """The ledger line of a response."""
    return UsageRow(row.id, row.project, "key_1", row.model, "sim/talk", row.created_at, row.status, 1, 2, 3, 4, 5)


async def save(store: Store, row: StoredResponse | None, line: UsageRow) -> None:
    """A response's end, or its ledger line alone."""
    await store.settle(Settlement(response=row, usage=line))


async def saved(store: Store, previous: str | None = None, **changes: Any) -> StoredResponse:
    """A response that the store has acknowledged."""
    row = response(previous, **changes)
    await save(store, row, usage(row))
    return row


def key(name: str = "a", **changes: Any) -> KeyRow:
    """A key of the project called `name`."""
    return replace(KeyRow(new_id("key"), new_id("proj"), name, new_id("hash"), "sk-***abcd", 1), **changes)


async def links_of(
    store: Store, project: str, response_id: str, held: int = 0, most: int | None = None
) -> list[StoredResponse] | None:
    chain = await store.chain(project, response_id, held, most)
    return None if chain is None else chain.links


class StoreConformance:
    """The meaning of the port."""

    async def test_what_was_saved_is_loaded_as_it_was(self, store: Store) -> None:
        row = await saved(
            store, body='{"t":"\u00e4\U0001f600\0"}'.encode(), model="m\u00f6del\U0001f600", expires_at=FAR
        )
        assert await store.load("proj_a", row.id) == row

    async def test_a_body_of_20_megabytes_comes_back_whole(self, store: Store) -> None:
        row = await saved(store, body=bytes(range(256)) * 80_000)
        assert await store.load("proj_a", row.id) == row

    async def test_another_project_sees_deletes_and_continues_nothing(self, store: Store) -> None:
        row = await saved(store)
        assert await store.load("proj_b", row.id) is None
        assert await store.chain("proj_b", row.id) is None
        assert not await store.delete("proj_b", row.id)
        child = await saved(store, row.id, project="proj_b")
        assert await store.chain("proj_b", child.id) is None
        assert await store.load("proj_a", row.id) == row

    async def test_an_unknown_id_is_absent_everywhere(self, store: Store) -> None:
        assert await store.load("proj_a", "resp_none") is None
        assert await store.chain("proj_a", "resp_none") is None
        assert not await store.delete("proj_a", "resp_none")

    async def test_branches_of_a_chain_share_only_their_trunk(self, store: Store) -> None:
        root = await saved(store)
        left, right = await saved(store, root.id), await saved(store, root.id)
        leaf = await saved(store, left.id)
        assert await links_of(store, "proj_a", leaf.id) == [root, left, leaf]
        assert await links_of(store, "proj_a", right.id) == [root, right]

    async def test_a_chain_of_a_thousand_links_is_whole_and_in_order(self, store: Store) -> None:
        chain = [response()]
        while len(chain) < 1_000:
            chain.append(response(chain[-1].id))
        await asyncio.gather(*(save(store, row, usage(row)) for row in chain))
        assert await links_of(store, "proj_a", chain[-1].id) == chain

    async def test_no_chain_is_read_that_is_larger_than_may_be(self, store: Store) -> None:
        rows = [await saved(store)]
        while len(rows) < 4:
            rows.append(await saved(store, rows[-1].id))
        size = sum(row.size_bytes for row in rows)
        store.max_context_bytes = size
        found = await store.chain("proj_a", rows[-1].id)
        assert found is not None
        assert len(found.links) == 4
        store.max_context_bytes = size - 1
        with pytest.raises(InvalidRequest) as refused:
            await store.chain("proj_a", rows[-1].id)
        assert refused.value.code == "context_length_exceeded"
        assert await store.chain("proj_a", rows[2].id) is not None
        newest = await store.chain("proj_a", rows[-1].id, most=2)
        assert newest is not None
        assert len(newest.links) == 2

    async def test_deleting_a_link_leaves_no_chain_through_it(self, store: Store) -> None:
        root = await saved(store)
        middle = await saved(store, root.id)
        leaf = await saved(store, middle.id)
        assert await store.delete("proj_a", middle.id)
        assert not await store.delete("proj_a", middle.id)
        assert await store.load("proj_a", middle.id) is None
        assert await store.chain("proj_a", leaf.id) is None
        assert await links_of(store, "proj_a", root.id) == [root]
        assert await store.load("proj_a", leaf.id) == leaf

    async def test_links_that_the_caller_holds_are_looked_for_and_not_sent(self, store: Store) -> None:
        root = await saved(store)
        middle = await saved(store, root.id)
        leaf = await saved(store, middle.id)
        assert await links_of(store, "proj_a", leaf.id, held=1) == [root, middle]
        assert await links_of(store, "proj_a", leaf.id, held=3) == [root]
        assert await store.chain("proj_b", leaf.id, held=3) is None
        assert await store.delete("proj_a", middle.id)
        for held in range(4):
            assert await store.chain("proj_a", leaf.id, held=held) is None

    async def test_the_newest_of_a_chain_are_to_be_had_alone(self, store: Store) -> None:
        chain = [await saved(store)]
        while len(chain) < 5:
            chain.append(await saved(store, chain[-1].id))
        for most in range(1, 6):
            assert await links_of(store, "proj_a", chain[-1].id, most=most) == chain[-most:]
        assert await links_of(store, "proj_a", chain[-1].id, most=6) == chain
        assert await store.delete("proj_a", chain[1].id)
        assert await links_of(store, "proj_a", chain[-1].id, most=3) == chain[2:]
        assert await store.chain("proj_a", chain[-1].id, most=4) is None

    async def test_every_removal_from_a_project_is_counted_and_none_from_another(self, store: Store) -> None:
        rows = [await saved(store), await saved(store), *[await saved(store, expires_at=PAST) for _ in range(3)]]
        other = await saved(store, project="proj_b")
        assert (await store.removals("proj_a")).count == (await store.removals("proj_b")).count == 0
        assert await store.delete("proj_a", rows[0].id)
        assert not await store.delete("proj_a", rows[0].id)
        assert not await store.delete("proj_b", rows[1].id)
        assert [(await store.removals(project)).count for project in ("proj_a", "proj_b")] == [1, 0]
        assert await store.purge(PAST + 1, limit=2) == 2
        assert await store.purge(PAST + 1, limit=2) == 1
        assert [(await store.removals(project)).count for project in ("proj_a", "proj_b")] == [4, 0]
        assert await store.delete("proj_b", other.id)
        chain = await store.chain("proj_a", rows[1].id)
        assert chain is not None
        assert chain.removals.count == 4
        assert abs(chain.removals.now - time.time()) < 60
        assert (await store.removals("proj_a")).now >= chain.removals.now

    async def test_what_has_expired_is_absent_before_it_is_purged(self, store: Store) -> None:
        old = await saved(store, expires_at=PAST)
        child = await saved(store, old.id)
        assert await store.load("proj_a", old.id) is None
        assert await store.chain("proj_a", child.id) is None

    async def test_purge_removes_only_what_expired_and_no_more_than_asked(self, store: Store) -> None:
        for _ in range(5):
            await saved(store, expires_at=PAST)
        kept = [await saved(store, expires_at=FAR), await saved(store)]
        assert [await store.purge(PAST + 1, 3) for _ in range(3)] == [3, 2, 0]
        assert [await store.load("proj_a", row.id) for row in kept] == kept

    async def test_hundreds_of_saves_at_once_are_all_there(self, store: Store) -> None:
        rows = [response() for _ in range(400)]
        await asyncio.gather(*(save(store, row, usage(row)) for row in rows))
        assert await asyncio.gather(*(store.load("proj_a", row.id) for row in rows)) == rows

    async def test_a_row_that_cannot_be_stored_fails_alone(self, store: Store) -> None:
        first = await saved(store)
        good = [response() for _ in range(20)]
        results = await asyncio.gather(
            *(save(store, row, usage(row)) for row in (*good[:10], replace(first, body=b"other"), *good[10:])),
            return_exceptions=True,
        )
        assert [type(result) for result in results].count(StoreUnavailable) == 1
        assert isinstance(results[10], StoreUnavailable)
        assert await store.load("proj_a", first.id) == first
        assert await asyncio.gather(*(store.load("proj_a", row.id) for row in good)) == good

    async def test_text_that_is_no_unicode_is_refused_and_leaves_the_store_alive(self, store: Store) -> None:
        with pytest.raises(StoreUnavailable):
            await saved(store, model="\ud800")
        row = await saved(store)
        assert await store.load("proj_a", row.id) == row

    async def test_cancelled_saves_are_whole_or_absent_and_stop_nothing(self, store: Store) -> None:
        rows = [response() for _ in range(50)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(save(store, row, usage(row))) for row in rows]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
        after = await saved(store)
        assert await store.load("proj_a", after.id) == after
        for row in rows[1::2]:
            assert await store.load("proj_a", row.id) == row
        for row in rows[::2]:
            assert await store.load("proj_a", row.id) in (None, row)

    async def test_a_ledger_line_may_come_alone_and_twice(self, store: Store) -> None:
        row = response()
        await save(store, None, usage(row))
        await save(store, None, usage(row))
        assert await store.load("proj_a", row.id) is None

    async def test_a_key_is_found_by_its_hash_and_revoked_once(self, store: Store) -> None:
        row = key()
        before = await store.key_changes()
        await store.add_key(row)
        assert await store.find_key(row.hash) == row
        assert await store.find_key("other") is None
        assert await store.key_changes() == before
        assert await store.revoke_key(row.id, 9)
        assert await store.key_changes() > before
        assert not await store.revoke_key(row.id, 10)
        assert not await store.revoke_key("key_none", 10)
        assert await store.find_key(row.hash) == replace(row, revoked_at=9)

    async def test_keys_of_one_project_name_share_one_project(self, store: Store) -> None:
        first, second = key("same"), key("same", created_at=2)
        await asyncio.gather(store.add_key(first), store.add_key(second))
        project = await store.project_id("same")
        assert project in (first.project, second.project)
        assert await store.project_id("other") is None
        assert await store.list_keys() == [replace(first, project=project), replace(second, project=project)]

    async def test_a_closed_store_says_so(self, store: Store) -> None:
        await store.ping()
        await store.close()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.load("proj_a", "resp_1")
        with pytest.raises(StoreUnavailable):
            await saved(store)

    async def test_closing_writes_what_is_queued(self, store: Store) -> None:
        rows = [response() for _ in range(100)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(save(store, row, usage(row))) for row in rows]
            await asyncio.sleep(0)
            await store.close()
        assert all(task.exception() is None for task in tasks)
