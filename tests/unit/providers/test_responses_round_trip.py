"""What an upstream said in one turn is what it is sent in the next: every recorded answer, there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.providers.responses_upstream import kept, of, understood_bytes

from antiphon.protocol.deltas import Delta, Finished, Kept
from antiphon.protocol.items import FunctionCallOutput, Message
from antiphon.protocol.request import CreateResponse
from antiphon.providers.base import Entry, ModelTurn, ReplayRecord, Target, Turn, Vendor
from antiphon.providers.quirks import Quirks, ResponsesQuirks
from antiphon.providers.responses import Responses

RECORDED = sorted((Path(__file__).parents[2] / "wire" / "responses").glob("*/response.http"))
ENCRYPTED, TEXT = ResponsesQuirks(reasoning_crosses_models=True), ResponsesQuirks(reasoning="text")


def answers() -> list[Any]:
    """The recorded answers that ended well enough to be continued."""
    whole = []
    for path in RECORDED:
        head, _, body = path.read_bytes().partition(b"\n\n")
        deltas = understood_bytes(body) if b" 200 " in head.splitlines()[0] else []
        if deltas and isinstance(deltas[-1], Finished) and of(Kept, deltas):
            whole.append(pytest.param(deltas, id=path.parent.name))
    return whole


def sent(*context: Entry, quirks: ResponsesQuirks) -> list[Any]:
    vendor = Vendor("up", "responses", "http://up", scope="account", quirks=Quirks(responses=quirks))
    request = Responses().encode(Turn(CreateResponse(model="m"), context), Target(vendor, "m"))
    return msgspec.json.decode(request.body)["input"]


def turn_of(deltas: list[Delta]) -> ModelTurn:
    (last,) = of(Kept, deltas)
    return ModelTurn((), ReplayRecord("responses", "account", "m", last.blocks, last.essential))


def readable(blocks: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    """The blocks as they must come back: reasoning only if readable, no ids but the one that is referred to."""
    back = []
    for block in blocks:
        if block["type"] == "reasoning" and not block.get(field):
            continue
        is_named = block["type"] == "mcp_approval_request"
        back.append({name: v for name, v in block.items() if v is not None and (name != "id" or is_named)})
    return back


@pytest.mark.parametrize("deltas", answers())
@pytest.mark.parametrize(("quirks", "field"), [(ENCRYPTED, "encrypted_content"), (TEXT, "content")])
def test_every_recorded_turn_goes_back_as_it_came(deltas: list[Delta], quirks: ResponsesQuirks, field: str) -> None:
    assert sent(turn_of(deltas), quirks=quirks) == readable(kept(deltas), field)


@pytest.mark.parametrize("deltas", answers())
def test_a_longer_conversation_begins_with_the_shorter_one(deltas: list[Delta]) -> None:
    """What went before is never rendered otherwise: caches and bound reasoning live on equal prefixes."""
    context: list[Entry] = [Message("user", "Hi"), turn_of(deltas)]
    more: list[Entry] = [FunctionCallOutput("ok", call_id="c"), turn_of(deltas), Message("user", "Go on")]
    shorter = sent(*context, quirks=ENCRYPTED)
    assert sent(*context, *more, quirks=ENCRYPTED)[: len(shorter)] == shorter


def test_recorded_answers_are_found() -> None:
    assert len(answers()) > 20
