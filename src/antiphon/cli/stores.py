"""`antiphon migrate` and `antiphon store copy`: the database itself, beside the servers that use it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from antiphon.app import open_url, schema_of
from antiphon.config import load_settings
from antiphon.protocol.errors import ConfigError
from antiphon.store.copying import copy_store

Overrides = Mapping[str, str | int | None]


def migrate(overrides: Overrides, *, is_check: bool) -> None:
    """Bring the store to the newest schema, or only say whether it is there. Raises ConfigError."""
    settings = load_settings(overrides, os.environ)

    async def run() -> None:
        before, newest = await schema_of(settings.store_url)
        if before == newest:
            print(f"the schema is at version {newest}, the newest of this release")
            return
        steps = f"{newest - before} step{'s' if newest - before > 1 else ''}"
        if is_check:
            raise ConfigError(f"the schema is at version {before}; {steps} to version {newest} due: antiphon migrate")
        store = await open_url(settings.store_url)
        await store.close()
        print(f"schema {before} -> {newest}, {steps}")

    asyncio.run(run())


def copy(source_url: str, target_url: str, *, resume: bool) -> None:
    """Copy one store into another; progress goes to standard error. Raises ConfigError."""
    if source_url == target_url:
        raise ConfigError("--from and --to name the same store")

    async def run() -> int:
        before, _ = await schema_of(source_url)
        if before == 0:
            raise ConfigError("--from names a store that holds nothing: check the address")
        source = await open_url(source_url)
        try:
            target = await open_url(target_url)
            try:
                return await copy_store(source, target, resume=resume, on_rows=_tell)
            finally:
                await target.close()
        finally:
            await source.close()

    total = asyncio.run(run())
    print(f"{total} rows copied and counted. Take the installation's secret along: DATA/secret, or ANTIPHON_SECRET.")


def _tell(table: str, rows: int) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{table}: {rows}", end=end, file=sys.stderr, flush=True)
