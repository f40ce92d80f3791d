"""API keys: who calls. A key is hashed whole under the installation's secret before anything looks it up.

Only the hash and a hint are stored. Known keys are trusted for CACHE_S seconds before the store is asked whether any
was changed, so a revocation takes hold within that time on every worker; unknown keys are never remembered.
Source: decision 0031.
"""

from __future__ import annotations

import hmac
import math
import secrets
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Final

from antiphon.protocol.errors import ConfigError, Forbidden, Unauthenticated
from antiphon.protocol.ids import new_id
from antiphon.store.base import KeyRow
from antiphon.store.store import Store

from .secret import Secret

CACHE_S: Final = 0.25
PREFIX: Final = "sk-antiphon-"
PROJECT_HEADER: Final = b"x-project-id"
_RANDOM_CHARACTERS: Final = 43  # 256 bits in base 62
_ALPHABET: Final = string.ascii_letters + string.digits
_MAX_KEY_CHARACTERS: Final = 512
_MAX_CACHED: Final = 10_000
_LEAST_BOOTSTRAP: Final = 16


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request."""

    project: str
    key_id: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: `key` is shown once and stored nowhere."""

    row: KeyRow
    key: str = field(repr=False)


class Keys:
    """Makes, lists, revokes and checks keys."""

    def __init__(
        self,
        store: Store,
        secret: Secret,
        *,
        has_project_header: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`has_project_header`: whether X-Project-ID chooses among the projects of a key."""
        self._has_project_header = has_project_header
        self._store = store
        self._subkeys = secret.key_hashing
        self._clock = clock
        self._known: dict[bytes, Principal] = {}
        self._changes = -1
        """What the store had counted when those were not yet looked up."""
        self._asked_at = -math.inf

    async def create(self, project_name: str, *others: str) -> NewKey:
        """A new key for a project, and for others that it may act for by X-Project-ID; projects that are new are made.

        Raises ConfigError for a bad name.
        """
        names = [_project_name(name) for name in (project_name, *others)]
        key = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
        row = await self._add(names[0], key)
        for name in names[1:]:
            await self._store.add_key_project(row.id, new_id("proj"), name, row.created_at)
        return NewKey(row, key)

    async def bootstrap(self, key: str) -> KeyRow:
        """The operator's own first key (ANTIPHON_BOOTSTRAP_KEY), for project `default`; the same one may come again."""
        if len(key) < _LEAST_BOOTSTRAP or not _is_plain(key):
            raise ConfigError(
                f"ANTIPHON_BOOTSTRAP_KEY must be {_LEAST_BOOTSTRAP} to {_MAX_KEY_CHARACTERS} ASCII characters"
            )
        known = await self._find(key)
        return known if known is not None else await self._add("default", key)

    async def _add(self, project_name: str, key: str) -> KeyRow:
        project = await self._store.project_id(project_name) or new_id("proj")
        row = KeyRow(
            new_id("key"), project, project_name, _hash(self._subkeys[0], key).hex(), hint_of(key), int(time.time())
        )
        await self._store.add_key(row)
        # Another process may have made the project, or this very bootstrap key, first: what is stored counts.
        stored = await self._store.find_key(row.hash)
        assert stored is not None, "the store acknowledged the key"
        return stored

    async def _find(self, key: str) -> KeyRow | None:
        """The row of a key, hashed under the current secret or an earlier one: a rotation locks nobody out."""
        for subkey in self._subkeys:
            row = await self._store.find_key(_hash(subkey, key).hex())
            if row is not None:
                return row
        return None

    async def list(self) -> list[KeyRow]:
        """Every key, oldest first; hashes and hints only."""
        return await self._store.list_keys()

    async def revoke(self, key_id: str) -> bool:
        """End a key by its id; False if there is no such live key."""
        return await self._store.revoke_key(key_id, int(time.time()))

    async def authenticate(self, headers: Mapping[bytes, bytes]) -> Principal:
        """The caller behind `Authorization: Bearer KEY` or `x-api-key: KEY`; header names are lower case.

        Raises Unauthenticated, with the key masked, and Forbidden for a project that is not the key's.
        """
        principal = await self._holder(headers)
        wanted = headers.get(PROJECT_HEADER) if self._has_project_header else None
        return await self._acting_for(principal, wanted.decode("latin-1").strip()) if wanted else principal

    async def _acting_for(self, principal: Principal, wanted: str) -> Principal:
        """The same key for another of its projects, by id or name."""
        if wanted in ("", principal.project):
            return principal
        for project, name in (await self._store.other_projects(principal.key_id)).items():
            if wanted in (project, name):
                return Principal(project, principal.key_id)
        if wanted == await self._store.project_name(principal.project):
            return principal
        raise Forbidden(
            f"This key does not own the project '{wanted[:100]}' named in X-Project-ID.", code="project_not_owned"
        )

    async def _holder(self, headers: Mapping[bytes, bytes]) -> Principal:
        # What is kept in memory is no key either; this hash costs a tenth of the stored one.
        authorization = headers.get(b"authorization", b"")
        sent = authorization, b"" if authorization else headers.get(b"x-api-key", b"")
        digest = blake2b(b"%b\n%b" % sent, key=self._subkeys[0]).digest()
        if self._clock() - self._asked_at >= CACHE_S:
            await self._look_for_changes()
        known = self._known.get(digest)
        if known is not None:
            return known
        changes = self._changes
        key = _sent_key(*[value.decode("latin-1").strip() for value in sent])
        row = await self._find(key)
        if row is None or row.revoked_at is not None:
            raise Unauthenticated(
                f"Incorrect API key provided: {hint_of(key)}. Make one with `antiphon key create --project NAME`."
            )
        principal = Principal(row.project, row.id)
        if changes == self._changes:  # else it may be this key that was changed, after it was found
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
            self._known[digest] = principal
        return principal

    async def _look_for_changes(self) -> None:
        began = self._clock()
        changes = await self._store.key_changes()
        if changes != self._changes:
            self._known.clear()
            self._changes = changes
        self._asked_at = began


def _project_name(given: str) -> str:
    name = given.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise ConfigError(f"project name {given!r}: use 1 to 100 printable characters")
    return name


def _hash(subkey: bytes, key: str) -> bytes:
    return hmac.digest(subkey, key.encode(), sha256)


def _is_plain(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key and len(key) <= _MAX_KEY_CHARACTERS


def _sent_key(authorization: str, key: str) -> str:
    if authorization:
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(
                "Unsupported Authorization scheme: send your key as 'Authorization: Bearer YOUR_KEY' or in x-api-key."
            )
        key = credential.strip()
    if not key:
        raise Unauthenticated(
            "You didn't provide an API key. Send it in an Authorization header using Bearer auth "
            "(i.e. Authorization: Bearer YOUR_KEY), or in x-api-key."
        )
    if not _is_plain(key):
        raise Unauthenticated("Incorrect API key provided: it is not a key of this server.")
    return key


def hint_of(key: str) -> str:
    """A key as it may be shown: its first and last characters."""
    return f"{key[:7]}***{key[-4:]}" if len(key) >= _LEAST_BOOTSTRAP else "***"
