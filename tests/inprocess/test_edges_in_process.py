"""Errors before and after the first event, clients that leave, the ledger, the drain: in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.inprocess.rig import Rig

from antiphon.protocol.errors import Unavailable
from antiphon.protocol.parsing import parse_request
from antiphon.store.base import StoreUnavailable


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig.open(tmp_path, first_byte_s=0.3, idle_s=0.3) as opened:
        yield opened


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ("#sim fail 429", 429, "rate_limit_exceeded"),
        ("#sim fail 500", 502, "server_error"),
        ("#sim fail 401", 502, "upstream_auth"),
        ("#sim fail 404", 404, "model_not_found"),
        ("#sim stall", 504, "upstream_timeout"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_before_the_first_event_a_failure_is_a_status(
    rig: Rig, script: str, status: int, code: str, stream: bool
) -> None:
    answer = await rig.post({"input": script, "stream": stream})
    if script == "#sim stall" and answer.status == 200:
        assert answer.response["status"] == "failed"
        return
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("script", ["#sim fail after 3", "#sim hangup after 3", "#sim stall after 3"])
async def test_after_it_a_failure_is_the_terminal_event_and_is_stored(rig: Rig, script: str) -> None:
    answer = await rig.post({"input": script, "stream": True})
    assert answer.status == 200
    assert answer.raw.endswith(b"data: [DONE]\n\n")
    response = answer.response
    assert response["status"] == "failed"
    assert response["error"]["code"] == "server_error"
    assert (await rig.get(f"/responses/{response['id']}")).body == response
    assert [row[1] for row in rig.ledger()] == ["failed"]


async def test_a_json_client_gets_the_failed_response_too(rig: Rig) -> None:
    answer = await rig.post({"input": "#sim fail after 3"})
    assert (answer.status, answer.response["status"]) == (200, "failed")


async def test_a_target_that_does_not_answer_gives_way_to_the_next(rig: Rig) -> None:
    assert (await rig.post({"model": "fast", "input": "Hi"})).response["model"] == "fast"


async def test_a_client_that_leaves_ends_the_run_and_is_metered(rig: Rig) -> None:
    await rig.post({"input": "#sim words 200\n#sim slow 20ms", "stream": True}, leave_after=2)
    assert await rig.table.drain(5) == 0
    assert [row[1] for row in rig.ledger()] == ["cancelled"]


async def test_a_client_that_left_before_the_answer_began_starts_nothing_lasting(rig: Rig) -> None:
    answer = await rig.post({"input": "#sim slow 50ms\n#sim words 50"}, leave_after=0)
    assert answer.status in (0, 500)
    assert len(rig.table) == 0


async def test_a_silent_model_is_bridged_by_comments(rig: Rig) -> None:
    answer = await rig.post({"input": "#sim words 3\n#sim slow 150ms", "stream": True})
    assert b": keep-alive\n\n" in answer.raw
    assert answer.response["status"] == "completed"


async def test_a_response_that_cannot_be_stored_is_never_called_completed(rig: Rig) -> None:
    made = (await rig.post({"input": "Hi"})).response
    await rig.store.close()
    streamed = await rig.post({"input": "Hi", "stream": True})
    assert streamed.status in (200, 500, 503)
    assert b"response.completed" not in streamed.raw
    whole = await rig.post({"input": "Hi"})
    assert whole.status in (500, 503)
    assert (await rig.get(f"/responses/{made['id']}")).status in (500, 503)
    with pytest.raises(StoreUnavailable):
        await rig.store.ping()
    assert (await rig.request("GET", "/ready")).status == 503


async def test_draining_refuses_new_runs_and_says_so(rig: Rig) -> None:
    assert (await rig.request("GET", "/ready")).body == {"status": "ready"}
    rig.table.begin_drain()
    assert (await rig.request("GET", "/ready")).body == {"status": "draining"}
    refused = await rig.post({"input": "Hi"})
    assert (refused.status, refused.error["code"]) == (503, "service_unavailable")


async def test_a_drain_cancels_what_is_late(rig: Rig) -> None:
    body = {"model": "sim/standard", "input": "#sim words 500\n#sim slow 20ms"}
    run = rig.table.admit(parse_request(msgspec.json.encode(body)), "proj_1", "key_1")
    rig.table.own(run)
    await run.log.wait(0)
    assert await rig.table.drain(0) == 1
    assert run.log.is_closed
    with pytest.raises(Unavailable):
        rig.table.admit(run.request, "proj_1", "key_1")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/responses", 405),
        ("PUT", "/v1/responses/resp_1", 405),
        ("GET", "/v1/responses/resp_1/nothing", 404),
        ("GET", "/v1/responses/resp_1", 404),
        ("POST", "/v1/responses/resp_1/cancel", 404),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/models/sim/nothing", 404),
        ("GET", "/v1/models/sim/standard", 200),
        ("GET", "/api/v1/models", 200),
        ("GET", "/health", 200),
        ("GET", "/", 200),
        ("DELETE", "/health", 405),
    ],
)
async def test_paths_and_methods(rig: Rig, method: str, path: str, status: int) -> None:
    answer = await rig.request(method, path)
    assert answer.status == status
    assert answer.headers["openai-version"]
    if status >= 400:
        assert answer.error["message"]


async def test_a_stored_response_cannot_be_cancelled_or_streamed_again(rig: Rig) -> None:
    made = (await rig.post({"input": "Hi"})).response
    cancelled = await rig.request("POST", f"/v1/responses/{made['id']}/cancel")
    assert cancelled.error["message"] == "Cannot cancel a synchronous response."
    assert (await rig.get(f"/responses/{made['id']}?stream=true")).error["param"] == "stream"
    assert (await rig.get(f"/responses/{made['id']}?bogus=1")).error["code"] == "unknown_parameter"


async def test_what_is_left_out_is_named_in_a_header(rig: Rig) -> None:
    answer = await rig.post({"input": "Hi", "tools": [{"type": "web_search"}]})
    assert "web_search" in answer.headers["antiphon-dropped"]


@pytest.mark.parametrize(
    "headers",
    [{"authorization": ""}, {"authorization": "Basic x"}, {"authorization": "Bearer sk-wrong-key-of-some-length"}],
)
async def test_without_a_valid_key_nothing_is_read(rig: Rig, headers: dict[str, str]) -> None:
    answer = await rig.post({"input": "Hi"}, headers=headers)
    assert answer.status == 401
    assert "sk-wrong-key-of-some-length" not in answer.error["message"]


async def test_an_encoded_body_is_refused_by_name(rig: Rig) -> None:
    answer = await rig.post({"input": "Hi"}, headers={"content-encoding": "gzip"})
    assert (answer.status, answer.error["code"]) == (400, "unsupported_content_encoding")


async def test_a_body_over_the_limit_is_413(rig: Rig) -> None:
    assert (await rig.post({"input": "x" * (1 << 20)})).status == 413


async def test_store_false_leaves_only_a_line_in_the_ledger(rig: Rig) -> None:
    made = (await rig.post({"input": "Hi", "store": False})).response
    assert [row[0] for row in rig.ledger()] == [made["id"]]
    assert (await rig.get(f"/responses/{made['id']}")).status == 404
