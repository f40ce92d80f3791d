"""Webhook endpoints and the outbox of their deliveries.

A delivery is written in the transaction that ends the response, so that no end goes untold; a sender then claims what
is due, and writes what came of it.
"""

from __future__ import annotations

from typing import Final

from antiphon.protocol.ids import new_id

from .base import Delivery, WebhookEvent, WebhookRow
from .engine import Engine, Notify, Script, Sql

OUTBOX: Final = "outbox"
"""The topic on which new deliveries are told."""

DELIVERIES_KEPT_S: Final = 7 * 86_400
"""The delivery log goes back so far; deliveries are tried for less."""

_COLUMNS: Final = "id, project, name, url, event_types, secret, hint, created_at, updated_at, old_secret, old_until"
_DELIVERY: Final = "id, event_id, endpoint, project, event_type, payload, created_at, attempts, next_at, state, log"
_LOAD: Final = f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE id = $1 AND project = $2"  # noqa: S608 - own names
_CLAIM: Final = f"""
    UPDATE webhook_deliveries SET next_at = now_s() + $1, attempts = attempts + 1
    WHERE id IN (
        SELECT id FROM webhook_deliveries WHERE state = 'pending' AND next_at <= now_s()
        ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING {_DELIVERY}"""  # noqa: S608


def _load(project: str, endpoint_id: str) -> Script[WebhookRow | None]:
    rows = yield Sql(_LOAD, (endpoint_id, project))
    return WebhookRow(*rows[0]) if rows else None


def tell(project: str, event: WebhookEvent, expires_at: int) -> Script[None]:
    """Put an event into the outbox, once for each endpoint of the project that wants it."""
    rows = yield Sql("SELECT id, event_types FROM webhook_endpoints WHERE project = $1", (project,))
    for endpoint, event_types in rows:
        if event.type not in event_types.split():
            continue
        yield Sql(
            "INSERT INTO webhook_deliveries (id, event_id, endpoint, project, event_type, payload, created_at, "
            "attempts, next_at, state, log, expires_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, now_s(), 0, 0, 'pending', $7, $8)",
            (new_id("whd"), event.id, endpoint, project, event.type, event.payload, b"[]", expires_at),
        )
        yield Notify(OUTBOX)


class WebhookTable:
    """Every method that takes a project answers None or False for an endpoint that is not there for it."""

    engine: Engine

    async def create_webhook(self, row: WebhookRow) -> None:
        def script() -> Script[None]:
            yield Sql(
                f"INSERT INTO webhook_endpoints ({_COLUMNS}) "  # noqa: S608 - own names
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                (
                    row.id,
                    row.project,
                    row.name,
                    row.url,
                    row.event_types,
                    row.secret,
                    row.hint,
                    row.created_at,
                    row.updated_at,
                    row.old_secret,
                    row.old_until,
                ),
            )

        await self.engine.write(script)

    async def load_webhook(self, project: str, endpoint_id: str) -> WebhookRow | None:
        return await self.engine.read(lambda: _load(project, endpoint_id))

    async def list_webhooks(self, project: str) -> list[WebhookRow]:
        """Every endpoint, oldest first."""

        def script() -> Script[list[WebhookRow]]:
            text = f"SELECT {_COLUMNS} FROM webhook_endpoints WHERE project = $1 ORDER BY created_at, id"  # noqa: S608
            return [WebhookRow(*row) for row in (yield Sql(text, (project,)))]

        return await self.engine.read(script)

    async def replace_webhook(self, row: WebhookRow) -> bool:
        """Write everything of an endpoint that can change."""

        def script() -> Script[bool]:
            rows = yield Sql(
                "UPDATE webhook_endpoints SET name = $3, url = $4, event_types = $5, secret = $6, hint = $7, "
                "updated_at = $8, old_secret = $9, old_until = $10 WHERE id = $1 AND project = $2 RETURNING id",
                (
                    row.id,
                    row.project,
                    row.name,
                    row.url,
                    row.event_types,
                    row.secret,
                    row.hint,
                    row.updated_at,
                    row.old_secret,
                    row.old_until,
                ),
            )
            return bool(rows)

        return await self.engine.write(script)

    async def delete_webhook(self, project: str, endpoint_id: str) -> bool:
        """Remove an endpoint and what was to be delivered to it."""

        def script() -> Script[bool]:
            rows = yield Sql(
                "DELETE FROM webhook_endpoints WHERE id = $1 AND project = $2 RETURNING id", (endpoint_id, project)
            )
            if rows:
                yield Sql("DELETE FROM webhook_deliveries WHERE endpoint = $1", (endpoint_id,))
            return bool(rows)

        return await self.engine.write(script)

    async def is_delivery_due(self) -> bool:
        """Whether `claim_deliveries` would find any; cheap, and writes nothing."""

        def script() -> Script[bool]:
            text = "SELECT 1 FROM webhook_deliveries WHERE state = 'pending' AND next_at <= now_s() LIMIT 1"
            return bool((yield Sql(text)))

        return await self.engine.read(script)

    async def claim_deliveries(self, limit: int, lease_s: float) -> list[tuple[Delivery, WebhookRow]]:
        """Deliveries that are due with their endpoints; one whose sender dies is due again after `lease_s`."""

        def script() -> Script[list[tuple[Delivery, WebhookRow]]]:
            claimed: list[tuple[Delivery, WebhookRow]] = []
            for row in (yield Sql(_CLAIM, (lease_s, limit))):
                delivery = Delivery(*row)
                endpoint = yield from _load(delivery.project, delivery.endpoint)
                if endpoint is not None:
                    claimed.append((delivery, endpoint))
            return claimed

        return await self.engine.write(script)

    async def finish_delivery(self, delivery_id: str, state: str, retry_in_s: float, log: bytes) -> None:
        """Write what an attempt came to; while `state` is "pending" the next is due in `retry_in_s`."""

        def script() -> Script[None]:
            yield Sql(
                "UPDATE webhook_deliveries SET state = $2, next_at = now_s() + $3, log = $4 WHERE id = $1",
                (delivery_id, state, retry_in_s, log),
            )

        await self.engine.write(script)

    async def list_deliveries(self, endpoint_id: str, limit: int) -> list[Delivery]:
        """The newest deliveries to an endpoint, newest first."""

        def script() -> Script[list[Delivery]]:
            text = f"SELECT {_DELIVERY} FROM webhook_deliveries WHERE endpoint = $1 ORDER BY id DESC LIMIT $2"  # noqa: S608
            return [Delivery(*row) for row in (yield Sql(text, (endpoint_id, limit)))]

        return await self.engine.read(script)
