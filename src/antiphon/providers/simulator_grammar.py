"""A text that follows the grammar of a custom tool: a regular expression, or Lark's EBNF.

Of Lark are read: rules and terminals, strings, patterns, groups, alternatives, ? * + ~n ~n..m, aliases, priorities,
comments and `%import common`. Templates and `%declare` are not. The text is the plainest one: first alternatives that
come to an end, least repetitions. Source: Lark, "Grammar reference"; OpenAI custom tools guide.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from .simulator_patterns import MAX_TEXT, UnreadablePattern, matching

MAX_ROUNDS: Final = 100
MAX_RULES: Final = 1_000
_COMMON: Final = {
    "INT": "1", "NUMBER": "1", "SIGNED_INT": "1", "SIGNED_NUMBER": "1", "FLOAT": "1.0", "DIGIT": "1", "HEXDIGIT": "1",
    "WORD": "word", "CNAME": "name", "LETTER": "a",
    "LCASE_LETTER": "a", "UCASE_LETTER": "A", "ESCAPED_STRING": '"text"',
    "WS": " ", "WS_INLINE": " ", "NEWLINE": "\n", "LF": "\n", "CR": "\r",
}  # fmt: skip
_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\\n]|\\.)*"i?)
    | (?P<pattern>/(?:[^/\\\n]|\\.)+/[imslux]*) | (?P<name>[?!]?[A-Za-z_]\w*)
    | (?P<times>~\s*\d+(?:\s*\.\.\s*\d+)?) | (?P<range>\.\.) | (?P<alias>->\s*\w+) | (?P<mark>[()\[\]|?*+])
    )""",
    re.VERBOSE,
)
_RULE: Final = re.compile(r"^[ \t]*[?!]?([A-Za-z_]\w*)(?:\.-?\d+)?[ \t]*:", re.MULTILINE)
_DIRECTIVE: Final = re.compile(r"^[ \t]*(?:%|//).*$", re.MULTILINE)
_IMPORT: Final = re.compile(r"^[ \t]*%import\s+common\.(\w+)(?:\s*->\s*(\w+))?", re.MULTILINE)


def text_of_grammar(syntax: Literal["lark", "regex"], definition: str) -> str:
    """The plainest text of a grammar. Raises UnreadablePattern."""
    return matching(definition) if syntax == "regex" else _text_of_lark(definition)


def _text_of_lark(definition: str) -> str:
    """The text of `start`: rules get their texts in rounds, those first that need no other, so none recurses."""
    texts = {alias or name: _COMMON.get(name, "") for name, alias in _IMPORT.findall(definition)}
    rules = _rules(_DIRECTIVE.sub("", definition))
    for _ in range(MAX_ROUNDS):
        made = {name: text for name, tokens in rules.items() if (text := _Body(texts, tokens).text()) is not None}
        if not made:
            break
        texts |= made
        rules = {name: tokens for name, tokens in rules.items() if name not in made}
    if "start" not in texts:
        raise UnreadablePattern("the rule 'start' is missing, or never comes to an end")
    return texts["start"]


def _rules(definition: str) -> dict[str, list[tuple[str, str]]]:
    heads = list(_RULE.finditer(definition))
    if len(heads) > MAX_RULES:
        raise UnreadablePattern(f"more than {MAX_RULES} rules")
    ends = [*(head.start() for head in heads[1:]), len(definition)]
    return {head[1]: _tokens(definition[head.end() : end]) for head, end in zip(heads, ends, strict=False)}


def _tokens(body: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    body = body.strip()
    while position < len(body):
        found = _TOKEN.match(body, position)
        if found is None or found.lastgroup is None:
            raise UnreadablePattern(f"cannot read {body[position : position + 20]!r}")
        if found.lastgroup != "alias":
            tokens.append((found.lastgroup, found[found.lastgroup]))
        position = found.end()
    return tokens


class _Body:
    """The right side of one rule, read from left to right with the texts of the rules that are known."""

    def __init__(self, texts: dict[str, str], tokens: list[tuple[str, str]]) -> None:
        self._texts = texts
        self._tokens = tokens
        self._at = 0

    def text(self) -> str | None:
        """The text; None while it needs a rule that is not known."""
        text = self._alternatives()
        if self._at < len(self._tokens):
            raise UnreadablePattern(f"unexpected {self._tokens[self._at][1]!r}")
        return text

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _skips(self, mark: str) -> bool:
        found = self._peek() == mark
        self._at += found
        return found

    def _alternatives(self) -> str | None:
        """The first alternative that is known."""
        texts = [self._sequence()]
        while self._skips("|"):
            texts.append(self._sequence())
        return next((text for text in texts if text is not None), None)

    def _sequence(self) -> str | None:
        """The text of a sequence; None if a rule in it is not known."""
        made: list[str] = []
        is_whole = True
        while self._peek() not in ("", "|", ")", "]"):
            text, least = self._item()
            if text is None and least:
                is_whole = False
            made.append((text or "") * least)
            if sum(map(len, made)) > MAX_TEXT:
                raise UnreadablePattern("the plainest text is too long")
        return "".join(made) if is_whole else None

    def _item(self) -> tuple[str | None, int]:
        """The text of one item (None if not known) and how often it must stand."""
        kind, lexeme = self._tokens[self._at]
        self._at += 1
        text = self._atom(kind, lexeme)
        least = 0 if lexeme == "[" else 1
        following = self._peek()
        if following in ("?", "*", "+"):
            self._at += 1
            least = least if following == "+" else 0
        elif following.startswith("~"):
            self._at += 1
            least = min(int(re.findall(r"\d+", following)[0]), MAX_TEXT)
        return text, least

    def _atom(self, kind: str, lexeme: str) -> str | None:
        if lexeme in ("(", "["):
            text = self._alternatives()
            if not self._skips(")" if lexeme == "(" else "]"):
                raise UnreadablePattern("a group is not closed")
            return text
        if kind == "string":
            if self._skips(".."):
                self._at += 1
            return _literal(lexeme)
        if kind == "pattern":
            return matching(lexeme[1 : lexeme.rindex("/")].replace("\\/", "/"))
        if kind == "name":
            return self._texts.get(lexeme.lstrip("?!"))
        raise UnreadablePattern(f"unexpected {lexeme!r}")


def _literal(lexeme: str) -> str:
    try:
        return msgspec.json.decode(lexeme.removesuffix("i"), type=str)
    except msgspec.DecodeError as error:
        raise UnreadablePattern(f"cannot read the string {lexeme}") from error
