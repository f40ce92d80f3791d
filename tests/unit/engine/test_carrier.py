"""Carriers open only as they were made, and only where."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.carrier import MAX_BYTES, PREFIX, Sealer, item_digest
from antiphon.protocol.items import FunctionCall, Message, OutputText, Reasoning, SummaryText
from antiphon.providers.base import ReplayRecord

OLD, NEW = b"o" * 32, b"n" * 32
SEALER = Sealer([OLD])
RECORD = ReplayRecord("anthropic", "acme", "m", msgspec.Raw(b'[{"signature":"x"}]'), True, {"call_1": "toolu_1"})
SEALED = SEALER.seal(RECORD, "proj_a", ("digest",))


def test_a_carrier_gives_back_the_whole_record_and_what_it_covers() -> None:
    carrier = SEALER.open(SEALED, "proj_a")
    assert carrier is not None
    assert (carrier.record, carrier.covers) == (RECORD, ("digest",))
    assert SEALER.unseal(SEALED, "proj_a") == RECORD


@given(st.text(), st.binary(max_size=2_000), st.text())
def test_any_record_survives_the_way(model: str, blocks: bytes, project: str) -> None:
    record = ReplayRecord("f", "s", model, msgspec.Raw(msgspec.json.encode(blocks)))
    assert SEALER.unseal(SEALER.seal(record, project), project) == record


def test_another_project_cannot_open_it() -> None:
    assert SEALER.unseal(SEALED, "proj_b") is None
    assert SEALER.is_ours(SEALED)


@given(st.integers(0, len(SEALED) - 1))
def test_a_carrier_cut_anywhere_opens_to_nothing(length: int) -> None:
    assert SEALER.unseal(SEALED[:length], "proj_a") is None


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_any_flipped_bit_opens_to_nothing(place: int, bit: int) -> None:
    changed = SEALED[:place] + chr(ord(SEALED[place]) ^ 1 << bit) + SEALED[place + 1 :]
    assert SEALER.unseal(changed, "proj_a") is None


@given(st.text())
def test_any_other_text_opens_to_nothing(text: str) -> None:
    assert SEALER.unseal(text, "proj_a") is None
    assert SEALER.unseal(PREFIX + text, "proj_a") is None


def test_a_rotated_ring_reads_the_old_and_seals_under_the_new() -> None:
    rotated = Sealer([NEW, OLD])
    assert rotated.unseal(SEALED, "proj_a") == RECORD
    assert SEALER.unseal(rotated.seal(RECORD, "proj_a"), "proj_a") is None
    assert Sealer([NEW]).unseal(SEALED, "proj_a") is None


@pytest.mark.parametrize("size", [1, 1_000, 2_000_000])
def test_blocks_that_shrink_a_lot_can_be_read_again(size: int) -> None:
    record = ReplayRecord("f", "s", "m", msgspec.Raw(b'"' + b"a" * size + b'"'))
    assert SEALER.unseal(SEALER.seal(record, "proj_a"), "proj_a") == record


def test_a_record_over_the_cap_gives_an_empty_carrier() -> None:
    sealed = SEALER.seal(ReplayRecord("f", "s", "m", msgspec.Raw(b'"' + b"a" * MAX_BYTES + b'"')), "proj_a")
    assert sealed == PREFIX
    assert SEALER.unseal(sealed, "proj_a") is None


def test_a_digest_is_of_what_an_item_says_and_not_of_its_id() -> None:
    said = Message("assistant", (OutputText("hi"),), id="msg_1", status="completed")
    assert item_digest(said) == item_digest(Message("assistant", "hi"))
    assert item_digest(said) != item_digest(Message("user", "hi"))
    call = FunctionCall("call_1", "f", "{}", id="fc_1")
    assert item_digest(call) == item_digest(FunctionCall("call_1", "f", "{}"))
    assert item_digest(call) != item_digest(FunctionCall("call_1", "f", "{ }"))
    assert item_digest(Reasoning((SummaryText("a"),))) != item_digest(Reasoning((SummaryText("b"),)))
