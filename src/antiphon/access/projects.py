"""What the operator has set for single projects: `[[project]]` tables of the configuration, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from antiphon.config import ProjectRow
from antiphon.store.store import Store


class Projects:
    """Settings of projects. One per process; names are looked up once."""

    def __init__(self, store: Store, rows: Iterable[ProjectRow]) -> None:
        self._store = store
        self._strict: Final = frozenset(row.name for row in rows if row.strict)
        self._names: dict[str, str | None] = {}

    async def is_strict(self, project: str) -> bool:
        """Whether a field that the target cannot honour is a 400 in this project, instead of being left out."""
        if not self._strict:
            return False
        if project not in self._names:
            self._names[project] = await self._store.project_name(project)
        return self._names[project] in self._strict
