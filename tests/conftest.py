"""Options and fixtures that every suite may use: the scripted upstream and real servers before it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import settings
from tests.harness.client import Client
from tests.harness.postgres import Postgres
from tests.harness.process import ServerProcess
from tests.upstream.server import Upstream

# On a developer's machine every run looks at new examples; in CI the same ones, so that a red run says what changed.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite golden files; read the diff before you commit it"
    )


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    """One scripted provider for the session."""
    running = Upstream().start()
    yield running
    running.stop()


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    """The scripted provider, without earlier tests' scripts; it must not have refused anything unasked."""
    shared_upstream.forget()
    yield shared_upstream
    assert shared_upstream.refusals == [], "the upstream refused what Antiphon sent (or clear `refusals`)"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the session; only tests that ask for it start it."""
    running = Postgres().start()
    yield running
    running.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def antiphon_server(
    request: pytest.FixtureRequest, shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """One real server on each store for the session: fast, shared, never killed by a test."""
    env: dict[str, str] = {}
    if request.param == "postgres":
        cluster: Postgres = request.getfixturevalue("postgres")
        env["ANTIPHON_STORE"] = asyncio.run(cluster.new_database())
    server = ServerProcess(tmp_path_factory.mktemp("server"), shared_upstream.url, env=env).start()
    yield server
    server.stop()


@pytest.fixture
def new_server(shared_upstream: Upstream, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """A function that starts a server of the test's own, to be drained, killed or configured."""
    started: list[ServerProcess] = []

    def start(**settings: Any) -> ServerProcess:
        folder = tmp_path / f"server{len(started)}"
        folder.mkdir()
        server = ServerProcess(folder, shared_upstream.url, **settings)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A connection pool without reuse, so that each request's end is its own."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


@pytest.fixture
def client(antiphon_server: ServerProcess, http: aiohttp.ClientSession) -> Client:
    """The raw client of the shared server."""
    return Client(http, antiphon_server.url)
