"""What the operator has set for projects: `[[project]]` tables of the configuration, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from antiphon.config import ProjectRow
from antiphon.store.store import Store

_ALL_OTHERS: Final = "*"


class Projects:
    """Settings of projects. One per process; names are looked up once."""

    def __init__(self, store: Store, rows: Iterable[ProjectRow]) -> None:
        self._store = store
        self._rows: Final = {row.name: row for row in rows}
        self._names: dict[str, str | None] = {}

    @property
    def are_limited(self) -> bool:
        """Whether any project has limits."""
        return any(row.requests_per_minute or row.tokens_per_minute for row in self._rows.values())

    async def row(self, project: str) -> ProjectRow | None:
        """The table of a project by its id: its own, or the one for all others."""
        if not self._rows:
            return None
        if project not in self._names:
            self._names[project] = await self._store.project_name(project)
        return self._rows.get(self._names[project] or _ALL_OTHERS, self._rows.get(_ALL_OTHERS))

    async def is_strict(self, project: str) -> bool:
        """Whether a field that the target cannot honour is a 400 in this project, instead of being left out."""
        row = await self.row(project)
        return row is not None and row.strict
