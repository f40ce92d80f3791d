"""The context of a client that sends its whole conversation again is the one of who had never seen it."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.store.conformance import save, usage
from tests.unit.engine.storied import PROJECT, SEALER, Json, Teller, compaction, ports_of
from tests.unit.engine.test_growing import TARGETS, THOUGHTS

from antiphon.engine.compaction import Summary
from antiphon.engine.context import build_context
from antiphon.engine.context_base import Context, Origin
from antiphon.engine.estimate import request_tokens, turn_tokens
from antiphon.engine.holding import Holding
from antiphon.engine.links import Links
from antiphon.protocol.errors import ApiError
from antiphon.protocol.item_parsing import read_items
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.resent import Histories
from antiphon.providers.base import ReplayRecord
from antiphon.store.store import Store

PLAIN: Json = {"type": "message", "role": "user", "content": "Hi"}


class Client:
    """What a client sends, as it is read and understood by who remembers and by who does not."""

    def __init__(self, store: Store, histories: Histories | None = None) -> None:
        self.histories = histories or Histories()
        self.ports = ports_of(store, Links())

    def request(self, items: list[Json], project: str = PROJECT) -> CreateResponse:
        array = msgspec.Raw(msgspec.json.encode(items))
        return CreateResponse(model="m", input=self.histories.read(project, array, read_items))

    async def context(self, request: CreateResponse, project: str = PROJECT) -> Context | str:
        try:
            return await build_context(request, self.ports, Origin(project), Holding(None))
        except ApiError as refusal:
            return refusal.message

    async def contexts(self, items: list[Json], project: str = PROJECT) -> tuple[Context, Context] | str:
        """As it is known, and anew; or what both are told."""
        request = self.request(items, project)
        assert request_tokens(request) == request_tokens(msgspec.structs.replace(request, input=tuple(request.input)))
        known = await self.context(request, project)
        anew = await self.context(msgspec.structs.replace(request, input=tuple(request.input)), project)
        if isinstance(known, str) or isinstance(anew, str):
            assert known == anew
            return anew if isinstance(anew, str) else ""
        assert known.entries == anew.entries
        assert known.own_input == anew.own_input
        assert known.call_ids == anew.call_ids
        assert anew.past is None
        for context in (known, known):
            turn = context.turn(CreateResponse(model="m"))
            assert turn_tokens(turn) == turn_tokens(replace(turn, past=None))
        return known, anew


def sealed(random: Random, dialect: str, project: str = PROJECT) -> Json:
    """A reasoning item whose carrier only `project` can open."""
    record = ReplayRecord(dialect, "s", "m", msgspec.Raw(THOUGHTS[dialect]))
    name = f"rs_{random.randrange(100)}"
    return {"type": "reasoning", "id": name, "summary": [], "encrypted_content": SEALER.seal(record, project)}


def odd(random: Random, dialect: str, told: list[Json]) -> list[Json]:
    """What stands in some histories: sealed by us, by nobody we know, stored here, and summaries of it all."""
    kept = (msgspec.Raw(b'{"role":"user","content":"my last words"}'),)
    summary = Summary("They talked.", random.choice([(), kept]), random.random() < 0.7)
    blob = compaction(summary, "responses", b'{"type":"compaction","encrypted_content":"e"}')
    assistant: Json = {"type": "message", "role": "assistant", "content": "So."}
    kinds: list[list[Json]] = [
        [sealed(random, dialect), assistant],
        [sealed(random, dialect), assistant],
        [sealed(random, dialect, "proj_b"), assistant],
        [{"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": "not ours"}, assistant],
        [compaction(summary)],
        [blob],
        [random.choice(told)],
        [{"type": "item_reference", "id": random.choice(told)["id"]}],
        [{"type": "function_call_output", "call_id": "call_0", "output": "nobody asked"}],
    ]
    return random.choice(kinds)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_what_was_sent_before_changes_no_context(store: Store, seed: int) -> None:
    random, target = Random(seed), TARGETS[seed % len(TARGETS)]
    teller = Teller(random, target.vendor.dialect, "s", target.model)
    stored = teller.told(None, [PLAIN])
    await save(store, stored.row, usage(stored.row))
    told = [item for item in msgspec.json.decode(stored.row.body)["output"] if "call_id" not in item]
    told = told or [{"type": "reasoning", "id": "rs_1", "summary": []}]
    small = Histories(max_bytes=200_000)
    client = Client(store, small if seed % 4 == 3 else None)
    conversations: list[list[Json]] = [[PLAIN]]
    resumed = 0
    for _ in range(150):
        items = random.choice([*conversations[-1:] * 6, *conversations[-3:], random.choice(conversations), []])
        answer, owed = teller.answered()
        items = [*items, *teller.asked([]), *answer, *teller.asked(owed)]
        if random.random() < 0.08:
            items += odd(random, target.vendor.dialect, told)
        both = await client.contexts(items)
        if isinstance(both, str):
            continue
        conversations.append(items)
        known, anew = both
        request = CreateResponse(model="m", input=known.own_input)
        encode = client.ports.dialects[target.vendor.dialect].encode
        resumed += known.past is not None and known.past.rendered.length > 0
        assert refused(encode, known.turn(request), target) == refused(encode, anew.turn(request), target)
    assert resumed


def refused(encode: Any, *asked: Any) -> object:
    try:
        return encode(*asked)
    except ApiError as refusal:
        return refusal.message


async def conversation(client: Client, items: list[Json], turns: int = 4) -> tuple[Context, list[Json]]:
    """What is known after so many turns, and what was sent."""
    for number in range(turns):
        both = await client.contexts(items)
        assert not isinstance(both, str), both
        if number < turns - 1:
            items = [*items, {"type": "message", "role": "assistant", "content": f"So {number}."}, PLAIN]
    return both[0], items


async def test_a_turn_knows_what_was_sent_before_it(store: Store) -> None:
    context, items = await conversation(Client(store), [PLAIN])
    assert context.past is not None
    assert context.past.length == len(items) - 2


async def test_what_the_store_has_to_tell_is_asked_every_time(store: Store) -> None:
    row = replace(Teller(Random(0), "responses", "s").told(None).row, turns=b"[]", input=b"[]")
    said = {"type": "message", "id": f"msg_{row.id[5:]}0000", "role": "assistant", "content": []}
    row = replace(row, body=msgspec.json.encode({"output": [said]}))
    await save(store, row, usage(row))
    client = Client(store)
    items = [PLAIN, {"type": "item_reference", "id": said["id"]}, PLAIN]
    context, items = await conversation(client, items)
    assert context.past is None
    assert await store.delete(PROJECT, row.id)
    assert "not found" in str(await client.contexts(items))


async def test_a_project_opens_nothing_of_another(store: Store) -> None:
    client = Client(store)
    items = [PLAIN, sealed(Random(1), "responses"), {"type": "message", "role": "assistant", "content": "So."}, PLAIN]
    context, items = await conversation(client, items)
    theirs = await client.contexts(items, "proj_b")
    assert not isinstance(theirs, str)
    assert theirs[0].entries != context.entries
    assert (await client.contexts(items))[0].entries == context.entries  # type: ignore[union-attr]


async def test_a_request_that_comes_late_knows_nothing_of_what_followed(store: Store) -> None:
    client = Client(store)
    _, items = await conversation(client, [PLAIN])
    late = client.request([*items, PLAIN])
    later = client.request([*items, PLAIN, PLAIN, PLAIN])
    for request in (later, late, later):
        known = await client.context(request)
        anew = await client.context(msgspec.structs.replace(request, input=tuple(request.input)))
        assert isinstance(known, Context)
        assert isinstance(anew, Context)
        assert known.entries == anew.entries
        assert (known.past is None) == (request is late)


async def test_a_history_that_is_refused_is_refused_every_time(store: Store) -> None:
    client = Client(store)
    items: list[Json] = [PLAIN, {"type": "function_call_output", "call_id": "call_0", "output": "nobody asked"}]
    for _ in range(5):
        assert "call_0" in str(await client.contexts(items))
        items = [*items, PLAIN]
