"""/openapi.json: the document of this server's API, made from the one table of routes and the types they name.

What is any JSON inside (items, tools, schemas) is left open here: OpenAI adds to it monthly, and the server says what
is wrong with it more exactly than a schema could. Source: OpenAPI 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from antiphon import __version__
from antiphon.protocol.errors import ErrorEnvelope

from .docs_page import page
from .routes import Call, Query, Route

Json = dict[str, Any]  # Any: a JSON document
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\*?\}")
_KINDS: Final = {str: "string", int: "integer", bool: "boolean"}
_SECURITY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_ABOUT: Final = (
    "One Responses API for every model. Send your key as `Authorization: Bearer KEY` or in `x-api-key`. With `stream` "
    "set to true, `POST /v1/responses` and `GET /v1/responses/{response_id}` answer with server-sent events. "
    "`GET /v1/responses` with `Upgrade: websocket` opens a WebSocket that takes `response.create` and "
    "`response.steer`. Every POST takes an `Idempotency-Key`."
)
_ANY: Final[Json] = {}
_ITEMS: Final[Json] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, {"type": "null"}],
    "description": "A text, which is one message of the user, or a list of input items.",
}
_OPEN: Final[dict[str, Json]] = {
    "input": _ITEMS,
    "tools": {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "null"}]},
    "tool_choice": {"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "null"}]},
}
"""Request fields that are read as raw JSON, and what they may be."""


class OpenApiEndpoint:
    """Serves the document and its page; both are made at the first request."""

    def __init__(self, routes: Callable[[], Sequence[Route]]) -> None:
        self._routes = routes
        self._document: bytes | None = None
        self._page: bytes | None = None

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/openapi.json", self.document, "This document.", is_public=True),
            Route("GET", "/docs", self.docs, "This document, to be read.", is_public=True),
        )

    async def document(self, call: Call) -> None:
        """GET /openapi.json."""
        if self._document is None:
            self._document = msgspec.json.encode(openapi(self._routes()))
        await call.exchange.answer(200, self._document)

    async def docs(self, call: Call) -> None:
        """GET /docs."""
        if self._page is None:
            self._page = page(openapi(self._routes())).encode()
        headers = (("content-security-policy", _SECURITY), ("x-content-type-options", "nosniff"))
        await call.exchange.answer(200, self._page, headers, "text/html; charset=utf-8")


def openapi(routes: Sequence[Route]) -> Json:
    """The document for these routes."""
    types = [kind for route in routes for kind in (route.body, route.answer) if kind is not None]
    kinds = list(dict.fromkeys([*types, ErrorEnvelope]))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(kinds, schemas, strict=True))
    _open_fields(components)
    paths: dict[str, Json] = {}
    for route in routes:
        path = route.path.replace("*}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Antiphon", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _open_fields(components: dict[str, Json]) -> None:
    for schema in components.values():
        for name, opened in _OPEN.items():
            held = schema.get("properties", {})
            if "model" in held and name in held:
                held[name] = opened


def _operation(route: Route, by_type: dict[object, Json]) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_tag(route.path)],
        "responses": _responses(route, by_type),
    }
    parameters = [_path_parameter(name) for name in _PLACEHOLDER.findall(route.path)]
    parameters += [_query_parameter(query) for query in route.query]
    if route.method == "POST":
        parameters.append(_IDEMPOTENCY)
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": by_type[route.body]}},
        }
    if route.is_public:
        operation["security"] = []
    return operation


_IDEMPOTENCY: Final[Json] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same request under the same key is carried out once; kept for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameter(query: Query) -> Json:
    return {
        "name": query.name,
        "in": "query",
        "required": False,
        "description": query.help,
        "schema": {"type": _KINDS[query.kind]},
    }


def _responses(route: Route, by_type: dict[object, Json]) -> Json:
    schema = _ANY if route.answer is None else by_type[route.answer]
    content: Json = {"application/json": {"schema": schema}}
    if route.path == "/docs":
        content = {"text/html": {"schema": {"type": "string"}}}
    elif route.path == "/":
        content = {"text/plain": {"schema": {"type": "string"}}}
    if any(query.name == "stream" for query in route.query) or route.path == "/v1/responses":
        content["text/event-stream"] = {"schema": {"type": "string"}}
    answers: Json = {"200": {"description": "Done.", "content": content}}
    if not route.is_public:
        error = {"application/json": {"schema": by_type[ErrorEnvelope]}}
        answers["default"] = {"description": "An error, in OpenAI's envelope.", "content": error}
    return answers


def _operation_id(route: Route) -> str:
    """`get_v1_conversations_conversation_id_items`: stable, and unique by construction."""
    words = re.findall(r"\w+", route.path) or ["root"]
    return "_".join([route.method.lower(), *words])


def _tag(path: str) -> str:
    words = re.findall(r"\w+", path.removeprefix("/v1"))
    return words[0] if words and path.startswith("/v1") else "server"
