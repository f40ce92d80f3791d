"""The one table of routes: what is served where, and what the OpenAPI document says of it.

A handler gets a `Call` and answers through its exchange, or raises ApiError. Paths are templates such as
`/v1/conversations/{conversation_id}`; a last `{name*}` takes the rest of the path, slashes and all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from antiphon.access.keys import Principal
from antiphon.protocol.errors import ApiError, MethodNotAllowed, NotFound, without_frames
from antiphon.protocol.explain import explain, not_json
from antiphon.protocol.utf8 import check_utf8
from antiphon.runs.run import Run

from .asgi import Exchange

Wire = TypeVar("Wire", bound=msgspec.Struct)
NOBODY: Final = Principal("", "")


class Trace(msgspec.Struct):
    """What the access log says beside method, path and status."""

    principal: Principal | None = None
    run: Run | None = None
    error: ApiError | None = None
    responses: int | None = None
    """How many responses a WebSocket asked for."""

    def forget_frames(self) -> None:
        """An error keeps the frames it came through, and they keep it, and the request's body, until a collection."""
        if self.error is not None:
            without_frames(self.error)


class Call(msgspec.Struct, frozen=True):
    """One authenticated request to one route. `params` are the values of the path's placeholders."""

    exchange: Exchange
    principal: Principal = NOBODY
    params: Mapping[str, str] = {}
    trace: Trace = msgspec.field(default_factory=Trace)

    @property
    def project(self) -> str:
        return self.principal.project


Handler = Callable[[Call], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter, for the document: handlers read and check it themselves."""

    name: str
    kind: type
    help: str


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path. `body` and `answer` are the types of the JSON that comes and goes, for the document."""

    method: str
    path: str
    handler: Handler
    summary: str
    body: object = None
    query: tuple[Query, ...] = ()
    answer: object = None
    is_public: bool = False
    keeps_own_answer: bool = False
    """The handler looks after `Idempotency-Key` itself."""


class RouteTable:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes: Final = tuple(routes)
        self._exact: Final = {(route.method, route.path): route for route in self.routes if "{" not in route.path}
        self._templates: Final = [(route.path.split("/"), route) for route in self.routes]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its path's values. Raises NotFound, and MethodNotAllowed where another method is served."""
        asked = "GET" if method == "HEAD" else method
        exact = self._exact.get((asked, path))
        if exact is not None:
            return exact, {}
        segments = path.rstrip("/").split("/")
        allowed: list[str] = []
        for template, route in self._templates:
            params = _match(template, segments)
            if params is None:
                continue
            if route.method == asked:
                return route, params
            allowed.append(route.method)
        if allowed:
            raise MethodNotAllowed(f"Not allowed to {method} on {path}. (HINT: use {' or '.join(sorted(allowed))})")
        raise NotFound(f"Invalid URL ({method} {path})", code="unknown_url")


def _match(template: list[str], segments: list[str]) -> dict[str, str] | None:
    if template[-1].endswith("*}"):
        head, tail = segments[: len(template) - 1], "/".join(segments[len(template) - 1 :])
        if not tail:
            return None
        segments = [*head, tail]
    if len(template) != len(segments):
        return None
    params: dict[str, str] = {}
    for wanted, segment in zip(template, segments, strict=True):
        if not wanted.startswith("{"):
            if wanted != segment:
                return None
        elif not segment or not segment.isprintable():  # a name that no thing of ours can have
            return None
        else:
            params[wanted.strip("{*}")] = segment
    return params


async def read_json(call: Call, limit_bytes: int, wire_type: type[Wire]) -> Wire | None:
    """The body as a Struct, an absent body as an empty object; None if the client left. Raises InvalidRequest."""
    body = await call.exchange.body(limit_bytes)
    if call.exchange.is_gone:
        return None
    return decode_body(body or b"{}", wire_type)


def decode_body(body: bytes, wire_type: type[Wire]) -> Wire:
    """A JSON body as a Struct. Raises InvalidRequest in OpenAI's words."""
    try:
        check_utf8(body)
        return msgspec.json.decode(body, type=wire_type)
    except msgspec.ValidationError as error:
        raise explain(error, wire_type) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from error
