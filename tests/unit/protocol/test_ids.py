"""Ids are unique, in the order of time, of one alphabet, and an item's id leads back to its response."""

from __future__ import annotations

import time

import pytest

from antiphon.protocol.ids import input_item_id, new_id, output_item_id, response_of_item

ALPHABET = set("0123456789abcdefghjkmnpqrstvwxyz")


def test_an_id_is_a_prefix_and_26_characters_of_the_alphabet() -> None:
    made = [new_id("resp") for _ in range(5000)]
    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {len("resp_") + 26}
    assert {character for one in made for character in one[5:]} == ALPHABET


def test_ids_increase_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [0, 1, 31, 32, 1023, 1024, 1 << 20, 1_763_740_800_000, 1_763_740_800_001, (1 << 48) - 1]
    made: list[str] = []
    for moment in moments:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment * 1_000_000)
        made += [new_id("resp") for _ in range(3)]
    stems = [one[5:15] for one in made]
    assert stems == sorted(stems)
    assert len(set(stems)) == len(moments)


@pytest.mark.parametrize("ordinal", [0, 1, 31, 1023, 1024, 32_767])
def test_an_item_id_names_its_response(ordinal: int) -> None:
    response_id = new_id("resp")
    out, own = output_item_id(response_id, "message", ordinal), input_item_id(response_id, "message", ordinal)
    assert out != own
    assert response_of_item(out) == response_of_item(own) == response_id


def test_more_items_than_ordinals_still_have_ids() -> None:
    response_id = new_id("resp")
    assert response_of_item(input_item_id(response_id, "message", 40_000)) == response_id
