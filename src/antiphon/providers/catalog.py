"""The vendors that can be called: rows of catalog.toml, then the operator's, as typed values.

A row becomes active when one of its environment variables holds a key. Local engines are always there and answer or
do not; whether they run is found out by `routing.discovery`. Must never call anybody.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from antiphon.config import Settings, VendorRow
from antiphon.protocol.errors import ConfigError

from .base import AuthStyle, DialectName, Vendor
from .quirks import Quirks
from .simulator import MODELS as SIM_MODELS

_HOLE: Final = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
SIM: Final = "sim"


class CatalogRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One built-in vendor. `{NAME}` in base_url is filled from the environment; `env` are tried in order."""

    name: str
    title: str
    dialect: DialectName
    base_url: str
    env: tuple[str, ...] = ()
    url_env: str = ""
    auth: AuthStyle = "bearer"
    headers: dict[str, str] = {}
    docs: str
    is_local: bool = False
    models: tuple[str, ...] = ()
    quirks: Quirks = Quirks()


class _Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vendor: tuple[CatalogRow, ...]


@dataclass(frozen=True, slots=True)
class CatalogVendor(Vendor):
    """A vendor with the model names that the catalog or the operator knows without asking it."""

    known_models: tuple[str, ...] = ()


@cache
def built_in_rows() -> tuple[CatalogRow, ...]:
    """The rows of catalog.toml. Raises msgspec.ValidationError for a wrong one: a test loads them."""
    text = files("antiphon.providers").joinpath("catalog.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _Catalog).vendor


def known_models(vendor: Vendor) -> tuple[str, ...]:
    """The model names known without asking the vendor."""
    return vendor.known_models if isinstance(vendor, CatalogVendor) else ()


def load_vendors(settings: Settings, environ: Mapping[str, str]) -> tuple[CatalogVendor, ...]:
    """Every vendor that can be called: the operator's rows, those with a key, local engines, the simulator.

    Raises ConfigError for an operator's row that is incomplete, or wrong in its dialect, quirks or key.
    """
    own = {row.name: row for row in settings.vendors}
    if SIM in own:
        raise ConfigError(
            f"{settings.config_path}: vendor {SIM!r} is the built-in simulator: choose another name, or switch it off "
            "with `sim = false` under [server]"
        )
    vendors: list[CatalogVendor] = []
    for row in built_in_rows():
        vendor = _built_in(row, own.pop(row.name, None), settings.config_path, environ)
        if vendor is not None:
            vendors.append(vendor)
    vendors += [_of_operator(row, None, settings.config_path, environ) for row in own.values()]
    if settings.is_sim_enabled:
        vendors.append(_simulator())
    return tuple(vendors)


def _simulator() -> CatalogVendor:
    return CatalogVendor(name=SIM, dialect="sim", base_url="sim:", auth="none", scope=SIM, known_models=SIM_MODELS)


def _built_in(
    row: CatalogRow, own: VendorRow | None, path: Path | None, environ: Mapping[str, str]
) -> CatalogVendor | None:
    """The vendor of a built-in row, or None while it has neither a key nor an operator's row."""
    if own is not None:
        return _of_operator(own, row, path, environ)
    key = next((environ[name] for name in row.env if environ.get(name)), "")
    base_url = _filled(environ.get(row.url_env) or row.base_url, environ)
    if (not key and not row.is_local) or base_url is None:
        return None
    return CatalogVendor(
        name=row.name,
        dialect=row.dialect,
        base_url=_local_url(base_url) if row.is_local else base_url.rstrip("/"),
        auth=row.auth,
        api_key=key.strip(),
        headers=row.headers,
        quirks=row.quirks,
        scope=_scope(row.name, key),
        is_local=row.is_local,
        known_models=row.models,
    )


def _local_url(text: str) -> str:
    """A local engine's address as its own variable writes it: OLLAMA_HOST may be `host:port` alone."""
    url = text if "://" in text else f"http://{text}"
    url = url.replace("//0.0.0.0", "//127.0.0.1").rstrip("/")
    return url if url.endswith("/v1") else f"{url}/v1"


def _filled(base_url: str, environ: Mapping[str, str]) -> str | None:
    if any(not environ.get(name) for name in _HOLE.findall(base_url)):
        return None
    filled = _HOLE.sub(lambda hole: environ[hole[1]].rstrip("/"), base_url)
    return filled if "://" in filled or not _HOLE.match(base_url) else f"https://{filled}"


def _of_operator(
    own: VendorRow, base: CatalogRow | None, path: Path | None, environ: Mapping[str, str]
) -> CatalogVendor:
    where = f"{path}: vendor {own.name!r}"
    base_url = own.base_url or (_filled(base.base_url, environ) if base else None)
    if base_url is None:
        raise ConfigError(f"{where}: set base_url" + _near(own.name))
    dialect = own.dialect or (base.dialect if base else None)
    if dialect is None:
        raise ConfigError(f'{where}: set dialect to "responses", "chat_completions" or "anthropic"' + _near(own.name))
    key = _own_key(own, base, where, environ)
    default_auth = base.auth if base and base.dialect == dialect else _auth_of(dialect)
    return CatalogVendor(
        name=own.name,
        dialect=_dialect(dialect, where),
        base_url=base_url.rstrip("/"),
        auth=_auth(own.auth or default_auth, where),
        api_key=key,
        headers={**(base.headers if base else {}), **own.headers},
        quirks=_quirks(own, base, where),
        scope=_scope(own.name, key),
        is_local=own.is_local if own.is_local is not None else bool(base and base.is_local),
        known_models=tuple(own.models) or (base.models if base else ()),
    )


def _auth_of(dialect: str) -> str:
    return "x-api-key" if dialect == "anthropic" else "bearer"


def _near(name: str) -> str:
    close = difflib.get_close_matches(name, [row.name for row in built_in_rows()], n=1)
    return f" (or did you mean the built-in vendor {close[0]!r}?)" if close else ""


def _dialect(value: str, where: str) -> DialectName:
    try:
        return msgspec.convert(value, DialectName)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{where}: dialect is {value!r}: must be one of responses, chat_completions, anthropic"
        ) from error


def _auth(value: str, where: str) -> AuthStyle:
    try:
        return msgspec.convert(value, AuthStyle)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: auth is {value!r}: must be one of bearer, x-api-key, api-key, none") from error


def _quirks(own: VendorRow, base: CatalogRow | None, where: str) -> Quirks:
    """The built-in row's quirks with the operator's fields over them, section by section."""
    sections = msgspec.to_builtins(base.quirks if base else Quirks())
    for section, fields in own.quirks.items():
        old = sections.get(section)
        sections[section] = {**old, **fields} if isinstance(old, dict) and isinstance(fields, dict) else fields
    try:
        return msgspec.convert(sections, Quirks)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: quirks: {error}") from error


def _own_key(own: VendorRow, base: CatalogRow | None, where: str, environ: Mapping[str, str]) -> str:
    if own.api_key_env is not None:
        key = environ.get(own.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"{where}: api_key_env names {own.api_key_env}, which is not set; set it or remove the row"
            )
        return key
    if own.api_key_file is not None:
        key_path = Path(own.api_key_file).expanduser()
        try:
            return key_path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: api_key_file {os.fspath(key_path)!r} cannot be read: {error}") from error
    return next((environ[name].strip() for name in (base.env if base else ()) if environ.get(name)), "")


def _scope(name: str, key: str) -> str:
    """The account that replay records are bound to: the vendor, and a fingerprint of the key where there is one."""
    return f"{name}#{hashlib.sha256(key.encode()).hexdigest()[:8]}"
