"""Hold the sources to their sizes: a module over 600 lines or a function over 40 fails; modules over 400 are named.

There is no list of exceptions. A function's lines are counted without its docstring and decorators.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
MODULE_AIM: Final = 400
MODULE_LIMIT: Final = 600
FUNCTION_LIMIT: Final = 40


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its `def` to its end, less its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def findings(path: Path) -> Iterator[tuple[bool, str]]:
    """(fails, text) for everything in one module that is too long."""
    text = path.read_text("utf-8")
    shown = path.relative_to(ROOT)
    length = len(text.splitlines())
    if length > MODULE_AIM:
        yield length > MODULE_LIMIT, f"{shown}: {length} lines (aim {MODULE_AIM}, limit {MODULE_LIMIT})"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and function_lines(node) > FUNCTION_LIMIT:
            yield True, f"{shown}:{node.lineno}: {node.name} has {function_lines(node)} lines (limit {FUNCTION_LIMIT})"


def main() -> int:
    found = [row for path in sorted((ROOT / "src").rglob("*.py")) for row in findings(path)]
    for fails, text in found:
        print(f"{'too long' if fails else 'long'}: {text}")
    return int(any(fails for fails, _ in found))


if __name__ == "__main__":
    sys.exit(main())
