"""What a URL of a client's holds, as a data: URL: fetched once, told by its own first bytes, kept by its content.

Bytes are kept once under the hash of their content, within a bound, the least used going first. Must never log a URL:
it may hold a token.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from antiphon.protocol.errors import InvalidRequest

from .guarded import FetchError, GuardedClient
from .media import media_type_of

_KEPT_S: Final = 3600.0
_MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
_LARGE_BYTES: Final = 256 * 1024
"""From here on to hash it would hold up the other requests for milliseconds."""
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_BRANDS: Final = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"avif": "image/avif",
    b"isom": "video/mp4",
    b"mp42": "video/mp4",
    b"qt  ": "video/quicktime",
}
_VAGUE: Final = ("", "application/octet-stream", "binary/octet-stream")


class MediaFetcher:
    """Fetches media through the guarded client. One per process."""

    def __init__(self, client: GuardedClient, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._clock = clock
        self._urls: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._contents: OrderedDict[str, str] = OrderedDict()
        self._kept_bytes = 0

    async def fetch(self, url: str, path: str, take: Callable[[int], None] = lambda size_bytes: None) -> str:
        """The data: URL of what stands at `url`; `take` hears of its bytes before they are kept, and may refuse them.

        Raises InvalidRequest by `path`, and as `take`.
        """
        known = self._urls.get(url)
        if known is not None and known[1] > self._clock() and known[0] in self._contents:
            self._contents.move_to_end(known[0])
            data = self._contents[known[0]]
            take(len(data))
            return data
        try:
            fetched = await self._client.get(url, self._max_bytes, take)
        except FetchError as error:
            raise InvalidRequest(
                f"The URL at '{path}' could not be downloaded: {error}.", param=path, code="failed_to_download_image"
            ) from error
        media_type = sniffed(fetched.body) or fetched.media_type
        if media_type in _VAGUE:
            media_type = media_type_of(url) or "application/octet-stream"
        is_large = len(fetched.body) > _LARGE_BYTES
        read = partial(_read, media_type, fetched.body)
        digest, data = await asyncio.to_thread(read) if is_large else read()
        self._keep(url, digest, data)
        return data

    def _keep(self, url: str, digest: str, data: str) -> None:
        self._urls[url] = (digest, self._clock() + _KEPT_S)
        self._urls.move_to_end(url)
        while len(self._urls) > 10_000:
            self._urls.popitem(last=False)
        if digest not in self._contents:
            self._contents[digest] = data
            self._kept_bytes += len(data)
        self._contents.move_to_end(digest)
        while self._kept_bytes > _MAX_KEPT_BYTES and len(self._contents) > 1:
            _, dropped = self._contents.popitem(last=False)
            self._kept_bytes -= len(dropped)


def _read(media_type: str, body: bytes) -> tuple[str, str]:
    """A hash of what it is, and its data: URL."""
    digest = hashlib.sha256(media_type.encode() + b"\0")
    digest.update(body)
    return digest.hexdigest(), f"data:{media_type};base64,{base64.b64encode(body).decode()}"


def sniffed(body: bytes) -> str | None:
    """The media type that the first bytes tell, whatever the sender called it; None where they tell none."""
    for magic, media_type in _MAGIC:
        if body.startswith(magic):
            return media_type
    if body[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(body[8:12])
    return _BRANDS.get(body[8:12]) if body[4:8] == b"ftyp" else None
