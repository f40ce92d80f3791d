"""Reading an answer that new input of the user cuts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext

import pytest
from tests.harness.stage import Stage

from antiphon.engine.upstream import Answering, _Call
from antiphon.protocol.request import CreateResponse
from antiphon.providers.base import Target, Turn, Vendor
from antiphon.providers.chat_completions import ChatCompletions
from antiphon.providers.http_wire import Reply

CHUNK = b'data: {"id":"u","model":"m","choices":[{"index":0,"delta":{"content":"token "},"finish_reason":null}]}\n\n'


class Speaking(Reply):
    """Says one more chunk until nobody listens any more, or a hundred."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, on_chunk: Callable[[int], None] = lambda _: None) -> None:
        self.said = 0
        self._on_chunk = on_chunk
        self._is_over = False

    async def pour(self, sink: Callable[[bytes], bool]) -> None:
        while not self._is_over and self.said < 100 and sink(CHUNK):
            self.said += 1
            self._on_chunk(self.said)

    def hang_up(self) -> None:
        self._is_over = True


async def _read(reply: Speaking, is_cut: Callable[[], bool]) -> list[str]:
    """The pieces of text that became events."""
    stage, dialect = Stage(), ChatCompletions()
    target = Target(Vendor("v", dialect.name, "https://a.example/v1"), "m")
    request = dialect.encode(Turn(CreateResponse(model="m"), ()), target)
    stage.assembler.begin_turn("f", "s", "m")
    async with _Call(nullcontext(reply)) as call:
        await Answering(target, dialect, request, call).read(stage.assembler, is_cut)
    stage.assembler.end_turn()
    return [event["delta"] for event in stage.events if event["type"] == "response.output_text.delta"]


async def test_an_answer_that_is_cut_before_it_is_read_is_not_read() -> None:
    reply = Speaking()
    assert await _read(reply, lambda: True) == []
    assert reply.said == 0


@pytest.mark.parametrize("chunks", [1, 5])
async def test_an_answer_that_is_cut_while_it_is_read_ends_there(chunks: int) -> None:
    reply = Speaking(lambda said: reply.hang_up() if said == chunks else None)
    assert len(await _read(reply, lambda: reply.said == chunks)) == chunks
