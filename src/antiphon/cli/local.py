"""A server for one question: opened inside this process on a free port, over the local data folder."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvicorn

from antiphon.access.keys import Keys
from antiphon.access.secret import load_secret
from antiphon.app import create_app, open_store, prepare
from antiphon.config import Settings
from antiphon.protocol.errors import AntiphonError, ConfigError, Unauthenticated

from .serve import bind, url_of

_PROJECT: Final = "default"
_KEY_FILE: Final = "cli.key"
_HOST: Final = "127.0.0.1"
_START_S: Final = 15.0


async def local_key(settings: Settings) -> tuple[str, str | None]:
    """The key that this command uses over the local data folder, and the first start's key if one was just made.

    It belongs to the project `default` and is kept in the data folder, readable by its owner only, as the secret is.
    """
    first = (await prepare(settings)).new_key
    path = settings.data_dir / _KEY_FILE
    store = await open_store(settings)
    try:
        keys = Keys(store, load_secret(settings.data_dir))
        if path.exists():
            key = path.read_text("ascii").strip()
            with contextlib.suppress(Unauthenticated):
                await keys.authenticate({b"authorization": f"Bearer {key}".encode()})
                return key, first
        key = (await keys.create(_PROJECT)).key
        _write_private(path, key)
        return key, first
    finally:
        await store.close()


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")


async def with_local_server(settings: Settings, use: Callable[[str], Awaitable[None]]) -> None:
    """Run `use` with the base URL of a server that lives as long as it does.

    What `use` raises comes out after the server has stopped in good order. Raises ConfigError if it cannot start.
    """
    quiet = dataclasses.replace(settings, log_level="error", log_format="text", workers=1)
    listener = bind(_HOST, 0)
    config = uvicorn.Config(
        create_app(quiet), lifespan="on", access_log=False, log_config=None, ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[listener]))
        failure = await _outcome(server, serving, use, url_of(_HOST, listener))
        server.should_exit = True
    if failure is not None:
        raise failure


async def _outcome(
    server: uvicorn.Server, serving: asyncio.Task[None], use: Callable[[str], Awaitable[None]], url: str
) -> Exception | None:
    """What `use` failed with; an exception that left the task group's block would cancel the server's own shutdown."""
    try:
        async with asyncio.timeout(_START_S):
            await _started(server, serving)
        await use(url)
    except (AntiphonError, OSError) as error:
        return error
    return None


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            raise ConfigError("the local server could not start; `antiphon doctor` says why")
        await asyncio.sleep(0.01)
