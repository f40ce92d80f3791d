"""A whole store into another, both ways between the engines, interrupted and resumed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.harness.postgres import Postgres
from tests.store.conformance import key, links_of, response, saved, usage

from antiphon.protocol.errors import ConfigError
from antiphon.protocol.ids import new_id
from antiphon.store.base import (
    ConversationItem,
    ConversationRow,
    Echo,
    EventBatch,
    NewJob,
    PromptRow,
    Settlement,
    WebhookRow,
)
from antiphon.store.copying import TABLES, copy_store, count
from antiphon.store.engine import Script, Sql
from antiphon.store.postgres import open_postgres
from antiphon.store.rate_limits import Spent
from antiphon.store.sqlite import open_sqlite
from antiphon.store.store import Store


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_sqlite(tmp_path / "a.db")
    yield store
    await store.close()


@pytest.fixture
async def postgresql(postgres: Postgres) -> AsyncIterator[Store]:
    store = await open_postgres(await postgres.new_database())
    yield store
    await store.close()


async def fill(store: Store) -> None:
    """A row at least in every table."""
    root = await saved(store, body=b'{"output":[],"n":"\xc3\xa4"}' * 3000)
    for _ in range(450):
        await saved(store, root.id, expires_at=4_000_000_000)
    echo = Echo(b"\x00" * 16, b'["shared"]')
    sharing = response(body=b'{"output":[],"tools":[]}', tools_hash=echo.hash)
    await store.settle(Settlement(response=sharing, usage=usage(sharing), echoes=(echo,)))
    row = key("one")
    await store.add_key(row)
    await store.add_key_project(row.id, new_id("proj"), "two", 1)
    queued = response(status="queued")
    job = NewJob("key_1", b"{}", EventBatch(0, 1, b"{}"), 4_000_000_000, None, 1.0, 10)
    await store.enqueue(queued, job)
    conversation = ConversationRow("conv_1", "proj_a", 1, b"{}")
    await store.create_conversation(conversation, (ConversationItem("msg_1", b"{}", "t", 1, b"{}", None),))
    await store.create_prompt(PromptRow("pmpt_1", "proj_a", "p", 1, 1, 1), b"{}")
    await store.create_webhook(
        WebhookRow("we_1", "proj_a", "w", "https://x", "response.completed", b"\x00\x01", "h", 1, 1, b"\x02", 2.5)
    )
    await store.spend([Spent("proj_a", "tokens", 30.0)])
    await store.claim_key("proj_a", "k", "resp_x", "f", 60.0, 4_000_000_000)

    def deliver() -> Script[None]:
        yield Sql(
            "INSERT INTO webhook_deliveries (id, event_id, endpoint, project, event_type, payload, created_at, "
            "attempts, next_at, state, log, expires_at) VALUES ('whd_1', 'evt_1', 'we_1', 'proj_a', "
            "'response.completed', $1, 1.5, 0, 2.5, 'pending', $1, 4000000000)",
            (b"[]",),
        )

    await store.engine.write(deliver)
    assert [table.name for table in TABLES if not await count(store, table)] == []


async def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = {}
    for table in TABLES:

        def script(name: str = table.name, names: str = ", ".join(table.all_columns)) -> Script[list[object]]:
            return (yield Sql(f"SELECT {names} FROM {name}"))

        found[table.name] = sorted(tuple(row) for row in await store.engine.read(script))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("is_to_postgres", [True, False])
async def test_every_row_of_every_table_arrives(sqlite: Store, postgresql: Store, is_to_postgres: bool) -> None:
    source, target = (sqlite, postgresql) if is_to_postgres else (postgresql, sqlite)
    await fill(source)
    told: list[tuple[str, int]] = []
    total = await copy_store(source, target, resume=False, on_rows=lambda name, rows: told.append((name, rows)))
    assert await everything(target) == await everything(source)
    assert total == sum([await count(source, table) for table in TABLES])
    assert ("responses", 200) in told


@pytest.mark.slow
async def test_a_copy_goes_on_where_it_was_interrupted_and_never_onto_other_data(
    sqlite: Store, postgresql: Store
) -> None:
    await fill(sqlite)

    def interrupt(name: str, rows: int) -> None:
        if (name, rows) == ("responses", 400):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy_store(sqlite, postgresql, resume=False, on_rows=interrupt)
    with pytest.raises(ConfigError, match="--resume"):
        await copy_store(sqlite, postgresql, resume=False, on_rows=interrupt)
    await copy_store(sqlite, postgresql, resume=True, on_rows=lambda name, rows: None)
    assert await everything(postgresql) == await everything(sqlite)


async def test_every_table_of_the_schema_is_copied(sqlite: Store) -> None:
    def script() -> Script[set[str]]:
        rows = yield Sql("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return {str(row[0]) for row in rows}

    counted_by_the_database_itself = {"removals", "key_changes"}
    assert await sqlite.engine.read(script) - counted_by_the_database_itself == {table.name for table in TABLES}


async def test_a_copied_chain_can_be_continued(sqlite: Store, postgresql: Store) -> None:
    root = await saved(sqlite)
    leaf = await saved(sqlite, root.id)
    await copy_store(sqlite, postgresql, resume=False, on_rows=lambda name, rows: None)
    assert await links_of(postgresql, "proj_a", leaf.id) == [root, leaf]
    following = response(leaf.id)
    await postgresql.settle(Settlement(response=following, usage=usage(following)))
    assert await links_of(postgresql, "proj_a", following.id) == [root, leaf, following]
