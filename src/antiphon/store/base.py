"""The port to durable state. Engines of storage implement it; `tests/store/conformance.py` says what it means.

Every look-up names its project: one project never sees another's rows. What `save` acknowledged is durable and
visible to every reader of the same store before it returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from antiphon.protocol.errors import AntiphonError


class StoreUnavailable(AntiphonError):
    """The database does not answer, is locked too long, or its disk is full."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One terminal response with what only it contributed to its chain.

    `body` is the response object's JSON as sent (with every include-gated field); `input` a JSON array of its own new
    input items, each with an id; `turns` the JSON of its model turns: an array of
    {"output": [first, end), "record": ReplayRecord | null}. Times are Unix seconds UTC; `expires_at` None = kept.
    """

    id: str
    project: str
    previous_response_id: str | None
    status: str
    model: str
    created_at: int
    expires_at: int | None
    body: bytes
    input: bytes
    turns: bytes


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line of the ledger, written in the same transaction as the response."""

    response_id: str
    project: str
    key_id: str
    model: str
    target: str
    created_at: int
    status: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key as stored: `hash` is HMAC-SHA256 of the whole key under the installation's secret, hex."""

    id: str
    project: str
    project_name: str
    hash: str
    hint: str
    created_at: int
    revoked_at: int | None = None


class Store(Protocol):
    """The durable state of one installation."""

    async def save(self, response: StoredResponse | None, usage: UsageRow) -> None:
        """Commit both or neither; `response` None (store:false) writes the ledger line alone.

        Raises StoreUnavailable, and then nothing was written.
        """
        ...

    async def load(self, project: str, response_id: str) -> StoredResponse | None:
        """One response, or None if it is absent, deleted, expired, or another project's."""
        ...

    async def chain(self, project: str, response_id: str) -> list[StoredResponse] | None:
        """The response and all it follows, oldest first, in one query.

        None if the response or any link of it is absent, deleted, expired or another project's.
        """
        ...

    async def delete(self, project: str, response_id: str) -> bool:
        """Remove the response's content at once; False if it was not there."""
        ...

    async def purge(self, now: int, limit: int = 1000) -> int:
        """Remove up to `limit` responses that expired before `now` (Unix seconds); how many went."""
        ...

    async def add_key(self, key: KeyRow) -> None:
        """Store a key, and its project if it is new."""
        ...

    async def find_key(self, key_hash: str) -> KeyRow | None:
        """The key with this full hash, revoked or not."""
        ...

    async def list_keys(self) -> list[KeyRow]:
        """Every key, oldest first."""
        ...

    async def project_id(self, name: str) -> str | None:
        """The id of a project by its name."""
        ...

    async def revoke_key(self, key_id: str, now: int) -> bool:
        """Mark a key revoked; False if there is none by that id or it already was."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable when the store cannot serve."""
        ...

    async def close(self) -> None:
        """Write what is queued and release everything. Idempotent."""
        ...
