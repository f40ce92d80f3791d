"""/v1/prompts: templates and their versions, and laying a request over one.

OpenAI keeps prompts in its dashboard and has no API to make them; this one is ours, in the style of the others.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from antiphon.engine.templates import apply_template, check_template, placeholders
from antiphon.protocol.errors import NotFound
from antiphon.protocol.ids import new_id
from antiphon.protocol.queries import parse_list_query, parse_version_query
from antiphon.protocol.request import PromptReference
from antiphon.store.base import PromptRow, PromptVersion
from antiphon.store.store import Store

from .bodies import Deleted
from .pages import Page, page_from
from .routes import Call, Query, Route, read_json

_encode: Final = msgspec.json.Encoder().encode
_LARGE_BYTES: Final = 1 << 20
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Template = dict[str, msgspec.Raw]


class PromptCreate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/prompts: `template` is a part of a request to /v1/responses."""

    name: Name
    template: Template


class PromptUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/prompts/{id}."""

    name: Name | None = None
    default_version: str | None = None


class VersionCreate(msgspec.Struct, forbid_unknown_fields=True):
    """POST /v1/prompts/{id}/versions; with `default` the new version is used where a request names none."""

    template: Template
    default: bool = True


class Prompt(msgspec.Struct, frozen=True):
    """A prompt with one of its versions; `variables` are the placeholders of its template."""

    id: str
    object: Literal["prompt"]
    name: str
    created_at: int
    version: str
    default_version: str
    latest_version: str
    variables: list[str]
    template: msgspec.Raw


class Version(msgspec.Struct, frozen=True):
    """One version of a prompt; its `id` is its number."""

    id: str
    object: Literal["prompt.version"]
    prompt_id: str
    version: str
    created_at: int
    variables: list[str]
    template: msgspec.Raw


_ONE: Final = "/v1/prompts/{prompt_id}"
_PAGING: Final = (
    Query("after", str, "Id of the last row of the page before."),
    Query("limit", int, "Rows a page, 1 to 100; 20 if left out."),
    Query("order", str, "`asc` or `desc`; newest first if left out."),
)


class Prompts:
    """Finds the template that a request names."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def apply(self, project: str, reference: PromptReference, body: bytes) -> bytes:
        """The request's body with the template under it. Raises NotFound, and InvalidRequest for its variables."""
        number = _number(reference.version)
        version = None if number == 0 else await self._store.load_version(project, reference.id, number)
        if version is None:
            raise _not_found(reference.id, reference.version)
        if len(body) < _LARGE_BYTES:
            return apply_template(version.body, reference, body)
        return await asyncio.to_thread(apply_template, version.body, reference, body)


class PromptsEndpoint:
    """Prompts of the caller's project."""

    def __init__(self, store: Store, max_body_bytes: int) -> None:
        self._store = store
        self._max_body_bytes = max_body_bytes

    def routes(self) -> tuple[Route, ...]:
        versions = _ONE + "/versions"
        named = (Query("version", str, "A version's number; the default one if left out."),)
        return (
            Route(
                "POST",
                "/v1/prompts",
                self.create,
                "Create a prompt template with its first version.",
                body=PromptCreate,
                answer=Prompt,
            ),
            Route("GET", "/v1/prompts", self.list, "List prompts.", query=_PAGING, answer=Page),
            Route("GET", _ONE, self.retrieve, "Retrieve a prompt.", query=named, answer=Prompt),
            Route(
                "POST",
                _ONE,
                self.update,
                "Rename a prompt, or choose its default version.",
                body=PromptUpdate,
                answer=Prompt,
            ),
            Route("DELETE", _ONE, self.delete, "Delete a prompt.", answer=Deleted),
            Route("POST", versions, self.create_version, "Add a version.", body=VersionCreate, answer=Version),
            Route("GET", versions, self.list_versions, "List versions.", query=_PAGING, answer=Page),
        )

    async def create(self, call: Call) -> None:
        """POST /v1/prompts."""
        body = await read_json(call, self._max_body_bytes, PromptCreate)
        if body is None:
            return
        template = _encode(body.template)
        check_template(template)
        row = PromptRow(new_id("pmpt"), call.project, body.name, call.exchange.now(), 1, 1)
        await self._store.create_prompt(row, template)
        await call.exchange.answer(200, _shown(row, PromptVersion(row.id, 1, template, row.created_at)))

    async def list(self, call: Call) -> None:
        """GET /v1/prompts."""
        query = parse_list_query(call.exchange.query)
        shown: list[msgspec.Raw] = []
        for row in await self._store.list_prompts(call.project):
            version = await self._store.load_version(call.project, row.id, None)
            if version is not None:
                shown.append(msgspec.Raw(_shown(row, version)))
        await call.exchange.answer(200, page_from(shown, query))

    async def retrieve(self, call: Call) -> None:
        """GET /v1/prompts/{id}."""
        prompt_id, asked = call.params["prompt_id"], parse_version_query(call.exchange.query)
        row = await self._store.load_prompt(call.project, prompt_id)
        number = _number(asked)
        version = None if number == 0 else await self._store.load_version(call.project, prompt_id, number)
        if row is None or version is None:
            raise _not_found(prompt_id, asked)
        await call.exchange.answer(200, _shown(row, version))

    async def update(self, call: Call) -> None:
        """POST /v1/prompts/{id}."""
        body = await read_json(call, self._max_body_bytes, PromptUpdate)
        if body is None:
            return
        prompt_id, number = call.params["prompt_id"], _number(body.default_version)
        row = None if number == 0 else await self._store.update_prompt(call.project, prompt_id, body.name, number)
        version = None if row is None else await self._store.load_version(call.project, prompt_id, None)
        if row is None or version is None:
            raise _not_found(prompt_id, body.default_version)
        await call.exchange.answer(200, _shown(row, version))

    async def delete(self, call: Call) -> None:
        """DELETE /v1/prompts/{id}."""
        prompt_id = call.params["prompt_id"]
        if not await self._store.delete_prompt(call.project, prompt_id):
            raise _not_found(prompt_id, None)
        await call.exchange.answer(200, _encode(Deleted(prompt_id, "prompt.deleted", deleted=True)))

    async def create_version(self, call: Call) -> None:
        """POST /v1/prompts/{id}/versions."""
        body = await read_json(call, self._max_body_bytes, VersionCreate)
        if body is None:
            return
        prompt_id, template, now = call.params["prompt_id"], _encode(body.template), call.exchange.now()
        check_template(template)
        row = await self._store.add_version(call.project, prompt_id, template, now, is_default=body.default)
        if row is None:
            raise _not_found(prompt_id, None)
        await call.exchange.answer(200, _shown_version(PromptVersion(prompt_id, row.latest_version, template, now)))

    async def list_versions(self, call: Call) -> None:
        """GET /v1/prompts/{id}/versions."""
        query = parse_list_query(call.exchange.query)
        prompt_id = call.params["prompt_id"]
        versions = await self._store.list_versions(call.project, prompt_id)
        if versions is None:
            raise _not_found(prompt_id, None)
        rows = [msgspec.Raw(_shown_version(version)) for version in versions]
        await call.exchange.answer(200, page_from(rows, query))


def _shown(row: PromptRow, version: PromptVersion) -> bytes:
    return _encode(
        Prompt(
            row.id,
            "prompt",
            row.name,
            row.created_at,
            str(version.version),
            str(row.default_version),
            str(row.latest_version),
            placeholders(version.body),
            msgspec.Raw(version.body),
        )
    )


def _shown_version(version: PromptVersion) -> bytes:
    number = str(version.version)
    names = placeholders(version.body)
    return _encode(
        Version(
            number, "prompt.version", version.prompt_id, number, version.created_at, names, msgspec.Raw(version.body)
        )
    )


def _number(version: str | None) -> int | None:
    """A version's number; 0, which no version has, for text that is none."""
    if version is None:
        return None
    return int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0


def _not_found(prompt_id: str, version: str | None) -> NotFound:
    named = "" if version is None else f" and version '{version}'"
    return NotFound(f"Prompt with id '{prompt_id}'{named} not found.")
