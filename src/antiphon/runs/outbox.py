"""The outbox's sender: what is due is signed and posted, and what came of it written down.

    pending -> (POST 2xx) delivered
    pending -> (anything else) pending, due again after 5 s, 15 s, 45 s, ... 6 h -> failed 72 h after the event

A claimed delivery is due again after its lease: a sender that dies loses none, and one may arrive twice, under the same
webhook-id. Source: Standard Webhooks 1.0; OpenAI webhooks guide.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import random
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from antiphon.engine.carrier import Sealer
from antiphon.providers.guarded import GuardedClient, Sent
from antiphon.store.base import Delivery, StoreUnavailable, WebhookRow
from antiphon.store.store import Store
from antiphon.store.webhooks import OUTBOX

logger: Final = logging.getLogger("antiphon.webhooks")
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how every secret begins, not one
GIVE_UP_S: Final = 72 * 3600
_BATCH: Final = 20
_LEASE_S: Final = 60.0
_PAUSE_S: Final = 5.0
_MAX_LOG: Final = 60
_encode: Final = msgspec.json.Encoder().encode


def backoff_s(attempts: int) -> float:
    """Seconds until the next attempt after so many, with a fifth of jitter either way."""
    return float(min(5 * 3 ** min(attempts - 1, 10), 6 * 3600)) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter


def signature(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """One `v1,` signature of Standard Webhooks."""
    key = b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + b64encode(hmac.digest(key, signed, sha256)).decode()


def signed_headers(secrets: Sequence[str], event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery; while two secrets hold, both sign."""
    return {
        "content-type": "application/json",
        "user-agent": "antiphon-webhooks",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, event_id, timestamp, body) for secret in secrets),
    }


def secrets_of(row: WebhookRow, sealer: Sealer, now: float) -> list[str]:
    """The secrets that sign at this moment, the current one first; none if they cannot be read any more."""
    sealed = [row.secret]
    if row.old_secret is not None and row.old_until is not None and row.old_until > now:
        sealed.append(row.old_secret)
    opened = [sealer.open_secret(one, row.id) for one in sealed]
    return [secret for secret in opened if secret is not None]


class _Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a delivery's log."""

    at: int
    duration_ms: int
    status: int | None = None
    error: str = ""


class Outbox:
    """Delivers what is due, a bounded number at a time."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        client: GuardedClient,
        now: Callable[[], float],
        backoff: Callable[[int], float] = backoff_s,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._client = client
        self._now = now
        self._backoff = backoff

    async def work(self) -> None:
        """Deliver for as long as the server runs."""
        with self._store.watch(OUTBOX) as watch:
            while True:
                try:
                    if await self._store.is_delivery_due():
                        await self._deliver_due()
                        continue
                except StoreUnavailable as error:
                    logger.error("outbox cannot reach the store", extra={"reason": str(error)})
                    await asyncio.sleep(_PAUSE_S)
                await watch.wait(_PAUSE_S)

    async def _deliver_due(self) -> None:
        async with asyncio.TaskGroup() as group:
            for delivery, endpoint in await self._store.claim_deliveries(_BATCH, _LEASE_S):
                group.create_task(self._deliver(delivery, endpoint))

    async def _deliver(self, delivery: Delivery, endpoint: WebhookRow) -> None:
        sent = await self.send(endpoint, delivery.event_id, delivery.payload)
        is_delivered = sent.status is not None and 200 <= sent.status < 300
        is_too_old = self._now() - delivery.created_at > GIVE_UP_S
        state = "delivered" if is_delivered else "failed" if is_too_old else "pending"
        line = _Attempt(int(self._now()), sent.duration_ms, sent.status, sent.error)
        log = [*msgspec.json.decode(delivery.log, type=list[msgspec.Raw]), msgspec.Raw(_encode(line))]
        retry_in_s = self._backoff(delivery.attempts) if state == "pending" else 0.0
        if state != "delivered":
            told = {"delivery": delivery.id, "endpoint": endpoint.id, "attempt": delivery.attempts, "state": state}
            logger.warning("webhook not delivered", extra=told | {"status": sent.status, "error": sent.error or None})
        try:
            await self._store.finish_delivery(delivery.id, state, retry_in_s, _encode(log[-_MAX_LOG:]))
        except StoreUnavailable as error:  # it is sent again when its claim has run out; the others are not to blame
            logger.error("delivery not noted", extra={"delivery": delivery.id, "reason": str(error)})

    async def send(self, endpoint: WebhookRow, event_id: str, payload: bytes) -> Sent:
        """Sign and post one event now."""
        secrets = secrets_of(endpoint, self._sealer, self._now())
        if not secrets:
            return Sent(None, "secret_unreadable", 0)
        headers = signed_headers(secrets, event_id, int(self._now()), payload)
        return await self._client.post(endpoint.url, headers, payload)
