"""PostgreSQL against the conformance suite, and what is its own: replicas, wake-ups between them, migrations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.harness.postgres import Postgres
from tests.store.conformance import StoreConformance, saved
from tests.store.conformance_family import FamilyConformance

from antiphon.protocol.errors import ConfigError
from antiphon.store.postgres import open_postgres
from antiphon.store.store import Store


@pytest.fixture
async def url(postgres: Postgres) -> str:
    return await postgres.new_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with asyncio.timeout(10):
        opened = await open_postgres(url)
    yield opened
    await opened.close()


class TestPostgresConformance(StoreConformance, FamilyConformance):
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
