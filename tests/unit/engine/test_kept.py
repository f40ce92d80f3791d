"""What was read is kept within its bound."""

from __future__ import annotations

import pytest

from antiphon.engine.kept import Kept


class Reader:
    def __init__(self) -> None:
        self.read: list[bytes] = []

    def __call__(self, raw: bytes) -> str:
        self.read.append(raw)
        return raw.decode()


def test_equal_bytes_are_read_once() -> None:
    reader = Reader()
    kept = Kept(reader, 640)
    assert [kept.of(bytes(bytearray(b"abc"))) for _ in range(3)] == ["abc"] * 3
    assert reader.read == [b"abc"]


def test_the_least_used_leave_when_there_are_too_many_bytes() -> None:
    reader = Reader()
    kept = Kept(reader, 640)
    pieces = [b"%010d" % number for number in range(64)]
    for piece in pieces:
        kept.of(piece)
    kept.of(pieces[0])
    kept.of(b"one more..")
    reader.read.clear()
    for piece in (pieces[0], *pieces[2:], b"one more.."):
        kept.of(piece)
    assert reader.read == []
    kept.of(pieces[1])
    assert reader.read == [pieces[1]]


def test_what_would_fill_much_of_the_room_is_not_kept() -> None:
    reader = Reader()
    kept = Kept(reader, 640)
    for _ in range(2):
        kept.of(b"12345678901")
    assert reader.read == [b"12345678901"] * 2


def test_what_cannot_be_read_is_refused_each_time() -> None:
    kept = Kept(Reader(), 640)
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            kept.of(b"\xff")
    assert kept.of(b"a") == "a"
