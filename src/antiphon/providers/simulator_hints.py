"""Words of the conversation for the values that the simulator makes: a city for `location`, 36 for `age`.

Hints are taken in turn, so that two properties do not get the same name; they never run out. They only prefer: what
a schema demands is decided by `simulator_schema`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .simulator_scene import entities, words

MAX_FREE_TEXT: Final = 400
MAX_READ: Final = 4_000
"""Only so much of a text is searched: some of the patterns take the square of its length."""
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,9})?(?![\w])")
_EXPRESSION: Final = re.compile(r"[\d(][\d\s.()+*/^%-]{0,80}[+*/^%-][\d\s.()+*/^%-]{0,80}[\d)]")
_TEXTUAL: Final = words(
    "text message content body question query prompt input sentence description answer summary request task search"
    " instruction response explanation reason detail comment note step"
)
_TAKEN_FROM_TEXT: Final = {
    "email": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w"),
    "url": re.compile(r"https?://[^\s<>\"']+"),
    "uri": re.compile(r"https?://[^\s<>\"']+"),
    "date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b|\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b"),
    "day": re.compile(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b"),
    "time": re.compile(r"\b\d{1,2}:\d{2}\b"),
    "expression": _EXPRESSION,
    "formula": _EXPRESSION,
    "path": re.compile(r"(?<!\S)[\w./~-]*/[\w./-]*\w|\b\w+\.[a-z]{1,4}\b"),
    "file": re.compile(r"(?<!\S)[\w./~-]*/[\w./-]*\w|\b\w+\.[a-z]{1,4}\b"),
}


@dataclass
class Hints:
    """What one text offers, and how much of it has been used."""

    text: str
    skip: int = 0
    """How many entities to pass over first: the n-th of several calls takes the n-th entity."""
    besides: frozenset[str] = frozenset()
    """Words that name no thing here, such as the tool's own."""

    def __post_init__(self) -> None:
        self.text = self.text[:MAX_READ]
        named = [name for name in entities(self.text) if not words(name) <= self.besides]
        self._entities = named[self.skip % len(named) :] + named[: self.skip % len(named)] if named else []
        self._numbers = [float(found) for found in _NUMBER.findall(self.text)]
        self._taken = 0

    @property
    def entity_count(self) -> int:
        return len(self._entities)

    @property
    def used_entities(self) -> int:
        """How many entities were given out."""
        return self._taken

    def start_over(self) -> None:
        """Give the things out again from the first: a list of them has them all, in order."""
        self._taken = 0

    def string(self, name: str) -> str:
        """A text for a property of this name."""
        telling = words(name)
        for word in telling:
            pattern = _TAKEN_FROM_TEXT.get(word)
            if pattern is not None and (found := pattern.search(self.text)):
                return found[0].strip()
        if self._entities and not telling & _TEXTUAL:
            self._taken += 1
            return self._entities[(self._taken - 1) % len(self._entities)]
        return self.text.strip()[:MAX_FREE_TEXT] or f"simulated {name}".strip()

    def number(self, low: float, high: float, *, is_whole: bool) -> float | None:
        """The next number of the text that lies within the bounds."""
        for index, number in enumerate(self._numbers):
            if low <= number <= high and (number.is_integer() or not is_whole):
                return self._numbers.pop(index)
        return None

    def mentions(self, value: object) -> bool:
        """Whether the text speaks of this enum value, or of a property of this name."""
        telling = words(str(value))
        if telling:
            return telling <= words(self.text)
        return re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", self.text, re.IGNORECASE) is not None
