"""The whole error tree, and the one table that gives each class its place on the wire.

    AntiphonError
    ├── ApiError                      a client may see it: message, param, code
    │   ├── InvalidRequest            400  the request is wrong; `code` says how
    │   ├── Unauthenticated           401  no key, or a key that is not ours
    │   ├── Forbidden                 403  the key may not do this
    │   ├── NotFound                  404  no such thing in this project
    │   ├── MethodNotAllowed          405  the path exists, the method does not
    │   ├── RequestTimeout            408  the request stopped coming
    │   ├── Conflict                  409  the thing is busy
    │   ├── TooLarge                  413  the body is over the limit
    │   ├── HeadTooLarge              431  the head is over the limit
    │   ├── RateLimited               429  slow down
    │   │   └── LimitReached          429  the project's limit of requests or tokens
    │   ├── Unavailable               503  draining, or the store does not answer
    │   │   └── Overloaded            503  this process holds as much as it may
    │   ├── ServerFault               500  our own bug, or a broken installation
    │   └── UpstreamFault             by `kind`: what the provider answered (see FAULTS)
    ├── TruncatedStream               a stream that ended without saying why the model stopped
    └── ConfigError                   the operator's configuration is wrong; names file, key and way out

Inside, raise the most precise class. Nothing but `WIRE` and `FAULTS` below knows an HTTP status.
Source: OpenAI error envelope {error: {message, type, param, code}}; reference of provider error classes.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeVar

import msgspec

Headers = tuple[tuple[str, str], ...]
_UNAVAILABLE_S: Final = 1.0
_CLOSE: Final = (("connection", "close"),)


class AntiphonError(Exception):
    """Everything this program raises on purpose."""


Failure = TypeVar("Failure", bound=Exception)


def first_of(group: BaseExceptionGroup[Failure]) -> Failure:
    """The first error in a group, however deep."""
    error: Failure | BaseExceptionGroup[Failure] = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def without_frames(error: Failure) -> Failure:
    """The error, and what it came from, without the frames that they were raised in.

    Where one of those frames, or one that called it, knows the error, all that they hold waits for a collection.
    """
    link: BaseException | None = error
    while link is not None and link.__traceback__ is not None:  # errors can come from each other in a circle
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


class ApiError(AntiphonError):
    """An error a client may see.

    `param` is the path of the offending field as OpenAI writes it (`input[0].content`), `type` and `code`
    override the class's own from `WIRE`.
    """

    type: str | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code

    @property
    def headers(self) -> Headers:
        """Response headers that belong to this error, such as Retry-After."""
        return ()


class InvalidRequest(ApiError):
    """The request cannot be honoured as it is written."""


class Unauthenticated(ApiError):
    """No key was sent, or one that is not valid here."""


class Forbidden(ApiError):
    """The key is valid and may not do this."""


class NotFound(ApiError):
    """No such thing in the caller's project."""


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""


class RequestTimeout(ApiError):
    """The client began a request and stopped sending it."""


class Conflict(ApiError):
    """The thing is being changed by somebody else; `should_retry` says whether asking again can help."""

    def __init__(self, message: str, *, code: str | None = None, should_retry: bool = True) -> None:
        super().__init__(message, code=code)
        self.should_retry = should_retry

    @property
    def headers(self) -> Headers:
        told = (("x-should-retry", "true" if self.should_retry else "false"),)
        return told + retry_headers(1) if self.should_retry else told


class TooLarge(ApiError):
    """The body is larger than the server accepts."""

    @property
    def headers(self) -> Headers:
        return _CLOSE  # the rest of it may still come


class HeadTooLarge(ApiError):
    """The request's line and headers are larger than the server accepts."""


class Unavailable(ApiError):
    """The server cannot serve now and says when to come back."""

    @property
    def headers(self) -> Headers:
        return retry_headers(_UNAVAILABLE_S)


class Overloaded(Unavailable):
    """This process holds as much as it may; others, or this one in a moment, have room."""

    @property
    def headers(self) -> Headers:
        return super().headers + _CLOSE  # a new connection may come to another process


class ServerFault(ApiError):
    """Something that should not happen; the message carries no internals."""


class RateLimited(ApiError):
    """A limit of this server was reached. `retry_after_s` is in seconds."""

    def __init__(self, message: str, *, retry_after_s: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> Headers:
        return retry_headers(self.retry_after_s)


class LimitReached(RateLimited):
    """A project has used up what it may in a minute; `kind` says of what, as OpenAI's type does.

    `limits` are the headers about it.
    """

    def __init__(
        self, message: str, kind: Literal["requests", "tokens"], *, retry_after_s: float, limits: Headers
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.type = kind
        self.limits = limits

    @property
    def headers(self) -> Headers:
        return super().headers + self.limits


FaultKind = Literal[
    "bad_request",
    "context_overflow",
    "content_policy",
    "auth",
    "not_found",
    "quota",
    "rate_limit",
    "overloaded",
    "server",
    "timeout",
    "transport",
]


class Fault(NamedTuple):
    """How one class of upstream failure is shown and treated."""

    status: int
    type: str
    code: str | None
    stream_code: str
    """`response.error.code` when it happens after `response.created`; OpenAI's closed enum."""
    retry_same: bool
    fall_over: bool


FAULTS: Final[dict[FaultKind, Fault]] = {
    "bad_request": Fault(400, "invalid_request_error", None, "invalid_prompt", False, False),
    "context_overflow": Fault(
        400, "invalid_request_error", "context_length_exceeded", "context_length_exceeded", False, True
    ),
    "content_policy": Fault(400, "invalid_request_error", "content_filter", "invalid_prompt", False, False),
    # The provider refused our credential: never shown as if the client's own key were wrong.
    "auth": Fault(502, "server_error", "upstream_auth", "server_error", False, True),
    "not_found": Fault(404, "invalid_request_error", "model_not_found", "server_error", False, True),
    "quota": Fault(429, "insufficient_quota", "insufficient_quota", "rate_limit_exceeded", False, True),
    "rate_limit": Fault(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded", True, True),
    "overloaded": Fault(503, "server_error", "server_is_overloaded", "server_error", True, True),
    "server": Fault(502, "server_error", "server_error", "server_error", True, True),
    "timeout": Fault(504, "server_error", "upstream_timeout", "server_error", True, True),
    "transport": Fault(502, "server_error", "upstream_unreachable", "server_error", True, True),
}


class UpstreamFault(ApiError):
    """The provider failed; `kind` says how, and `FAULTS[kind]` what follows from it.

    `status` is the provider's own HTTP status (None inside a stream), `retry_after_s` its hint in seconds,
    `should_retry` its explicit word on retrying (`x-should-retry`), `request_id` its request id.
    """

    def __init__(
        self,
        kind: FaultKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.should_retry: bool | None = None

    @property
    def fault(self) -> Fault:
        return FAULTS[self.kind]

    @property
    def headers(self) -> Headers:
        hints = retry_headers(self.retry_after_s) if self.retry_after_s is not None else ()
        upstream = (("x-upstream-request-id", self.request_id),) if self.request_id else ()
        return hints + upstream


class TruncatedStream(AntiphonError):
    """The upstream's bytes ended before the model said why it stopped."""


class ConfigError(AntiphonError):
    """The configuration is wrong. The message names the file, the key and the way out."""


class Wire(NamedTuple):
    status: int
    type: str
    code: str | None


WIRE: Final[dict[type[ApiError], Wire]] = {
    InvalidRequest: Wire(400, "invalid_request_error", None),
    Unauthenticated: Wire(401, "invalid_request_error", "invalid_api_key"),
    Forbidden: Wire(403, "invalid_request_error", None),
    NotFound: Wire(404, "invalid_request_error", None),
    MethodNotAllowed: Wire(405, "invalid_request_error", "method_not_supported"),
    RequestTimeout: Wire(408, "invalid_request_error", "request_timeout"),
    Conflict: Wire(409, "invalid_request_error", "conflict"),
    TooLarge: Wire(413, "invalid_request_error", "request_too_large"),
    HeadTooLarge: Wire(431, "invalid_request_error", "request_header_too_large"),
    RateLimited: Wire(429, "rate_limit_error", "rate_limit_exceeded"),
    LimitReached: Wire(429, "rate_limit_error", "rate_limit_exceeded"),
    Unavailable: Wire(503, "server_error", "service_unavailable"),
    Overloaded: Wire(503, "server_error", "server_is_overloaded"),
    ServerFault: Wire(500, "server_error", "server_error"),
}


def wire_of(error: ApiError) -> Wire:
    """Status, type and code of an error, its own `type` and `code` winning over the class's."""
    if isinstance(error, UpstreamFault):
        fault = error.fault
        return Wire(fault.status, fault.type, error.code or fault.code)
    row = WIRE[type(error)]
    return row._replace(
        type=row.type if error.type is None else error.type, code=row.code if error.code is None else error.code
    )


def retry_headers(retry_after_s: float) -> Headers:
    """Retry-After in whole seconds (RFC 9110) and OpenAI's finer retry-after-ms."""
    milliseconds = max(1, round(retry_after_s * 1000))
    return (("retry-after", str(-(-milliseconds // 1000))), ("retry-after-ms", str(milliseconds)))


class ErrorBody(msgspec.Struct, frozen=True):
    """The inside of OpenAI's error envelope; all four keys are always present."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """`{"error": {...}}`, the body of every HTTP error."""

    error: ErrorBody


def envelope_of(error: ApiError) -> ErrorEnvelope:
    """The HTTP body for an error."""
    row = wire_of(error)
    return ErrorEnvelope(ErrorBody(error.message, row.type, error.param, row.code))
