"""Where a webhook may go: every spelling of a private address is refused, at the check and at the connect."""

from __future__ import annotations

import pytest
from aiohttp import web
from tests.harness.garbage import nothing_left

from antiphon.protocol.errors import InvalidRequest
from antiphon.providers.guarded import FetchError, GuardedClient, check_url, is_public

PRIVATE = (
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x", "https://[::1]/x", "https://0x7f.1/x", "https://2130706433/x", "https://017700000001/x",
        "https://127.1/x", "https://localhost/x", "https://a.localhost./x", "https://[::ffff:127.0.0.1]/x",
        "http://example.com/x", "ftp://example.com/x", "https://", "https://user:word@example.com/x", "example.com",
        "https://exa mple.com/", "https://[bad", "https://example.com:99999/", "https://169.254.169.254/latest",
    ],
)  # fmt: skip
def test_a_url_that_is_no_public_receiver_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_url(url, "url", allow_private=False)
    assert (caught.value.param, caught.value.code) == ("url", "invalid_value")


@pytest.mark.parametrize("url", ["https://example.com/hook", "https://8.8.8.8:8443/x?y=z"])
def test_a_public_url_is_taken(url: str) -> None:
    check_url(url, "url", allow_private=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://receiver.internal/x", "https://[::1]/"])
def test_an_operator_may_allow_private_ones(url: str) -> None:
    check_url(url, "url", allow_private=True)


async def test_a_name_that_resolves_to_loopback_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = int(runner.addresses[0][1])
    # This machine's own name table is the one name service that a test can rely on.
    for name in ("localhost", "ip6-localhost", "127.0.0.1.nip.invalid"):
        async with GuardedClient(allow_private=False) as client:
            sent = await client.post(f"https://{name}:{port}/x", {}, b"{}")
        assert (sent.status, sent.error) in ((None, "address_refused"), (None, "dns"))
    assert called == []
    async with GuardedClient(allow_private=True) as client:
        assert (await client.post(f"http://localhost:{port}/x", {}, b"{}")).status == 200
    await runner.cleanup()


async def test_a_receiver_or_a_server_that_is_not_there_leaves_no_cycles() -> None:
    """Its error, that what waited for it holds, would keep all that called for it until a collection."""
    async with GuardedClient(allow_private=True) as client:
        for _ in range(2):
            with nothing_left():
                assert (await client.post("http://127.0.0.1:9/hook", {}, b"{}")).error == "unreachable"
                with pytest.raises(FetchError, match="cannot be reached"):
                    await client.get("http://127.0.0.1:9/picture.png", 10)
