"""A context that goes on is written as one that is written anew, byte for byte: every dialect, every vendor."""

from __future__ import annotations

from itertools import chain
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.engine.storied import Teller, Told, entries_of

from antiphon.app import dialects
from antiphon.config import Settings
from antiphon.engine.growing import Growing
from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.request import CreateResponse
from antiphon.providers.base import DialectName, Entry, HttpRequest, Target, Turn, Vendor
from antiphon.providers.catalog import load_vendors
from antiphon.providers.catalog_rows import built_in_rows
from antiphon.providers.quirks import AnthropicQuirks, ChatQuirks, Quirks, ResponsesQuirks
from antiphon.providers.writing import Open, Run, elements, joined

_KEYS = {name: "key" for row in built_in_rows() for name in (*row.env, *row.needs_env)}
VENDORS = [vendor for vendor in load_vendors(Settings(), _KEYS) if vendor.dialect != "sim"]
_IMAGES = frozenset({"image"})
_ODD: dict[str, tuple[DialectName, Quirks]] = {
    "bridges": ("chat_completions", Quirks(chat_completions=ChatQuirks(bridges_tool_to_user=True, inputs=_IMAGES))),
    "leads": ("chat_completions", Quirks(chat_completions=ChatQuirks(single_system=True, inputs=_IMAGES))),
    "vertex": ("anthropic", Quirks(anthropic=AnthropicQuirks(transport="vertex"))),
    "joins": ("responses", Quirks(responses=ResponsesQuirks(joins_parallel_calls=True))),
    "folds": ("responses", Quirks(responses=ResponsesQuirks(system_messages="fold"))),
}
ODD = [Vendor(name, dialect, "https://a.example", quirks=quirks) for name, (dialect, quirks) in _ODD.items()]
DIALECTS = dialects()


def asking(items: list[dict[str, Any]], **more: Any) -> CreateResponse:
    return parse_request(msgspec.json.encode({"model": "m", "input": items} | more))


def sent(turn: Turn, target: Target) -> HttpRequest | str:
    try:
        return DIALECTS[target.vendor.dialect].encode(turn, target)
    except InvalidRequest as refusal:
        return f"{refusal.param}: {refusal.message}"


class Chain:
    """A chain that is told turn by turn."""

    def __init__(self, teller: Teller) -> None:
        self.teller = teller
        self.growing = Growing()
        self.latest: Told | None = None

    def go_on(self) -> None:
        self.latest = self.teller.told(self.latest)
        self.growing.add(entries_of(self.latest))

    def turn(self, **more: Any) -> Turn:
        """The next turn, with the past that the one before has left."""
        request = asking(self.teller.asked(self.latest.owed if self.latest else []), **more)
        known = self.growing.known()
        own: tuple[Entry, ...] = tuple(item.item for item in request.input)
        return Turn(request, (*known.entries, *own), past=known.past)


def chain_of(seed: int, vendor: Vendor, model: str = "m") -> Chain:
    return Chain(Teller(Random(seed), vendor.dialect, vendor.scope, model))


@pytest.mark.slow
@pytest.mark.parametrize("vendor", VENDORS + ODD, ids=lambda vendor: vendor.name)
def test_what_goes_on_is_the_same_bytes_as_what_begins_anew(vendor: Vendor) -> None:
    model = "claude-sonnet-4-6" if vendor.dialect in ("anthropic", "bedrock") else "m"
    target, resumed = Target(vendor, model), 0
    for seed in range(12):
        chain = chain_of(seed, vendor, model)
        for number in range(14):
            chain.go_on()
            more = {"instructions": f"Be brief, {number}."} if (seed + number) % 3 else {}
            turn = chain.turn(**more)
            assert turn.past is not None
            known = turn.past.rendered.length
            assert sent(turn, target) == sent(replace(turn, past=None), target), (seed, number)
            resumed += 0 < known < turn.past.length
    assert resumed or vendor.name == "joins"


def test_the_past_of_one_target_is_not_written_for_another() -> None:
    one, other = (Target(vendor, "m") for vendor in VENDORS if vendor.name in ("deepseek", "mistral"))
    chain = chain_of(1, one.vendor)
    for number in range(12):
        chain.go_on()
        turn = chain.turn()
        for target in (one, other) if number % 2 else (other, one):
            assert sent(turn, target) == sent(replace(turn, past=None), target)


def test_two_turns_after_the_same_response_know_nothing_of_each_other() -> None:
    target = Target(VENDORS[0], "m")
    chain = chain_of(2, target.vendor)
    for _ in range(6):
        chain.go_on()
        turns = [chain.turn(instructions=str(number)) for number in range(3)]
        for turn in turns:
            assert sent(turn, target) == sent(replace(turn, past=None), target)


def test_a_turn_that_comes_late_is_not_written_with_what_followed_since() -> None:
    target = Target(VENDORS[0], "m")
    chain = chain_of(3, target.vendor)
    chain.go_on()
    late = chain.turn()
    chain.go_on()
    newer = chain.turn()
    expected = sent(replace(late, past=None), target)
    for turn in (newer, late, newer):
        sent(turn, target)
        assert sent(late, target) == expected
    assert newer.past is not None
    assert newer.past.rendered.length == newer.past.length


@pytest.mark.parametrize("name", ["openai", "anthropic", "deepseek", "google", "bedrock", "cohere"])
def test_a_past_is_written_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = next(one for one in VENDORS if one.name == name)
    target = Target(vendor, "m")
    written: list[Entry] = []
    chain = chain_of(4, vendor)
    for _ in range(20):
        chain.latest = chain.teller.told(None, [{"type": "message", "role": "user", "content": "Hi"}])
        chain.growing.add(entries_of(chain.latest))
    first = Turn(asking([{"role": "user", "content": "Go on."}]), chain.growing.known().entries)
    sent(replace(first, past=chain.growing.known().past), target)
    writer = chain.growing.known().past.rendered.writer
    assert writer is not None
    counted = type(writer).entry
    monkeypatch.setattr(type(writer), "entry", lambda self, entry: (written.append(entry), counted(self, entry)))
    chain.go_on()
    turn = chain.turn()
    sent(turn, target)
    assert len(written) == len(turn.context) - len(first.context)


def test_what_is_kept_of_a_past_holds_nothing_of_the_request() -> None:
    for vendor in VENDORS:
        chain = chain_of(5, vendor)
        chain.latest = chain.teller.told(None, [{"type": "message", "role": "user", "content": "Hi"}])
        chain.growing.add(entries_of(chain.latest))
        turn = chain.turn(instructions="A SECRET")
        sent(turn, Target(vendor, "m"))
        assert turn.past is not None
        parts: list[object] = [turn.past.rendered.writer]
        for part in parts:
            parts += [value for value in vars(part).values() if isinstance(value, Open)]
            assert "A SECRET" not in repr(vars(part))
            assert turn.request.input not in vars(part).values()


def test_a_run_of_many_turns_is_one_array_in_few_pieces() -> None:
    run: Run = ()
    turns = [[{"turn": number}, "said"][: number % 3] for number in range(500)]
    for turn in turns:
        run = joined(run, turn)
        assert len(run) <= 64
    assert msgspec.json.encode(elements(run, ["last"])) == msgspec.json.encode([*chain(*turns), "last"])
