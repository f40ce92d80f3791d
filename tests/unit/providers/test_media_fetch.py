"""Media by URL: told by its bytes, bounded, kept by content, and never from a private address."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from antiphon.protocol.errors import InvalidRequest
from antiphon.providers.guarded import GuardedClient
from antiphon.providers.media_fetch import MediaFetcher, sniffed

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


class Site:
    """A web site on loopback; it counts its visitors."""

    def __init__(self) -> None:
        self.url = ""
        self.visits: list[str] = []
        self.body = PNG

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.visits.append(request.path)
        match request.path:
            case "/hop":
                raise web.HTTPFound("/picture")
            case "/loop":
                raise web.HTTPFound("/loop")
            case "/inside":
                raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
            case "/missing":
                return web.Response(status=404)
            case "/vague.pdf":
                return web.Response(body=b"strange bytes", content_type="application/octet-stream")
            case _:
                return web.Response(body=self.body, content_type="text/html")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    app = web.Application()
    app.router.add_get("/{tail:.*}", found.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    where = web.TCPSite(runner, "127.0.0.1", 0)
    await where.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def fetcher() -> AsyncIterator[Callable[..., MediaFetcher]]:
    async with GuardedClient(allow_private=True, timeout_s=2) as client:
        yield lambda limit=10_000, **more: MediaFetcher(client, limit, **more)


async def test_the_bytes_tell_what_it_is_and_the_same_url_is_asked_once(site: Site, fetcher: Any) -> None:
    media = fetcher()
    expected = "data:image/png;base64," + base64.b64encode(PNG).decode()
    for path in ("/picture", "/picture", "/hop"):
        assert await media.fetch(site.url + path, "input") == expected
    assert site.visits == ["/picture", "/hop", "/picture"]


async def test_a_large_picture_is_read_like_a_small_one_and_kept_once(site: Site, fetcher: Any) -> None:
    site.body = PNG + bytes(1 << 20)
    media = fetcher(2 << 20)
    first, second = [await media.fetch(site.url + path, "input") for path in ("/picture", "/same")]
    assert first == "data:image/png;base64," + base64.b64encode(site.body).decode()
    assert await media.fetch(site.url + "/picture", "input") is await media.fetch(site.url + "/same", "input")
    assert second == first


async def test_what_is_kept_is_asked_again_after_an_hour(site: Site, fetcher: Any) -> None:
    now = 0.0
    media = fetcher(clock=lambda: now)
    await media.fetch(site.url + "/picture", "input")
    now = 3601
    site.body = b"GIF89a"
    assert (await media.fetch(site.url + "/picture", "input")).startswith("data:image/gif")


async def test_a_vague_type_is_told_by_the_name(site: Site, fetcher: Any) -> None:
    assert (await fetcher().fetch(site.url + "/vague.pdf", "input")).startswith("data:application/pdf;")


@pytest.mark.parametrize(
    ("path", "why"),
    [("/missing", "HTTP 404"), ("/loop", "redirects too often"), ("/big", "larger than 1000 bytes")],
)
async def test_what_cannot_be_had_is_a_400_by_its_path(site: Site, fetcher: Any, path: str, why: str) -> None:
    site.body = bytes(2000)
    with pytest.raises(InvalidRequest) as caught:
        await fetcher(1000).fetch(site.url + path, "input[0].content[1]")
    assert caught.value.param == "input[0].content[1]"
    assert caught.value.code == "failed_to_download_image"
    assert why in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost:80/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/x",
        "http://0x7f000001/x",
        "http://10.1.2.3/x",
        "http://user:pass@example.com/x",
        "ftp://example.com/x",
    ],
)
async def test_private_addresses_are_never_asked(url: str) -> None:
    async with GuardedClient(allow_private=False, timeout_s=2) as client:
        with pytest.raises(InvalidRequest) as caught:
            await MediaFetcher(client, 1000).fetch(url, "input")
    assert "private" in caught.value.message


async def test_a_redirect_into_the_network_is_checked_like_the_first_step(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loopback plays the public internet here; the metadata service stays what it is.
    from antiphon.providers import guarded

    real = guarded.is_public
    monkeypatch.setattr(guarded, "is_public", lambda address: address == "127.0.0.1" or real(address))
    async with GuardedClient(allow_private=False, timeout_s=2) as client:
        media = MediaFetcher(client, 1000)
        assert await media.fetch(site.url + "/picture", "input")
        with pytest.raises(InvalidRequest) as caught:
            await media.fetch(site.url + "/inside", "input")
    assert "private" in caught.value.message
    assert site.visits == ["/picture", "/inside"]


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"%PDF-1.7", "application/pdf"),
        (b"II*\x00", "image/tiff"),
        (b"hello", None),
        (b"", None),
    ],
)
def test_first_bytes_tell_the_type(body: bytes, media_type: str | None) -> None:
    assert sniffed(body) == media_type
