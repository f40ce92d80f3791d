"""What the core may cost, counted in calls: the same number on any machine, so that a slower path fails here.

A call of Python's or of C's is one. The budgets leave a tenth of room; who needs more says why in the commit that
raises them. Time itself is measured by `make bench`.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import msgspec
import pytest
from tests.inprocess.rig import Rig
from tests.store.conformance import save, usage
from tests.unit.engine.storied import PROJECT, Teller, Told, compaction, entries_of, ports_of

from antiphon.app import dialects
from antiphon.engine.assembler import Assembler
from antiphon.engine.compaction import Summary, wants_compaction
from antiphon.engine.context import build_context
from antiphon.engine.context_base import Origin
from antiphon.engine.estimate import request_tokens
from antiphon.engine.growing import Growing
from antiphon.engine.holding import Holding
from antiphon.engine.links import Links
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.resent import Histories
from antiphon.protocol.response import new_response
from antiphon.providers.anthropic import Anthropic
from antiphon.providers.base import Dialect, DialectName, HttpRequest, Target, Turn, Vendor
from antiphon.providers.chat_completions import ChatCompletions
from antiphon.providers.responses import Responses
from antiphon.providers.transport import Deadlines, Transport
from antiphon.runs import run as run_module
from antiphon.runs.log import EventLog
from antiphon.runs.run import Run
from antiphon.store.sqlite import open_sqlite

EVENTS = 200
LINKS = 30
CHAT = b'data: {"id":"u","model":"m","choices":[{"index":0,"delta":{"content":"token "},"finish_reason":null}]}\n\n'
NATIVE_HEAD = (
    b'data: {"type":"response.created","response":{"id":"r","model":"m"}}\n\n'
    b'data: {"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"i","role":"assistant",'
    b'"status":"in_progress","content":[]}}\n\n'
)
NATIVE = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","item_id":"i","output_index":0,'
    b'"content_index":0,"delta":"token ","logprobs":[],"sequence_number":4}\n\n'
)
CLAUDE_HEAD = (
    b'data: {"type":"message_start","message":{"id":"u","model":"m"}}\n\n'
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
)
CLAUDE = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"token "}}\n\n'

AGENT_TOOLS = [
    {"type": "function", "name": f"tool_{number}", "parameters": {"type": "object", "properties": {}}, "strict": True}
    for number in range(30)
]
AGENT_ITEMS = [
    item
    for number in range(13)
    for item in (
        {"role": "user", "content": [{"type": "input_text", "text": "Look it up."}]},
        {"type": "function_call", "call_id": f"call_{number}", "name": "tool_1", "arguments": "{}"},
        {"type": "function_call_output", "call_id": f"call_{number}", "output": "Found."},
    )
]


class Counter:
    """Counts calls in this thread while its block runs."""

    def __init__(self) -> None:
        self.calls = 0

    def _note(self, frame: FrameType, kind: str, argument: Any) -> None:
        del frame, argument
        self.calls += kind in ("call", "c_call")

    def __enter__(self) -> Counter:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


@pytest.mark.parametrize(
    ("dialect", "head", "event", "budget"),
    [
        (ChatCompletions(), CHAT, CHAT, 35),
        (Responses(), NATIVE_HEAD, NATIVE, 42),
        (Anthropic(), CLAUDE_HEAD, CLAUDE, 34),
        (ChatCompletions(), CHAT, CHAT * 100, 7 * 100),
        (Responses(), NATIVE_HEAD, NATIVE * 100, 1_030),
        (Anthropic(), CLAUDE_HEAD, CLAUDE * 100, 7 * 100),
    ],
    ids=["chat_completions", "responses", "anthropic", "burst_chat_completions", "burst_responses", "burst_anthropic"],
)
def test_streamed_events_keep_their_budget(dialect: Dialect, head: bytes, event: bytes, budget: int) -> None:
    request = parse_request(b'{"model":"m","input":"Hi","stream":true}')
    target = Target(Vendor("v", dialect.name, "https://a.example/v1"), "m")
    decoder = dialect.decoder(target, dialect.encode(Turn(request, ()), target))
    log = EventLog()
    assembler = Assembler(new_response(request, "resp_" + "0" * 26, 1), log.extend)
    assembler.begin()
    assembler.begin_turn("f", "s", "m")
    assembler.apply_all(decoder.feed(head))
    sent = len(log)

    def pass_on() -> None:
        nonlocal sent
        assembler.apply_all(decoder.feed(event))
        _, sent = log.frames(sent, EVENTS, is_padded=True)

    assert _counted(pass_on) <= budget
    assert len(log) >= EVENTS


async def test_a_json_request_keeps_its_budget(tmp_path: Path) -> None:
    async with Rig.open(tmp_path) as rig:
        assert await _calls_of(rig, {"input": "Say hello", "instructions": "Be brief."}) <= 970


async def test_an_answer_that_nobody_keeps_is_not_made_into_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(run: Run, *_: object) -> None:
        made.append(run.request.store)

    made: list[bool] = []
    monkeypatch.setattr(run_module, "stored_response", make)
    async with Rig.open(tmp_path) as rig:
        for wants_stream in (False, True):
            answer = await rig.post({"input": "Say hello", "store": False, "stream": wants_stream})
            assert answer.response["status"] == "completed"
    assert made == []


def test_an_agents_request_keeps_its_budget() -> None:
    def agents() -> Iterator[bytes]:
        for number in itertools.count():
            items = [{"role": "user", "content": f"I am {number}."}, *AGENT_ITEMS]
            yield msgspec.json.encode({"model": "m", "tools": AGENT_TOOLS, "input": items})

    bodies, recall = agents(), partial(Histories().read, PROJECT)
    dialect, target = ChatCompletions(), Target(Vendor("v", "chat_completions", "https://a.example/v1"), "m")
    request = parse_request(next(bodies))
    turn = Turn(request, tuple(own.item for own in request.input))
    read, sent = _counted(lambda: parse_request(next(bodies), recall)), _counted(lambda: dialect.encode(turn, target))
    assert read <= 345
    assert sent <= 755


@pytest.mark.parametrize(("is_chain", "budget"), [(True, 59), (False, 62)])
async def test_a_turn_of_what_goes_on_keeps_its_budget(tmp_path: Path, is_chain: bool, budget: int) -> None:
    async def turn() -> int:
        nonlocal body
        with Counter() as counter:
            made = await rig.post(body)
        if is_chain:
            body = {"input": "Say hello", "previous_response_id": made.body["id"]}
        return counter.calls

    async with Rig.open(tmp_path) as rig:
        body: dict[str, str] = {"input": "Say hello"}
        if not is_chain:
            body["conversation"] = (await rig.request("POST", "/v1/conversations", b"{}")).body["id"]
        costs = [await turn() for _ in range(LINKS + 20)]
    early, late = statistics.median(costs[5:15]), statistics.median(costs[-10:])
    assert (late - early) / LINKS <= budget


@pytest.mark.parametrize("name", [name for name in dialects() if name != "sim"])
def test_a_turn_costs_what_it_adds_to_its_chain(name: DialectName) -> None:
    def turn() -> int:
        latest = teller.told(None, [{"type": "message", "role": "user", "content": "Go on."}])
        growing.add(entries_of(latest))
        known = growing.known()
        context = (*known.entries, *(item.item for item in request.input))
        with Counter() as counter:
            dialect.encode(Turn(request, context, past=known.past), target)
        return counter.calls

    dialect, target = dialects()[name], Target(Vendor("v", name, "https://a.example", scope="s"), "m")
    request = parse_request(b'{"model":"m","input":"And then?"}')
    growing, teller = Growing(), Teller(Random(0), name, "s")
    costs = [turn() for _ in range(100)]
    assert statistics.median(costs[-30:]) <= 1.1 * statistics.median(costs[10:40])


@pytest.mark.parametrize("name", [name for name in dialects() if name != "sim"])
async def test_a_turn_costs_what_it_adds_to_what_was_sent(tmp_path: Path, name: DialectName) -> None:
    store = await open_sqlite(tmp_path / "a.db")
    dialect, target = dialects()[name], Target(Vendor("v", name, "https://a.example", scope="s"), "m")
    recall = partial(Histories().read, PROJECT)
    ports, said, costs = ports_of(store, Links()), [{"role": "user", "content": f"I use {name}." * 400}], list[int]()
    for number in range(100):
        body = msgspec.json.encode({"model": "m", "input": said, "store": False})
        with Counter() as counter:
            request = parse_request(body, recall)
            request_tokens(request)
            context = await build_context(request, ports, Origin(PROJECT), Holding(None))
            dialect.encode(context.turn(request), target)
        costs.append(counter.calls)
        said += [{"role": "assistant", "content": f"So {number}."}, {"role": "user", "content": "Go on."}]
    await store.close()
    # Some dialects note where each item stands, in case it has to be named: one call for each, of two a turn.
    assert statistics.median(costs[-30:]) <= 1.1 * statistics.median(costs[10:40]) + 2 * 60


async def test_a_turn_after_a_compaction_costs_what_it_adds(tmp_path: Path) -> None:
    store, links, teller = await open_sqlite(tmp_path / "a.db"), Links(), Teller(Random(0), "responses", "s")
    threshold = {"context_management": [{"type": "compaction", "compact_threshold": 1_000_000}]}
    previous: Told | None = None
    costs: list[int] = []
    for number in range(100):
        items = teller.asked([] if previous is None else previous.owed)
        if number == 20:
            items.insert(0, compaction(Summary("They talked.")))
        link = {} if previous is None else {"previous_response_id": previous.row.id}
        request = parse_request(msgspec.json.encode({"model": "m", "input": items} | threshold | link))
        with Counter() as counter:
            context = await build_context(request, ports_of(store, links), Origin(PROJECT), Holding(None))
            assert not wants_compaction(context.turn(request), lambda estimate: estimate)
        costs.append(counter.calls)
        seen = links.seen(None if previous is None else previous.row.id)
        previous = teller.told(previous, items)
        await save(store, previous.row, usage(previous.row))
        if seen is not None:
            links.keep(previous.row, seen)
    await store.close()
    assert statistics.median(costs[-30:]) <= 1.1 * statistics.median(costs[30:60])


async def test_a_call_over_a_connection_keeps_its_budget() -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 20 + b"0\r\n\r\n"

    class Provider(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.write = transport.write

        def data_received(self, data: bytes) -> None:
            self.write(answer)

    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat/completions"
    request = HttpRequest("POST", url, (("content-type", "application/json"),), b"{}")
    async with server, Transport(Deadlines()) as transport:
        for _ in range(3):
            assert await transport.fetch(request) == (200, b"hello" * 20)
        with Counter() as counter:
            for _ in range(20):
                await transport.fetch(request)
    assert counter.calls / 20 <= 200


async def _calls_of(rig: Rig, body: dict[str, object]) -> float:
    for _ in range(5):
        await rig.post(body)
    with Counter() as counter:
        for _ in range(20):
            await rig.post(body)
    return counter.calls / 20


def _counted(work: Callable[[], object]) -> float:
    for _ in range(3):
        work()
    with Counter() as counter:
        for _ in range(EVENTS):
            work()
    return counter.calls / EVENTS
