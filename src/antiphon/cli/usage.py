"""`antiphon usage`: the ledger, summed by project and model. What has no price is shown as unpriced, never as free."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from antiphon.app import open_store
from antiphon.config import load_settings
from antiphon.protocol.errors import ConfigError
from antiphon.store.base import UsageSum

_SPAN: Final = re.compile(r"(\d{1,5})([hdw])")
_SECONDS: Final = {"h": 3_600, "d": 86_400, "w": 604_800}
_NANO: Final = 1_000_000_000


def usage(overrides: Mapping[str, str | int | None], since: str, as_json: bool) -> None:
    """Print the sums of the last `since` (such as 24h, 30d). Raises ConfigError for anything else."""
    found = _SPAN.fullmatch(since)
    if found is None:
        raise ConfigError(f"--since is {since!r}: write hours, days or weeks, such as 24h, 30d, 4w")
    begin = int(time.time()) - int(found[1]) * _SECONDS[found[2]]
    sums = asyncio.run(_sums(overrides, begin))
    if as_json:
        print(msgspec.json.encode(sums).decode())
        return
    table = Table("project", "target", box=None)
    for name in ("responses", "input", "cached", "output", "USD"):
        table.add_column(name, justify="right")
    for row in sums:
        counts = (row.responses, row.input_tokens, row.cached_tokens, row.output_tokens)
        table.add_row(row.project, row.target or "-", *(f"{count:,}" for count in counts), _cost(row))
    Console(highlight=False, soft_wrap=True).print(table)


async def _sums(overrides: Mapping[str, str | int | None], begin: int) -> list[UsageSum]:
    store = await open_store(load_settings(overrides, os.environ))
    try:
        return await store.usage_since(begin)
    finally:
        await store.close()


def _cost(row: UsageSum) -> str:
    if row.unpriced == row.responses:
        return "unpriced"
    dollars = f"{row.cost_nano_usd / _NANO:,.4f}"
    return f"{dollars} + {row.unpriced} unpriced" if row.unpriced else dollars
