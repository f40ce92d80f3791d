"""Prompt templates and their versions. A version is never changed; a new one is added."""

from __future__ import annotations

from typing import Final

from .base import PromptRow, PromptVersion
from .engine import Engine, Script, Sql

_COLUMNS: Final = "id, project, name, created_at, default_version, latest_version"


def _load(project: str, prompt_id: str, suffix: str = "") -> Script[PromptRow | None]:
    text = f"SELECT {_COLUMNS} FROM prompts WHERE id = $1 AND project = $2{suffix}"  # noqa: S608 - own names
    rows = yield Sql(text, (prompt_id, project))
    return PromptRow(*rows[0]) if rows else None


def _insert_version(version: PromptVersion) -> Script[None]:
    yield Sql(
        "INSERT INTO prompt_versions (prompt, version, body, created_at) VALUES ($1, $2, $3, $4)",
        (version.prompt_id, version.version, version.body, version.created_at),
    )


class PromptTable:
    """Every method answers None or False for a prompt that is not there for the project."""

    engine: Engine

    async def create_prompt(self, row: PromptRow, body: bytes) -> None:
        """A new prompt with its first version."""

        def script() -> Script[None]:
            yield Sql(
                f"INSERT INTO prompts ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)",  # noqa: S608
                (row.id, row.project, row.name, row.created_at, row.default_version, row.latest_version),
            )
            yield from _insert_version(PromptVersion(row.id, row.latest_version, body, row.created_at))

        await self.engine.write(script)

    async def load_prompt(self, project: str, prompt_id: str) -> PromptRow | None:
        return await self.engine.read(lambda: _load(project, prompt_id))

    async def load_version(self, project: str, prompt_id: str, version: int | None) -> PromptVersion | None:
        """One version, the default one for None."""

        def script() -> Script[PromptVersion | None]:
            row = yield from _load(project, prompt_id)
            if row is None:
                return None
            wanted = row.default_version if version is None else version
            rows = yield Sql(
                "SELECT prompt, version, body, created_at FROM prompt_versions WHERE prompt = $1 AND version = $2",
                (prompt_id, wanted),
            )
            return PromptVersion(*rows[0]) if rows else None

        return await self.engine.read(script)

    async def add_version(
        self, project: str, prompt_id: str, body: bytes, now: int, *, is_default: bool
    ) -> PromptRow | None:
        """The prompt with one more version, which becomes the default if asked."""

        def script() -> Script[PromptRow | None]:
            row = yield from _load(project, prompt_id, " FOR UPDATE")
            if row is None:
                return None
            latest = row.latest_version + 1
            yield from _insert_version(PromptVersion(prompt_id, latest, body, now))
            yield Sql(
                "UPDATE prompts SET latest_version = $2, default_version = $3 WHERE id = $1",
                (prompt_id, latest, latest if is_default else row.default_version),
            )
            return (yield from _load(project, prompt_id))

        return await self.engine.write(script)

    async def update_prompt(
        self, project: str, prompt_id: str, name: str | None, default_version: int | None
    ) -> PromptRow | None:
        """Change the name or the default version; None if the prompt or that version is not there."""

        def script() -> Script[PromptRow | None]:
            row = yield from _load(project, prompt_id, " FOR UPDATE")
            if row is None or not 1 <= (default_version or 1) <= row.latest_version:
                return None
            yield Sql(
                "UPDATE prompts SET name = $2, default_version = $3 WHERE id = $1",
                (prompt_id, row.name if name is None else name, default_version or row.default_version),
            )
            return (yield from _load(project, prompt_id))

        return await self.engine.write(script)

    async def list_prompts(self, project: str) -> list[PromptRow]:
        """Every prompt, oldest first."""

        def script() -> Script[list[PromptRow]]:
            text = f"SELECT {_COLUMNS} FROM prompts WHERE project = $1 ORDER BY created_at, id"  # noqa: S608
            return [PromptRow(*row) for row in (yield Sql(text, (project,)))]

        return await self.engine.read(script)

    async def list_versions(self, project: str, prompt_id: str) -> list[PromptVersion] | None:
        """Every version, oldest first."""

        def script() -> Script[list[PromptVersion] | None]:
            if (yield from _load(project, prompt_id)) is None:
                return None
            rows = yield Sql(
                "SELECT prompt, version, body, created_at FROM prompt_versions WHERE prompt = $1 ORDER BY version",
                (prompt_id,),
            )
            return [PromptVersion(*row) for row in rows]

        return await self.engine.read(script)

    async def delete_prompt(self, project: str, prompt_id: str) -> bool:
        """Remove a prompt and its versions."""

        def script() -> Script[bool]:
            rows = yield Sql("DELETE FROM prompts WHERE id = $1 AND project = $2 RETURNING id", (prompt_id, project))
            if rows:
                yield Sql("DELETE FROM prompt_versions WHERE prompt = $1", (prompt_id,))
            return bool(rows)

        return await self.engine.write(script)
