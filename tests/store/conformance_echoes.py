"""What any store must do with what responses have in common: store it once, show it whole, and let go of it."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec.structs import replace
from tests.store.conformance import PAST, response, usage

from antiphon.store.base import Echo, Settlement, StoredResponse, StoreUnavailable
from antiphon.store.engine import Script, Sql
from antiphon.store.store import Store

INSTRUCTIONS = Echo(b"i" * 16, '"Be \\"brief\\", \u00e4."'.encode())
TOOLS = Echo(b"t" * 16, b'[{"type":"function","name":"add"}]')
OTHERS = Echo(b"o" * 16, b'[{"type":"custom","name":"run"}]')
OWN = b'{"id":"x","instructions":null,"output":[{"tools":[]}],"tools":[],"user":"\\"tools\\":[]"}'
WHOLE = b'{"id":"x","instructions":%s,"output":[{"tools":[]}],"tools":%s,"user":"\\"tools\\":[]"}'


async def saved(store: Store, instructions: Echo | None, tools: Echo | None, **changes: object) -> StoredResponse:
    """A response that the store has acknowledged, with these echoes."""
    row = response(
        body=OWN,
        instructions_hash=instructions and instructions.hash,
        tools_hash=tools and tools.hash,
        **changes,
    )
    echoes = tuple(echo for echo in (instructions, tools) if echo is not None)
    await store.settle(Settlement(response=row, usage=usage(row), echoes=echoes))
    return row


async def stored(store: Store) -> set[tuple[str, bytes]]:
    """The echoes that are there."""

    def script() -> Script[set[tuple[str, bytes]]]:
        return {
            (str(row[0]), bytes(row[1])) for row in (yield Sql("SELECT project, body FROM echoes WHERE project > ''"))
        }

    return await store.engine.read(script)


async def age(store: Store) -> None:
    """As if every echo had been stored an hour ago."""

    def script() -> Script[None]:
        yield Sql("UPDATE echoes SET used_at = used_at - 3600 WHERE project > ''")

    await store.engine.write(script)


class EchoConformance:
    """The meaning of the port, of echoes."""

    async def test_a_response_is_loaded_with_its_echoes_byte_for_byte(self, store: Store) -> None:
        for instructions in (INSTRUCTIONS, None):
            for tools in (TOOLS, None):
                row = await saved(store, instructions, tools)
                loaded = await store.load("proj_a", row.id)
                body = WHOLE % (b"null" if not instructions else INSTRUCTIONS.body, b"[]" if not tools else TOOLS.body)
                assert loaded == replace(row, body=body, instructions_hash=None, tools_hash=None)
        assert await stored(store) == {("proj_a", INSTRUCTIONS.body), ("proj_a", TOOLS.body)}

    async def test_saves_of_every_kind_at_once_are_whole_or_fail_alone(self, store: Store) -> None:
        async def only_metered() -> None:
            await store.settle(Settlement(response=None, usage=usage(response())))

        taken = await saved(store, None, None)
        kinds = [(INSTRUCTIONS, TOOLS), (None, None), (None, TOOLS), (INSTRUCTIONS, None)] * 5
        faults = ({"id": taken.id}, {"model": "\ud800"}, {"created_at": 1 << 70})
        good, _, bad = await asyncio.gather(
            asyncio.gather(*(saved(store, *kind) for kind in kinds)),
            asyncio.gather(*(only_metered() for _ in range(10))),
            asyncio.gather(*(saved(store, None, TOOLS, **fault) for fault in faults), return_exceptions=True),
        )
        assert [type(one) for one in bad] == [StoreUnavailable] * 3
        for row, (instructions, tools) in zip(good, kinds, strict=True):
            found = await store.load("proj_a", row.id)
            body = WHOLE % (INSTRUCTIONS.body if instructions else b"null", TOOLS.body if tools else b"[]")
            assert found is not None
            assert found.body == body

    async def test_a_chain_comes_without_and_its_size_counts_none(self, store: Store) -> None:
        root = await saved(store, INSTRUCTIONS, Echo(b"l" * 16, b'["%s"]' % (b"x" * 100_000)))
        last = await saved(store, None, TOOLS, previous=root.id)
        store.max_context_bytes = 1000
        chain = await store.chain("proj_a", last.id)
        assert chain is not None
        assert [link.body for link in chain.links] == [OWN, OWN]

    async def test_each_project_has_its_own(self, store: Store) -> None:
        row = await saved(store, None, TOOLS)
        other = await saved(store, None, replace(TOOLS, body=b'["b"]'), project="proj_b")
        for one, body in ((row, TOOLS.body), (other, b'["b"]')):
            loaded = await store.load(one.project, one.id)
            assert loaded is not None
            assert msgspec.json.decode(loaded.body)["tools"] == msgspec.json.decode(body)

    async def test_many_that_are_saved_at_once_share_what_they_echo(self, store: Store) -> None:
        rows = await asyncio.gather(*(saved(store, INSTRUCTIONS, (TOOLS, OTHERS)[n % 2]) for n in range(60)))
        loaded = await asyncio.gather(*(store.load("proj_a", row.id) for row in rows))
        tools = [None if one is None else one.body for one in loaded]
        assert tools == [WHOLE % (INSTRUCTIONS.body, (TOOLS, OTHERS)[n % 2].body) for n in range(60)]
        assert len(await stored(store)) == 3

    async def test_what_no_response_names_is_swept_but_not_what_was_stored_of_late(self, store: Store) -> None:
        gone = await saved(store, INSTRUCTIONS, TOOLS)
        kept = await saved(store, INSTRUCTIONS, OTHERS)
        await saved(store, Echo(b"p" * 16, b'"p"'), None, expires_at=PAST)
        await store.delete("proj_a", gone.id)
        await store.purge(PAST)
        await store.sweep()
        assert len(await stored(store)) == 4
        await age(store)
        await store.sweep()
        assert await stored(store) == {("proj_a", INSTRUCTIONS.body), ("proj_a", OTHERS.body)}
        loaded = await store.load("proj_a", kept.id)
        assert loaded is not None
        assert loaded.body == WHOLE % (INSTRUCTIONS.body, OTHERS.body)

    async def test_what_is_still_named_does_not_keep_a_sweep_from_what_is_not(self, store: Store) -> None:
        for number in range(6):
            await saved(store, None, Echo(b"%d" % number * 16, b'["%d"]' % number))
        lone = await saved(store, INSTRUCTIONS, None)
        await store.delete("proj_a", lone.id)
        await age(store)
        assert [await store.sweep(2) for _ in range(4)] == [2, 2, 3, 0]
        assert ("proj_a", INSTRUCTIONS.body) not in await stored(store)
        assert len(await stored(store)) == 6

    async def test_what_another_process_stores_again_is_not_taken_before_it_is_old(self, store: Store) -> None:
        await store.delete("proj_a", (await saved(store, None, TOOLS)).id)
        await age(store)
        await store.delete("proj_a", (await saved(Store(store.engine), None, TOOLS)).id)
        await store.sweep()
        assert await stored(store) == {("proj_a", TOOLS.body)}
