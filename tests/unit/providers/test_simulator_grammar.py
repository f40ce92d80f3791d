"""Texts that follow regular expressions and Lark grammars."""

from __future__ import annotations

import re

import pytest

from antiphon.providers.simulator_grammar import text_of_grammar
from antiphon.providers.simulator_patterns import UnreadablePattern, matching

PATCH = r"""
// a patch, as coding agents write it
start: begin_patch hunk+ end_patch
begin_patch: "*** Begin Patch" LF
end_patch: "*** End Patch" LF?
hunk: add_hunk | delete_hunk
add_hunk: "*** Add File: " filename LF add_line+
delete_hunk: "*** Delete File: " filename LF
filename: /(.+)/
add_line: "+" /(.*)/ LF -> line
%import common.LF
"""


@pytest.mark.parametrize(
    "pattern",
    [
        r"abc",
        r"^a+b*c?$",
        r"[0-9]{2,4}",
        r"(?:ab|cd){2}",
        r"(?P<year>\d{4})-(?<month>\d\d)",
        r"\w\W\s\S\d\D",
        r"[^\d\s]",
        r"[^aA0 \-_.,:/~!@#$%&*+=?\n]",
        r"[\w.-]+@[\w-]+\.com",
        r"a{3}",
        r"a{,2}b",
        r"a{x}",
        r"{",
        r"a{2}?b+?c*+",
        r"\x41\u0042\n\t\0",
        r"(?=a)a(?!b)",
        r"(?<=a)?b",
        r"[a-]",
        r"[\]]",
        r"[]a]",
        r"[+-\]]",
        r"\.\*\\",
        r"(a)|b",
        r"\bword\b",
        r"[\s]x",
        r"",
    ],
)
def test_the_text_matches_the_pattern(pattern: str) -> None:
    text = matching(pattern)
    python = pattern.replace("(?<month>", "(?P<month>")
    assert re.fullmatch(python, text), text


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "(a",
        ")",
        "[a",
        "*",
        "a**",
        "\\",
        r"\x4",
        r"\xzz",
        "a{99999999}",
        "(a{999}){999}",
        "(" * 70,
        r"\p",
        "(?P<x",
        "a{9999}" * 3,
    ],
)
def test_what_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(UnreadablePattern):
        matching(pattern)


def test_a_property_class_gives_a_letter() -> None:
    assert matching(r"\p{Lu}\P{Ll}") == "AA"


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (PATCH, "*** Begin Patch\n*** Add File: a\n+\n*** End Patch"),
        ('start: expr\nexpr: expr "+" term | term\nterm: INT\n%import common.INT', "1"),
        ('start: "a"~3 ["b"] ("c" | "d")? "e"~1..2', "aaae"),
        ('?start: WORD " " word2\n!word2: WORD\nWORD.2: "x".."z"', "x x"),
        ('start: "A"i B\nB: /b\\/c/i', "Ab/c"),
        ("start: NAME\n%import common.CNAME -> NAME", "name"),
    ],
)
def test_a_lark_grammar_gives_its_plainest_text(definition: str, text: str) -> None:
    assert text_of_grammar("lark", definition) == text


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "start: missing",
        "start: start",
        "start: (a",
        'start: ("a"',
        "start: }",
        "start: )",
        'start: "\\q"',
        "start: *",
        'start: "aaaaaaaaaa"~19999',
        "start: /(/",
        'start: a+\na: "x" a',
    ],
)
def test_an_unreadable_grammar_is_refused(definition: str) -> None:
    with pytest.raises(UnreadablePattern):
        text_of_grammar("lark", definition)


def test_a_grammar_of_too_many_rules_or_rounds_is_refused() -> None:
    with pytest.raises(UnreadablePattern):
        text_of_grammar("lark", "\n".join(f'r{number}: "a"' for number in range(1_001)))
    chain = "\n".join(f"r{number}: r{number + 1}" for number in range(150)) + '\nr150: "a"\nstart: r0'
    with pytest.raises(UnreadablePattern):
        text_of_grammar("lark", chain)


def test_a_group_that_looks_around_gives_nothing() -> None:
    assert matching("(?<!a)b(?=c)") == "b"
