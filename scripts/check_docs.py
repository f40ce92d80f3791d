"""Hold the docs to the program: every setting, command, option and error code stands in them, and no link is dead."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from translation_page import PAGE as TRANSLATION
from translation_page import page as translation_page
from vendors_page import PAGE, page

from antiphon.cli.main import app
from antiphon.config import SETTINGS
from antiphon.protocol.errors import FAULTS, WIRE

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
_TABLE: Final = re.compile(r"\| in the file \| variable \| default \| \|\n(\|[^\n]*\n?)+?(?=\n)")


def settings_row(name: str) -> str:
    """The row of a setting in docs/configuration.md."""
    setting = next(setting for setting in SETTINGS if setting.name == name)
    default = "" if setting.default is None else str(setting.default)
    default = default.lower() if isinstance(setting.default, bool) else default
    words = f" One of {', '.join(setting.choices)}." if setting.choices else ""
    return f"| `[{setting.table}] {setting.key}` | `{setting.variable}` | {default} | {setting.help}{words} |"


def settings_table() -> str:
    """The whole table."""
    head = "| in the file | variable | default | |\n| --- | --- | --- | --- |\n"
    return head + "\n".join(settings_row(setting.name) for setting in SETTINGS)


def _missing_settings() -> Iterator[str]:
    text = (DOCS / "configuration.md").read_text("utf-8")
    for setting in SETTINGS:
        if settings_row(setting.name) not in text:
            yield f"docs/configuration.md: no row like: {settings_row(setting.name)}"


def _commands(command: object, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _commands(child, f"{path} {name}")
    elif isinstance(command, click.Command):
        yield path, command
    else:
        raise TypeError(f"{path}: neither a command nor a group of commands: {command!r}")


def _missing_commands() -> Iterator[str]:
    text = (DOCS / "cli.md").read_text("utf-8")
    for path, command in _commands(app, "antiphon"):
        if f"`{path}" not in text:
            yield f"docs/cli.md: {path} is missing"
        for option in (name for parameter in command.params for name in parameter.opts if name.startswith("--")):
            if f"`{option}`" not in text:
                yield f"docs/cli.md: {path} has {option}, which is missing"


def _missing_codes() -> Iterator[str]:
    text = (DOCS / "operations.md").read_text("utf-8")
    codes = {row.code for row in WIRE.values()} | {fault.code for fault in FAULTS.values()}
    for code in sorted(code for code in codes if code):
        if f"`{code}`" not in text:
            yield f"docs/operations.md: the error code {code} is missing"


def _dead_links() -> Iterator[str]:
    for path in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                yield f"{path.relative_to(ROOT)}: link to {target}, which is not there"


def problems() -> list[str]:
    """Everything the docs lack."""
    found = [*_missing_settings(), *_missing_commands(), *_missing_codes(), *_dead_links()]
    if PAGE.read_text("utf-8") != page():
        found.append("docs/vendors.md is not current: make docs")
    if TRANSLATION.read_text("utf-8") != translation_page():
        found.append("docs/translation.md is not what the encoders do: make docs")
    return found


def main() -> int:
    if sys.argv[1:] == ["--write"]:
        path = DOCS / "configuration.md"
        path.write_text(_TABLE.sub(lambda _: settings_table(), path.read_text("utf-8"), count=1), "utf-8")
        return 0
    found = problems()
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
