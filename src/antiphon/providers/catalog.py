"""The vendors that can be called: rows of catalog.toml, then the operator's, as typed values.

A row becomes active when the environment holds its key or its credential chain. Local engines are always there and
answer or do not; whether they run is found out by `routing.discovery`. Must never call anybody.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from antiphon.config import Settings, VendorRow
from antiphon.protocol.errors import ConfigError

from .base import AuthStyle, DialectName, Vendor
from .capabilities import Row, row_of
from .catalog_rows import (
    CatalogRow,
    Chain,
    built_in_rows,
    credential_of,
    filled,
    has_chain,
    key_of,
    local_url,
)
from .quirks import Quirks
from .simulator import MODELS as SIM_MODELS

SIM: Final = "sim"
EXTRAS: Final[dict[Chain, tuple[str, str]]] = {
    "aws": ("botocore", "bedrock"),
    "google": ("google.auth", "vertex"),
    "entra": ("azure.identity", "azure"),
}
"""What a credential chain needs installed: the module, and our extra that brings it."""


@dataclass(frozen=True, slots=True)
class CatalogVendor(Vendor):
    """A vendor with the model names that are known without asking it, and its other surfaces by patterns of names."""

    known_models: tuple[str, ...] = ()
    surfaces: tuple[tuple[tuple[str, ...], Vendor], ...] = ()


def known_models(vendor: Vendor) -> tuple[str, ...]:
    """The model names known without asking the vendor."""
    return vendor.known_models if isinstance(vendor, CatalogVendor) else ()


def serving(vendor: Vendor, model: str) -> Vendor:
    """The surface of a vendor that serves a model: the vendor itself, unless the model is served elsewhere."""
    if isinstance(vendor, CatalogVendor):
        for patterns, surface in vendor.surfaces:
            if any(fnmatchcase(model, pattern) for pattern in patterns):
                return surface
    return vendor


def load_capabilities(settings: Settings) -> tuple[Row, ...]:
    """The operator's [[capability]] tables. Raises ConfigError for a wrong one."""
    rows: list[Row] = []
    for table in settings.capabilities:
        named = {("match" if name == "models" else name): value for name, value in table.items()}
        try:
            rows.append(row_of(named))
        except msgspec.ValidationError as error:
            raise ConfigError(f"{settings.config_path}: [[capability]] {table.get('models', '')}: {error}") from error
    return tuple(rows)


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
    environ = dict(environ)  # a look into the real one decodes what it finds
    vendors: list[CatalogVendor] = []
    for row in built_in_rows():
        vendor = _built_in(row, own.pop(row.name, None), settings.config_path, environ)
        if vendor is not None:
            vendors.append(vendor)
    vendors += [_of_operator(row, None, settings.config_path, environ) for row in own.values()]
    if settings.is_sim_enabled:
        vendors.append(_simulator())
    return tuple(vendors)


def lacking_extras(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Built-in vendors whose credentials are there while what signs with them is not installed: (name, extra)."""
    return tuple(
        (row.name, EXTRAS[row.chain][1])
        for row in built_in_rows()
        if row.chain is not None and has_chain(row, environ) and not key_of(row, environ) and not _can_sign(row.chain)
    )


def _can_sign(chain: Chain) -> bool:
    module = EXTRAS[chain][0]
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _simulator() -> CatalogVendor:
    return CatalogVendor(name=SIM, dialect="sim", base_url="sim:", auth="none", scope=SIM, known_models=SIM_MODELS)


def _built_in(
    row: CatalogRow, own: VendorRow | None, path: Path | None, environ: Mapping[str, str]
) -> CatalogVendor | None:
    """The vendor of a built-in row, or None while it has neither a key nor an operator's row."""
    if own is not None:
        return _of_operator(own, row, path, environ)
    key = key_of(row, environ)
    signs = not key and has_chain(row, environ) and row.chain is not None and _can_sign(row.chain)
    base_url = filled(environ.get(row.url_env) or row.base_url, environ)
    if not (key or signs or row.is_local) or base_url is None or not all(environ.get(name) for name in row.needs_env):
        return None
    vendor = CatalogVendor(
        name=row.name,
        dialect=row.dialect,
        base_url=local_url(base_url) if row.is_local else base_url.rstrip("/"),
        auth=row.chain if signs and row.chain is not None else row.auth,
        api_key=key,
        headers=row.headers,
        quirks=_filled_quirks(row.quirks, environ),
        scope=_scope(row.name, key),
        is_local=row.is_local,
        credential=credential_of(row.chain, base_url, row.service, environ) if signs and row.chain else None,
        known_models=row.models,
    )
    return replace(vendor, surfaces=_surfaces(row, vendor, environ))


def _surfaces(
    row: CatalogRow, vendor: CatalogVendor, environ: Mapping[str, str]
) -> tuple[tuple[tuple[str, ...], Vendor], ...]:
    found: list[tuple[tuple[str, ...], Vendor]] = []
    for surface in row.surfaces:
        base_url = filled(surface.base_url, environ)
        if base_url is None:
            continue
        signs = vendor.credential is not None and row.chain is not None
        service = surface.service or row.service
        other = Vendor(
            name=vendor.name,
            dialect=surface.dialect,
            base_url=base_url,
            auth=vendor.auth,
            api_key=vendor.api_key,
            headers=vendor.headers,
            quirks=surface.quirks,
            scope=vendor.scope,
            credential=credential_of(row.chain, base_url, service, environ) if signs and row.chain else None,
        )
        found.append((surface.models, other))
    return tuple(found)


def _filled_quirks(quirks: Quirks, environ: Mapping[str, str]) -> Quirks:
    responses = msgspec.structs.replace(quirks.responses, query=filled(quirks.responses.query, environ) or "")
    chat = msgspec.structs.replace(quirks.chat_completions, query=filled(quirks.chat_completions.query, environ) or "")
    return msgspec.structs.replace(quirks, responses=responses, chat_completions=chat)


def _of_operator(
    own: VendorRow, base: CatalogRow | None, path: Path | None, environ: Mapping[str, str]
) -> CatalogVendor:
    where = f"{path}: vendor {own.name!r}"
    base_url = own.base_url or (filled(base.base_url, environ) if base else None)
    if base_url is None:
        raise ConfigError(f"{where}: set base_url" + _near(own.name))
    dialect = own.dialect or (base.dialect if base else None)
    if dialect is None:
        raise ConfigError(f"{where}: set dialect to one of {', '.join(_DIALECTS)}" + _near(own.name))
    key = _own_key(own, base, where, environ)
    default_auth = base.auth if base and base.dialect == dialect else _auth_of(dialect)
    if own.auth is None and not key and base is not None and base.chain is not None:
        default_auth = base.chain
    auth = _auth(own.auth or default_auth, where)
    chain = _chain(auth, key, where)
    vendor = CatalogVendor(
        name=own.name,
        dialect=_dialect(dialect, where),
        base_url=base_url.rstrip("/"),
        auth=auth,
        api_key=key,
        headers={**(base.headers if base else {}), **own.headers},
        quirks=_filled_quirks(_quirks(own, base, where), environ),
        scope=_scope(own.name, key),
        is_local=own.is_local if own.is_local is not None else bool(base and base.is_local),
        credential=credential_of(chain, base_url, own.service or (base.service if base else ""), environ)
        if chain
        else None,
        known_models=tuple(own.models) or (base.models if base else ()),
    )
    # Who names an address or a dialect means it for every model.
    is_whole = own.base_url is not None or own.dialect is not None
    return vendor if is_whole or base is None else replace(vendor, surfaces=_surfaces(base, vendor, environ))


def _chain(auth: AuthStyle, key: str, where: str) -> Chain | None:
    """The chain that signs for an `auth`, where no key does. Raises ConfigError where it is not installed."""
    if key or (auth != "aws" and auth != "google" and auth != "entra"):
        return None
    if not _can_sign(auth):
        raise ConfigError(f"{where}: auth {auth!r} needs a package: pip install 'antiphon[{EXTRAS[auth][1]}]'")
    return auth


def _auth_of(dialect: str) -> str:
    return {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}.get(dialect, "bearer")


def _near(name: str) -> str:
    close = difflib.get_close_matches(name, [row.name for row in built_in_rows()], n=1)
    return f" (or did you mean the built-in vendor {close[0]!r}?)" if close else ""


_DIALECTS: Final = ("responses", "chat_completions", "anthropic", "gemini", "bedrock", "cohere")


def _dialect(value: str, where: str) -> DialectName:
    try:
        return msgspec.convert(value, DialectName)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: dialect is {value!r}: must be one of {', '.join(_DIALECTS)}") from error


def _auth(value: str, where: str) -> AuthStyle:
    try:
        return msgspec.convert(value, AuthStyle)
    except msgspec.ValidationError as error:
        names = "bearer, x-api-key, api-key, x-goog-api-key, aws, google, entra, none"
        raise ConfigError(f"{where}: auth is {value!r}: must be one of {names}") from error


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
    return key_of(base, environ) if base else ""


def _scope(name: str, key: str) -> str:
    """The account that replay records are bound to: the vendor, and a fingerprint of the key where there is one."""
    return f"{name}#{hashlib.sha256(key.encode()).hexdigest()[:8]}"
