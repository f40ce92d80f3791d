"""A body over the limit is read off the connection before it is refused, and only so far."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.protocol.errors import TooLarge
from antiphon.server.asgi import Exchange

LIMIT = 10


class Wire:
    """An ASGI connection that delivers these pieces and counts how many were taken."""

    def __init__(self, pieces: list[bytes], headers: list[tuple[bytes, bytes]]) -> None:
        self.taken = 0
        self._pieces = pieces
        self.exchange = Exchange(
            {"type": "http", "method": "POST", "path": "/v1/responses", "query_string": b"", "headers": headers},
            self._receive,
            self._send,
        )

    async def _receive(self) -> dict[str, Any]:
        piece = self._pieces[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": piece, "more_body": self.taken < len(self._pieces)}

    async def _send(self, message: Any) -> None:
        del message


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"15")]])
async def test_a_body_over_the_limit_is_taken_whole_before_it_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    wire = Wire([b"x" * 5] * 3, headers)
    with pytest.raises(TooLarge):
        await wire.exchange.body(LIMIT)
    assert wire.taken == 3


async def test_an_endless_body_is_taken_no_further_than_twice_the_limit() -> None:
    wire = Wire([b"x" * 5] * 100, [(b"content-length", b"500")])
    with pytest.raises(TooLarge):
        await wire.exchange.body(LIMIT)
    assert wire.taken == 4


async def test_a_body_at_the_limit_is_returned() -> None:
    assert await Wire([b"x" * 5] * 2, []).exchange.body(LIMIT) == b"x" * 10
