"""Ask vendors which models they have, all at once, each within a deadline; teach the Router what came back.

A vendor that does not answer costs nothing but the knowledge of its names: it can be called as `vendor/model` all the
same. Must never raise for what a vendor does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from antiphon.protocol.errors import AntiphonError
from antiphon.providers.base import Dialect, DialectName, HttpRequest, Vendor
from antiphon.providers.capabilities import Fields
from antiphon.providers.model_lists import facts

from .models import Router

logger: Final = logging.getLogger(__name__)

Fetch = Callable[[HttpRequest], Awaitable[tuple[int, bytes]]]
Dialects = Mapping[DialectName, Dialect]

LOCAL_PROBE_S: Final = 0.5
VENDOR_LIST_S: Final = 10.0
_MOST_MODELS: Final = 5_000


class _Row(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    created: int | float | None = None


class _Listing(msgspec.Struct):
    data: list[msgspec.Raw] = []
    models: list[msgspec.Raw] = []


@dataclass(frozen=True, slots=True)
class Probe:
    """What one vendor said when asked for its models. `took_s` is the wait in seconds."""

    vendor: Vendor
    outcome: Literal["ok", "unauthorised", "refused", "unreachable", "no_list"]
    models: tuple[tuple[str, int], ...] = ()
    facts: tuple[tuple[str, Fields], ...] = ()
    status: int = 0
    took_s: float = 0.0


async def probe_local(router: Router, dialects: Dialects, fetch: Fetch) -> list[Probe]:
    """Find the local engines that run, within LOCAL_PROBE_S; their models are learnt."""
    return await _ask_all(router, [v for v in router.vendors if v.is_local], dialects, fetch, LOCAL_PROBE_S)


async def refresh_models(router: Router, dialects: Dialects, fetch: Fetch) -> list[Probe]:
    """Learn the models of every vendor that has a list and is not local."""
    remote = [v for v in router.vendors if not v.is_local and v.dialect != "sim"]
    return await _ask_all(router, remote, dialects, fetch, VENDOR_LIST_S)


async def _ask_all(
    router: Router, vendors: list[Vendor], dialects: Dialects, fetch: Fetch, deadline_s: float
) -> list[Probe]:
    probes = await asyncio.gather(*(ask(vendor, dialects, fetch, deadline_s) for vendor in vendors))
    for probe in probes:
        if probe.outcome == "ok" and probe.models:
            router.learn(probe.vendor.name, probe.models, probe.facts)
        elif not probe.vendor.is_local and probe.outcome != "no_list":
            logger.warning(
                "model list not read",
                extra={"vendor": probe.vendor.name, "outcome": probe.outcome, "status": probe.status},
            )
    return list(probes)


async def ask(vendor: Vendor, dialects: Dialects, fetch: Fetch, deadline_s: float) -> Probe:
    """Ask one vendor for its models within the deadline (seconds). Never raises for what the vendor does."""
    dialect = dialects.get(vendor.dialect)
    request = dialect.models_request(vendor) if dialect is not None else None
    if request is None:
        return Probe(vendor, "no_list")
    started = time.monotonic()
    try:
        async with asyncio.timeout(deadline_s):
            status, body = await fetch(request)
    except (TimeoutError, OSError, AntiphonError):
        return Probe(vendor, "unreachable", took_s=time.monotonic() - started)
    took_s = time.monotonic() - started
    if status in (401, 403):
        return Probe(vendor, "unauthorised", status=status, took_s=took_s)
    if status >= 300:
        return Probe(vendor, "refused", status=status, took_s=took_s)
    return Probe(vendor, "ok", read_models(body), read_facts(body), status, took_s)


def read_models(body: bytes) -> tuple[tuple[str, int], ...]:
    """(name, created) from a list of models in OpenAI's or Anthropic's shape, or a bare array; else nothing."""
    found = {name: int(row.created or 0) for name, row, _ in _named(body)}
    return tuple(found.items())


def read_facts(body: bytes) -> tuple[tuple[str, Fields], ...]:
    """What a list of models says that each can do; models of which it says nothing are left out."""
    return tuple((name, said) for name, _, raw in _named(body) if (said := facts(raw)))


def _named(body: bytes) -> Iterator[tuple[str, _Row, msgspec.Raw]]:
    for raw in _rows(body)[:_MOST_MODELS]:
        try:
            row = msgspec.json.decode(raw, type=_Row)
        except (msgspec.ValidationError, msgspec.DecodeError):
            continue
        if name := row.id or row.name:
            yield name.removeprefix("models/"), row, raw


def _rows(body: bytes) -> list[msgspec.Raw]:
    try:
        if body.lstrip()[:1] == b"[":
            return msgspec.json.decode(body, type=list[msgspec.Raw])
        listing = msgspec.json.decode(body, type=_Listing)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return []
    return listing.data or listing.models
