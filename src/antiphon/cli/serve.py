"""`antiphon serve`: bind first, prepare once, say where it is, then hand the socket to the workers.

The banner goes to standard output, logs go to standard error, so that neither mixes into the other.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType
from typing import Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from antiphon.app import Application, Prepared, create_app, dialects, prepare
from antiphon.config import Settings, load_settings
from antiphon.protocol.errors import ConfigError
from antiphon.providers.catalog import SIM, load_vendors
from antiphon.providers.transport import Deadlines, Transport
from antiphon.routing.discovery import Probe, probe_local
from antiphon.routing.models import Router
from antiphon.server.logs import configure_logging
from antiphon.server.open_files import raise_open_files

from .banner import Found, banner
from .guarded_http import GuardedHttp
from .guarded_socket import GuardedSocket

_BACKLOG: Final = 2048
_TICK_S: Final = 1.0
"""The Date header has whole seconds."""
_VARIABLES: Final = {
    "host": "ANTIPHON_HOST",
    "port": "ANTIPHON_PORT",
    "data": "ANTIPHON_DATA",
    "config": "ANTIPHON_CONFIG",
    "workers": "ANTIPHON_WORKERS",
}


def build() -> Application:
    """The application of one worker process, from the environment that `serve` left."""
    return create_app(load_settings({}, os.environ))


def serve(overrides: Mapping[str, str | int | None]) -> None:
    """Serve until told to stop. Raises ConfigError for a wrong setting or an address that cannot be bound."""
    settings = load_settings(overrides, os.environ)
    configure_logging(settings.log_level, settings.log_format)
    # Workers are new processes: they read the options of this command from their environment.
    for name, value in overrides.items():
        if value is not None:
            os.environ[_VARIABLES[name]] = str(value)
    raise_open_files()  # workers inherit it
    listener = bind(settings.host, settings.port)
    prepared, engines = asyncio.run(_prepare(settings))
    print(banner(_found(settings, listener, prepared, engines)), flush=True)
    config = server_config(settings)
    # uvicorn raises the signal again once it has drained; it is then answered by ending with code 0.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    if settings.workers > 1:
        gc.enable()  # each worker is a process of its own
        Multiprocess(config, sockets=[listener]).run()
    else:
        server = _Server(config)
        server.run(sockets=[listener])
        if not server.started:
            raise ConfigError("the server could not start; the log above says why, and `antiphon doctor` helps")


class _Server(uvicorn.Server):
    """uvicorn's looks ten times a second whether it is to stop. This one is told, and looks once, for the date."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._told.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._told.set)


def server_config(settings: Settings) -> uvicorn.Config:
    """uvicorn as we run it: our own logs and headers, and a drain that ends after ours has."""
    return uvicorn.Config(
        "antiphon.cli.serve:build",
        factory=True,
        loop="uvloop",
        http=GuardedHttp,
        ws=GuardedSocket,
        ws_max_size=settings.max_body_bytes,
        ws_per_message_deflate=False,
        lifespan="on",
        workers=settings.workers,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=math.ceil(settings.drain_s) + 1,
        backlog=_BACKLOG,
    )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError that says what to change."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(f"--host {host!r}: not an address of this machine: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port, or stop what uses it"
        ) from error
    listener.set_inheritable(True)
    return listener


def url_of(host: str, listener: socket.socket) -> str:
    """The base URL that a client on this machine can use."""
    port = int(listener.getsockname()[1])
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/v1"


async def _prepare(settings: Settings) -> tuple[Prepared, list[Probe]]:
    """Make what must be there before a worker starts, and look for local engines meanwhile."""
    async with asyncio.TaskGroup() as group:
        preparing = group.create_task(prepare(settings))
        probing = group.create_task(_engines(settings))
    return preparing.result(), probing.result()


async def _engines(settings: Settings) -> list[Probe]:
    router = Router(load_vendors(settings, os.environ), ())
    async with Transport(Deadlines()) as transport:
        probes = await probe_local(router, dialects(), transport.fetch)
    return [probe for probe in probes if probe.outcome == "ok"]


def _found(settings: Settings, listener: socket.socket, prepared: Prepared, engines: list[Probe]) -> Found:
    local = {vendor.name for vendor in load_vendors(settings, os.environ) if vendor.is_local}
    return Found(
        base_url=url_of(settings.host, listener),
        data_dir=settings.data_dir,
        config_path=settings.config_path,
        new_key=prepared.new_key,
        vendors=[name for name in prepared.vendors if name not in local and name != SIM],
        engines=[(probe.vendor.name, len(probe.models)) for probe in engines],
        is_sim_enabled=settings.is_sim_enabled,
    )
