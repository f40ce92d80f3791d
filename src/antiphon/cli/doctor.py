"""`antiphon doctor`: is this installation sound, and does every vendor answer with the key it was given.

Each check is a function that returns findings and changes nothing, but that the store is opened and migrated as a
start would. A local engine that does not run is no failure.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
from rich.console import Console

from antiphon import __version__
from antiphon.access.secret import load_secret
from antiphon.app import dialects, open_store
from antiphon.config import Settings, load_settings
from antiphon.protocol.errors import AntiphonError
from antiphon.providers.base import Vendor
from antiphon.providers.capabilities import Registry
from antiphon.providers.catalog import SIM, lacking_extras, load_capabilities, load_vendors
from antiphon.providers.transport import Deadlines, Transport
from antiphon.routing.discovery import LOCAL_PROBE_S, VENDOR_LIST_S, Probe, ask
from antiphon.routing.models import Router
from antiphon.server.open_files import raise_open_files, responses_within

from .interpreter import is_plain

_PACKAGES: Final = ("aiohttp", "apsw", "click", "cryptography", "httptools", "msgspec", "rich", "uvicorn", "uvloop")
_MARKS: Final = {"ok": ("ok", "green"), "note": ("--", "dim"), "failed": ("FAILED", "bold red")}
_HINTS: Final = {
    "unauthorised": "the vendor refuses this key: check it, and that it was not revoked",
    "refused": "the vendor answers, but not with its list of models; calls may still work",
    "unreachable": "no answer: check base_url, the network, and proxy variables",
}
_PLAIN: Final = "built without --enable-optimizations: with it, as Debian's is, a request needs about a tenth less CPU"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report."""

    check: str
    outcome: Literal["ok", "note", "failed"]
    detail: str


def doctor(overrides: Mapping[str, str | int | None], as_json: bool) -> None:
    """Print the findings; ends the process with 1 if one of them failed."""
    findings = asyncio.run(_examine(overrides))
    if as_json:
        print(msgspec.json.encode(findings).decode())
    else:
        _print(findings)
    if any(finding.outcome == "failed" for finding in findings):
        sys.exit(1)


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark, style = _MARKS[finding.outcome]
        console.print(f"{mark:<7}", style=style, end="", markup=False)
        console.print(f"{finding.check:<14}{finding.detail}", markup=False)


async def _examine(overrides: Mapping[str, str | int | None]) -> list[Finding]:
    findings = _installation()
    try:
        settings = load_settings(overrides, os.environ)
        vendors = load_vendors(settings, os.environ)
        Router(vendors, settings.models, Registry(load_capabilities(settings)))
    except AntiphonError as error:
        return [*findings, Finding("configuration", "failed", str(error))]
    findings.append(Finding("configuration", "ok", str(settings.config_path or "no file, defaults and environment")))
    findings += [
        Finding("vendor", "note", f"{name}: credentials are there; pip install 'antiphon[{extra}]' to use them")
        for name, extra in lacking_extras(os.environ)
    ]
    findings.append(_files(settings))
    findings += await _state(settings)
    return findings + await _vendors(vendors)


def _installation() -> list[Finding]:
    findings = [Finding("antiphon", "ok", f"{__version__} on Python {platform.python_version()}")]
    if is_plain():
        findings.append(Finding("python", "note", _PLAIN))
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            findings.append(Finding("package", "failed", f"{name} cannot be imported: {error}; install Antiphon again"))
    return findings


def _files(settings: Settings) -> Finding:
    """Whether the responses that one process may make at once have files enough for their connections."""
    files = raise_open_files()
    possible = responses_within(files)
    if possible >= settings.max_responses:
        return Finding("open files", "ok", f"{files:,} for each process")
    detail = f"{files:,} are enough for {possible:,} responses at once, not for {settings.max_responses:,}"
    return Finding("open files", "note", f"{detail}: raise the hard limit (ulimit -Hn, LimitNOFILE)")


async def _state(settings: Settings) -> list[Finding]:
    """The data folder, the secret in it, and the store."""
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return [
            Finding("data folder", "failed", f"{folder} cannot be made: {error.strerror}; choose another with --data")
        ]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [Finding("data folder", "failed", f"{folder} is not writable for this user; change its owner or --data")]
    findings = [Finding("data folder", "ok", str(folder))]
    try:
        load_secret(folder)
        findings.append(Finding("secret", "ok", "readable"))
    except (AntiphonError, OSError, ValueError) as error:
        findings.append(Finding("secret", "failed", f"{error}; restore it from a backup: keys depend on it"))
    return [*findings, await _store(settings)]


async def _store(settings: Settings) -> Finding:
    try:
        store = await open_store(settings)
        try:
            await store.ping()
            count = len(await store.list_keys())
        finally:
            await store.close()
    except (AntiphonError, OSError) as error:
        return Finding("store", "failed", f"{settings.store_url}: {error}")
    size_bytes = Path(settings.store_url.removeprefix("sqlite:///")).stat().st_size
    return Finding("store", "ok", f"{settings.store_url} ({size_bytes:,} bytes, {count} keys)")


async def _vendors(vendors: tuple[Vendor, ...]) -> list[Finding]:
    asked = [vendor for vendor in vendors if vendor.name != SIM]
    spoken = dialects()
    async with Transport(Deadlines()) as transport:
        waits = (LOCAL_PROBE_S if vendor.is_local else VENDOR_LIST_S for vendor in asked)
        probes = await asyncio.gather(
            *(ask(vendor, spoken, transport.fetch, wait_s) for vendor, wait_s in zip(asked, waits, strict=True))
        )
    findings = [_of_probe(probe) for probe in probes]
    if not any(finding.outcome == "ok" for finding in findings):
        findings.append(Finding("vendors", "note", "none answers yet; sim/standard does without any key"))
    return findings


def _of_probe(probe: Probe) -> Finding:
    name, took = probe.vendor.name, f"{probe.took_s * 1000:.0f} ms"
    match probe.outcome:
        case "ok":
            return Finding(name, "ok", f"{len(probe.models)} models in {took} at {probe.vendor.base_url}")
        case "no_list":
            return Finding(name, "note", "has no list of models to ask for; its key was not tried")
        case "unreachable" if probe.vendor.is_local:
            return Finding(name, "note", f"does not run at {probe.vendor.base_url}")
        case "refused" if probe.vendor.is_local:
            return Finding(name, "note", f"something else answers {probe.status} at {probe.vendor.base_url}")
        case _:
            status = f"HTTP {probe.status}, " if probe.status else ""
            return Finding(name, "failed", f"{status}{took}: {_HINTS[probe.outcome]}")
