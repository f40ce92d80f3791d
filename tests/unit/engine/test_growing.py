"""A context that was built on what is known of its chain is the one that the store alone would give."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.store.conformance import save, usage
from tests.unit.engine.conftest import Clock
from tests.unit.engine.storied import OPENER, PNG, PROJECT, SEALER, Json, Teller, Told, compaction, ports_of

from antiphon.engine.compaction import Summary
from antiphon.engine.context import build_context
from antiphon.engine.context_base import Context, Origin
from antiphon.engine.estimate import turn_tokens
from antiphon.engine.history import Link, known_of
from antiphon.engine.holding import Holding
from antiphon.engine.links import Links
from antiphon.engine.pairs import Pairs
from antiphon.protocol.errors import ApiError, InvalidRequest
from antiphon.protocol.items import FunctionCall, FunctionCallOutput
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.request import CreateResponse
from antiphon.providers.base import ReplayedReasoning, ReplayRecord, Target, Vendor
from antiphon.providers.quirks import ChatQuirks, Quirks
from antiphon.store.store import Store

IMAGES = Quirks(chat_completions=ChatQuirks(inputs=frozenset({"image"})))
THOUGHTS = {
    "chat_completions": b'{"reasoning_content":"hm"}',
    "anthropic": b'[{"type":"thinking","thinking":"hm","signature":"s"}]',
    "responses": b'{"type":"reasoning","encrypted_content":"e","summary":[]}',
}
NOTHING = Links(max_bytes=0)
"""What knows of no chain, and reads it link by link every time."""
TARGETS = [
    Target(Vendor("chat", "chat_completions", "https://a.example", scope="s", quirks=IMAGES), "m"),
    Target(Vendor("claude", "anthropic", "https://a.example", scope="s"), "claude-sonnet-4-6"),
    Target(Vendor("native", "responses", "https://a.example", scope="s"), "m"),
]


async def context_of(store: Store, links: Links, previous: str | None, items: list[Json]) -> Context | str:
    body = {"model": "m", "input": items} | ({"previous_response_id": previous} if previous else {})
    try:
        return await build_context(
            parse_request(msgspec.json.encode(body)), ports_of(store, links), Origin(PROJECT), Holding(None)
        )
    except ApiError as refusal:
        return refusal.message


def sent(context: Context, items: list[Json], target: Target) -> object:
    turn = context.turn(parse_request(msgspec.json.encode({"model": "m", "input": items})))
    try:
        return ports_of(None, Links()).dialects[target.vendor.dialect].encode(turn, target)  # type: ignore[arg-type]
    except InvalidRequest as refusal:
        return refusal.message


class Chains:
    """Chains on a real store, and what one worker knows of them."""

    def __init__(self, store: Store, seed: int, links: Links | None = None) -> None:
        self.random = Random(seed)
        self.target = TARGETS[seed % len(TARGETS)]
        self.teller = Teller(self.random, self.target.vendor.dialect, "s", self.target.model)
        self.teller.abandons = seed % 2 == 1
        self.links = links or Links()
        self.store = store
        self.told: list[Told] = []
        self.resumed = 0

    async def ask(self, previous: Told | None, items: list[Json]) -> bool:
        """The context of a turn, as it is known and as the store alone has it; False if it is refused."""
        name = None if previous is None else previous.row.id
        known = await context_of(self.store, self.links, name, items)
        anew = await context_of(self.store, NOTHING, name, items)
        if isinstance(known, str) or isinstance(anew, str):
            assert known == anew
            return False
        assert known.entries == anew.entries
        assert known.call_ids == anew.call_ids
        assert known.own_input == anew.own_input
        assert anew.past is None
        for context in (known, known):  # the second time, what was counted before is there
            turn = context.turn(CreateResponse(model="m"))
            assert turn_tokens(turn) == turn_tokens(replace(turn, past=None))
        self.resumed += known.past is not None and known.past.rendered.length > 0
        assert sent(known, items, self.target) == sent(anew, items, self.target)
        return True

    async def answer(self, previous: Told | None, items: list[Json], *, is_ours: bool = True) -> Told:
        """The turn is stored: by this worker, or by another."""
        seen = self.links.seen(previous.row.id) if previous is not None else None
        told = self.teller.told(previous, items)
        await save(self.store, told.row, usage(told.row))
        if is_ours and seen is not None:
            self.links.keep(told.row, seen)
        self.told.append(told)
        return told

    async def step(self) -> None:
        """Something happens to one of the chains."""
        chance, told = self.random.random(), self.told
        previous = None if not told or chance < 0.08 else self.random.choice([*told[-3:], *told[-3:], *told])
        if previous is not None and chance > 0.95:
            await self.store.delete(PROJECT, previous.row.id)
            if self.random.random() < 0.5:
                self.links.forget(previous.row.id)
            return
        items = self.teller.asked(previous.owed if previous else [])
        if self.random.random() < 0.06:
            items = self.odd(items)
        if await self.ask(previous, items) and self.random.random() < 0.8:
            await self.answer(previous, items, is_ours=self.random.random() < 0.8)

    def odd(self, items: list[Json]) -> list[Json]:
        """Input of a kind that changes what stands before it, that refers to it, or that nobody asked for."""
        kept = (msgspec.Raw(b'{"role":"user","content":"my last words"}'),)
        summary = Summary("They talked.", self.random.choice([(), kept]), self.random.random() < 0.7)
        blob = compaction(summary, "responses", b'{"type":"compaction","encrypted_content":"e"}')
        compacted = self.random.choice([compaction(summary), compaction(summary), blob])
        bodies = [msgspec.json.decode(told.row.body) for told in self.told]
        said = [item["id"] for body in bodies for item in body["output"] if item["type"] == "message"]
        name = f"own_{self.random.randrange(1_000)}"
        said_before: Json = {"role": "assistant", "content": "So."}
        vendor = self.target.vendor
        blocks = msgspec.Raw(THOUGHTS[vendor.dialect])
        sealed = SEALER.seal(ReplayRecord(vendor.dialect, vendor.scope, self.target.model, blocks), PROJECT)
        kinds: list[list[Json]] = [
            [compacted, *items],
            [*items, {"type": "function_call_output", "call_id": "call_0", "output": "nobody asked"}],
            [{"type": "item_reference", "id": self.random.choice(said) if said else "msg_1"}, *items],
            [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}, said_before, *items],
            [
                {"type": "function_call", "call_id": name, "name": "own", "arguments": "{}"},
                {"type": "function_call_output", "call_id": name, "output": "done"},
                *items,
            ],
        ]
        return self.random.choice(kinds)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_what_is_known_changes_no_context(store: Store, seed: int) -> None:
    chains = Chains(store, seed, Links(max_bytes=200_000) if seed % 4 == 3 else None)
    for _ in range(120):
        await chains.step()
    assert len(chains.told) > 30
    assert chains.resumed


async def talked(chains: Chains, count: int, previous: Told | None = None) -> Told:
    for _ in range(count):
        items = chains.teller.asked(previous.owed if previous else [])
        assert await chains.ask(previous, items)
        previous = await chains.answer(previous, items)
    assert previous is not None
    return previous


async def test_a_response_that_is_stored_while_its_chain_is_asked_for_is_no_part_of_it(store: Store) -> None:
    chains = Chains(store, 0)
    latest = await talked(chains, 4)
    items = chains.teller.asked(latest.owed)
    anew = await context_of(store, NOTHING, latest.row.id, items)

    class Meanwhile:
        """Between the look and the store's answer the chain goes on."""

        def __init__(self) -> None:
            self.is_first = True

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def removals(self, project: str) -> Any:
            if self.is_first:
                self.is_first = False
                after = await chains.answer(latest, items)
                assert await chains.ask(after, chains.teller.asked(after.owed))
            return await store.removals(project)

    known = await context_of(Meanwhile(), chains.links, latest.row.id, items)  # type: ignore[arg-type]
    assert isinstance(known, Context)
    assert isinstance(anew, Context)
    assert known.entries == anew.entries


async def test_a_chain_ends_with_the_first_of_its_links_that_expires(store: Store, clock: Clock) -> None:
    chains = Chains(store, 0)
    first = await talked(chains, 1)
    short = chains.teller.told(first, chains.teller.asked(first.owed))
    short.row = replace(short.row, expires_at=int(clock.now) + 60)
    await save(store, short.row, usage(short.row))
    latest = short
    for _ in range(3):
        items = chains.teller.asked(latest.owed)
        assert await chains.ask(latest, items)
        latest = await chains.answer(latest, items)
    items = chains.teller.asked(latest.owed)
    clock.now += 59
    assert await chains.ask(latest, items)
    clock.now += 1
    assert not await chains.ask(latest, items)
    assert await chains.ask(first, chains.teller.asked(first.owed))


async def test_a_chain_too_large_to_keep_is_read_every_time_and_is_the_same(store: Store) -> None:
    chains = Chains(store, 0, Links(max_bytes=20_000))
    latest = await talked(chains, 2)
    for _ in range(3):
        items = [*chains.teller.asked(latest.owed), {"role": "user", "content": "x" * 3_000}]
        assert await chains.ask(latest, items)
        latest = await chains.answer(latest, items)
    context = await context_of(store, chains.links, latest.row.id, chains.teller.asked(latest.owed))
    assert isinstance(context, Context)
    assert context.past is None


async def test_media_of_the_past_are_still_looked_at(store: Store) -> None:
    links = Links()
    teller = Teller(Random(1), "responses", "s")
    shown: Json = {"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}
    first = teller.told(None, [shown | {"type": "message"}])
    first.owed = []
    first.row = replace(first.row, body=b'{"output":[]}', turns=b"[]")
    await save(store, first.row, usage(first.row))
    for _ in range(2):
        context = await context_of(store, links, first.row.id, [{"role": "user", "content": "And?"}])
        assert isinstance(context, Context)
        assert context.past is not None
        assert context.past.shows_media


async def test_what_others_made_after_a_link_that_was_deleted_is_not_there(store: Store) -> None:
    chains = Chains(store, 0)
    told = [await talked(chains, 1)]
    while len(told) < 20:  # the newest 16 are looked at first
        is_ours = len(told) <= 4
        items = chains.teller.asked(told[-1].owed)
        assert not is_ours or await chains.ask(told[-1], items)
        told.append(await chains.answer(told[-1], items, is_ours=is_ours))
    assert await store.delete(PROJECT, told[1].row.id)
    for latest in (told[-1], told[4], told[5], told[-1]):
        assert not await chains.ask(latest, chains.teller.asked(latest.owed))


def test_a_call_that_comes_again_after_its_output_is_answered() -> None:
    call, output = FunctionCall("call_1", "look", "{}"), FunctionCallOutput("done", "call_1")
    pairs = Pairs()
    pairs.read([call, output, call])
    pairs.check()
    with pytest.raises(InvalidRequest, match="call_2"):
        pairs.read([FunctionCallOutput("done", "call_2")])


def test_what_began_in_a_conversation_is_no_chain_of_its_own() -> None:
    row = Teller(Random(2), "responses", "s").told(None).row
    assert Link(row).is_plain
    assert not Link(replace(row, conversation="conv_1", conversation_position=3)).is_plain


@pytest.mark.parametrize("seed", range(8))
def test_a_chain_that_a_connection_holds_goes_on_and_branches(seed: int) -> None:
    random, target = Random(seed), TARGETS[seed % 3]
    teller = Teller(random, target.vendor.dialect, "s", target.model)
    chains: list[list[tuple[Told, Link]]] = [[]]
    resumed = 0
    for _ in range(60):
        before = random.choice(chains[-3:])
        before = before if random.random() < 0.8 else before[: random.randrange(len(before) + 1)]
        told = teller.told(before[-1][0] if before else None)
        chain = [*before, (told, Link(told.row))]
        chains.append(chain)
        known = known_of([link for _, link in chain], OPENER)
        assert known is not None
        assert known.entries == tuple(entry for _, link in chain for entry in link.entries)
        items = teller.asked(told.owed)
        own = tuple(item.item for item in parse_request(msgspec.json.encode({"model": "m", "input": items})).input)
        context = Context((*known.entries, *own), (), set(), known.past)
        resumed += known.past.rendered.length > 0
        assert sent(context, items, target) == sent(replace(context, past=None), items, target)
    assert resumed


async def test_another_project_opens_nothing_of_a_chain(store: Store) -> None:
    chains = Chains(store, 0)
    first = await chains.answer(None, [], is_ours=False)
    items = [compaction(Summary("They talked."))]
    assert await chains.ask(first, items)
    second = await chains.answer(first, items)

    nothing: Any = object()  # it is not theirs to open
    assert await chains.links.chain(store, "proj_b", second.row.id, nothing) is None
    assert await chains.ask(second, chains.teller.asked(second.owed))


def test_a_chain_that_only_its_provider_has_compacted_is_walked() -> None:
    teller = Teller(Random(0), "responses", "s")
    plain = Link(teller.told(None).row)
    odd = Link(teller.told(None, [{"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}]).row)
    assert known_of([plain], OPENER) is not None
    assert known_of([plain, odd], OPENER) is None
    assert known_of([plain, odd, Link(teller.told(None).row)], OPENER) is None
    assert known_of([plain], OPENER) is not None


def test_a_chain_that_a_connection_holds_begins_anew_with_its_summary() -> None:
    teller = Teller(Random(0), "responses", "s")
    first = Link(teller.told(None).row)
    item = compaction(Summary("They talked."))
    links = [first, Link(teller.told(None, [item]).row), Link(teller.told(None).row)]
    anew = OPENER.expanded((), [entry for link in links for entry in link.entries])
    for count in (1, 2, 3):
        known = known_of(links[:count], OPENER)
        assert known is not None
        assert [*known.entries] == OPENER.expanded((), [entry for link in links[:count] for entry in link.entries])
    assert len(anew) < sum(len(link.entries) for link in links)


@pytest.mark.parametrize("is_sealed", [True, False])
async def test_reasoning_that_a_client_has_kept_goes_on_where_it_can_be_opened_at_once(
    store: Store, is_sealed: bool
) -> None:
    chains = Chains(store, 0)
    record = ReplayRecord("chat_completions", "s", "m", msgspec.Raw(THOUGHTS["chat_completions"]))
    other = await chains.answer(None, [{"role": "user", "content": "Hi"}], is_ours=False)
    thought: Json = {"type": "reasoning", "id": f"rs_{other.row.id[5:]}0000", "summary": []}
    thought |= {"encrypted_content": SEALER.seal(record, PROJECT)} if is_sealed else {}
    latest = await chains.answer(None, [thought, {"role": "assistant", "content": "So."}], is_ours=False)
    for _ in range(3):
        items = chains.teller.asked(latest.owed)
        context = await context_of(store, chains.links, latest.row.id, items)
        anew = await context_of(store, NOTHING, latest.row.id, items)
        assert isinstance(context, Context)
        assert isinstance(anew, Context)
        assert context.entries == anew.entries
        assert isinstance(context.entries[0], ReplayedReasoning) == is_sealed
        assert (context.past is not None) == is_sealed
        latest = await chains.answer(latest, items)
