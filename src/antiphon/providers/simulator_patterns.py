"""A text that matches a regular expression, made without running it.

Client patterns are never executed, only read: matching a hostile one could take for ever. What is understood:
literals, escapes, classes, groups, alternatives, anchors and the quantifiers ? * + {m,n}. Look-arounds, back references
and \\b are passed over, so that a pattern which needs them may not be matched (docs/simulator.md, "Limits").
"""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 20_000
_MAX_DEPTH: Final = 60
_CLASSES: Final = {"d": "7", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_CANDIDATES: Final = "aA0 -_.,:/~!@#$%&*+=?\n"


class UnreadablePattern(ValueError):
    """The pattern is malformed, or its shortest text is too long."""


def matching(pattern: str) -> str:
    """The plainest text of a pattern: first alternatives, least repetitions. Raises UnreadablePattern."""
    reader = _Reader(pattern)
    text = reader.alternatives()
    if not reader.at_end:
        raise UnreadablePattern(f"unexpected {reader.peek()!r} at {reader.position}")
    return text


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._depth = 0
        self.position = 0

    @property
    def at_end(self) -> bool:
        return self.position >= len(self._pattern)

    def peek(self) -> str:
        return "" if self.at_end else self._pattern[self.position]

    def _take(self) -> str:
        if self.at_end:
            raise UnreadablePattern("the pattern ends too early")
        self.position += 1
        return self._pattern[self.position - 1]

    def _skips(self, prefix: str) -> bool:
        found = self._pattern.startswith(prefix, self.position)
        if found:
            self.position += len(prefix)
        return found

    def alternatives(self) -> str:
        """The text of the first alternative; the others are read past."""
        first = self._sequence()
        while self._skips("|"):
            self._sequence()
        return first

    def _sequence(self) -> str:
        made: list[str] = []
        size = 0
        while not self.at_end and self.peek() not in "|)":
            made.append(self._repeated(self._atom()))
            size += len(made[-1])
            if size > MAX_TEXT:
                raise UnreadablePattern("the shortest text is too long")
        return "".join(made)

    def _atom(self) -> str:
        character = self._take()
        match character:
            case "(":
                return self._group()
            case "[":
                return self._set()
            case "\\":
                return self._escape()
            case ".":
                return "a"
            case "^" | "$":
                return ""
            case "*" | "+" | "?":
                raise UnreadablePattern("nothing to repeat")
            case _:
                return character

    def _group(self) -> str:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnreadablePattern("groups are nested too deeply")
        is_empty = any(self._skips(mark) for mark in ("?=", "?!", "?<=", "?<!"))
        if not is_empty and (self._skips("?P<") or self._skips("?<")):
            while self._take() != ">":
                pass
        elif not is_empty:
            self._skips("?:")
        text = self.alternatives()
        self._take()  # the bracket at which the alternatives ended; raises where there is none
        self._depth -= 1
        return "" if is_empty else text

    def _escape(self) -> str:
        letter = self._take()
        if letter in _CLASSES:
            return _CLASSES[letter]
        if letter in "bBAZz" or (letter.isdigit() and letter != "0"):
            return ""
        if letter in "pP":
            self._braced()
            return "A"
        if letter in "xu":
            return self._code_point(2 if letter == "x" else 4)
        return _CONTROLS.get(letter, letter)

    def _code_point(self, length: int) -> str:
        digits = "".join(self._take() for _ in range(length))
        try:
            return chr(int(digits, 16))
        except ValueError as error:
            raise UnreadablePattern(f"{digits!r} is not hexadecimal") from error

    def _braced(self) -> str:
        if not self._skips("{"):
            raise UnreadablePattern("{ expected")
        start = self.position
        while self._take() != "}":
            pass
        return self._pattern[start : self.position - 1]

    def _set(self) -> str:
        """One character of a class; of a negated one the first candidate that is not in it."""
        is_negated = self._skips("^")
        spans: list[tuple[str, str]] = []
        while True:
            character = self._take()
            if character == "]" and spans:
                break
            spans.extend(self._span(character))
        if not is_negated:
            return spans[0][0]
        for candidate in _CANDIDATES:
            if not any(low <= candidate <= high for low, high in spans):
                return candidate
        return "é"

    def _span(self, character: str) -> list[tuple[str, str]]:
        if character == "\\":
            if self.peek() in "dws":
                kinds = {"d": [("0", "9")], "w": [("a", "z"), ("A", "Z"), ("0", "9"), ("_", "_")]}
                return kinds.get(self._take(), [(" ", " "), ("\t", "\r")])
            character = self._escape()
        following = self._pattern[self.position + 1 : self.position + 2]
        if self.peek() == "-" and following not in ("]", ""):
            self.position += 1
            high = self._take()
            return [(character, self._escape() if high == "\\" else high)]
        return [(character, character)]

    def _repeated(self, atom: str) -> str:
        least = 1
        match self.peek():
            case "?" | "*":
                self._take()
                least = 0
            case "+":
                self._take()
            case "{" if self._is_count():
                least = int(self._braced().partition(",")[0] or 0)
            case _:
                return atom
        if not self._skips("?"):
            self._skips("+")
        if least * max(len(atom), 1) > MAX_TEXT:
            raise UnreadablePattern("the shortest text is too long")
        return atom * least

    def _is_count(self) -> bool:
        end = self._pattern.find("}", self.position)
        inside = self._pattern[self.position + 1 : end] if end > 0 else ""
        counts = inside.split(",")
        return (
            len(counts) <= 2 and len(inside) < 12 and all(part.isdecimal() for part in counts if part) and inside != ""
        )
