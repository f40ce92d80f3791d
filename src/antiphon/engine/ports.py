"""Everything the engine may call, as one frozen struct built in `app.py`.

What would cross rooms sideways arrives here, so the engine names no dialect, no database and no HTTP client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from antiphon.access.limits import RateLimits
from antiphon.protocol.deltas import Usage
from antiphon.providers.base import Dialect, DialectName, HttpRequest, Target
from antiphon.store.store import Store

from .carrier import Sealer
from .conversations import Conversations
from .estimate import LearnedEstimates
from .links import Links


class Reply(Protocol):
    """An upstream's answer. `headers` names are lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def pour(self, sink: Callable[[bytes], bool]) -> None:
        """Hand the body on as it comes, until it ends or `sink` has enough; raises UpstreamFault, and as `sink`."""
        ...

    def hang_up(self) -> None:
        """End the pouring where it stands."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The body's first `limit_bytes`."""
        ...


class Room(Protocol):
    """What one process may hold of requests at once, in bytes."""

    def take(self, size_bytes: int) -> None:
        """Hold so many bytes more. Raises Overloaded."""
        ...

    def hold(self, size_bytes: int) -> None:
        """Hold so many bytes more, whether there is room for them or not."""
        ...

    def give_back(self, size_bytes: int) -> None:
        """Hold so many bytes less."""
        ...


Take = Callable[[int], None]
Fetch = Callable[[str, str, Take], Awaitable[str]]
Send = Callable[[HttpRequest], AbstractAsyncContextManager[Reply]]


@dataclass(frozen=True, slots=True)
class Ports:
    """`resolve` raises InvalidRequest(model_not_found); `send` closes the upstream when its block is left.

    `lease_s`: how long a worker may be silent before another takes its runs; `events_s`: how long events are kept.
    `fetch_media`: a client's URL and the path of its field to a data: URL, telling of bytes as they come; None where
    nothing may be fetched. `room`: what contexts and media are counted in; None where nothing bounds them.
    `is_strict`: whether a project wants to be refused what its target cannot honour; None where no project does.
    `limits`: what projects may use in a minute; None where no project has limits.
    `cost`: nano-USD for what was used of a target, None where it has no price.
    """

    store: Store
    resolve: Callable[[str], tuple[Target, ...]]
    dialects: Mapping[DialectName, Dialect]
    send: Send
    sealer: Sealer
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    retention_s: int | None
    lease_s: float = 15.0
    events_s: int = 86_400
    fetch_media: Fetch | None = None
    room: Room | None = None
    limits: RateLimits | None = None
    is_strict: Callable[[str], Awaitable[bool]] | None = None
    cost: Callable[[str, Usage], int | None] = lambda target, usage: None
    learned: LearnedEstimates = field(default_factory=LearnedEstimates)
    links: Links = field(default_factory=Links)
    conversations: Conversations = field(default_factory=Conversations)
