"""The durable state of one installation: every table over one engine, and the transactions that touch several.

`tests/store/conformance.py` says what each operation means; it runs on every engine. What a write acknowledged is
durable and visible to every reader of the same database before it returns.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from contextlib import contextmanager
from functools import partial

from .background import BackgroundTable, enqueue_job, finish, forget_events, insert_events, update_response
from .base import Echo, IdempotentAnswer, Lease, NewJob, Settlement, StoredResponse, size_of
from .conversations import ConversationTable, append, unlock
from .echoes import EchoTable, KnownEchoes, put
from .engine import Engine, Script, Sql, Watch
from .idempotency import IdempotencyTable, answer
from .keys import KeyTable
from .prompts import PromptTable
from .rate_limits import RateLimitTable
from .responses import INSERT_USAGE, ResponseTable, insert, usage_values
from .webhooks import DELIVERIES_KEPT_S, WebhookTable, tell


class Store(
    ResponseTable,
    KeyTable,
    BackgroundTable,
    ConversationTable,
    PromptTable,
    WebhookTable,
    IdempotencyTable,
    RateLimitTable,
    EchoTable,
):
    """One database. May be used from any task of the loop that opened it; every method raises StoreUnavailable.

    No context is read of which more than `max_context_bytes` are stored.
    """

    max_context_bytes = 256 << 20

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._echoes = KnownEchoes()

    def meet(self, project: str, mark: Hashable) -> bool:
        """Note what a response of the project echoes, by a mark of it.

        True if it came before: then the response should leave it out, and its settlement name it.
        """
        return self._echoes.meet(project, mark)

    async def settle(self, end: Settlement) -> None:
        """Write the end of a run, all or nothing. Raises LeaseLost when another worker has the run now."""
        project, began = end.usage.project, self._echoes.now()
        echoes = self._echoes.lacking(project, end.echoes) if end.echoes else ()
        if end.is_plain:
            await self.engine.save(end.response, end.usage, echoes)
        else:
            await self.engine.write(partial(_settle, end, echoes), size_of(end.response, echoes))
        if echoes:
            self._echoes.add(project, echoes, began)

    async def enqueue(
        self, response: StoredResponse, job: NewJob, idempotency: tuple[str, str] | None = None
    ) -> Lease | None:
        """Commit a queued background response; the lease if it is claimed already. Raises QueueFull.

        `idempotency` is the key under which it was asked for, and who holds that key.
        """

        def script() -> Script[Lease | None]:
            lease = yield from enqueue_job(response, job)
            if idempotency is not None:
                key, holder = idempotency
                yield from answer(response.project, key, holder, IdempotentAnswer(response.id, "background", b""))
            return lease

        return await self.engine.write(script, response.size_bytes + len(job.request))

    @contextmanager
    def watch(self, topic: str) -> Generator[Watch]:
        """Hear of changes that other tasks and processes tell."""
        with self.engine.wakes.watch(topic) as watch:
            yield watch

    async def ping(self) -> None:
        """Ask for a write and for a row. Raises StoreUnavailable when one of them is not to be had."""

        def write() -> Script[None]:
            yield Sql("UPDATE projects SET name = name WHERE id = ''")

        def read() -> Script[None]:
            yield Sql("SELECT 1 FROM responses LIMIT 1")

        await self.engine.write(write)
        await self.engine.read(read)

    async def close(self) -> None:
        """Write what is queued and release everything. Idempotent."""
        await self.engine.close()


def _settle(end: Settlement, echoes: Sequence[Echo]) -> Script[None]:
    if end.lease is None:
        yield from insert(end.response, end.usage, echoes)
    else:
        yield from put(end.usage.project, echoes)
        yield from finish(end.lease)
        yield Sql(INSERT_USAGE, usage_values(end.usage))
        if end.response is not None:
            yield from update_response(end.response)
    if end.events is not None and end.keeps_events:
        yield from insert_events(end.usage.response_id, end.events, end.events_expire_at)
    elif end.lease is not None:
        yield from forget_events(end.usage.response_id)
    if end.conversation is not None:
        yield from append(end.conversation, end.items)
        yield from unlock(end.conversation, end.holder)
    if end.idempotency_key is not None and end.idempotent is not None:
        yield from answer(end.usage.project, end.idempotency_key, end.holder, end.idempotent)
    if end.webhook is not None:
        yield from tell(end.usage.project, end.webhook, end.usage.created_at + DELIVERIES_KEPT_S)
