"""Provider errors to our classes, for HTTP answers and for errors inside streams.

One list of rules, most telling first; the first that holds names the kind:

    1  a code that can mean only one thing        insufficient_quota, context_length_exceeded, ...
    2  words of the message, for those providers that have no code for it (Anthropic's "prompt is too long")
    3  the HTTP status
    4  a code that only says which side erred     api_error, invalid_request_error

Quota comes before rate limit (both are 429, only one passes by waiting), and content before context before
the credential, because gateways wrap the former in 400 and 403. This module knows no vendor by name.
Source: reference of provider error classes ("Errors to OpenAI envelope, retry class").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from antiphon.protocol.errors import FaultKind, UpstreamFault

from . import faults_retry
from .faults_report import Report, normal_code, read, scrub


def _codes(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CODES: Final[tuple[tuple[FaultKind, frozenset[str]], ...]] = (
    (
        "quota",
        _codes(
            """
            insufficient_quota quota_exceeded billing_hard_limit_reached billing_not_active billing_error
            credit_balance_exhausted enforced_spend_limit_reached insufficient_balance insufficient_credits
            insufficient_funds payment_required exceeded_current_quota_error servicequotaexceededexception
            arrearage tokens_exhausted personal_spend_limit_exceeded 1113 1304 1308 1309 1310
            """
        ),
    ),
    (
        "content_policy",
        _codes(
            """
            content_filter content_filter_error content_policy_violation responsibleaipolicyviolation
            moderation_blocked prohibited_content data_inspection_failed datainspectionfailed invalid_prompt
            bio_policy cyber_policy misalignment_policy_violation cyber_policy_violation 1301
            """
        ),
    ),
    (
        "context_overflow",
        _codes(
            """
            context_length_exceeded context_window_exceeded exceed_context_size_error
            model_max_prompt_tokens_exceeded request_too_large prompt_too_long input_too_long
            max_prompt_tokens_exceeded 1261
            """
        ),
    ),
    (
        "auth",
        _codes(
            """
            unauthenticated unauthorized api_key_invalid invalid_api_key authentication_error
            invalid_authentication_error incorrect_api_key_error permission_error permission_denied
            permission_denied_error unrecognizedclientexception expiredtoken expiredtokenexception
            accessdeniedexception missingauthenticationtokenexception invalidsignatureexception
            invalid_token access_terminated_error
            """
        ),
    ),
    (
        "not_found",
        _codes(
            """
            model_not_found not_found not_found_error resourcenotfoundexception resource_not_found_error
            deploymentnotfound unknown_model invalid_model model_decommissioned model_not_available 1211
            """
        ),
    ),
    (
        "overloaded",
        _codes(
            """
            overloaded overloaded_error server_is_overloaded engine_overloaded engine_overloaded_error
            unavailable unavailable_error service_unavailable service_unavailable_error
            serviceunavailableexception slow_down modelnotreadyexception model_not_ready capacity_exceeded
            1312
            """
        ),
    ),
    (
        "rate_limit",
        _codes(
            """
            rate_limit rate_limited rate_limit_error rate_limit_exceeded rate_limit_reached_error
            resource_exhausted throttlingexception too_many_requests toomanyrequestsexception requests
            tokens 1302 1303 1305
            """
        ),
    ),
    (
        "timeout",
        _codes(
            """
            timeout timeout_error request_timeout deadline_exceeded modeltimeoutexception upstream_timeout
            """
        ),
    ),
)
# They name a side, not a cause: a known status says more.
_WEAK_CODES: Final[tuple[tuple[FaultKind, frozenset[str]], ...]] = (
    (
        "server",
        _codes(
            """
            server_error api_error internal internal_error internal_server_error internalserverexception
            modelerrorexception modelstreamerrorexception processing_error vector_store_timeout unknown
            """
        ),
    ),
    (
        "bad_request",
        _codes(
            """
            invalid_request_error invalid_request bad_request badrequesterror invalid_argument
            failed_precondition validationexception unsupported_parameter unsupported_value invalid_value
            missing_required_parameter unknown_parameter invalid_image invalid_image_format
            invalid_base64_image invalid_image_url image_too_large image_too_small image_parse_error
            invalid_image_mode image_file_too_large unsupported_image_media_type empty_image_file
            failed_to_download_image image_file_not_found image_content_policy_violation
            data_residency_mismatch
            """
        ),
    ),
)

_SPEND_LIMIT: Final = re.compile(r".*spend_limit_(?:exceeded|reached)|.*perday.*|.*per_day.*")
_GOOGLE_EXHAUSTED: Final = "resource_exhausted"


def _any_of(phrases: str) -> re.Pattern[str]:
    """One pattern of the phrases, one a line; a space stands for itself."""
    lines = [line.strip() for line in phrases.strip().splitlines()]
    return re.compile("|".join(lines), re.IGNORECASE | re.DOTALL)


_WORDS: Final[tuple[tuple[FaultKind, re.Pattern[str]], ...]] = (
    (
        "content_policy",
        _any_of(
            r"""
            content management policy|content filtering policy
            flagged as potentially violating
            violat\w+ (?:our|the|openai's) (?:usage|content|safety) polic
            requires moderation|content exists risk
            blocked by (?:our )?(?:content|safety)\b
            """
        ),
    ),
    (
        "context_overflow",
        _any_of(
            r"""
            maximum context length|maximum prompt length|reduce the length of
            prompt is too long|prompt too long|input is too long
            input token count.{0,40}exceed|input tokens exceed
            exceed\w* (?:the |this )?(?:model'?s? )?(?:available |maximum |max )?context
            exceeds? max(?:imum)? (?:input|model|prompt|sequence)
            context (?:window|length|size) (?:of|is|exceeded|limit)
            greater than the context length|longer than the (?:maximum )?(?:model|context)
            """
        ),
    ),
    (
        "auth",
        _any_of(
            r"""
            api key not valid|no auth credentials
            (?:invalid|incorrect|expired|missing) api[- ]key
            authentication (?:fails|failed)
            """
        ),
    ),
    (
        "not_found",
        _any_of(
            r"""
            \bmodel\b.{0,200}(?:does not exist|not found|not exist\b|is not available)
            \bmodel\b.{0,200}has been (?:deprecated|decommissioned)
            """
        ),
    ),
)
_QUOTA_WORDS: Final = _any_of(
    r"""
    credit balance is too low|exceeded your current quota|billing hard limit
    insufficient (?:account )?(?:balance|credits?|funds|quota)
    out of credits|more credits|used all available credits|spending limit
    doesn'?t have any credits|never purchased credits
    """
)
_OVERLOAD_WORDS: Final = _any_of(
    r"""
    overloaded|over capacity|at capacity|out of capacity|high demand
    no healthy upstream|loading model|temporarily unavailable
    """
)
# Where a message may be trusted to speak of the request itself: not in a 401, whose text may quote anything.
_WORD_STATUSES: Final = frozenset({400, 404, 413, 422, 500})

_STATUSES: Final[dict[int, FaultKind]] = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    409: "server",  # a lock held elsewhere; the official SDKs retry it
    410: "not_found",
    413: "context_overflow",
    424: "server",
    425: "server",
    429: "rate_limit",
    498: "overloaded",  # Groq: flex tier has no capacity
    499: "server",
    503: "overloaded",
    504: "timeout",
    524: "timeout",  # Cloudflare: the origin took too long
    529: "overloaded",  # Anthropic
}

_REQUEST_ID_HEADERS: Final = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-ms-request-id",
    "x-generation-id",
    "x-goog-request-id",
    "cf-ray",
)
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}")


def classify(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
    """The fault behind a non-2xx answer. Header names are lower case; `body` may be anything."""
    report = read(body)
    codes = report.codes
    if amazon := headers.get("x-amzn-errortype"):
        codes |= {normal_code(amazon)}
    kind = _kind(status, codes, report)
    fault = UpstreamFault(
        kind,
        _message(kind, report.message, status),
        status=status,
        retry_after_s=faults_retry.retry_after_s(headers, report.retry_delay, kind == "rate_limit"),
        request_id=_request_id(headers, report),
    )
    if fault.retry_after_s is None and kind in ("rate_limit", "overloaded"):
        fault.retry_after_s = faults_retry.retry_after_in(report.message)
    fault.should_retry = faults_retry.should_retry(headers)
    # Only OpenAI's envelope has `param`, and only the caller of a bad request can use it.
    fault.param = report.param if kind == "bad_request" else None
    return fault


def classify_event(code: str | None, kind: str | None, message: str) -> UpstreamFault:
    """The fault behind an error reported inside a 200 stream: its code, its type, its message.

    A code of three digits is the HTTP status that the provider would have sent (OpenRouter, Google).
    """
    codes = frozenset(normal_code(word) for word in (code, kind) if word)
    numbers = [int(word) for word in codes if len(word) == 3 and word.isdecimal()]
    status = numbers[0] if numbers else None
    report = Report(codes, scrub(message))
    found = _kind(status, codes, report)
    hint = faults_retry.retry_after_in(report.message) if found in ("rate_limit", "overloaded") else None
    return UpstreamFault(found, _message(found, report.message, status), status=status, retry_after_s=hint)


def _kind(status: int | None, codes: frozenset[str], report: Report) -> FaultKind:
    return (
        _by_code(codes, report.was_flagged)
        or _by_words(status, codes, report.message)
        or _by_status(status, report.message)
        or _listed(_WEAK_CODES, codes)
        or ("server" if status is None or status < 400 else "bad_request")
    )


def _by_code(codes: frozenset[str], was_flagged: bool) -> FaultKind | None:
    if any(_SPEND_LIMIT.fullmatch(code) for code in codes):
        return "quota"
    if was_flagged:
        return "content_policy"
    return _listed(_CODES, codes)


def _listed(table: tuple[tuple[FaultKind, frozenset[str]], ...], codes: frozenset[str]) -> FaultKind | None:
    return next((kind for kind, names in table if names & codes), None)


def _by_words(status: int | None, codes: frozenset[str], message: str) -> FaultKind | None:
    # Google's words for a limit per minute are "exceeded your current quota" too: its quotaId tells which.
    if _GOOGLE_EXHAUSTED not in codes and status not in (404, 422) and _QUOTA_WORDS.search(message):
        return "quota"
    if status is None or status in _WORD_STATUSES:
        return next((kind for kind, words in _WORDS if words.search(message)), None)
    return None


def _by_status(status: int | None, message: str) -> FaultKind | None:
    if status is not None and status in _STATUSES:
        return _STATUSES[status]
    if (status is None or status >= 500) and _OVERLOAD_WORDS.search(message):
        return "overloaded"
    return "server" if status is not None and status >= 500 else None


def _message(kind: FaultKind, message: str, status: int | None) -> str:
    where = "in its stream" if status is None else f"with HTTP {status}"
    if not message:
        return f"The provider answered {where} and gave no reason."
    # Without this a client would take the provider's "Incorrect API key" for a word on its own key.
    return f"The provider refused this server's credential: {message}" if kind == "auth" else message


def _request_id(headers: Mapping[str, str], report: Report) -> str | None:
    """The provider's id of the request; one that could not stand in a header is not one."""
    for candidate in (*(headers.get(name) for name in _REQUEST_ID_HEADERS), report.request_id):
        if candidate and _REQUEST_ID.fullmatch(candidate.strip()):
            return candidate.strip()
    return None
