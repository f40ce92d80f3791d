"""Webhooks in this process: what is told to whom, retries, rotation, and what a receiver can do wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from openai import InvalidWebhookSignatureError, OpenAI
from tests.inprocess.rig import Rig

from antiphon.runs.outbox import backoff_s
from antiphon.store.base import StoreUnavailable

Json = dict[str, Any]
ALL = ["response.completed", "response.failed", "response.incomplete", "response.cancelled"]


class Receiver:
    """A receiver on loopback. `answers` are the statuses it gives, 200 once they are used up."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self.got.put(({name.lower(): value for name, value in request.headers.items()}, body))
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 302 else {})

    async def next(self) -> tuple[dict[str, str], bytes]:
        return await asyncio.wait_for(self.got.get(), 5)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/{tail:.*}", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig.open(tmp_path) as opened:
        yield opened


async def ask(rig: Rig, method: str, path: str, body: Json | None = None, **more: Any) -> Any:
    answer = await rig.request(method, "/v1" + path, msgspec.json.encode(body) if body is not None else b"", **more)
    assert answer.status == 200, answer.body
    return answer.body


async def endpoint(rig: Rig, receiver: Receiver, *types: str) -> Json:
    body = {"name": "mine", "url": receiver.url, "event_types": list(types) or ALL}
    return await ask(rig, "POST", "/webhook_endpoints", body)


def opened(secret: str, delivery: tuple[dict[str, str], bytes]) -> Any:
    """The event, as OpenAI's SDK verifies and reads it."""
    headers, body = delivery
    return OpenAI(api_key="none").webhooks.unwrap(body, headers, secret=secret)


@pytest.mark.parametrize(
    ("script", "event"),
    [
        ("hi", "response.completed"),
        ("#sim length after 2", "response.incomplete"),
        ("#sim fail 400", "response.failed"),
    ],
)
async def test_the_end_of_a_background_response_is_told(rig: Rig, receiver: Receiver, script: str, event: str) -> None:
    made = await endpoint(rig, receiver)
    response = (await rig.post({"input": script, "background": True})).body
    told = opened(made["signing_secret"], await receiver.next())
    assert (told.type, told.data.id) == (event, response["id"])
    assert told.id.startswith("evt_")


async def test_a_cancellation_is_told(rig: Rig, receiver: Receiver) -> None:
    made = await endpoint(rig, receiver)
    response = (await rig.post({"input": "#sim stall", "background": True})).body
    await ask(rig, "POST", f"/responses/{response['id']}/cancel")
    assert opened(made["signing_secret"], await receiver.next()).type == "response.cancelled"


async def test_a_delivery_that_cannot_be_noted_takes_no_other_with_it(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = rig.store.finish_delivery, list[str]()

    async def unreliable(delivery_id: str, *args: Any) -> None:
        calls.append(delivery_id)
        if len(calls) == 1:
            raise StoreUnavailable("not now")
        await finish(delivery_id, *args)

    monkeypatch.setattr(rig.store, "finish_delivery", unreliable)
    for _ in range(2):
        await endpoint(rig, receiver)
    for _ in range(2):
        await rig.post({"input": "hi", "background": True})
        for _ in range(2):
            await receiver.next()
    async with asyncio.timeout(5):
        while len(calls) < 4:  # noqa: ASYNC110 - until the last of them is noted
            await asyncio.sleep(0.01)
    assert len(set(calls)) == 4


async def test_only_wanted_events_of_ones_own_project_are_told(rig: Rig, receiver: Receiver) -> None:
    await endpoint(rig, receiver, "response.failed")
    made = await endpoint(rig, receiver, "response.completed")
    other = await rig.keys.create("other")
    foreign = {"authorization": f"Bearer {other.key}"}
    await rig.post({"input": "theirs", "background": True}, headers=foreign)
    await rig.post({"input": "in the foreground"})
    response = (await rig.post({"input": "mine", "background": True})).body
    assert opened(made["signing_secret"], await receiver.next()).data.id == response["id"]
    assert receiver.got.empty()
    answer = await rig.get(f"/webhook_endpoints/{made['id']}", headers=foreign)
    assert answer.status == 404


async def test_what_is_not_taken_is_sent_again_under_the_same_id_and_logged(rig: Rig, receiver: Receiver) -> None:
    receiver.answers = [500, 302, 204]
    made = await endpoint(rig, receiver)
    await rig.post({"input": "hi", "background": True})
    deliveries = [await receiver.next() for _ in range(3)]
    assert len({headers["webhook-id"] for headers, _ in deliveries}) == 1
    async with asyncio.timeout(5):
        while True:
            page = await ask(rig, "GET", f"/webhook_endpoints/{made['id']}/deliveries")
            if page["data"][0]["status"] == "delivered":
                break
            await asyncio.sleep(0.01)
    assert [line.get("status") for line in page["data"][0]["log"]] == [500, 302, 204]
    assert receiver.got.empty()


async def test_after_a_rotation_both_secrets_hold_for_as_long_as_was_asked(rig: Rig, receiver: Receiver) -> None:
    made = await endpoint(rig, receiver)
    path = f"/webhook_endpoints/{made['id']}"
    kept = await ask(rig, "POST", path + "/rotate_secret", {"keep_old_secret_active_for_24_hours": True})
    await ask(rig, "POST", path + "/test", {"event_type": "response.completed"})
    delivery = await receiver.next()
    for secret in (made["signing_secret"], kept["signing_secret"]):
        assert opened(secret, delivery).data.id == "resp_test"
    last = await ask(rig, "POST", path + "/rotate_secret", {})
    await ask(rig, "POST", path + "/test", {"event_type": "response.failed"})
    delivery = await receiver.next()
    assert opened(last["signing_secret"], delivery).type == "response.failed"
    for secret in (made["signing_secret"], kept["signing_secret"]):
        with pytest.raises(InvalidWebhookSignatureError):
            opened(secret, delivery)


async def test_a_secret_is_shown_when_it_is_made_and_never_again(rig: Rig, receiver: Receiver) -> None:
    made = await endpoint(rig, receiver)
    path = f"/webhook_endpoints/{made['id']}"
    shown = [await ask(rig, "GET", path), await ask(rig, "POST", path, {"name": "new"})]
    shown += (await ask(rig, "GET", "/webhook_endpoints"))["data"]
    assert all("signing_secret" not in one for one in shown)
    assert shown[1]["name"] == "new"
    stored = (await rig.store.list_webhooks((await rig.keys.list())[0].project))[0]
    assert made["signing_secret"].encode() not in stored.secret


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "x", "event_types": ALL}, "url"),
        ({"name": "x", "url": "ftp://x", "event_types": ALL}, "url"),
        ({"name": "x", "url": "https://example.com", "event_types": []}, "event_types"),
        ({"name": "x", "url": "https://example.com", "event_types": ["batch.completed"]}, "event_types[0]"),
        ({"name": "", "url": "https://example.com", "event_types": ALL}, "name"),
        ({"name": "x", "url": "https://example.com", "event_types": ALL, "secret": "x"}, "secret"),
    ],
)
async def test_a_wrong_endpoint_is_400_by_name(rig: Rig, body: Json, param: str) -> None:
    answer = await rig.request("POST", "/v1/webhook_endpoints", msgspec.json.encode(body))
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_a_test_that_reaches_nobody_says_so(rig: Rig, receiver: Receiver) -> None:
    made = await endpoint(rig, receiver)
    path = f"/webhook_endpoints/{made['id']}"
    await ask(rig, "POST", path, {"url": "http://127.0.0.1:9/x"})
    answer = await rig.request("POST", f"/v1{path}/test", b'{"event_type":"response.completed"}')
    assert (answer.status, answer.error["code"]) == (400, "webhook_test_failed")


async def test_a_deleted_endpoint_is_told_nothing_more(rig: Rig, receiver: Receiver) -> None:
    made = await endpoint(rig, receiver)
    gone = await ask(rig, "DELETE", f"/webhook_endpoints/{made['id']}")
    assert gone == {"id": made["id"], "object": "webhook_endpoint.deleted", "deleted": True}
    other = await endpoint(rig, receiver)
    response = (await rig.post({"input": "hi", "background": True})).body
    assert opened(other["signing_secret"], await receiver.next()).data.id == response["id"]
    assert receiver.got.empty()
    assert (await ask(rig, "GET", "/webhook_event_types"))["data"] == ALL


def test_attempts_are_spread_over_three_days() -> None:
    waits = [backoff_s(attempt) for attempt in range(1, 60)]
    assert 4 <= waits[0] <= 6
    assert max(waits) <= 6 * 3600 * 1.2
    assert 8 < sum(1 for total in _sums(waits) if total < 72 * 3600) < 30


def _sums(values: list[float]) -> list[float]:
    return [sum(values[: end + 1]) for end in range(len(values))]
