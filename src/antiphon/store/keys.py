"""API keys and the projects they act for."""

from __future__ import annotations

from typing import Final

from .base import KeyRow
from .engine import Engine, Script, Sql

_COLUMNS: Final = "k.id, k.project, p.name, k.hash, k.hint, k.created_at, k.revoked_at"
_KEYS: Final = f"SELECT {_COLUMNS} FROM keys k JOIN projects p ON p.id = k.project"  # noqa: S608
_INSERT_PROJECT: Final = "INSERT INTO projects (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING"

# The project is taken by its name: of two processes that make it at once, one has the id that stands.
_INSERT_KEY: Final = """
    INSERT INTO keys (id, project, hash, hint, created_at, revoked_at)
    SELECT $1, id, $2, $3, $4, $5 FROM projects WHERE name = $6
    ON CONFLICT (hash) DO NOTHING"""

_REVOKE: Final = "UPDATE keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL RETURNING id"
_ADD_PROJECT: Final = """
    INSERT INTO key_projects (key_id, project) SELECT $1, id FROM projects WHERE name = $2
    ON CONFLICT (key_id, project) DO NOTHING"""


class KeyTable:
    """Who may call."""

    engine: Engine

    async def add_key(self, key: KeyRow) -> None:
        """Store a key, and its project if it is new. A key whose hash is stored already is left as it is."""

        def script() -> Script[None]:
            yield Sql(_INSERT_PROJECT, (key.project, key.project_name, key.created_at))
            yield Sql(_INSERT_KEY, (key.id, key.hash, key.hint, key.created_at, key.revoked_at, key.project_name))

        await self.engine.write(script)

    async def add_key_project(self, key_id: str, project_id: str, name: str, now: int) -> None:
        """Let a key act for one more project, which is made under `project_id` if it is new."""

        def script() -> Script[None]:
            yield Sql(_INSERT_PROJECT, (project_id, name, now))
            yield Sql(_ADD_PROJECT, (key_id, name))

        await self.engine.write(script)

    async def other_projects(self, key_id: str) -> dict[str, str]:
        """Id to name of the projects that a key may act for beside its own."""

        def script() -> Script[dict[str, str]]:
            rows = yield Sql(
                "SELECT p.id, p.name FROM key_projects o JOIN projects p ON p.id = o.project WHERE o.key_id = $1",
                (key_id,),
            )
            return {str(row[0]): str(row[1]) for row in rows}

        return await self.engine.read(script)

    async def find_key(self, key_hash: str) -> KeyRow | None:
        """The key with this full hash, revoked or not."""
        rows = await self._keys(" WHERE k.hash = $1", (key_hash,))
        return rows[0] if rows else None

    async def key_changes(self) -> int:
        """How often keys were changed, revoked or removed. A key that was found is as it was while this stands."""

        def script() -> Script[int]:
            rows = yield Sql("SELECT count FROM key_changes WHERE one = 1")
            return int(rows[0][0])

        return await self.engine.read(script)

    async def list_keys(self) -> list[KeyRow]:
        """Every key, oldest first."""
        return await self._keys(" ORDER BY k.created_at, k.id", ())

    async def _keys(self, condition: str, values: tuple[str, ...]) -> list[KeyRow]:
        def script() -> Script[list[KeyRow]]:
            rows = yield Sql(_KEYS + condition, values)
            return [KeyRow(*row) for row in rows]

        return await self.engine.read(script)

    async def project_id(self, name: str) -> str | None:
        """The id of a project by its name."""

        def script() -> Script[str | None]:
            rows = yield Sql("SELECT id FROM projects WHERE name = $1", (name,))
            return str(rows[0][0]) if rows else None

        return await self.engine.read(script)

    async def project_name(self, project_id: str) -> str | None:
        """The name of a project by its id."""

        def script() -> Script[str | None]:
            rows = yield Sql("SELECT name FROM projects WHERE id = $1", (project_id,))
            return str(rows[0][0]) if rows else None

        return await self.engine.read(script)

    async def revoke_key(self, key_id: str, now: int) -> bool:
        """Mark a key revoked; False if there is none by that id or it already was."""

        def script() -> Script[bool]:
            return bool((yield Sql(_REVOKE, (now, key_id))))

        return await self.engine.write(script)
