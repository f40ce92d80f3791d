"""`antiphon key create | list | revoke`: over the data folder itself, also while servers run on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from antiphon.access.keys import Keys
from antiphon.access.secret import load_secret
from antiphon.app import open_store
from antiphon.config import load_settings
from antiphon.protocol.errors import ConfigError
from antiphon.store.base import KeyRow

_SQLITE: Final = "sqlite:///"
Overrides = Mapping[str, str | int | None]


@asynccontextmanager
async def _keys(overrides: Overrides) -> AsyncGenerator[Keys]:
    """The keys of the data folder. Raises ConfigError where a mistyped or forgotten folder would make a new one."""
    settings = load_settings(overrides, os.environ)
    is_file = settings.store_url.startswith(_SQLITE)
    database = Path(settings.store_url.removeprefix(_SQLITE))
    is_named = (
        not is_file
        or overrides.get("data") is not None
        or "ANTIPHON_DATA" in os.environ
        or "ANTIPHON_STORE" in os.environ
    )
    if is_file and not is_named and settings.config_path is None and not database.exists():
        raise ConfigError(
            f"there is no Antiphon database in {settings.data_dir}: run this in the folder where you ran "
            "`antiphon serve`, or name its data folder with --data or ANTIPHON_DATA"
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = await open_store(settings)
    try:
        yield Keys(store, load_secret(settings.data_dir))
    finally:
        await store.close()


def create(overrides: Overrides, projects: Sequence[str], as_json: bool) -> None:
    """Make a key and print it, this once. The first project is its own, the others it may act for."""
    names = [project.strip() for project in projects]
    if not all(names):
        raise ConfigError("--project is empty: name the project that the key belongs to")

    async def run() -> None:
        async with _keys(overrides) as keys:
            made = await keys.create(*names)
        if as_json:
            print(msgspec.json.encode({"id": made.row.id, "project": made.row.project_name, "key": made.key}).decode())
        else:
            print(made.key)

    asyncio.run(run())


def show(overrides: Overrides, as_json: bool) -> None:
    """List the keys, oldest first; never the keys themselves."""

    async def run() -> list[KeyRow]:
        async with _keys(overrides) as keys:
            return list(await keys.list())

    rows = [_shown(row) for row in asyncio.run(run())]
    if as_json:
        print(msgspec.json.encode(rows).decode())
        return
    table = Table("id", "project", "key", "created", "revoked", box=None)
    for row in rows:
        table.add_row(*(row[name] or "" for name in ("id", "project", "hint", "created_at", "revoked_at")))
    Console(highlight=False, soft_wrap=True).print(table)


def _shown(row: KeyRow) -> dict[str, str | None]:
    return {
        "id": row.id,
        "project": row.project_name,
        "hint": row.hint,
        "created_at": _utc(row.created_at),
        "revoked_at": None if row.revoked_at is None else _utc(row.revoked_at),
    }


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def revoke(overrides: Overrides, key_id: str) -> None:
    """Revoke one key. Raises ConfigError if there is none by this id."""

    async def run() -> bool:
        async with _keys(overrides) as keys:
            return await keys.revoke(key_id)

    if not asyncio.run(run()):
        raise ConfigError(f"no active key has the id {key_id!r}; `antiphon key list` shows them")
    print(f"revoked {key_id}")
