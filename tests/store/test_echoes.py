"""How long a process trusts that what it stored is there."""

from __future__ import annotations

from antiphon.store.base import Echo
from antiphon.store.echoes import KnownEchoes

A, B = Echo(b"a", b"1"), Echo(b"b", b"2")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_stored_of_late_is_not_stored_again() -> None:
    clock = Clock()
    known = KnownEchoes(clock)
    assert known.lacking("p", (A, B)) == (A, B)
    known.add("p", (A,), clock.now)
    assert known.lacking("p", (A, B)) == (B,)
    assert known.lacking("another", (A, B)) == (A, B)
    clock.now += 299
    assert known.lacking("p", (A,)) == ()
    clock.now += 1
    assert known.lacking("p", (A,)) == (A,)


def test_a_clock_that_is_set_back_is_not_believed() -> None:
    clock = Clock()
    known = KnownEchoes(clock)
    known.add("p", (A,), clock.now)
    clock.now -= 3600
    assert known.lacking("p", (A,)) == (A,)


def test_what_is_known_is_bounded() -> None:
    clock = Clock()
    known = KnownEchoes(clock)
    for number in range(5000):
        known.add("p", (Echo(b"%d" % number, b""),), clock.now)
    assert len(known) < 5000
    assert known.lacking("p", (Echo(b"4999", b""),)) == ()


def test_what_comes_again_is_told_from_what_comes_once() -> None:
    known = KnownEchoes(Clock())
    assert [known.meet("p", "a"), known.meet("p", "a"), known.meet("q", "a"), known.meet("p", 1)] == [
        False,
        True,
        False,
        False,
    ]
    for number in range(5000):
        known.meet("p", number)
    assert not known.meet("p", "a")  # too long ago
