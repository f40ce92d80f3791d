"""A body over a limit, its own or that of all, is read off the connection before it is refused, and only so far."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.protocol.errors import Overloaded, TooLarge
from antiphon.runs.intake import Intake
from antiphon.server.asgi import Exchange

LIMIT = 10


class Wire:
    """An ASGI connection that delivers these pieces and counts how many were taken."""

    def __init__(self, pieces: list[bytes], headers: list[tuple[bytes, bytes]], intake: Intake | None = None) -> None:
        self.taken = 0
        self._pieces = pieces
        self.exchange = Exchange(
            {"type": "http", "method": "POST", "path": "/v1/responses", "query_string": b"", "headers": headers},
            self._receive,
            self._send,
            intake or Intake(1 << 20),
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


async def test_a_body_that_waits_for_leave_to_come_is_not_asked_for() -> None:
    wire = Wire([b"x" * 15], [(b"content-length", b"15"), (b"expect", b"100-continue")])
    with pytest.raises(TooLarge) as refused:
        await wire.exchange.body(LIMIT)
    assert wire.taken == 0
    assert ("connection", "close") in refused.value.headers


async def test_an_endless_body_is_taken_no_further_than_twice_the_limit() -> None:
    wire = Wire([b"x" * 5] * 100, [(b"content-length", b"500")])
    with pytest.raises(TooLarge):
        await wire.exchange.body(LIMIT)
    assert wire.taken == 4


async def test_a_body_at_the_limit_is_returned() -> None:
    assert await Wire([b"x" * 5] * 2, []).exchange.body(LIMIT) == b"x" * 10


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"9")]])
async def test_a_body_that_all_have_no_room_for_is_taken_whole_before_it_is_refused(
    headers: list[tuple[bytes, bytes]],
) -> None:
    intake = Intake(12)
    first = Wire([b"x" * 5], [], intake)
    await first.exchange.body(LIMIT)
    second = Wire([b"x" * 3] * 3, headers, intake)
    with pytest.raises(Overloaded, match="bytes of other requests, of 12"):
        await second.exchange.body(LIMIT)
    assert second.taken == 3
    second.exchange.end()
    assert intake.held_bytes == 5
    first.exchange.end()
    assert intake.held_bytes == 0
    assert await Wire([b"x" * 3] * 3, headers, intake).exchange.body(LIMIT) == b"x" * 9


async def test_a_body_is_held_until_its_request_is_over_and_given_back_once() -> None:
    intake = Intake(LIMIT)
    wire = Wire([b"x" * LIMIT], [], intake)
    await wire.exchange.body(LIMIT)
    wire.exchange.forget_body()
    assert intake.held_bytes == LIMIT
    wire.exchange.end()
    wire.exchange.end()
    assert intake.held_bytes == 0
