"""The provider behind `sim:` URLs, inside this process: plays what `simulator_answer` wrote, silences and all.

It waits for real (through a sleeper that tests replace), holds nothing, and stops at once when it is cancelled or its
reader leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from . import simulator_wire as wire
from .base import HttpRequest
from .simulator_answer import Answer, Wait, answer

LINES_PER_CHUNK: Final = 32
THREAD_FROM_BYTES: Final = 1 << 20
"""Larger requests are read in a thread: nothing blocks the loop."""


@dataclass(frozen=True, slots=True)
class LocalReply:
    """An answer in the shape of an HTTP one. Header names are lower case."""

    status: int
    headers: dict[str, str]
    chunks: AsyncIterator[bytes]


class SimulatorUpstream:
    """Answers the requests of the dialect `sim`."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep

    async def answer(self, request: HttpRequest) -> LocalReply:
        """The answer to one request; a body that is not the simulator's wire is its 400."""
        is_large = len(request.body) > THREAD_FROM_BYTES
        made = await asyncio.to_thread(_answer, request.body) if is_large else _answer(request.body)
        return LocalReply(made.status, dict(made.headers), self._play(made))

    async def _play(self, made: Answer) -> AsyncIterator[bytes]:
        if made.body:
            yield made.body
        held: list[bytes] = []
        for step in made.steps:
            if isinstance(step, Wait):
                if held:
                    yield b"".join(held)
                    held = []
                await self._sleep(step.seconds)
                continue
            held += (wire.encode(step), b"\n")
            if len(held) >= 2 * LINES_PER_CHUNK:
                yield b"".join(held)
                held = []
                await asyncio.sleep(0)  # a long answer lets other runs in between
        if held:
            yield b"".join(held)


def _answer(body: bytes) -> Answer:
    try:
        return answer(wire.decode_request(body))
    except msgspec.MsgspecError as error:
        fault = msgspec.json.encode({"error": {"message": str(error), "type": "invalid_request_error"}})
        return Answer(400, {"content-type": "application/json"}, fault)
