"""Write docs/vendors.md from the catalog. A test holds the page to be current."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from antiphon.providers.catalog_rows import CatalogRow, built_in_rows

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "vendors.md"
_HEAD: Final = """\
# Vendors

Written by `make docs` from `src/antiphon/providers/catalog.toml`; change it there.

A vendor is active when one of its variables is set. Call its models as `name/model`. `antiphon doctor` asks each
whether its key works. [Configuration](configuration.md) tells how to add one or change a row.
"""
_LOCAL: Final = """\
## Engines on this machine

Looked for at start. The variable in the second column names another address.
"""
_SIM: Final = """\
## The simulator

`sim` answers inside the server, without key or network: `sim/standard`, `sim/echo`, `sim/reason`, `sim/slow`,
`sim/refuse`, `sim/error`. [The simulator](simulator.md) tells what each does. Switch it off with
`sim = false` under `[server]`.
"""


def _row(row: CatalogRow) -> str:
    names = ", ".join(f"`{name}`" for name in ([row.url_env] if row.is_local else row.env))
    return f"| `{row.name}` | {names} | {row.dialect} | `{row.base_url}` | [{row.title}]({row.docs}) |"


def _table(rows: list[CatalogRow]) -> str:
    head = "| name | variables | dialect | base URL | |\n| --- | --- | --- | --- | --- |\n"
    return head + "\n".join(_row(row) for row in rows) + "\n"


def page() -> str:
    """The whole page."""
    rows = sorted(built_in_rows(), key=lambda row: row.name)
    remote = [row for row in rows if not row.is_local]
    local = [row for row in rows if row.is_local]
    return "\n".join([_HEAD, _table(remote), _LOCAL, _table(local), _SIM]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
