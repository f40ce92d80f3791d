"""What is made of bytes that come again: once, while there is room for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from antiphon.protocol.memory import Kept, exact


def test_what_came_last_is_kept_within_its_bytes() -> None:
    made: list[bytes] = []

    def make(written: bytes) -> list[bytes]:
        made.append(written)
        return [written]

    kept = Kept(make, 10)
    first = kept.of(b"aaaa")
    assert kept.of(b"aaaa") is first
    kept.of(b"bbbb")
    kept.of(b"aaaa")
    kept.of(b"cccc")  # b was asked for the longest ago
    assert kept.of(b"aaaa") is first
    kept.of(b"bbbb")
    assert made == [b"aaaa", b"bbbb", b"cccc", b"bbbb"]
    assert kept.of(b"d" * 11) == [b"d" * 11]
    assert kept.of(b"d" * 11) is not kept.of(b"d" * 11)


def test_what_cannot_be_made_is_not_kept() -> None:
    kept = Kept(int, 100)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            kept.of(b"x")
    assert kept.of(b"7") == 7


def test_any_thread_may_ask() -> None:
    kept = Kept(int, 40)
    asked = [b"%d" % (number * 7 % 30) for number in range(20_000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(kept.of, asked)) == [int(one) for one in asked]


def test_what_is_kept_of_an_encoding_takes_its_own_room_alone() -> None:
    encoded = msgspec.json.encode(["x" * 1000])
    assert exact(encoded) == encoded
    assert exact(encoded) is not encoded


def test_what_differs_in_one_place_is_never_taken_for_the_other() -> None:
    made: list[bytes] = []
    kept = Kept(lambda written: made.append(written) or written.count(b"b"), 1 << 20)
    lists = [b"a" * place + b"b" + b"a" * (5_000 - place) for place in range(0, 5_000, 617)]
    for _ in range(2):
        assert [kept.of(written) for written in lists] == [1] * len(lists)
    assert made == lists
