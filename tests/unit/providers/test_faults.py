"""The classifier of provider errors: every class and signal of the reference's table, in its real shapes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antiphon.protocol.errors import FAULTS, wire_of
from antiphon.providers.faults import classify, classify_event


def openai_body(message: str, *, code: Any = None, kind: str | None = None, param: str | None = None) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def anthropic_body(kind: str, message: str, **extra: Any) -> bytes:
    return msgspec.json.encode(
        {"type": "error", "error": {"type": kind, "message": message, **extra}, "request_id": "req_011abc"}
    )


def google_body(code: int, status: str, message: str, *details: dict[str, Any]) -> bytes:
    return msgspec.json.encode(
        {"error": {"code": code, "status": status, "message": message, "details": list(details)}}
    )


def quota_failure(quota_id: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id}]}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "14s"}
KEY_INVALID = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
OPENROUTER_RAW = msgspec.json.encode(
    {
        "error": {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {
                "raw": '{"error":{"message":"prompt is too long: 9 > 8","type":"invalid_request_error"}}',
                "provider_name": "Anthropic",
            },
        }
    }
)
OPENROUTER_FLAGGED = msgspec.json.encode(
    {
        "error": {
            "message": "Input was flagged",
            "code": 403,
            "metadata": {"reasons": ["violence"], "flagged_input": "..."},
        }
    }
)
AZURE_FILTER = msgspec.json.encode(
    {
        "error": {
            "message": "The response was filtered due to the prompt triggering the policy.",
            "code": "content_filter",
            "status": 400,
            "innererror": {
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
            },
        }
    }
)
FASTAPI_ECHO = msgspec.json.encode(
    {
        "detail": [
            {
                "type": "missing",
                "loc": ["body", "model"],
                "msg": "Field required",
                "input": {"message": "prompt is too long", "code": "insufficient_quota"},
            }
        ]
    }
)

ANSWERS: list[tuple[str, int, bytes]] = [
    # bad request
    (
        "bad_request",
        400,
        openai_body("Unknown parameter", kind="invalid_request_error", code="unknown_parameter"),
    ),
    ("bad_request", 422, FASTAPI_ECHO),
    ("bad_request", 400, google_body(400, "INVALID_ARGUMENT", "Invalid value at 'contents'")),
    ("bad_request", 400, b'{"__type":"com.amazon.coral.validate#ValidationException","message":"bad input"}'),
    ("bad_request", 400, b""),
    ("bad_request", 418, b"short and stout"),
    # context overflow
    ("context_overflow", 400, openai_body("too long", code="context_length_exceeded")),
    ("context_overflow", 400, openai_body("This model's maximum context length is 8192 tokens.")),
    ("context_overflow", 400, openai_body("Please reduce the length of the messages or completion.")),
    ("context_overflow", 400, openai_body("Your input exceeds the context window of this model.")),
    (
        "context_overflow",
        400,
        anthropic_body("invalid_request_error", "prompt is too long: 205000 tokens > 200000"),
    ),
    (
        "context_overflow",
        400,
        google_body(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum"),
    ),
    ("context_overflow", 400, b'{"message":"Input is too long for requested model."}'),
    ("context_overflow", 400, openai_body("input tokens exceeded the configured limit")),
    (
        "context_overflow",
        400,
        openai_body("the request exceeds the available context size", kind="exceed_context_size_error"),
    ),
    ("context_overflow", 400, b'{"error":"initial prompt is greater than the context length"}'),
    ("context_overflow", 400, b'{"code":"x","error":"This model\'s maximum prompt length is 131072 but"}'),
    ("context_overflow", 413, anthropic_body("request_too_large", "Request exceeds the maximum size")),
    ("context_overflow", 413, b"<html><head><title>413 Request Entity Too Large</title></head></html>"),
    ("context_overflow", 400, OPENROUTER_RAW),
    # content policy
    ("content_policy", 400, AZURE_FILTER),
    ("content_policy", 400, openai_body("no", code="content_policy_violation")),
    (
        "content_policy",
        400,
        openai_body("Your prompt was flagged as potentially violating", code="invalid_prompt"),
    ),
    (
        "content_policy",
        400,
        anthropic_body("invalid_request_error", "Output blocked by content filtering policy"),
    ),
    ("content_policy", 403, OPENROUTER_FLAGGED),
    ("content_policy", 400, openai_body("Content Exists Risk", kind="invalid_request_error")),
    ("content_policy", 400, b'{"code":"DataInspectionFailed","message":"may contain inappropriate content"}'),
    # our credential
    ("auth", 401, openai_body("Incorrect API key provided: sk-abc***xyz", code="invalid_api_key")),
    ("auth", 403, openai_body("Country not supported", code="unsupported_country_region_territory")),
    ("auth", 401, anthropic_body("authentication_error", "invalid x-api-key")),
    ("auth", 403, anthropic_body("permission_error", "Your API key does not have permission")),
    (
        "auth",
        400,
        google_body(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", KEY_INVALID),
    ),
    ("auth", 400, google_body(400, "INVALID_ARGUMENT", "x", KEY_INVALID)),
    ("auth", 401, google_body(401, "UNAUTHENTICATED", "Request had invalid credentials.")),
    ("auth", 400, b'{"__type":"UnrecognizedClientException","message":"The security token is invalid."}'),
    ("auth", 400, b'{"__type":"ExpiredTokenException","message":"expired"}'),
    (
        "auth",
        400,
        b'{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***9"}',
    ),
    ("auth", 401, b""),
    # not found
    ("not_found", 404, openai_body("The model `gpt-9` does not exist", code="model_not_found")),
    ("not_found", 403, openai_body("Project has no access to model `gpt-9`", code="model_not_found")),
    ("not_found", 404, anthropic_body("not_found_error", "model: claude-9")),
    ("not_found", 404, b'{"__type":"ResourceNotFoundException","message":"Could not resolve the model"}'),
    ("not_found", 404, b'{"error":"model \\"qwen\\" not found, try pulling it first"}'),
    ("not_found", 400, openai_body("Model Not Exist", kind="invalid_request_error")),
    ("not_found", 400, openai_body("The model `x` has been decommissioned", code="model_decommissioned")),
    ("not_found", 404, b'{"detail":"Not Found"}'),
    # quota
    ("quota", 402, b'{"error":{"message":"Insufficient Balance","code":402}}'),
    ("quota", 402, b""),
    (
        "quota",
        429,
        openai_body("You exceeded your current quota", code="insufficient_quota", kind="insufficient_quota"),
    ),
    ("quota", 400, openai_body("Billing hard limit has been reached", code="billing_hard_limit_reached")),
    ("quota", 429, openai_body("none left", code="credit_balance_exhausted")),
    ("quota", 429, openai_body("limit", code="project_spend_limit_exceeded")),
    (
        "quota",
        429,
        anthropic_body("rate_limit_error", "x", details={"error_code": "enforced_spend_limit_reached"}),
    ),
    (
        "quota",
        400,
        anthropic_body("invalid_request_error", "Your credit balance is too low to access the API"),
    ),
    (
        "quota",
        429,
        google_body(429, "RESOURCE_EXHAUSTED", "quota", quota_failure("GenerateRequestsPerDayPerProject")),
    ),
    ("quota", 429, b'{"error":{"code":"1113","message":"recharge please"}}'),
    ("quota", 429, openai_body("x", kind="exceeded_current_quota_error")),
    ("quota", 400, b'{"__type":"ServiceQuotaExceededException","message":"x"}'),
    ("quota", 403, b'{"code":"x","error":"Your team has either used all available credits or reached"}'),
    # rate limit
    ("rate_limit", 429, openai_body("Rate limit reached for gpt", code="rate_limit_exceeded", kind="tokens")),
    (
        "rate_limit",
        429,
        anthropic_body("rate_limit_error", "would exceed the limit of 40,000 input tokens per minute"),
    ),
    (
        "rate_limit",
        429,
        google_body(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", RETRY_INFO),
    ),
    (
        "rate_limit",
        429,
        google_body(429, "RESOURCE_EXHAUSTED", "x", quota_failure("RequestsPerMinutePerProject")),
    ),
    ("rate_limit", 400, b'{"__type":"ThrottlingException","message":"Too many tokens, please wait"}'),
    ("rate_limit", 429, b"slow down"),
    # overloaded
    ("overloaded", 529, anthropic_body("overloaded_error", "Overloaded")),
    ("overloaded", 529, b""),
    ("overloaded", 503, openai_body("The engine is currently overloaded", kind="server_error")),
    ("overloaded", 503, openai_body("x", code="server_is_overloaded")),
    ("overloaded", 503, google_body(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
    ("overloaded", 429, b'{"__type":"ModelNotReadyException","message":"not ready"}'),
    ("overloaded", 429, openai_body("busy", kind="engine_overloaded_error")),
    ("overloaded", 498, openai_body("x", code="capacity_exceeded")),
    ("overloaded", 500, openai_body("We are over capacity", kind="server_error")),
    ("overloaded", 503, b"Loading model"),
    # server
    ("server", 500, openai_body("The server had an error", kind="server_error")),
    ("server", 500, anthropic_body("api_error", "Internal server error")),
    ("server", 500, google_body(500, "INTERNAL", "An internal error has occurred")),
    (
        "server",
        502,
        b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    ),
    ("server", 424, b'{"__type":"ModelErrorException","message":"x"}'),
    ("server", 409, b"lock"),
    ("server", 521, b""),
    ("server", 302, b""),
    # timeout
    ("timeout", 408, b'{"__type":"ModelTimeoutException","message":"x"}'),
    ("timeout", 504, anthropic_body("timeout_error", "took too long")),
    ("timeout", 504, b""),
    ("timeout", 524, b"error code: 524"),
]


@pytest.mark.parametrize(("kind", "status", "body"), ANSWERS)
def test_answer_is_classified_by_its_most_telling_signal(kind: str, status: int, body: bytes) -> None:
    fault = classify(status, {}, body)
    assert fault.kind == kind
    assert fault.status == status


def test_every_kind_but_transport_has_a_signal() -> None:
    assert {kind for kind, _, _ in ANSWERS} == FAULTS.keys() - {"transport"}


EVENTS: list[tuple[str, str | None, str | None, str]] = [
    ("overloaded", None, "overloaded_error", "Overloaded"),
    ("overloaded", "server_is_overloaded", None, ""),
    ("rate_limit", "rate_limit_exceeded", None, "Rate limit reached. Please try again in 1.5s."),
    ("quota", "insufficient_quota", "insufficient_quota", "You exceeded your current quota"),
    ("server", "server_error", "error", "The server had an error"),
    ("server", None, None, ""),
    ("server", "some_future_code", None, "?"),
    ("server", "502", None, "Upstream failed"),
    ("rate_limit", "429", None, "Provider returned error"),
    ("auth", "401", None, "User not found."),
    ("bad_request", None, "invalid_request_error", "bad image"),
    ("bad_request", "invalid_image", None, "bad image"),
    ("content_policy", "invalid_prompt", None, "flagged"),
    ("content_policy", "bio_policy", None, ""),
    ("content_policy", "content_filter", None, ""),
    ("context_overflow", "context_length_exceeded", "invalid_request_error", "too long"),
    ("context_overflow", None, None, "prompt is too long: 3 tokens > 2 maximum"),
    ("timeout", None, "timeout_error", ""),
]


@pytest.mark.parametrize(("kind", "code", "event_type", "message"), EVENTS)
def test_stream_error_is_classified_without_a_status(
    kind: str, code: str | None, event_type: str | None, message: str
) -> None:
    assert classify_event(code, event_type, message).kind == kind


def test_stream_error_takes_its_wait_from_the_message() -> None:
    fault = classify_event("rate_limit_exceeded", None, "Limit reached. Please try again in 11.054s.")
    assert fault.retry_after_s == pytest.approx(11.054)
    assert fault.status is None


def test_refusal_of_our_credential_is_not_shown_as_the_clients_own() -> None:
    fault = classify(401, {}, openai_body("Incorrect API key provided: sk-proj-abcdefghijk"))
    assert wire_of(fault).status == 502
    assert fault.message.startswith("The provider refused this server's credential")
    assert "abcdefghijk" not in fault.message


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-request-id": "req_1"}, "req_1"),
        ({"request-id": "req_2"}, "req_2"),
        ({"apim-request-id": "a-b", "cf-ray": "z"}, "a-b"),
        ({"x-request-id": "bad\nheader: 1"}, "req_011abc"),
        ({}, "req_011abc"),
    ],
)
def test_request_id_is_the_providers_and_fit_for_a_header(headers: dict[str, str], expected: str) -> None:
    assert classify(529, headers, anthropic_body("overloaded_error", "x")).request_id == expected


@pytest.mark.parametrize(("word", "expected"), [("true", True), ("False", False), ("maybe", None), (None, None)])
def test_should_retry_is_the_providers_word_or_none(word: str | None, expected: bool | None) -> None:
    headers = {} if word is None else {"x-should-retry": word}
    assert classify(500, headers, b"").should_retry is expected


def test_param_is_told_only_where_the_caller_can_act_on_it() -> None:
    body = openai_body("bad", kind="invalid_request_error", param="tools[0].name")
    assert classify(400, {}, body).param == "tools[0].name"
    assert classify(500, {}, body).param is None


def test_amazon_names_the_error_in_a_header() -> None:
    fault = classify(400, {"x-amzn-errortype": "ThrottlingException:http://x/"}, b'{"message":"slow"}')
    assert fault.kind == "rate_limit"


def test_wait_is_read_from_words_when_no_header_gives_it() -> None:
    body = openai_body("Rate limit reached. Please try again in 6m0s.", code="rate_limit_exceeded")
    assert classify(429, {}, body).retry_after_s == 360
    assert classify(429, {"retry-after": "2"}, body).retry_after_s == 2


def test_empty_answer_still_says_something() -> None:
    assert classify(502, {}, b"").message == "The provider answered with HTTP 502 and gave no reason."
