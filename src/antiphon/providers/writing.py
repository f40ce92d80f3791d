"""A context written entry by entry, and gone on with where the turn before has left it.

    no past            every entry, once
    a past, new        its entries; the writer as it stands then is kept for the chain's next turn; the rest
    a past, known      a copy of the writer that was kept; the entries since

Writing is append-only, so both ways give the same bytes. A writer that cannot stop at some point, because what follows
may change what stands before, is not kept, and the next turn writes all of it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from antiphon.protocol.memory import exact

from .base import Entry, Past, Target, Turn


class Writer(Protocol):
    """Writes the context of one turn for one target. Its state is in attributes that `fork` can copy.

    What it shares with its forks, in lists and elsewhere, it never changes, but for parts that are `Open`.
    """

    def entry(self, entry: Entry) -> None:
        """The next entry."""
        ...

    def begin(self, turn: Turn | None) -> None:
        """Write for this turn, from wherever the writer stands; with None nothing of a turn is held any more."""
        ...

    def rest(self) -> bool:
        """Join what is written for good; False where writing cannot be stopped at this entry."""
        ...


Run = tuple[msgspec.Raw, ...]
"""What is written for good: pieces of a JSON array, each of one or more elements, without the brackets."""
T = TypeVar("T")
W = TypeVar("W", bound=Writer)
_COPIED: Final = (list, dict, set)
_MOST_PIECES: Final = 64
_encode: Final = msgspec.json.Encoder().encode


def write(writer: W, turn: Turn, target: Target) -> W:
    """The writer after all of the turn's context: this one, or one that knows the past already."""
    past, position, is_late = turn.past, 0, False
    if past is not None:
        known = past.rendered
        if known.target is target and isinstance(known.writer, type(writer)):
            is_late = known.length > past.length  # another turn went on from there
            if not is_late:
                writer, position = fork(known.writer), known.length
    writer.begin(turn)
    if past is not None and not is_late:
        _go_on(writer, turn.context[position : past.length])
        if position < past.length and writer.rest():
            _keep(past, target, fork(writer))
        position = past.length
    return _go_on(writer, turn.context[position:])


def _go_on(writer: W, entries: Sequence[Entry]) -> W:
    for entry in entries:
        writer.entry(entry)
    return writer


def _keep(past: Past, target: Target, writer: Writer) -> None:
    writer.begin(None)
    known = past.rendered
    known.target, known.length, known.writer = target, past.length, writer


class Open:
    """A part of a writer that is not over yet."""


def fork(writer: T) -> T:
    """A copy that goes its own way: lists, dicts, sets and open parts are its own, what is in them is shared."""
    copied = object.__new__(type(writer))
    value: Any  # whatever stands in an attribute comes back as what it was
    for name, value in vars(writer).items():
        if type(value) in _COPIED:
            value = value.copy()
        elif isinstance(value, Open):
            value = fork(value)
        setattr(copied, name, value)
    return copied


def joined(run: Run, written: Iterable[object]) -> Run:
    """Values as elements of a JSON array, after those of `run`.

    What a chain has come to is not copied with every turn, but once in so many.
    """
    piece = exact(b",".join(map(_encode, written)))
    if not piece:
        return run
    if len(run) < _MOST_PIECES:
        return (*run, msgspec.Raw(piece))
    return (msgspec.Raw(b",".join((*run, piece))),)


def elements(run: Run, written: Sequence[T]) -> list[T | msgspec.Raw]:
    """What `joined` has made and what followed, to be encoded as one array."""
    return [*run, *written]
