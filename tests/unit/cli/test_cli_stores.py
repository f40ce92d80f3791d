"""`antiphon migrate` and `antiphon store copy` as a person runs them, on real databases."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.harness.postgres import Postgres

from antiphon.store.migrations import steps
from antiphon.store.sqlite import open_sqlite

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    environ["PYTHONPATH"] = str(ROOT / "src")
    done = subprocess.run(
        [sys.executable, "-m", "antiphon", *arguments],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_migrate_says_what_it_did_and_check_what_is_due(tmp_path: Path, postgres: Postgres, kind: str) -> None:
    url = f"sqlite:///{tmp_path}/a.db" if kind == "sqlite" else asyncio.run(postgres.new_database())
    newest = steps(kind)[-1].version
    code, _, error = run(tmp_path, "migrate", "--store", url, "--check")
    assert (code, "due: antiphon migrate" in error) == (1, True)
    assert run(tmp_path, "migrate", "--store", url)[1].startswith(f"schema 0 -> {newest}")
    for arguments in (("--check",), ()):
        code, said, _ = run(tmp_path, "migrate", "--store", url, *arguments)
        assert (code, f"at version {newest}" in said) == (0, True)


def test_copy_from_the_laptop_to_the_server(tmp_path: Path, postgres: Postgres) -> None:
    source, target = f"sqlite:///{tmp_path}/a.db", asyncio.run(postgres.new_database())
    assert run(tmp_path, "store", "copy", "--from", source, "--to", target)[0] == 1
    asyncio.run(_touch(tmp_path / "a.db"))
    assert run(tmp_path, "key", "create", "--project", "p", "--data", str(tmp_path / "d"))[0] == 0
    source = f"sqlite:///{tmp_path}/d/antiphon.db"
    code, said, error = run(tmp_path, "store", "copy", "--from", source, "--to", target)
    assert (code, "2 rows copied" in said, "secret" in said, "keys: 1" in error) == (0, True, True, True)
    assert run(tmp_path, "store", "copy", "--from", source, "--to", target)[0] == 1
    assert run(tmp_path, "store", "copy", "--from", source, "--to", source)[0] == 1


async def _touch(path: Path) -> None:
    await (await open_sqlite(path)).close()


def test_an_unreachable_server_is_one_line_without_the_password(tmp_path: Path) -> None:
    code, _, error = run(tmp_path, "migrate", "--store", "postgresql://u:very-secret@127.0.0.1:9/x")
    assert (code, len(error.splitlines()), "very-secret" in error) == (1, 1, False)
