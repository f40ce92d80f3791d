"""What a request holds of the room beside its body."""

from __future__ import annotations

import pytest

from antiphon.engine.holding import Holding
from antiphon.protocol.errors import Overloaded
from antiphon.runs.intake import Intake


def test_what_is_held_is_given_back_however_the_request_ends() -> None:
    room = Intake(100)
    holding = Holding(room)
    with holding:
        holding.take(60)
        with pytest.raises(Overloaded):
            holding.take(41)
        assert room.held_bytes == 60
    with pytest.raises(ValueError, match="it failed"), holding:
        fail(holding)
    assert room.held_bytes == 0


def fail(holding: Holding) -> None:
    holding.take(90)
    raise ValueError("it failed")


def test_what_is_fetched_again_for_another_target_counts_once() -> None:
    room = Intake(100)
    with Holding(room) as holding, Holding(room) as other:
        for name in ("a", "a", "b"):
            holding.once(name)(20)
        other.once("a")(20)
        assert room.held_bytes == 60
    assert room.held_bytes == 0


def test_what_was_taken_on_long_ago_counts_and_is_not_refused() -> None:
    room = Intake(100)
    with Holding(room, may_wait=True) as holding:
        holding.take(150)
        assert room.spare(1) == 0
        with pytest.raises(Overloaded):
            room.take(1)
    assert room.spare(1) == 50
