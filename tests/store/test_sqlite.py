"""SQLite against the conformance suite, and what is its own: one file, several processes, sudden ends."""

from __future__ import annotations

import asyncio
import os
import random
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
from bench.plans import traced
from tests.store.conformance import StoreConformance, response, save, saved, usage
from tests.store.conformance_echoes import EchoConformance
from tests.store.conformance_family import FamilyConformance

from antiphon.protocol.errors import ConfigError
from antiphon.store.migrations import steps
from antiphon.store.sqlite import SqliteEngine, open_sqlite
from antiphon.store.sqlite_connections import open_reader
from antiphon.store.store import Store

ROOT = Path(__file__).parents[2]

# Saves as fast as it can and prints each id once it is acknowledged.
WRITER = """
import asyncio, sys
from pathlib import Path
from antiphon.store.sqlite import open_sqlite
from tests.store.conformance import saved

async def main() -> None:
    store = await open_sqlite(Path(sys.argv[1]))
    left = iter(range(int(sys.argv[2])))
    async def save() -> None:
        for _ in left:
            print((await saved(store)).id, flush=True)
    await asyncio.gather(*(save() for _ in range(16)))
    await store.close()

asyncio.run(main())
"""


# A chain's own links, a page's rows, what a subquery brought (its own step is another), tables of a few rows, and the
# one row that tells whether the store is empty.
MAY_BE_WALKED = {"link", "page", "sums", "k", "p", "CONSTANT"}
MAY_WALK = {"SELECT 1 FROM responses LIMIT 1"}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Whatever a test does with it, no statement may walk a whole table."""
    with traced() as plans:
        async with asyncio.timeout(5):
            opened = await open_sqlite(tmp_path / "a.db")
    plans.forget()
    yield opened
    await opened.close()
    found = plans.of(tmp_path / "a.db") if (tmp_path / "a.db").exists() else {}
    assert {sql: steps for sql, steps in found.items() if any(map(_walks, steps)) and sql not in MAY_WALK} == {}


def _walks(step: str) -> bool:
    verb, _, rest = step.partition(" ")
    return verb == "SCAN" and rest.split()[0] not in MAY_BE_WALKED and not rest.startswith("(subquery")


class TestSqliteConformance(StoreConformance, FamilyConformance, EchoConformance):
    """The port's suite on SQLite."""


def spawn(path: Path, count: int) -> subprocess.Popen[str]:
    environ = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", WRITER, str(path), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)


def ids(path: Path, table: str) -> set[str]:
    column = {"responses": "id", "usage": "response_id"}[table]
    connection = apsw.Connection(str(path))
    found = {str(row[0]) for row in connection.execute(f"SELECT {column} FROM {table}")}
    connection.close()
    return found


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill_with_both_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    acknowledged: set[str] = set()
    for _ in range(8):
        with spawn(path, 1_000_000) as writer:
            assert writer.stdout is not None
            for _ in range(random.randint(1, 300)):
                acknowledged.add(writer.stdout.readline().strip())
            writer.kill()
            # A line that the kill cut short is no acknowledgement.
            acknowledged |= {line.strip() for line in writer.stdout if line.endswith("\n")}
    assert acknowledged <= ids(path, "responses")
    assert ids(path, "responses") == ids(path, "usage")


@pytest.mark.slow
def test_two_processes_that_start_and_write_at_once_both_succeed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with spawn(path, 300) as first, spawn(path, 300) as second:
        told = {line.strip() for text in (first.communicate()[0], second.communicate()[0]) for line in text.split()}
    assert (first.returncode, second.returncode, len(told)) == (0, 0, 600)
    assert ids(path, "responses") == told


async def test_another_connection_to_the_file_reads_what_was_saved(store: Store, tmp_path: Path) -> None:
    other = await open_sqlite(tmp_path / "a.db")
    row = await saved(store)
    assert await other.load("proj_a", row.id) == row
    await other.close()


@pytest.mark.parametrize("version", range(len(steps("sqlite")) + 1))
async def test_a_database_of_any_older_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    old = apsw.Connection(str(tmp_path / "a.db"))
    for step in steps("sqlite")[:version]:
        old.execute(step.sql)
    if version == 1:  # before 0002 a response could have two lines
        old.execute("INSERT INTO usage VALUES ('resp_1','p','k','m','t',1,'completed',1,2,3,4,5)")
        old.execute("INSERT INTO usage VALUES ('resp_1','p','k','m','t',1,'cancelled',1,2,3,4,5)")
    old.pragma("user_version", version)
    old.close()
    opened = await open_sqlite(tmp_path / "a.db")
    row = await saved(opened)
    assert await opened.load("proj_a", row.id) == row
    await opened.close()
    assert ids(tmp_path / "a.db", "usage") == ({row.id, "resp_1"} if version == 1 else {row.id})


async def test_a_database_of_a_newer_release_is_refused_unchanged(tmp_path: Path) -> None:
    newer = apsw.Connection(str(tmp_path / "a.db"))
    newer.pragma("user_version", 99)
    newer.close()
    with pytest.raises(ConfigError, match="schema version 99"):
        await open_sqlite(tmp_path / "a.db")


async def test_a_file_that_is_no_database_is_refused_unchanged(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"a letter to a friend" * 100)
    with pytest.raises(ConfigError, match="not an SQLite database"):
        await open_sqlite(tmp_path / "a.db")
    assert (tmp_path / "a.db").read_bytes() == b"a letter to a friend" * 100


async def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        await open_sqlite(tmp_path)


async def test_the_file_is_readable_by_its_owner_only(store: Store, tmp_path: Path) -> None:
    await saved(store)
    assert modes(tmp_path) == {0o600}


async def test_a_full_disk_is_unavailable_and_passes(store: Store, tmp_path: Path) -> None:
    assert isinstance(store.engine, SqliteEngine)
    await store.engine.writer.run(lambda connection: connection.pragma("max_page_count", 40))
    small = response()
    results = await asyncio.gather(
        saved(store, body=bytes(1_000_000)), save(store, small, usage(small)), return_exceptions=True
    )
    assert "the disk is full" in str(results[0])
    assert await store.load("proj_a", small.id) == small
    assert ids(tmp_path / "a.db", "usage") == {small.id}


async def test_deleted_content_is_overwritten_in_the_file(store: Store, tmp_path: Path) -> None:
    row = await saved(store, body=b"a very private thought" * 1_000)
    await store.delete("proj_a", row.id)
    await store.close()
    assert b"private thought" not in (tmp_path / "a.db").read_bytes()


async def test_two_lines_for_one_response_count_once(store: Store, tmp_path: Path) -> None:
    row = await saved(store)
    await save(store, None, usage(row))
    connection = apsw.Connection(str(tmp_path / "a.db"))
    assert connection.execute("SELECT count(*) FROM usage").get == 1
    connection.close()


async def test_a_statement_is_planned_once_whatever_is_bound_to_it(tmp_path: Path) -> None:
    await (await open_sqlite(tmp_path / "a.db")).close()
    connection = open_reader(tmp_path / "a.db")
    planned: list[str] = []

    def asked(*_: object) -> int:
        planned.append(text)
        return apsw.SQLITE_OK

    connection.authorizer = asked
    for text in (
        "SELECT k.id FROM keys k JOIN projects p ON p.id = k.project WHERE k.hash = ?1",
        "WITH RECURSIVE n (id) AS (SELECT ?1 UNION ALL SELECT r.id FROM n JOIN responses r "
        "ON r.previous_response_id = n.id WHERE r.project = ?1) SELECT id FROM n",
    ):
        list(connection.execute(text, ("a",)))
        assert planned
        planned.clear()
        list(connection.execute(text, ("b",)))
        assert planned == []
    connection.close()
