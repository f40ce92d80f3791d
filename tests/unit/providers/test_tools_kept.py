"""The same tools in the next request are the same object, and what one vendor makes of them is no other's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antiphon.app import dialects
from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.memory import Memory
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.request import CreateResponse
from antiphon.providers.base import Dialect, Target, Turn, Vendor
from antiphon.providers.chat_completions import ChatCompletions
from antiphon.providers.quirks import ChatQuirks, Quirks

TOOLS = [
    {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, "strict": True}
    for name in ("first", "second", "third")
]


def asking(**more: Any) -> CreateResponse:
    return parse_request(msgspec.json.encode({"model": "m", "input": "Hi", "tools": TOOLS} | more))


def sent(dialect: Dialect, target: Target, request: CreateResponse) -> tuple[bytes, tuple[str, ...]]:
    made = dialect.encode(Turn(request, ()), target)
    return made.body, made.dropped


def test_the_same_tools_are_the_same_object() -> None:
    assert asking().tools is asking(input="Bye").tools
    assert asking().tools is not asking(tools=TOOLS[:2]).tools


def test_a_fault_is_told_every_time_by_its_place() -> None:
    for _ in range(2):
        with pytest.raises(InvalidRequest) as caught:
            asking(tools=[*TOOLS, TOOLS[1]])
        assert caught.value.param == "tools[3].name"


@pytest.mark.parametrize("name", [name for name in dialects() if name != "sim"])
def test_a_choice_of_some_is_forgotten_in_the_next_request(name: str) -> None:
    dialect = dialects()[name]
    target = Target(Vendor("v", dialect.name, "https://a.example/v1"), "m")
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "second"}]}
    before = sent(dialect, target, asking())
    some, _ = sent(dialect, target, asking(tool_choice=allowed))
    assert some != before[0]
    assert sent(dialect, target, asking()) == before
    assert b"third" in before[0]


def test_vendors_that_differ_are_sent_what_each_can_take() -> None:
    strict, lax = (
        Target(
            Vendor(name, "chat_completions", "https://a.example/v1", quirks=Quirks(ChatQuirks(has_strict_tools=has))),
            "m",
        )
        for name, has in (("a", True), ("b", False))
    )
    for _ in range(2):
        body, dropped = sent(ChatCompletions(), strict, asking())
        assert b'"strict":true' in body
        assert dropped == ()
        body, dropped = sent(ChatCompletions(), lax, asking())
        assert b"strict" not in body
        assert len(dropped) == len(TOOLS)


def test_what_is_kept_belongs_to_one_purpose() -> None:
    memory = Memory()
    first, second = object(), object()
    assert memory.once(first, lambda: "a") == "a"
    assert memory.once(second, lambda: "b") == "b"
    assert memory.once(first, lambda: "c") == "a"
