"""Deltas of an answer, whatever the pieces its bytes came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from antiphon.protocol.deltas import Delta, Text, Texts


def spread(deltas: Iterable[Delta]) -> Iterator[Delta]:
    """Pieces of text that came together as if each had come alone: how an answer was cut says nothing of it."""
    for delta in deltas:
        if isinstance(delta, Texts):
            yield from (Text(delta.key, piece) for piece in delta.pieces)
        else:
            yield delta
