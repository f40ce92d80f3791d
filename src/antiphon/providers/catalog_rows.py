"""The rows of catalog.toml as typed values, and what the environment says of one: its key, its addresses.

A row is active when one of its `env` variables holds a key, or when one of `chain_env` shows that the usual chain of
its cloud (AWS profile or role, Google's application default credentials, Entra) has something to sign with. In
addresses `{A|B}` is the first of these variables that is set, `{A|B:-word}` with a default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal

import msgspec

from .base import AuthStyle, Credential, DialectName
from .quirks import Quirks

_HOLE: Final = re.compile(r"\{([A-Z][A-Z0-9_|]*)(?::-([^}]*))?\}")
_REGION: Final = re.compile(r"[.-]((?:us|eu|ap|ca|sa|me|af|il|mx|cn)(?:-gov)?-[a-z]+-\d)\.")
_GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_ENTRA_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
Chain = Literal["aws", "google", "entra"]


class SurfaceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Models of a vendor (shell patterns) that it serves at another address, in another dialect."""

    models: tuple[str, ...]
    dialect: DialectName
    base_url: str
    service: str = ""
    quirks: Quirks = Quirks()


class CatalogRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One built-in vendor: `auth` is how a key is sent, `chain` signs where there is none, `needs_env` must be set."""

    name: str
    title: str
    dialect: DialectName
    base_url: str
    env: tuple[str, ...] = ()
    url_env: str = ""
    auth: AuthStyle = "bearer"
    chain: Chain | None = None
    chain_env: tuple[str, ...] = ()
    needs_env: tuple[str, ...] = ()
    service: str = ""
    headers: dict[str, str] = {}
    docs: str
    is_local: bool = False
    models: tuple[str, ...] = ()
    quirks: Quirks = Quirks()
    surfaces: tuple[SurfaceRow, ...] = ()


class _Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vendor: tuple[CatalogRow, ...]


@cache
def built_in_rows() -> tuple[CatalogRow, ...]:
    """The rows of catalog.toml. Raises msgspec.ValidationError for a wrong one: a test loads them."""
    text = files("antiphon.providers").joinpath("catalog.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), _Catalog).vendor


def key_of(row: CatalogRow, environ: Mapping[str, str]) -> str:
    """The vendor's key, or "" where no variable holds one."""
    return next((environ[name].strip() for name in row.env if environ.get(name)), "")


def has_chain(row: CatalogRow, environ: Mapping[str, str]) -> bool:
    """Whether the environment shows that the row's credential chain has something to give."""
    return row.chain is not None and any(environ.get(name) for name in row.chain_env)


def credential_of(kind: Chain, base_url: str, service: str, environ: Mapping[str, str]) -> Credential:
    """What signs calls to an address; AWS's region is the one that the address names."""
    if kind == "aws":
        found = _REGION.search(base_url)
        region = found[1] if found else environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return Credential("aws", service or "bedrock", region)
    return Credential(kind, scope=_GOOGLE_SCOPE if kind == "google" else _ENTRA_SCOPE)


def filled(address: str, environ: Mapping[str, str]) -> str | None:
    """An address with its holes filled; None if a variable without default is not set."""
    if not _HOLE.search(address):
        return address
    known = {**environ, "VERTEX_HOST": _vertex_host(environ)}
    for hole in _HOLE.finditer(address):
        if _said(hole, known) is None:
            return None
    whole = _HOLE.sub(lambda hole: (_said(hole, known) or "").rstrip("/"), address)
    return whole if "://" in whole or not _HOLE.match(address) else f"https://{whole}"


def _said(hole: re.Match[str], environ: Mapping[str, str]) -> str | None:
    return next((environ[name] for name in hole[1].split("|") if environ.get(name)), hole[2])


def _vertex_host(environ: Mapping[str, str]) -> str:
    """Vertex's host for a location: `global` and the multi-regions have hosts of their own."""
    location = environ.get("GOOGLE_CLOUD_LOCATION") or environ.get("CLOUD_ML_REGION") or "global"
    if location in ("us", "eu"):
        return f"aiplatform.{location}.rep.googleapis.com"
    return "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"


def local_url(text: str) -> str:
    """A local engine's address as its own variable writes it: OLLAMA_HOST may be `host:port` alone."""
    url = text if "://" in text else f"http://{text}"
    url = url.replace("//0.0.0.0", "//127.0.0.1").rstrip("/")
    return url if url.endswith("/v1") else f"{url}/v1"
