"""`antiphon models`: what this installation could call now, asked of the vendors themselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

import msgspec

from antiphon.app import dialects
from antiphon.config import Settings, load_settings
from antiphon.providers.catalog import load_vendors
from antiphon.providers.transport import Deadlines, Transport
from antiphon.routing.discovery import probe_local, refresh_models
from antiphon.routing.models import ModelInfo, Router


def list_models(overrides: Mapping[str, str | int | None], as_json: bool) -> None:
    """Print one model a line."""
    found = asyncio.run(_models(load_settings(overrides, os.environ)))
    if as_json:
        print(msgspec.json.encode([{"id": row.id, "owned_by": row.owned_by} for row in found]).decode())
        return
    for row in found:
        print(row.id)


async def _models(settings: Settings) -> list[ModelInfo]:
    router = Router(load_vendors(settings, os.environ), settings.models)
    async with Transport(Deadlines()) as transport, asyncio.TaskGroup() as group:
        group.create_task(probe_local(router, dialects(), transport.fetch))
        group.create_task(refresh_models(router, dialects(), transport.fetch))
    return router.models()
