"""Of a conversation only what is new is read, and what is known of it is always what the store would tell."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from tests.unit.engine.storied import OPENER, PROJECT, compaction

from antiphon.engine.compaction import Summary
from antiphon.engine.conversation_items import conversation_entries
from antiphon.engine.conversations import Conversations
from antiphon.protocol.items import Message
from antiphon.providers.base import Entry
from antiphon.store.base import ConversationItem, ConversationRow
from antiphon.store.store import Store


class Asked:
    """A store that notes how many items it was asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read: list[int] = []
        self.max_context_bytes = store.max_context_bytes

    async def all_items(self, *args: Any, **more: Any) -> list[ConversationItem]:
        items = await self._store.all_items(*args, **more)
        self.read.append(len(items))
        return items

    def taken(self) -> list[int]:
        taken, self.read = self.read, []
        return taken


def item(name: str, size: int = 1, **more: Any) -> ConversationItem:
    content = [{"type": "input_text", "text": name * size}]
    body = {"type": "message", "id": name, "role": "user", "content": content}
    return ConversationItem(name, msgspec.json.encode(body | more))


async def begun(store: Store, name: str, *items: ConversationItem) -> str:
    await store.create_conversation(ConversationRow(name, PROJECT, 1, b"{}"), items)
    return name


async def read(known: Conversations, store: Any, name: str, rows: Store) -> list[Entry]:
    row = await rows.load_conversation(PROJECT, name)
    assert row is not None
    return [*(await known.read(store, row, OPENER)).entries]


def ids(entries: list[Entry]) -> list[object]:
    return [entry.id for entry in entries if isinstance(entry, Message)]


async def test_only_what_is_new_is_read(store: Store) -> None:
    known, asked = Conversations(), Asked(store)
    name = await begun(store, "c", item("a"), item("b"))
    assert ids(await read(known, asked, name, store)) == ["a", "b"]
    assert ids(await read(known, asked, name, store)) == ["a", "b"]
    assert await store.add_items(PROJECT, name, (item("c"),))
    assert ids(await read(known, asked, name, store)) == ["a", "b", "c"]
    assert asked.taken() == [2, 1]


async def test_an_item_that_anybody_deletes_is_gone(store: Store) -> None:
    known, asked = Conversations(), Asked(store)
    name = await begun(store, "c", item("a"), item("b"))
    await read(known, asked, name, store)
    await store.delete_item(PROJECT, name, "a", "")
    assert ids(await read(known, asked, name, store)) == ["b"]
    assert await store.add_items(PROJECT, name, (item("a"),))
    assert ids(await read(known, asked, name, store)) == ["b", "a"]
    assert asked.taken() == [2, 1, 1]


@pytest.mark.parametrize(
    "odd",
    [{"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "compaction", "id": "c", "encrypted_content": "x"}],
)
async def test_items_that_change_what_others_say_are_read_one_by_one(store: Store, odd: dict[str, Any]) -> None:
    known, asked = Conversations(), Asked(store)
    name = await begun(store, "c", item("a"))
    await read(known, asked, name, store)
    assert await store.add_items(PROJECT, name, (ConversationItem("odd", msgspec.json.encode(odd)), item("b")))
    for _ in range(2):
        assert len(await read(known, asked, name, store)) == 3
    row = await store.load_conversation(PROJECT, name)
    assert row is not None
    assert (await known.read(store, row, OPENER)).known is None


async def test_a_conversation_begins_anew_with_its_summary(store: Store) -> None:
    known, asked = Conversations(), Asked(store)
    name = await begun(store, "c", item("a"), item("b"))
    await read(known, asked, name, store)
    summary = compaction(Summary("They talked.", (msgspec.Raw(item("b").body),)))
    assert await store.add_items(PROJECT, name, (ConversationItem("cmp_1", msgspec.json.encode(summary)), item("c")))
    for _ in range(2):
        said = await read(known, asked, name, store)
        assert ids(said)[1:] == ["b", "c"]
        assert said == OPENER.expanded((), conversation_entries(await store.all_items(name)))
    assert asked.taken() == [2, 2]


async def test_a_conversation_with_holes_is_read_one_by_one(store: Store) -> None:
    known, asked = Conversations(), Asked(store)
    name = await begun(store, "c", item("a"), item("b"))
    await store.delete_item(PROJECT, name, "a", "call_1")
    for _ in range(2):
        assert ids(await read(known, asked, name, store)) == ["b"]
    assert asked.taken() == [1, 1]


async def test_a_conversation_that_was_deleted_is_forgotten(store: Store) -> None:
    known, asked = Conversations(), Asked(store)
    name = await begun(store, "c", item("a"))
    await read(known, asked, name, store)
    known.forget(name)
    known.forget(name)
    await read(known, asked, name, store)
    assert asked.taken() == [1, 1]


async def test_the_least_used_and_the_oldest_leave(store: Store) -> None:
    now = [0.0]
    known, asked = Conversations(max_bytes=32_000, now=lambda: now[0]), Asked(store)
    for name in "abcdef":
        await begun(store, name, item(name, 1_600))
    for name in "abcdabe":
        await read(known, asked, name, store)
    asked.taken()
    for name in "ab":
        await read(known, asked, name, store)
    assert asked.taken() == []
    await read(known, asked, "c", store)
    assert asked.taken() == [1]
    now[0] = 601.0
    await read(known, asked, "f", store)
    asked.taken()
    await read(known, asked, "a", store)
    assert asked.taken() == [1]


async def test_one_that_would_fill_most_of_the_room_is_read_every_time(store: Store) -> None:
    known, asked = Conversations(max_bytes=8_000), Asked(store)
    name = await begun(store, "c", item("a", 3_000))
    for _ in range(2):
        assert ids(await read(known, asked, name, store)) == ["a"]
    assert asked.taken() == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_workers_always_know_what_the_store_would_tell(store: Store, seed: int) -> None:
    random = Random(seed)
    workers = [Conversations(), Conversations(max_bytes=4_000)]
    names = [await begun(store, name) for name in "cd"]
    for number in range(150):
        name, worker = random.choice(names), random.choice(workers)
        match random.randrange(5):
            case 0 | 1:
                more = tuple(
                    item(f"{name}{number}.{index}", random.randrange(1, 9)) for index in range(random.randrange(4))
                )
                assert await store.add_items(PROJECT, name, more)
            case 2 if found := await store.all_items(name):
                gone = random.choice(found)
                await store.delete_item(PROJECT, name, gone.id, "call_1" if random.random() < 0.05 else "")
                if random.random() < 0.3:
                    assert await store.add_items(PROJECT, name, (item(gone.id),))
            case _:
                told = conversation_entries(await store.all_items(name))
                assert await read(worker, store, name, store) == told
