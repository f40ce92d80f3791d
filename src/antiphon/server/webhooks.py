"""/v1/webhook_endpoints: who is told of the ends of background responses, and what was delivered.

Source: OpenAI SDK 3.52 `webhooks`; reference "Webhook event types".
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from antiphon.engine.carrier import Sealer
from antiphon.protocol.errors import InvalidRequest, NotFound
from antiphon.protocol.ids import new_id
from antiphon.protocol.queries import parse_list_query
from antiphon.providers.guarded import check_url
from antiphon.runs.outbox import SECRET_PREFIX, Outbox
from antiphon.store.base import Delivery, WebhookRow
from antiphon.store.store import Store

from .bodies import Deleted
from .pages import Page, page_from
from .routes import Call, Query, Route, read_json

EventType = Literal["response.completed", "response.failed", "response.incomplete", "response.cancelled"]
EVENT_TYPES: Final = ("response.completed", "response.failed", "response.incomplete", "response.cancelled")
_KEEP_OLD_S: Final = 86_400
_MAX_SHOWN: Final = 100
_encode: Final = msgspec.json.Encoder().encode
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Types = Annotated[tuple[EventType, ...], Meta(min_length=1)]


class WebhookCreate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/webhook_endpoints."""

    name: Name
    url: Url
    event_types: Types


class WebhookUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/webhook_endpoints/{id}; what is left out stays."""

    name: Name | None = None
    url: Url | None = None
    event_types: Types | None = None


class SecretRotate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/webhook_endpoints/{id}/rotate_secret."""

    keep_old_secret_active_for_24_hours: bool | None = None


class WebhookTest(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/webhook_endpoints/{id}/test."""

    event_type: EventType


class WebhookEndpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint as OpenAI shows it; its secret only where it was just made."""

    id: str
    object: Literal["webhook_endpoint"]
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    created_at: int
    updated_at: int
    signing_secret: str | None = None


class TestResult(msgspec.Struct, frozen=True):
    """What the receiver answered to a test."""

    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: bool


class EventTypes(msgspec.Struct, frozen=True):
    """Every event that can be told."""

    object: Literal["list"]
    data: list[str]


class DeliveryShown(msgspec.Struct, frozen=True):
    """One event on its way to one endpoint; `log` has what each attempt came to. Times are Unix seconds."""

    id: str
    object: Literal["webhook_endpoint.delivery"]
    event_id: str
    event_type: str
    status: str
    attempts: int
    created_at: int
    next_attempt_at: int | None
    log: msgspec.Raw


_ALL: Final = "/v1/webhook_endpoints"
_ONE: Final = _ALL + "/{webhook_endpoint_id}"
_PAGING: Final = (
    Query("after", str, "Id of the last row of the page before."),
    Query("limit", int, "Rows a page, 1 to 100; 20 if left out."),
    Query("order", str, "`asc` or `desc`; newest first if left out."),
)


class WebhooksEndpoint:
    """Webhook endpoints of the caller's project."""

    def __init__(self, store: Store, sealer: Sealer, outbox: Outbox, max_body_bytes: int, *, allow_private: bool):
        self._store = store
        self._sealer = sealer
        self._outbox = outbox
        self._max_body_bytes = max_body_bytes
        self._allow_private = allow_private

    def routes(self) -> tuple[Route, ...]:
        shown = WebhookEndpoint
        return (
            Route("POST", _ALL, self.create, "Create a webhook endpoint.", body=WebhookCreate, answer=shown),
            Route("GET", _ALL, self.list, "List webhook endpoints.", query=_PAGING, answer=Page),
            Route("GET", _ONE, self.retrieve, "Retrieve a webhook endpoint.", answer=shown),
            Route("POST", _ONE, self.update, "Change a webhook endpoint.", body=WebhookUpdate, answer=shown),
            Route("DELETE", _ONE, self.delete, "Delete a webhook endpoint.", answer=Deleted),
            Route("POST", _ONE + "/rotate_secret", self.rotate, "Make a new secret.", body=SecretRotate, answer=shown),
            Route("POST", _ONE + "/test", self.test, "Send a test event now.", body=WebhookTest, answer=TestResult),
            Route("GET", _ONE + "/deliveries", self.deliveries, "List deliveries.", query=_PAGING, answer=Page),
            Route("GET", "/v1/webhook_event_types", self.event_types, "List event types.", answer=EventTypes),
        )

    async def create(self, call: Call) -> None:
        """POST /v1/webhook_endpoints."""
        body = await read_json(call, self._max_body_bytes, WebhookCreate)
        if body is None:
            return
        check_url(body.url, "url", allow_private=self._allow_private)
        endpoint_id, now, secret = new_id("we"), call.exchange.now(), _new_secret()
        row = WebhookRow(
            endpoint_id,
            call.project,
            body.name,
            body.url,
            " ".join(dict.fromkeys(body.event_types)),
            self._sealer.seal_secret(secret, endpoint_id),
            _hint(secret),
            now,
            now,
        )
        await self._store.create_webhook(row)
        await call.exchange.answer(200, _shown(row, secret))

    async def list(self, call: Call) -> None:
        """GET /v1/webhook_endpoints."""
        query = parse_list_query(call.exchange.query)
        rows = [msgspec.Raw(_shown(row)) for row in await self._store.list_webhooks(call.project)]
        await call.exchange.answer(200, page_from(rows, query))

    async def retrieve(self, call: Call) -> None:
        """GET /v1/webhook_endpoints/{id}."""
        await call.exchange.answer(200, _shown(await self._find(call)))

    async def update(self, call: Call) -> None:
        """POST /v1/webhook_endpoints/{id}."""
        body = await read_json(call, self._max_body_bytes, WebhookUpdate)
        if body is None:
            return
        row = await self._find(call)
        if body.url is not None:
            check_url(body.url, "url", allow_private=self._allow_private)
        types = row.event_types if body.event_types is None else " ".join(dict.fromkeys(body.event_types))
        changed = replace(row, name=body.name or row.name, url=body.url or row.url, event_types=types)
        if changed != row:
            changed = replace(changed, updated_at=call.exchange.now())
            await self._replace(changed)
        await call.exchange.answer(200, _shown(changed))

    async def delete(self, call: Call) -> None:
        """DELETE /v1/webhook_endpoints/{id}."""
        endpoint_id = call.params["webhook_endpoint_id"]
        if not await self._store.delete_webhook(call.project, endpoint_id):
            raise _not_found(endpoint_id)
        await call.exchange.answer(200, _encode(Deleted(endpoint_id, "webhook_endpoint.deleted", deleted=True)))

    async def rotate(self, call: Call) -> None:
        """POST /v1/webhook_endpoints/{id}/rotate_secret."""
        body = await read_json(call, self._max_body_bytes, SecretRotate)
        if body is None:
            return
        row, now, secret = await self._find(call), call.exchange.now(), _new_secret()
        keeps_old = body.keep_old_secret_active_for_24_hours is True
        changed = replace(
            row,
            secret=self._sealer.seal_secret(secret, row.id),
            hint=_hint(secret),
            updated_at=now,
            old_secret=row.secret if keeps_old else None,
            old_until=float(now + _KEEP_OLD_S) if keeps_old else None,
        )
        await self._replace(changed)
        await call.exchange.answer(200, _shown(changed, secret))

    async def test(self, call: Call) -> None:
        """POST /v1/webhook_endpoints/{id}/test: signed and sent now, outside the outbox."""
        body = await read_json(call, self._max_body_bytes, WebhookTest)
        if body is None:
            return
        row = await self._find(call)
        event_id = new_id("evt")
        event = {
            "id": event_id,
            "object": "event",
            "created_at": call.exchange.now(),
            "type": body.event_type,
            "data": {"id": "resp_test"},
        }
        sent = await self._outbox.send(row, event_id, _encode(event))
        if sent.status is None:
            raise InvalidRequest(f"The test could not be delivered: {sent.error}.", code="webhook_test_failed")
        result = TestResult("webhook_endpoint.test", row.id, body.event_type, sent.status, success=True)
        await call.exchange.answer(200, _encode(result))

    async def deliveries(self, call: Call) -> None:
        """GET /v1/webhook_endpoints/{id}/deliveries."""
        query = parse_list_query(call.exchange.query)
        row = await self._find(call)
        newest = await self._store.list_deliveries(row.id, _MAX_SHOWN)
        rows = [msgspec.Raw(_encode(_delivery(one))) for one in reversed(newest)]
        await call.exchange.answer(200, page_from(rows, query))

    async def event_types(self, call: Call) -> None:
        """GET /v1/webhook_event_types."""
        await call.exchange.answer(200, _encode(EventTypes("list", [*EVENT_TYPES])))

    async def _find(self, call: Call) -> WebhookRow:
        endpoint_id = call.params["webhook_endpoint_id"]
        row = await self._store.load_webhook(call.project, endpoint_id)
        if row is None:
            raise _not_found(endpoint_id)
        return row

    async def _replace(self, row: WebhookRow) -> None:
        if not await self._store.replace_webhook(row):
            raise _not_found(row.id)


def _new_secret() -> str:
    return SECRET_PREFIX + b64encode(secrets.token_bytes(32)).decode()


def _hint(secret: str) -> str:
    return f"{SECRET_PREFIX}***{secret[-4:]}"


def _shown(row: WebhookRow, secret: str | None = None) -> bytes:
    types = row.event_types.split()
    return _encode(
        WebhookEndpoint(
            row.id, "webhook_endpoint", row.name, row.url, types, row.hint, row.created_at, row.updated_at, secret
        )
    )


def _delivery(row: Delivery) -> DeliveryShown:
    return DeliveryShown(
        row.id,
        "webhook_endpoint.delivery",
        row.event_id,
        row.event_type,
        row.state,
        row.attempts,
        int(row.created_at),
        int(row.next_at) if row.state == "pending" and row.attempts else None,
        msgspec.Raw(row.log),
    )


def _not_found(endpoint_id: str) -> NotFound:
    return NotFound(f"Webhook endpoint with id '{endpoint_id}' not found.")
