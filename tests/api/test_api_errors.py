"""Errors as clients see them: before the stream a status, after it response.failed, never both and never neither."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.client import Client
from tests.harness.process import DIALECTS
from tests.upstream.script import Failure, Say, Script
from tests.upstream.server import Upstream

# Longer than the server itself would wait before it asks again: the hint is then the client's to follow.
RATE: dict[str, str] = {"retry-after": "30"}
FAILURES: dict[str, tuple[dict[str, Failure], int, str]] = {
    "rate limit": (
        {
            "chat": Failure(429, "rate_limit_error", "rate_limit_exceeded", "Slow down.", RATE),
            "claude": Failure(429, "rate_limit_error", None, "Slow down.", RATE),
            "native": Failure(429, "rate_limit_error", "rate_limit_exceeded", "Slow down.", RATE),
            "gem": Failure(429, message="Slow down.", headers=RATE),
            "converse": Failure(429, message="Too many requests.", headers=RATE),
            "coh": Failure(429, message="Slow down.", headers=RATE),
        },
        429,
        "rate_limit_exceeded",
    ),
    "overloaded": (
        {
            "chat": Failure(503, "server_error", "server_is_overloaded", "Overloaded."),
            "claude": Failure(529, "overloaded_error", None, "Overloaded."),
            "native": Failure(503, "server_error", "server_is_overloaded", "Overloaded."),
            "gem": Failure(503, message="Overloaded."),
            "converse": Failure(503, message="Overloaded."),
            "coh": Failure(503, message="Overloaded."),
        },
        503,
        "server_is_overloaded",
    ),
    "context": (
        {
            "chat": Failure(400, "invalid_request_error", "context_length_exceeded", "maximum context length is 5"),
            "claude": Failure(400, "invalid_request_error", None, "prompt is too long: 9 tokens > 5 maximum"),
            "native": Failure(400, "invalid_request_error", "context_length_exceeded", "Your input exceeds"),
            "gem": Failure(400, message="The input token count (9) exceeds the maximum (5)."),
            "converse": Failure(400, "ValidationException", message="Input is too long for requested model."),
            "coh": Failure(400, message="too many tokens: size limit exceeded by 4 tokens: prompt is too long"),
        },
        400,
        "context_length_exceeded",
    ),
    "our key": (
        {
            "chat": Failure(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
            "claude": Failure(401, "authentication_error", None, "invalid x-api-key"),
            "native": Failure(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
            "gem": Failure(400, code="API_KEY_INVALID", message="API key not valid. Please pass a valid API key."),
            "converse": Failure(403, code="UnrecognizedClientException", message="The security token is invalid."),
            "coh": Failure(401, message="invalid api token"),
        },
        502,
        "upstream_auth",
    ),
}


@pytest.fixture(params=list(DIALECTS))
def vendor(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("case", FAILURES)
async def test_an_upstream_refusal_keeps_an_http_status(
    client: Client, upstream: Upstream, vendor: str, case: str, is_streamed: bool
) -> None:
    failures, status, code = FAILURES[case]
    upstream.queue("m1", *[Script(refuse=failures[vendor])] * 4)
    answer = await client.post({"model": f"{vendor}/m1", "input": "hi", "stream": is_streamed})
    assert (answer.status, answer.error["code"]) == (status, code)
    if case == "rate limit":
        assert answer.headers["retry-after"] == "30"


async def test_an_error_in_the_middle_ends_with_response_failed(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    kind = {"claude": "overloaded_error"}.get(vendor, "server_error")
    after = 2 if vendor in ("gem", "converse") else 6  # their streams have fewer frames
    script = Script((Say("Hello there, world"),), fail=Failure(type=kind, message="Broke."), fail_after=after)
    upstream.queue("m1", script)
    streamed = await client.stream({"model": f"{vendor}/m1", "input": "hi"})
    assert streamed.types[-1] == "response.failed"
    assert streamed.response["error"]["code"] == "server_error"
    assert streamed.response["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("frames", [1, 3, 4])
async def test_a_connection_cut_by_the_upstream_is_a_failure(
    client: Client, upstream: Upstream, vendor: str, frames: int
) -> None:
    upstream.queue("m1", *[Script((Say("Hello there, world"),), hang_up_after=frames)] * 4)
    async with client.open_stream({"model": f"{vendor}/m1", "input": "hi"}) as opened:
        streamed = await opened.read_all()
    assert streamed.types[-1] == "response.failed"


async def test_json_mode_says_a_failure_in_the_middle_by_its_status(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("Hello there, world"),), fail=Failure(type="server_error"), fail_after=6))
    answer = await client.post({"model": "chat/m1", "input": "hi"})
    assert answer.status == 200
    assert answer.body["status"] == "failed"


async def test_an_unreachable_vendor_is_502(new_server: Any, http: Any) -> None:
    dead = '\n[[vendor]]\nname = "dead"\ndialect = "chat_completions"\nbase_url = "http://127.0.0.1:1/v1"\n'
    server = new_server(config=dead)
    answer = await Client(http, server.url).post({"model": "dead/m", "input": "hi"})
    assert answer.status == 502


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"bogus": 1}, "unknown_parameter", "bogus"),
        ({"n": 2}, "unknown_parameter", "n"),
        ({"messages": []}, "unsupported_parameter", "messages"),
        ({"temperature": "warm"}, "invalid_type", "temperature"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "object_above_max_properties", "metadata"),
        ({"max_output_tokens": 1}, "integer_below_min_value", "max_output_tokens"),
        ({"include": ["bogus"]}, "invalid_value", "include[0]"),
        ({"stream_options": {"include_usage": True}}, "unknown_parameter", "stream_options.include_usage"),
        ({"tool_choice": {"type": "function"}}, "missing_required_parameter", "tool_choice.name"),
        ({"input": [{"type": "message", "role": "user", "content": "x", "bogus": 1}]}, "unknown_parameter", None),
    ],
)
async def test_a_wrong_request_is_400_by_name(client: Client, change: Any, code: str, param: str | None) -> None:
    answer = await client.post({"model": "chat/m1", "input": "hi"} | change)
    assert answer.status == 400, answer.body
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == code
    if param is not None:
        assert answer.error["param"] == param


@pytest.mark.parametrize(
    ("raw", "code"), [(b"{", None), (b"[]", None), (b'{"input":"x"}', "missing_required_parameter")]
)
async def test_a_body_that_is_no_request_is_400(client: Client, raw: bytes, code: str | None) -> None:
    headers = {"content-type": "application/json"}
    answer = await client.request("POST", "/responses", data=raw, headers=headers)
    assert answer.status == 400
    assert code is None or answer.error["code"] == code


async def test_an_unknown_model_is_400_by_its_code(client: Client) -> None:
    answer = await client.post({"model": "nobody/nothing", "input": "hi"})
    assert answer.status in (400, 404)
    assert answer.error["code"] == "model_not_found"
    assert answer.error["param"] == "model"


@pytest.mark.usefixtures("upstream")
async def test_what_real_clients_send_beyond_the_schema_is_accepted(client: Client) -> None:
    nulls = dict.fromkeys(
        ["include", "instructions", "max_output_tokens", "metadata", "previous_response_id", "user", "temperature"]
    )
    more: Any = {"client_metadata": {"a": "b"}, "tools": [], "text": {}, "include": [], "stream": False}
    await client.create({"model": "chat/m1", "input": "hi"} | nulls | more)
