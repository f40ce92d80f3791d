"""Background responses over real sockets: created at once, polled, followed, resumed, cancelled, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from tests.harness.client import Client, Json, text_of
from tests.harness.follow import Follower
from tests.harness.process import DIALECTS, ServerProcess
from tests.upstream.script import Call, Failure, Say, Script, Think
from tests.upstream.server import Upstream

LOOK: Json = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}


async def ended(client: Client, response_id: str) -> Json:
    """The response once it has ended."""
    async with asyncio.timeout(5):
        while True:
            body = (await client.get(f"/responses/{response_id}")).body
            if body["status"] not in ("queued", "in_progress"):
                return body
            await asyncio.sleep(0.01)  # polling is what the API offers


async def created(client: Client, body: Json) -> Json:
    answer = await client.post({"model": "sim/standard", "background": True} | body)
    assert answer.status == 200, answer.body
    assert answer.body["status"] in ("queued", "in_progress")
    assert (answer.body["background"], answer.body["output"], answer.body["usage"]) == (True, [], None)
    return answer.body


@pytest.mark.parametrize("vendor", list(DIALECTS))
async def test_the_answer_is_the_foreground_answer(client: Client, upstream: Upstream, vendor: str) -> None:
    script = Script((Think("Hm."), Say("I look."), Call("look", "{}")))
    upstream.queue("m1", script, script)
    body = {"model": f"{vendor}/m1", "input": "hi", "tools": [LOOK], "metadata": {"a": "b"}}
    front = await client.create(body)
    back = await ended(client, (await created(client, body))["id"])
    for name in ("status", "model", "metadata", "usage", "tools"):
        assert back[name] == front[name]
    assert [item["type"] for item in back["output"]] == [item["type"] for item in front["output"]]


async def test_a_stream_can_be_joined_left_and_resumed_with_the_same_bytes(
    client: Client, http: aiohttp.ClientSession
) -> None:
    whole = Follower(http)
    await whole.create(client, {"model": "sim/standard", "input": "#sim slow 2ms\n#sim words 9"})
    assert whole.check()["status"] == "completed"
    for after in (None, 0, 5, len(whole.events) - 2, len(whole.events) - 1):
        again = Follower(http, whole.response_id)
        again.events = [] if after is None else whole.events[: after + 1]
        await again.resume(client)
        assert again.events == whole.events
        assert whole.raw.endswith(again.raw)


async def test_a_reader_may_join_while_the_model_speaks(client: Client, http: aiohttp.ClientSession) -> None:
    first = Follower(http)
    late = Follower(http)
    async with asyncio.TaskGroup() as group:
        group.create_task(first.create(client, {"model": "sim/standard", "input": "#sim slow 20ms\n#sim words 20"}))
        await first.wait_for(3, "response.output_text.delta")
        late.response_id = first.response_id
        group.create_task(late.resume(client))
    assert late.events == first.events


async def test_what_cannot_be_streamed_says_why(client: Client) -> None:
    quiet = await created(client, {"input": "#sim slow 5ms"})
    front = await client.create({"model": "sim/standard", "input": "hi"})
    for response_id in (quiet["id"], front["id"]):
        answer = await client.get(f"/responses/{response_id}?stream=true")
        assert (answer.status, answer.error["param"]) == (400, "stream")
    await ended(client, quiet["id"])
    answer = await client.get(f"/responses/{quiet['id']}?stream=true")
    assert (answer.status, answer.error["param"]) == (400, "stream")


@pytest.mark.parametrize(("query", "param"), [("x", "starting_after"), ("-1", "starting_after"), ("999", None)])
async def test_a_wrong_cursor_is_400(
    client: Client, http: aiohttp.ClientSession, query: str, param: str | None
) -> None:
    whole = Follower(http)
    await whole.create(client, {"model": "sim/standard", "input": "hi"})
    answer = await client.get(f"/responses/{whole.response_id}?stream=true&starting_after={query}")
    assert (answer.status, answer.error["param"]) == (400, param or "starting_after")


async def test_a_client_that_leaves_stops_nothing(
    client: Client, upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    body = {"model": "chat/m1", "input": "hi", "background": True}
    async with client.open_stream(body) as opened:
        response = (await opened.read_until("response.output_text.delta"), opened.streamed.events[0]["response"])[1]
    upstream.release()
    assert (await ended(client, response["id"]))["status"] == "completed"
    follower = Follower(http, response["id"])
    await follower.resume(client)
    assert text_of(follower.check()) == "Hello there, world."


async def test_cancel_closes_the_upstream_before_it_returns_and_is_idempotent(
    client: Client, upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=4))
    follower = Follower(http)
    async with asyncio.TaskGroup() as group:
        group.create_task(follower.create(client, {"model": "chat/m1", "input": "hi"}))
        await follower.wait_for(1, "response.output_text.delta")
        path = f"/responses/{follower.response_id}/cancel"
        cancelled = await client.request("POST", path)
        assert (cancelled.status, cancelled.body["status"]) == (200, "cancelled")
    assert await asyncio.to_thread(upstream.requests("m1")[-1].left.wait, 5)
    assert follower.check() == cancelled.body
    assert (await client.request("POST", path)).body == cancelled.body
    assert (await client.get(f"/responses/{follower.response_id}")).body == cancelled.body


async def test_cancel_of_what_has_ended_answers_it_as_it_is(client: Client) -> None:
    done = await ended(client, (await created(client, {"input": "hi"}))["id"])
    answer = await client.request("POST", f"/responses/{done['id']}/cancel")
    assert (answer.status, answer.body) == (200, done)


async def test_only_background_responses_can_be_cancelled(client: Client) -> None:
    front = await client.create({"model": "sim/standard", "input": "hi"})
    answer = await client.request("POST", f"/responses/{front['id']}/cancel")
    assert (answer.status, answer.error["message"]) == (400, "Cannot cancel a synchronous response.")
    assert (await client.request("POST", "/responses/resp_none/cancel")).status == 404


async def test_a_refusal_of_the_provider_is_a_failed_response(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script(refuse=Failure(400, "invalid_request_error", message="no such thing")))
    response = await ended(client, (await created(client, {"model": "chat/m1", "input": "hi"}))["id"])
    assert (response["status"], response["output"]) == ("failed", [])
    assert "no such thing" in response["error"]["message"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "nobody/none"}, 400, "model_not_found"),
        ({"previous_response_id": "resp_none"}, 400, "previous_response_not_found"),
        ({"conversation": "conv_none"}, 404, None),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, 400, None),
        ({"input": [{"type": "item_reference", "id": "msg_none"}]}, 404, None),
    ],
)
async def test_what_a_foreground_request_is_refused_for_is_refused_at_once(
    client: Client, change: Json, status: int, code: str | None
) -> None:
    answer = await client.post({"model": "sim/standard", "input": "hi", "background": True} | change)
    assert (answer.status, answer.error["code"]) == (status, code)


async def test_a_chain_goes_on_from_a_background_response_once_it_has_ended(client: Client) -> None:
    slow = await created(client, {"input": "#sim slow 30ms\n#sim say My name is Ann."})
    early = await client.post({"model": "sim/standard", "input": "x", "previous_response_id": slow["id"]})
    assert (early.status, early.error["code"]) == (400, "previous_response_not_finished")
    await ended(client, slow["id"])
    later = await client.create({"model": "sim/standard", "input": "#sim recall", "previous_response_id": slow["id"]})
    assert later["previous_response_id"] == slow["id"]


async def test_with_store_false_it_can_be_polled_but_not_continued(client: Client) -> None:
    done = await ended(client, (await created(client, {"input": "hi", "store": False}))["id"])
    assert (done["status"], done["store"]) == ("completed", False)
    answer = await client.post({"model": "sim/standard", "input": "x", "previous_response_id": done["id"]})
    assert (answer.status, answer.error["code"]) == (400, "previous_response_not_found")


async def test_deleting_one_that_runs_stops_it_and_leaves_nothing(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    response = await created(client, {"model": "chat/m1", "input": "hi"})
    async with asyncio.timeout(5):
        while not upstream.requests("m1"):  # noqa: ASYNC110 - until the worker has asked
            await asyncio.sleep(0.01)
    assert (await client.delete(f"/responses/{response['id']}")).body["deleted"] is True
    assert await asyncio.to_thread(upstream.requests("m1")[-1].left.wait, 5)
    assert (await client.get(f"/responses/{response['id']}")).status == 404


@pytest.mark.slow
async def test_more_than_may_wait_are_refused_with_a_way_out(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    limits = {"ANTIPHON_BACKGROUND_CONCURRENCY": "1", "ANTIPHON_BACKGROUND_QUEUE": "2"}
    client = Client(http, new_server(env=limits).url)
    stalled = [await created(client, {"input": "#sim stall"}) for _ in range(3)]
    refused = await client.post({"model": "sim/standard", "input": "hi", "background": True})
    assert (refused.status, refused.error["code"]) == (429, "background_queue_full")
    assert int(refused.headers["retry-after"]) > 0
    for response in stalled:  # the queued ones too, which no worker has taken
        answer = await client.request("POST", f"/responses/{response['id']}/cancel")
        assert answer.body["status"] == "cancelled"
    done = await ended(client, (await created(client, {"input": "hi"}))["id"])
    assert done["status"] == "completed"


@pytest.mark.slow
async def test_workers_of_one_machine_share_their_runs(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    client = Client(http, new_server(workers=2).url)
    followers = [Follower(http) for _ in range(8)]
    body = {"model": "sim/standard", "input": "#sim slow 20ms\n#sim words 15"}
    async with asyncio.TaskGroup() as group:
        for follower in followers:
            group.create_task(follower.create(client, body))
        for follower in followers:
            await follower.wait_for(2, "response.output_text.delta")
        seconds = [Follower(http, follower.response_id) for follower in followers]
        for second in seconds:  # some of them reach the other worker
            group.create_task(second.resume(client))
        stalled = [await created(client, {"input": "#sim stall"}) for _ in range(6)]
        for response in stalled:
            answer = await client.request("POST", f"/responses/{response['id']}/cancel")
            assert answer.body["status"] == "cancelled"
    assert [second.events for second in seconds] == [follower.events for follower in followers]


@pytest.mark.slow
async def test_one_that_waits_too_long_fails_and_says_so(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    limits = {
        "ANTIPHON_BACKGROUND_CONCURRENCY": "1",
        "ANTIPHON_BACKGROUND_QUEUE_AGE_S": "1",
        "ANTIPHON_LEASE_S": "0.6",
    }
    client = Client(http, new_server(env=limits).url)
    await created(client, {"input": "#sim stall"})
    waiting = await created(client, {"input": "hi"})
    response = await ended(client, waiting["id"])
    assert (response["status"], "waited" in response["error"]["message"]) == ("failed", True)


@pytest.mark.slow
async def test_a_server_that_is_told_to_stop_leaves_its_runs_to_the_next(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    server = new_server(env={"ANTIPHON_DRAIN_S": "0.2", "ANTIPHON_BACKGROUND_ATTEMPTS": "1"})
    client = Client(http, server.url)
    follower = Follower(http)
    async with asyncio.TaskGroup() as group:
        group.create_task(_read_while_there(follower, client))
        await follower.wait_for(2, "response.output_text.delta")
        server.terminate()
    assert await asyncio.to_thread(server.wait) == 0
    await asyncio.to_thread(server.start)
    there = asyncio.Event()
    there.set()
    async with asyncio.timeout(10):
        await follower.until_over(lambda: client, there)
    assert follower.check()["status"] == "completed"


async def _read_while_there(follower: Follower, client: Client) -> None:
    try:
        await follower.create(client, {"model": "sim/standard", "input": "#sim slow 60ms\n#sim words 70"})
    except (aiohttp.ClientError, ConnectionError):
        return
    raise AssertionError("the server did not stop in the middle of the answer")
