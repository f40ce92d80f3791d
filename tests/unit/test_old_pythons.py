"""What the oldest Pythons that are served do otherwise, held on every Python that runs the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import antiphon

SOURCES = Path(antiphon.__file__).parent


def test_no_error_is_raised_in_an_except_star_block() -> None:
    """Python before 3.11.4, Debian 12's among them, makes it a group, which nobody catches as what it is."""
    found = [
        f"{path.relative_to(SOURCES)}:{raising.lineno}"
        for path in sorted(SOURCES.rglob("*.py"))
        for raising in _raised_in_star_blocks(ast.parse(path.read_text("utf-8")))
    ]
    assert not found, found


def _raised_in_star_blocks(module: ast.Module) -> Iterator[ast.Raise]:
    for node in ast.walk(module):
        if isinstance(node, ast.TryStar):
            for handler in node.handlers:
                yield from (inner for inner in ast.walk(handler) if isinstance(inner, ast.Raise))
