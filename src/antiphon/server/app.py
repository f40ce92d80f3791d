"""Authentication and the outer frame of every request: errors to envelopes, one log line each.

Bare ASGI: the hot route passes no middleware. Must never hold state of its own.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import msgspec

from antiphon.access.keys import Keys
from antiphon.protocol.errors import ApiError, NotFound, ServerFault, Unavailable, envelope_of, first_of, wire_of
from antiphon.runs.intake import Intake
from antiphon.store.base import StoreUnavailable

from .asgi import Exchange, Message, Receive, Scope, Send
from .idempotency import HEADER as IDEMPOTENCY
from .idempotency import Idempotency
from .routes import Call, RouteTable, Trace
from .websocket import Connection, SocketServices

access_log: Final = logging.getLogger("antiphon.access")
logger: Final = logging.getLogger("antiphon.server")
_encode: Final = msgspec.json.Encoder().encode
SOCKET_PATH: Final = "/v1/responses"
_PROBES: Final = ("/health", "/ready")


@dataclass(frozen=True, slots=True)
class Edge:
    """What every request needs."""

    keys: Keys
    routes: RouteTable
    idempotency: Idempotency
    sockets: SocketServices
    intake: Intake
    is_api_prefix_allowed: bool = True

    def api_path(self, path: str) -> str:
        """The path without the prefix that some clients put before `/v1`."""
        return path.removeprefix("/api") if self.is_api_prefix_allowed and path.startswith("/api/v1/") else path


async def handle(edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
    """One HTTP request from first byte to last."""
    exchange = Exchange(scope, receive, send, edge.intake)
    trace = Trace()
    try:
        await _serve(edge, exchange, trace)
    except* ApiError as group:
        await _refuse(exchange, trace, first_of(group))
    except* StoreUnavailable as group:
        logger.error("store unavailable", extra={"request_id": exchange.request_id, "reason": str(first_of(group))})
        await _refuse(
            exchange,
            trace,
            Unavailable("The server cannot reach its database now.", code="store_unavailable"),
        )
    except* Exception:
        logger.exception("request failed", extra={"request_id": exchange.request_id})
        fault = ServerFault("The server had an error while processing your request. Please try again.")
        await _refuse(exchange, trace, fault)
    finally:
        exchange.end()
        _log(exchange, trace)
        trace.forget_frames()


async def handle_socket(edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
    """One WebSocket from its upgrade to its close; what may not be opened is refused with an HTTP answer."""
    scope["method"] = "GET"
    exchange = Exchange(scope, receive, _as_refusal(send), edge.intake)
    trace = Trace()
    await receive()
    connection: Connection | None = None
    try:
        trace.principal = await edge.keys.authenticate(exchange.headers)
        if edge.api_path(exchange.path) != SOCKET_PATH:
            raise NotFound(f"Invalid URL (WebSocket {exchange.path})", code="unknown_url")
        if edge.sockets.table.is_draining:
            raise Unavailable("The server is shutting down. Please try again.")
        exchange.status = 101
        connection = Connection(edge.sockets, trace.principal, receive, send)
        await connection.serve()
    except* ApiError as group:
        trace.error = first_of(group)
        await exchange.answer(wire_of(trace.error).status, _encode(envelope_of(trace.error)), trace.error.headers)
    except* Exception:
        logger.exception("connection failed", extra={"request_id": exchange.request_id})
    finally:
        trace.responses = None if connection is None else connection.responses
        _log(exchange, trace)
        trace.forget_frames()


def _as_refusal(send: Send) -> Send:
    """The messages of an HTTP answer under the names that refuse an upgrade."""

    async def refuse(message: Message) -> None:
        await send({**message, "type": "websocket." + message["type"]})

    return refuse


async def _serve(edge: Edge, exchange: Exchange, trace: Trace) -> None:
    path = edge.api_path(exchange.path)
    is_api = path.startswith("/v1/")
    if is_api:  # who may not call learns nothing of what is here
        trace.principal = await edge.keys.authenticate(exchange.headers)
    route, params = edge.routes.find(exchange.method, path)
    if trace.principal is None:
        await route.handler(Call(exchange, params=params, trace=trace))
        return
    call = Call(exchange, trace.principal, params, trace)
    if IDEMPOTENCY in exchange.headers and route.method == "POST" and not route.keeps_own_answer:
        await edge.idempotency.around(route.handler, call)
    else:
        await route.handler(call)


async def _refuse(exchange: Exchange, trace: Trace, error: ApiError) -> None:
    trace.error = error
    if exchange.status == 0 and not exchange.is_gone:
        await exchange.answer(wire_of(error).status, _encode(envelope_of(error)), error.headers)


def _log(exchange: Exchange, trace: Trace) -> None:
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
            "cost_usd": None if trace.run.cost_nano_usd is None else trace.run.cost_nano_usd / 1e9,
        }
    if trace.responses is not None:
        line["responses"] = trace.responses
    if trace.error is not None:
        line["error"] = wire_of(trace.error).code or wire_of(trace.error).type
    access_log.log(level, "request", extra=line)
