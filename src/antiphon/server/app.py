"""Routes, authentication and the outer frame of every request: errors to envelopes, one log line each.

Bare ASGI: the hot route passes no middleware. Must never hold state of its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from antiphon.access.keys import Keys, Principal
from antiphon.protocol.errors import (
    AntiphonError,
    ApiError,
    MethodNotAllowed,
    NotFound,
    ServerFault,
    envelope_of,
    wire_of,
)
from antiphon.routing.models import Router
from antiphon.runs.run import Run
from antiphon.store.base import StoreUnavailable
from antiphon.store.store import Store

from .asgi import Exchange, Receive, Scope, Send
from .models import list_models, retrieve_model
from .responses import ResponsesEndpoint

access_log: Final = logging.getLogger("antiphon.access")
logger: Final = logging.getLogger("antiphon.server")
_encode: Final = msgspec.json.Encoder().encode
Failure = TypeVar("Failure", bound=AntiphonError)
_RESPONSES: Final = "/v1/responses"
_MODELS: Final = "/v1/models"


@dataclass(frozen=True, slots=True)
class Edge:
    """What the routes need."""

    keys: Keys
    router: Router
    store: Store
    responses: ResponsesEndpoint


@dataclass(slots=True)
class _Trace:
    """What the access log says beside method, path and status."""

    principal: Principal | None = None
    run: Run | None = None
    error: ApiError | None = None


async def handle(edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
    """One HTTP request from first byte to last."""
    exchange = Exchange(scope, receive, send)
    trace = _Trace()
    try:
        await _route(edge, exchange, trace)
    except* ApiError as group:
        await _refuse(exchange, trace, _first(group))
    except* StoreUnavailable as group:
        logger.error("store unavailable", extra={"request_id": exchange.request_id, "reason": str(_first(group))})
        await _refuse(
            exchange,
            trace,
            ServerFault("The server cannot reach its database now.", code="store_unavailable"),
        )
    except* Exception:
        logger.exception("request failed", extra={"request_id": exchange.request_id})
        fault = ServerFault("The server had an error while processing your request. Please try again.")
        await _refuse(exchange, trace, fault)
    finally:
        _log(exchange, trace)


def _first(group: BaseExceptionGroup[Failure]) -> Failure:
    error: Failure | BaseExceptionGroup[Failure] = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _route(edge: Edge, exchange: Exchange, trace: _Trace) -> None:
    path = exchange.path
    if path.startswith(_RESPONSES):
        trace.principal = await edge.keys.authenticate(exchange.headers)
        await _responses(edge, exchange, trace, path[len(_RESPONSES) :].strip("/"))
    elif path.startswith(_MODELS):
        trace.principal = await edge.keys.authenticate(exchange.headers)
        _allow(exchange, "GET")
        model_id = path[len(_MODELS) :].strip("/")
        await (retrieve_model(exchange, edge.router, model_id) if model_id else list_models(exchange, edge.router))
    elif path in _PLAIN:
        _allow(exchange, "GET", "HEAD")
        await _PLAIN[path](edge, exchange)
    else:
        raise NotFound(f"Invalid URL ({exchange.method} {exchange.path})", code="unknown_url")


async def _responses(edge: Edge, exchange: Exchange, trace: _Trace, rest: str) -> None:
    principal = trace.principal
    assert principal is not None, "routed after authentication"
    if not rest:
        _allow(exchange, "POST")
        trace.run = await edge.responses.create(exchange, principal)
        return
    response_id, _, verb = rest.partition("/")
    match exchange.method, verb:
        case "GET", "":
            await edge.responses.retrieve(exchange, principal, response_id)
        case "DELETE", "":
            await edge.responses.delete(exchange, principal, response_id)
        case "GET", "input_items":
            await edge.responses.input_items(exchange, principal, response_id)
        case "POST", "cancel":
            await edge.responses.cancel(exchange, principal, response_id)
        case _, "" | "input_items" | "cancel":
            raise MethodNotAllowed(f"Not allowed to {exchange.method} on {exchange.path}.")
        case _:
            raise NotFound(f"Invalid URL ({exchange.method} {exchange.path})", code="unknown_url")


def _allow(exchange: Exchange, *methods: str) -> None:
    if exchange.method not in methods:
        raise MethodNotAllowed(
            f"Not allowed to {exchange.method} on {exchange.path}. (HINT: use {' or '.join(methods)})"
        )


async def _health(edge: Edge, exchange: Exchange) -> None:
    del edge
    await exchange.answer(200, b'{"status":"ok"}')


async def _ready(edge: Edge, exchange: Exchange) -> None:
    try:
        await edge.store.ping()
    except StoreUnavailable as error:
        await exchange.answer(503, _encode({"status": "unavailable", "reason": str(error)}))
        return
    is_draining = edge.responses.is_draining
    await exchange.answer(503 if is_draining else 200, _encode({"status": "draining" if is_draining else "ready"}))


async def _root(edge: Edge, exchange: Exchange) -> None:
    del edge
    text = b"Antiphon is running. Point an OpenAI client's base_url at /v1 of this address.\n"
    await exchange.answer(200, text, content_type="text/plain; charset=utf-8")


_PROBES: Final = ("/health", "/ready")
_PLAIN: Final = {"/health": _health, "/ready": _ready, "/": _root}


async def _refuse(exchange: Exchange, trace: _Trace, error: ApiError) -> None:
    trace.error = error
    if exchange.status == 0 and not exchange.is_gone:
        await exchange.answer(wire_of(error).status, _encode(envelope_of(error)), error.headers)


def _log(exchange: Exchange, trace: _Trace) -> None:
    level = logging.DEBUG if exchange.path in _PROBES and exchange.status < 400 else logging.INFO
    if not access_log.isEnabledFor(level):
        return
    line: dict[str, object] = {
        "request_id": exchange.request_id,
        "client_request_id": exchange.client_request_id,
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "duration_ms": exchange.elapsed_ms,
    }
    if trace.principal is not None:
        line |= {"project": trace.principal.project, "key": trace.principal.key_id}
    if trace.run is not None:
        usage = trace.run.progress.usage
        line |= {
            "response": trace.run.id,
            "model": trace.run.request.model,
            "target": trace.run.progress.target,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
        }
    if trace.error is not None:
        line["error"] = wire_of(trace.error).code or wire_of(trace.error).type
    access_log.log(level, "request", extra=line)
