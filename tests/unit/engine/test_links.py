"""What is known of a chain is read once, looked for every time, and kept within its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.store.conformance import response, saved
from tests.unit.engine.conftest import Clock
from tests.unit.engine.storied import OPENER

from antiphon.engine.links import Chain, Links
from antiphon.protocol.errors import InvalidRequest
from antiphon.store.base import StoredResponse
from antiphon.store.store import Store


class Asked:
    """What a store was asked for by `Links`: `chain` with how many links, or `removals`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read: list[tuple[str, int]] = []
        self.max_context_bytes = store.max_context_bytes

    async def chain(self, *args: Any) -> Any:
        found = await self._store.chain(*args)
        self.read.append(("chain", len(found.links) if found else 0))
        return found

    async def removals(self, project: str) -> Any:
        self.read.append(("removals", 0))
        return await self._store.removals(project)

    def taken(self) -> list[tuple[str, int]]:
        taken, self.read = self.read, []
        return taken


@pytest.fixture
def asked(store: Store) -> Asked:
    return Asked(store)


async def stored_chain(store: Store, count: int, **changes: Any) -> list[StoredResponse]:
    chain = [await saved(store, **changes)]
    while len(chain) < count:
        chain.append(await saved(store, chain[-1].id, **changes))
    return chain


def responses(chain: Chain | None) -> list[StoredResponse] | None:
    return None if chain is None else [link.stored for link in chain.links]


async def read(links: Links, asked: Asked, row: StoredResponse, project: str = "proj_a") -> list[StoredResponse] | None:
    return responses(await links.chain(asked, project, row.id, OPENER))  # type: ignore[arg-type]


async def test_a_chain_is_read_once_and_then_only_the_count_of_removals(store: Store, asked: Asked) -> None:
    links, chain = Links(), await stored_chain(store, 40)
    assert await read(links, asked, chain[-1]) == chain
    assert asked.taken() == [("chain", 40)]
    assert await read(links, asked, chain[-1]) == chain
    assert await read(links, asked, chain[7]) == chain[:8]
    assert asked.taken() == [("removals", 0)] * 2


async def test_a_conversation_that_goes_on_is_never_read_again(store: Store, asked: Asked) -> None:
    links, chain = Links(), await stored_chain(store, 2)
    assert await read(links, asked, chain[-1]) == chain
    asked.taken()
    for _ in range(20):
        seen = links.seen(chain[-1].id)
        assert seen is not None
        chain.append(await saved(store, chain[-1].id))
        links.keep(chain[-1], seen)
        assert await read(links, asked, chain[-1]) == chain
    assert asked.taken() == [("removals", 0)] * 20


async def test_turns_that_another_worker_made_are_read_and_not_what_is_known_before_them(
    store: Store, asked: Asked
) -> None:
    links, chain = Links(), await stored_chain(store, 30)
    assert await read(links, asked, chain[-1]) == chain
    asked.taken()
    for _ in range(3):
        chain.append(await saved(store, chain[-1].id))
    assert await read(links, asked, chain[-1]) == chain
    assert asked.taken() == [("chain", 16)]
    assert await read(links, asked, chain[-1]) == chain
    assert asked.taken() == [("removals", 0)]


async def test_a_long_chain_that_is_new_to_a_process_with_others_takes_two_looks(store: Store, asked: Asked) -> None:
    links = Links()
    await read(links, asked, await saved(store))
    asked.taken()
    for count, looks in ((3, [3]), (15, [15]), (16, [16]), (17, [16, 1]), (100, [16, 84])):
        chain = await stored_chain(store, count)
        assert await read(links, asked, chain[-1]) == chain
        assert asked.taken() == [("chain", look) for look in looks]


@pytest.mark.parametrize("deleted", range(6))
async def test_a_link_that_anybody_deletes_ends_the_chains_through_it(store: Store, asked: Asked, deleted: int) -> None:
    links, chain = Links(), await stored_chain(store, 6)
    assert await read(links, asked, chain[-1]) == chain
    assert await store.delete("proj_a", chain[deleted].id)
    for number, row in enumerate(chain):
        assert await read(links, asked, row) == (chain[: number + 1] if number < deleted else None)


async def test_a_removal_elsewhere_in_the_project_costs_one_look_without_contents(store: Store, asked: Asked) -> None:
    links, chain = Links(), await stored_chain(store, 9)
    others = [await saved(store), await saved(store, project="proj_b")]
    assert await read(links, asked, chain[-1]) == chain
    asked.taken()
    assert await store.delete("proj_a", others[0].id)
    assert await read(links, asked, chain[-1]) == chain
    assert asked.taken() == [("removals", 0), ("chain", 1)]
    assert await store.delete("proj_b", others[1].id)
    assert await read(links, asked, chain[-1]) == chain
    assert asked.taken() == [("removals", 0)]


async def test_what_was_removed_while_it_was_being_kept_is_not_there(store: Store, asked: Asked) -> None:
    links, root = Links(), await saved(store)
    await read(links, asked, root)
    seen = links.seen(root.id)
    assert seen is not None
    child = await saved(store, root.id)
    assert await store.delete("proj_a", child.id)
    assert await read(links, asked, root) == [root]  # the removal is known of the root by now
    links.keep(child, seen)
    assert await read(links, asked, child) is None


async def test_a_link_that_expires_while_it_is_known_ends_the_chain(store: Store, asked: Asked, clock: Clock) -> None:
    links = Links()
    root = await saved(store, expires_at=int(clock.now) + 60)
    leaf = await saved(store, root.id)
    clock.now += 59
    assert await read(links, asked, leaf) == [root, leaf]
    clock.now += 1
    assert await read(links, asked, leaf) is None


async def test_what_is_known_of_one_project_is_not_there_for_another(store: Store, asked: Asked) -> None:
    links, chain = Links(), await stored_chain(store, 3)
    assert await read(links, asked, chain[-1]) == chain
    assert await read(links, asked, chain[-1], "proj_b") is None
    foreign = await saved(store, chain[-1].id, project="proj_b")
    assert await read(links, asked, foreign, "proj_b") is None
    links.keep(foreign, 0)
    assert await read(links, asked, foreign, "proj_b") is None
    assert await read(links, asked, foreign, "proj_a") is None
    assert await read(links, asked, chain[-1]) == chain


async def test_a_link_that_was_forgotten_is_read_again_with_what_is_before_it(store: Store, asked: Asked) -> None:
    links, chain = Links(), await stored_chain(store, 5)
    await read(links, asked, chain[-1])
    links.forget(chain[1].id)
    asked.taken()
    assert await read(links, asked, chain[3]) == chain[:4]
    assert asked.taken() == [("removals", 0), ("chain", 2)]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_a_response_that_is_not_finished_is_refused_and_not_kept(store: Store, asked: Asked, status: str) -> None:
    links, row = Links(), await saved(store, status=status)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=f"its status is {status}"):
            await read(links, asked, row)
    assert links.seen(row.id) is None


async def test_a_response_that_is_there_only_to_be_polled_is_no_link(store: Store, asked: Asked) -> None:
    links, row = Links(), await saved(store, body=b'{"output":[],"store":false}')
    child = await saved(store, row.id)
    for _ in range(2):
        assert await read(links, asked, row) is None
        assert await read(links, asked, child) is None
    assert links.seen(row.id) is links.seen(child.id) is None


def sized(name: str, size_bytes: int = 0) -> StoredResponse:
    return replace(response(), id=name, body=b'{"output":[],"pad":"' + b"x" * size_bytes + b'"}')


def known(links: Links, names: str) -> str:
    return "".join(name for name in names if links.seen(name) is not None)


async def test_the_least_used_leave_when_there_are_too_many_bytes(store: Store, asked: Asked) -> None:
    links = Links(max_bytes=14_000)
    rows = {name: await saved(store, id=name, body=sized(name, 2_400).body) for name in "abcde"}
    for name in "abc":
        await read(links, asked, rows[name])
    await read(links, asked, rows["a"])
    for name in "de":
        await read(links, asked, rows[name])
    assert known(links, "abcde") == "acde"


def test_a_link_that_would_fill_most_of_the_room_is_not_kept() -> None:
    links = Links(max_bytes=10_000)
    links.keep(sized("a", 3_000), 0)
    assert known(links, "a") == ""


def test_what_nobody_asked_for_in_a_while_leaves() -> None:
    now = [0.0]
    links = Links(now=lambda: now[0])
    links.keep(sized("a"), 0)
    now[0] = 601.0
    links.keep(sized("b"), 0)
    assert known(links, "ab") == "b"


def test_a_link_kept_twice_counts_once() -> None:
    links = Links(max_bytes=10_000)
    for _ in range(10):
        links.keep(sized("a", 2_000), 0)
    links.keep(sized("b", 2_000), 0)
    assert known(links, "ab") == "ab"
    links.forget("a")
    links.forget("a")
    assert known(links, "ab") == "b"
