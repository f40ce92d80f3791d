"""Input that begins with what was sent before is read as it would be by who had never seen it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any

import msgspec
import pytest

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.item_parsing import read_items
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.request import InputItem
from antiphon.protocol.resent import Histories, Resent

Json = dict[str, Any]
ME = "proj_a"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """Reads as the parser does, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, array: msgspec.Raw, first: int) -> tuple[InputItem, ...]:
        items = read_items(array, first)
        self.count += len(items)
        return items


def said(text: str, role: str = "user") -> Json:
    return {"type": "message", "role": role, "content": text}


def written(items: list[Json], indent: int = -1) -> msgspec.Raw:
    """As clients write it, compact or with spaces or over several lines."""
    return msgspec.Raw(msgspec.json.format(msgspec.json.encode(items), indent=indent))


def test_only_what_is_new_is_read_once_a_conversation_goes_on() -> None:
    histories, reader = Histories(), Reader()
    items = [said("a"), said("b")]
    for known, read in ((0, 2), (0, 4), (4, 2), (6, 2)):
        reader.count = 0
        found = histories.read(ME, written(items), reader)
        assert (found.known, reader.count) == (known, read)
        assert found == read_items(written(items), 0)
        items += [said("an answer", "assistant"), said("a question")]
    assert len(histories) == 1


def test_the_same_input_once_more_is_known_whole() -> None:
    histories, reader = Histories(), Reader()
    items = written([said("a"), said("b")])
    found = [histories.read(ME, items, reader) for _ in range(4)]
    assert [one.known for one in found] == [0, 0, 2, 2]
    assert reader.count == 4
    assert found[3][0].item is found[1][0].item
    assert len(histories) == 1


@pytest.mark.parametrize("seed", range(20))
def test_whatever_was_sent_before_what_is_read_is_what_was_sent(seed: int) -> None:
    random, histories = Random(seed), Histories(max_bytes=24_000)
    conversations: list[list[Json]] = [[]]
    known = 0
    for number in range(300):
        before = random.choice([*conversations[-3:], random.choice(conversations)])
        before = before if random.random() < 0.8 else before[: random.randrange(len(before) + 1)]
        texts = (random.choice(["", "ü", '"]', "a" * random.randrange(60), str(number)]) for _ in range(3))
        items = [*before, *(said(text) for text in texts)]
        if random.random() < 0.1:
            items.insert(random.randrange(len(items)), {"type": "function_call", "name": 3})
        array = written(items, indent=(-1, 0, 2)[seed % 3])
        try:
            expected: object = read_items(array, 0)
        except InvalidRequest as refusal:
            expected = str(refusal)
        try:
            found: object = histories.read(ME, array, read_items)
            conversations.append(items)
        except InvalidRequest as refusal:
            found = str(refusal)
        assert found == expected
        known += isinstance(found, Resent) and found.known > 0
    assert known > 20


def test_input_that_is_refused_leaves_what_is_kept_as_it_was() -> None:
    histories, reader = Histories(), Reader()
    good = [said("a"), said("b")]
    for _ in range(2):
        histories.read(ME, written(good), reader)
    with pytest.raises(InvalidRequest) as refusal:
        histories.read(ME, written([*good, said("c", "nobody")]), reader)
    assert refusal.value.param == "input[2].role"
    found = histories.read(ME, written([*good, said("c")]), reader)
    assert found.known == 2


def test_inputs_that_come_once_drive_out_nobody_who_goes_on() -> None:
    histories, reader = Histories(max_bytes=80_000), Reader()
    items = [said("a"), said("b")]
    for _ in range(2):
        histories.read(ME, written(items), reader)
    for number in range(100):
        histories.read(ME, written([said(f"{number} {'x' * 1_000}")]), reader)
    assert len(histories) < 12
    assert histories.read(ME, written([*items, said("c")]), reader).known == 2


def test_the_least_recently_used_goes_when_there_is_too_much() -> None:
    histories, reader = Histories(max_bytes=57_200), Reader()
    several = [[said(f"{number} {'x' * 2_000}")] for number in range(6)]
    for items in several:
        for _ in range(2):
            histories.read(ME, written(items), reader)
    known = [histories.read(ME, written([*items, said("more")]), reader).known for items in several[-4:]]
    assert known == [1, 1, 1, 1]
    assert histories.read(ME, written([*several[0], said("more")]), reader).known == 0


def test_what_is_old_goes() -> None:
    clock = Clock()
    histories, reader = Histories(now=clock), Reader()
    for _ in range(2):
        histories.read(ME, written([said("a")]), reader)
    clock.now += 601
    for _ in range(2):
        histories.read(ME, written([said("b")]), reader)
    assert len(histories) == 1


@pytest.mark.parametrize("array", [b"[]", b"[   ]", b"[\n]"])
def test_an_empty_array_is_kept_by_nobody(array: bytes) -> None:
    histories = Histories()
    for _ in range(3):
        assert histories.read(ME, msgspec.Raw(array), read_items) == ()
    assert len(histories) == 0
    assert histories.read(ME, written([said("a")]), read_items)[0].item == read_items(written([said("a")]), 0)[0].item


def test_many_threads_at_once_read_what_was_sent() -> None:
    histories = Histories(max_bytes=64_000)

    def talk(seed: int) -> None:
        random = Random(seed)
        items = [said(f"{seed % 3} begins")]
        for _ in range(150):
            items = [*items, said(str(random.randrange(2)))] if len(items) < 30 else items[:5]
            array = written(items)
            assert histories.read(ME, array, read_items) == read_items(array, 0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(talk, range(8)))
    assert histories._kept._bytes + histories._new._bytes == sum(len(one.written) for one in histories._sorted)
    assert len(histories._kept) + len(histories._new) == len(histories)


def test_what_is_kept_holds_nothing_else_of_a_request() -> None:
    recall = partial(Histories().read, ME)
    items = [said("x" * 5_000), {"type": "web_search_call", "id": "ws_1", "status": "completed"}]
    for number in range(4):
        body = msgspec.json.encode({"model": "m", "input": items, "instructions": str(number)})
        alone = sys.getrefcount(body)
        assert isinstance(parse_request(body, recall).input, Resent)
        assert sys.getrefcount(body) == alone
        items.append({"type": "web_search_call", "id": f"ws_{number + 2}", "status": "completed"})


def test_a_short_input_is_not_worth_it() -> None:
    recall = partial(Histories().read, ME)
    for value in ([said("a")], "a" * 9_000):
        body = msgspec.json.encode({"model": "m", "input": value})
        assert not any(isinstance(parse_request(body, recall).input, Resent) for _ in range(3))


def test_a_sender_is_told_nothing_of_what_others_have_sent() -> None:
    histories, reader = Histories(), Reader()
    items = written([said("a"), said("b")])
    for _ in range(3):
        for sender in ("proj_b", ME, "", "proj_aa"):
            reader.count = 0
            found = histories.read(sender, items, reader)
            assert (found.known == 0) == (reader.count == 2)
            assert found.history.sender == sender
    assert len(histories) == 4


def test_what_nobody_is_said_to_send_is_not_kept() -> None:
    body = msgspec.json.encode({"model": "m", "input": [said("a" * 5_000)]})
    assert not any(isinstance(parse_request(body).input, Resent) for _ in range(3))
