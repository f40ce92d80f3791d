"""PostgreSQL against the conformance suite, and what is its own: replicas, wake-ups between them, migrations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from tests.harness.postgres import Postgres
from tests.store.conformance import StoreConformance, response, saved
from tests.store.conformance_echoes import TOOLS, EchoConformance, age
from tests.store.conformance_echoes import saved as with_echoes
from tests.store.conformance_family import FamilyConformance

from antiphon.protocol.errors import ConfigError
from antiphon.store.echoes import put
from antiphon.store.engine import Sql
from antiphon.store.postgres import open_postgres
from antiphon.store.responses import insert
from antiphon.store.store import Store

MAY_WALK = (
    # Every key is asked for.
    "SELECT k.id, k.project, p.name, k.hash, k.hint, k.created_at, k.revoked_at FROM keys k JOIN projects p",
    # Joined by a hash in a table of a few rows; by the index where a thousand of a million go.
    "DELETE FROM events WHERE (response_id, first) IN (SELECT response_id, first FROM events WHERE expires_at <= $1",
    "DELETE FROM idempotency WHERE (project, key) IN (SELECT project, key FROM idempotency WHERE expires_at <= $1",
)


@pytest.fixture
async def url(postgres: Postgres) -> str:
    return await postgres.new_database()


@pytest.fixture
async def store(postgres: Postgres) -> AsyncIterator[Store]:
    """Whatever a test does with it, no statement may walk a whole table: not even where indexes are all it may use."""
    url = await postgres.new_database(
        session_preload_libraries="auto_explain",
        auto_explain__log_min_duration="0",
        auto_explain__log_format="json",
        enable_seqscan="off",
    )
    async with asyncio.timeout(10):
        opened = await open_postgres(url)
    before = len(postgres.log())
    yield opened
    await opened.close()
    walks = {plan["Query Text"]: found for plan in _plans(postgres.log()[before:]) if (found := _walked(plan["Plan"]))}
    assert {sql: found for sql, found in walks.items() if not sql.startswith(MAY_WALK)} == {}


def _plans(log: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(text) for text in re.findall(r"plan:\n((?:\t.*\n)+)", log)]


def _walked(node: dict[str, Any], is_limited: bool = False) -> list[str]:
    """The tables that a plan goes through without a condition that an index answers."""
    kind = node["Node Type"]
    is_bound = any(name in node for name in ("Index Cond", "Recheck Cond", "TID Cond"))
    is_first_few = is_limited and "Filter" not in node and kind.startswith("Index")
    found: list[str] = []
    table = node.get("Relation Name", "pg_")  # the driver asks the catalogs for its types
    if not (table.startswith("pg_") or kind == "ModifyTable" or is_bound or is_first_few):
        found.append(f"{kind} on {table}")
    for child in node.get("Plans", ()):
        found += _walked(child, is_limited or kind == "Limit")
    return found


class TestPostgresConformance(StoreConformance, FamilyConformance, EchoConformance):
    """The port's suite on PostgreSQL."""


async def test_replicas_that_start_at_once_on_an_empty_database_all_succeed(url: str) -> None:
    stores = await asyncio.gather(*(open_postgres(url) for _ in range(6)))
    row = await saved(stores[0])
    assert [await one.load("proj_a", row.id) for one in stores] == [row] * 6
    await asyncio.gather(*(one.close() for one in stores))


async def test_a_database_of_a_newer_release_is_refused_unchanged(url: str) -> None:
    await (await open_postgres(url)).close()
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO antiphon_schema (version) VALUES (99)")
    await connection.close()
    with pytest.raises(ConfigError, match="schema version 99"):
        await open_postgres(url)


async def test_a_wrong_password_is_said_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        await open_postgres(url.replace("antiphon-tests", "wrong-word"))
    assert "wrong-word" not in str(caught.value)


async def test_connections_that_the_server_ends_are_replaced(store: Store, url: str) -> None:
    row = await saved(store)
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    await connection.close()
    assert await store.load("proj_a", row.id) == row
    assert await store.load("proj_a", (await saved(store)).id) is not None


async def test_a_sweep_passes_over_what_a_response_on_its_way_echoes(url: str) -> None:
    store = await open_postgres(url)
    gone = await with_echoes(store, None, TOOLS)
    await store.delete("proj_a", gone.id)
    await age(store)
    row = response(body=b'{"output":[],"tools":[]}', tools_hash=TOOLS.hash)
    writing = await asyncpg.connect(url)
    async with asyncio.timeout(5), writing.transaction():
        for sql in (*put("proj_a", [TOOLS]), *insert(row, None)):
            assert isinstance(sql, Sql)
            await writing.execute(sql.text, *sql.values)
            await store.sweep()
    await writing.close()
    loaded = await store.load("proj_a", row.id)
    await store.close()
    assert loaded is not None
    assert loaded.body == b'{"output":[],"tools":%s}' % TOOLS.body
