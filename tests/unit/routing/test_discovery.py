"""Asking vendors for their models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from antiphon.protocol.errors import UpstreamFault
from antiphon.providers.base import Dialect, DialectName, HttpRequest, Vendor
from antiphon.providers.responses import Responses
from antiphon.providers.simulator import Simulator
from antiphon.routing.discovery import Fetch, ask, probe_local, read_models, refresh_models
from antiphon.routing.models import Router

DIALECTS: Mapping[DialectName, Dialect] = {"responses": Responses(), "sim": Simulator()}
REMOTE = Vendor("remote", "responses", "http://remote/v1", api_key="k")
LOCAL = Vendor("local", "responses", "http://local/v1", is_local=True)
LIST = b'{"object":"list","data":[{"id":"alpha","created":7},{"id":"beta","owned_by":"x"}]}'


def answering(status: int, body: bytes) -> Fetch:
    async def fetch(request: HttpRequest) -> tuple[int, bytes]:
        assert request.url.endswith("/v1/models")
        return status, body

    return fetch


async def silent(request: HttpRequest) -> tuple[int, bytes]:
    await asyncio.Event().wait()
    return 200, b""


async def refusing(request: HttpRequest) -> tuple[int, bytes]:
    raise UpstreamFault("transport", "no")


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (LIST, (("alpha", 7), ("beta", 0))),
        (
            b'{"data":[{"type":"model","id":"claude","created_at":"2026-01-01T00:00:00Z"}],"has_more":false}',
            (("claude", 0),),
        ),
        (b'[{"id":"bare"}]', (("bare", 0),)),
        (b'{"models":[{"name":"models/gem"}]}', (("gem", 0),)),
        (b'{"data":[{"id":"a","created":1.5},{"id":4},7,{"x":1}]}', (("a", 1),)),
        (b'{"data":null}', ()),
        (b"<html>", ()),
        (b"", ()),
    ],
)
def test_a_list_is_read_in_every_shape_that_vendors_send(body: bytes, models: tuple[tuple[str, int], ...]) -> None:
    assert read_models(body) == models


async def test_what_a_vendor_lists_can_be_called_by_its_bare_name() -> None:
    router = Router([REMOTE, LOCAL], [])
    await refresh_models(router, DIALECTS, answering(200, LIST))
    assert router.resolve("alpha")[0].vendor is REMOTE


async def test_local_engines_are_probed_apart_from_vendors() -> None:
    router = Router([REMOTE, LOCAL], [])
    probes = await probe_local(router, DIALECTS, answering(200, LIST))
    assert [probe.vendor.name for probe in probes] == ["local"]
    assert router.resolve("alpha")[0].vendor is LOCAL


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (401, "unauthorised"), (403, "unauthorised"), (404, "refused"), (500, "refused")],
)
async def test_the_status_says_how_the_vendor_took_the_key(status: int, outcome: str) -> None:
    assert (await ask(REMOTE, DIALECTS, answering(status, LIST), 1.0)).outcome == outcome


async def test_a_vendor_that_never_answers_is_left_at_the_deadline() -> None:
    assert (await ask(REMOTE, DIALECTS, silent, 0.01)).outcome == "unreachable"


async def test_a_vendor_that_cannot_be_reached_teaches_nothing_and_raises_nothing() -> None:
    router = Router([REMOTE], [])
    assert [probe.outcome for probe in await refresh_models(router, DIALECTS, refusing)] == ["unreachable"]
    assert router.models() == []


async def test_a_vendor_without_a_list_is_not_asked() -> None:
    assert (await ask(Vendor("sim", "sim", "sim:"), DIALECTS, refusing, 1.0)).outcome == "no_list"
