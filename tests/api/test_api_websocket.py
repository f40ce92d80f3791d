"""The WebSocket: lanes, the connection's memory, warm-ups, steering, errors, drains, and slow or rude clients."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from tests.harness.client import Client, Json, text_of, with_room
from tests.harness.process import DIALECTS, ServerProcess
from tests.harness.socket import Socket, connect
from tests.upstream.script import Call, Say, Script
from tests.upstream.server import Upstream

LOOK: Json = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.fixture
async def socket(client: Client, http: aiohttp.ClientSession) -> AsyncIterator[Socket]:
    async with connect(http, client.url) as opened:
        yield opened


@pytest.mark.parametrize("vendor", list(DIALECTS))
async def test_one_connection_answers_again_and_again(socket: Socket, upstream: Upstream, vendor: str) -> None:
    upstream.queue("m1", Script((Say("One."),)), Script((Say("Two."),)))
    for word in ("One.", "Two."):
        await socket.create(model=f"{vendor}/m1", input="hi")
        assert text_of(await socket.response()) == word


async def test_store_false_is_continued_on_its_connection_and_nowhere_else(
    socket: Socket, client: Client, http: aiohttp.ClientSession
) -> None:
    await socket.create(input="My name is Ann", store=False)
    first = await socket.response()
    await socket.create(input="And I live in Rome", store=False, previous_response_id=first["id"])
    second = await socket.response()
    await socket.create(input="What is my name?", store=False, previous_response_id=second["id"])
    assert "Ann" in text_of(await socket.response())
    async with connect(http, client.url) as other:
        await other.create(input="x", previous_response_id=second["id"])
        assert (await other.error())["code"] == "previous_response_not_found"
    assert (await client.get(f"/responses/{second['id']}")).status == 404


async def test_only_the_latest_response_of_a_lane_is_remembered(socket: Socket) -> None:
    await socket.create(input="one", store=False)
    first = await socket.response()
    await socket.create(input="two", store=False)
    await socket.response()
    await socket.create(input="three", store=False, previous_response_id=first["id"])
    error = await socket.error()
    assert (error["status"], error["code"]) == (400, "previous_response_not_found")


async def test_what_is_stored_can_be_continued_from_anywhere(socket: Socket, client: Client) -> None:
    made = await client.create({"model": "sim/standard", "input": "My name is Ann"})
    await socket.create(input="What is my name?", previous_response_id=made["id"])
    answer = await socket.response()
    assert "Ann" in text_of(answer)
    assert (await client.get(f"/responses/{answer['id']}")).body == answer


@pytest.mark.parametrize("follows_unstored", [False, True])
async def test_a_deletion_ends_chains_that_their_connection_remembers(
    socket: Socket, client: Client, follows_unstored: bool
) -> None:
    previous: Json = {}
    if follows_unstored:
        await socket.create(input="My name is Ann", store=False)
        previous = {"previous_response_id": (await socket.response())["id"]}
    await socket.create(input="My name is Bob", **previous)
    stored = await socket.response()
    await socket.create("fork", input="What is my name?", store=False, previous_response_id=stored["id"])
    assert "Bob" in text_of(await socket.response("fork"))
    assert (await client.delete(f"/responses/{stored['id']}")).status == 200
    await socket.create(input="What is my name?", store=False, previous_response_id=stored["id"])
    assert (await socket.error())["code"] == "previous_response_not_found"


async def test_a_failed_continuation_evicts_its_parent_and_a_fork_from_another_lane_does_not(socket: Socket) -> None:
    await socket.create(input="My name is Ann", store=False)
    first = await socket.response()
    broken: Json = {
        "store": False,
        "previous_response_id": first["id"],
        "input": [{"type": "item_reference", "id": "x"}],
    }
    await socket.create("fork", **broken)
    assert (await socket.error("fork"))["status"] == 404
    await socket.create("fork", input="What is my name?", store=False, previous_response_id=first["id"])
    assert "Ann" in text_of(await socket.response("fork"))
    await socket.create(**broken)
    assert (await socket.error())["status"] == 404
    await socket.create(input="What is my name?", store=False, previous_response_id=first["id"])
    assert (await socket.error())["code"] == "previous_response_not_found"


async def test_a_warm_up_answers_nothing_and_can_be_continued(socket: Socket, client: Client) -> None:
    await socket.create(input="My name is Ann", generate=False, store=False)
    warm = await socket.response()
    assert (warm["status"], warm["output"], warm["usage"]["total_tokens"]) == ("completed", [], 0)
    await socket.create(input="What is my name?", store=False, previous_response_id=warm["id"])
    assert "Ann" in text_of(await socket.response())


async def test_lanes_run_side_by_side_and_each_in_order(socket: Socket, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("slow"),), stall_after=2))
    await socket.create("slow", model="chat/m1", input="x")
    await socket.until("response.in_progress", "slow")
    await socket.create("slow", input="#sim say after")
    await socket.create("quick", input="#sim say quick")
    assert text_of(await socket.response("quick")) == "quick"
    assert ("slow", "response.completed") not in socket.order
    upstream.release()
    assert text_of(await socket.response("slow")) == "slow"
    assert text_of(await socket.response("slow")) == "after"


async def test_the_default_lane_runs_one_at_a_time_in_order(socket: Socket) -> None:
    for number in range(6):
        await socket.create(input=f"#sim say {number}")
    assert [text_of(await socket.response()) for _ in range(6)] == [str(number) for number in range(6)]


async def test_sixteen_run_at_once_and_the_seventeenth_waits(socket: Socket, upstream: Upstream) -> None:
    upstream.queue("m1", *[Script((Say("done"),), stall_after=2)] * 16)
    for number in range(16):
        await socket.create(f"lane{number}", model="chat/m1", input="x")
    for number in range(16):
        await socket.until("response.in_progress", f"lane{number}")
    await socket.create("late", input="hi")
    await socket.create("lane0", input="hi")
    assert not [one for one in socket.order if one[0] == "late"]
    upstream.release()
    assert (await socket.response("late"))["status"] == "completed"
    assert len(upstream.requests("m1")) == 16


async def test_a_connection_has_at_most_32_named_lanes(socket: Socket) -> None:
    for number in range(32):
        await socket.create(f"lane{number}", input="hi", generate=False)
    await socket.create("one-too-many", input="hi")
    error = await socket.error()
    assert (error["status"], error["code"]) == (400, "websocket_stream_limit_reached")
    await socket.create("lane7", input="hi")
    await socket.response("lane7")
    assert (await socket.response("lane7"))["status"] == "completed"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", None),
        ("[]", "invalid_type"),
        ("{}", "missing_required_parameter"),
        ('{"type": 7}', "invalid_type"),
        ('{"type": "response.destroy"}', "invalid_value"),
        ('{"type": "response.create", "model": "sim/standard"}', "missing_required_parameter"),
        ('{"type": "response.create", "input": "x"}', "missing_required_parameter"),
        ('{"type": "response.create", "model": "sim/standard", "input": "x", "stream_id": ""}', "invalid_stream_id"),
        ('{"type": "response.create", "model": "sim/standard", "input": "x", "stream_id": "a b"}', "invalid_stream_id"),
        ('{"type": "response.create", "model": "sim/standard", "input": "x", "generate": "no"}', "invalid_type"),
        ('{"type": "response.create", "model": "sim/standard", "input": "x", "bogus": 1}', "unknown_parameter"),
        (
            '{"type": "response.create", "model": "sim/standard", "input": "x", "background": true}',
            "unsupported_parameter",
        ),
        ('{"type": "response.create", "model": "nobody/none", "input": "x"}', "model_not_found"),
        ('{"type": "response.steer", "input": "x"}', "missing_required_parameter"),
    ],
)
async def test_a_wrong_message_is_an_error_event_and_ends_nothing(
    socket: Socket, message: str, code: str | None
) -> None:
    await socket.send(message)
    error = await socket.error()
    assert (error["status"], error["code"], error["type"]) == (400, code, "invalid_request_error")
    await socket.create(input="hi")
    assert (await socket.response())["status"] == "completed"


async def test_stream_fields_of_http_are_tolerated(socket: Socket) -> None:
    await socket.create(input="hi", stream=True, stream_options={"include_obfuscation": False}, background=False)
    assert (await socket.response())["status"] == "completed"


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("sk-antiphon-wrong-0123456789", 401)])
async def test_who_may_not_call_is_refused_before_the_upgrade(
    client: Client, http: aiohttp.ClientSession, key: str | None, status: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with connect(http, client.url, key):
            pass
    assert caught.value.status == status


async def test_another_path_is_no_websocket(client: Client, http: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with connect(http, client.url + "/conversations"):
            pass
    assert caught.value.status == 404


async def test_what_waits_when_the_client_leaves_is_not_begun(
    client: Client, upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    stalled = [Script((Say("Hello there, world."),), stall_after=3) for _ in range(20)]
    upstream.queue("m1", *stalled)
    async with connect(http, client.url) as opened:
        for number in range(20):  # more than are active at once
            await opened.create(str(number), model="chat/m1", input="hi")
        async with asyncio.timeout(5):
            while len(upstream.requests("m1")) < 16:  # noqa: ASYNC110 - until those that may have begun
                await asyncio.sleep(0.01)
    for request in upstream.requests("m1"):
        assert await asyncio.to_thread(request.left.wait, 5)
    await client.create({"model": "sim/standard", "input": "hi"})  # the server has had a turn since
    await asyncio.sleep(0.2)
    assert len(upstream.requests("m1")) == 16


async def test_a_client_that_leaves_closes_the_upstream(
    client: Client, http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    async with connect(http, client.url) as socket:
        await socket.create(model="chat/m1", input="hi")
        await socket.until("response.output_text.delta")
    assert await asyncio.to_thread(upstream.requests("m1")[-1].left.wait, 5)


async def test_a_client_that_breaks_the_protocol_ends_its_responses_and_no_error_is_logged(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    server = new_server(env={"ANTIPHON_MAX_RESPONSES": "8"})
    client = Client(http, server.url)
    for _ in range(5):
        async with connect(http, server.url) as socket:
            for lane in map(str, range(8)):
                await socket.create(lane, input="#sim slow 1ms\n#sim words 1000")
            await socket.until("response.output_text.delta", "7")
            os.write(socket.connection.get_extra_info("socket").fileno(), b"\x07\xff\xff\xff")  # no frame of any kind
            while (await socket.connection.receive()).type == aiohttp.WSMsgType.TEXT:
                pass
            assert socket.connection.close_code == aiohttp.WSCloseCode.PROTOCOL_ERROR
        await with_room(lambda: client.post({"model": "sim/standard", "input": "hi"}))
    assert '"level":"error"' not in server.log()


# -- steering


async def _steerable(socket: Socket, upstream: Upstream, *scripts: Script) -> str:
    """A response that speaks and then waits; its id."""
    upstream.queue("m1", *scripts)
    await socket.create(model="chat/m1", input="Tell me of Rome", tools=[LOOK])
    created = await socket.until("response.created")
    await socket.until("response.output_text.delta")
    return created["response"]["id"]


async def test_a_steered_response_ends_and_its_successor_goes_on(socket: Socket, upstream: Upstream) -> None:
    speaking = Script((Say("Rome is a very old city."),), stall_after=3)
    steered = await _steerable(socket, upstream, speaking, Script((Say("Oslo then."),)))
    await socket.send({"type": "response.steer", "previous_response_id": steered, "input": "Oslo instead"})
    accepted = await socket.until("response.steer.accepted")
    assert accepted["steer"]["previous_response_id"] == steered
    cut = await socket.response()
    assert (cut["id"], cut["status"], cut["incomplete_details"]) == (steered, "incomplete", {"reason": "steered"})
    assert await asyncio.to_thread(upstream.requests("m1")[0].left.wait, 5)
    successor = await socket.response()
    assert (successor["previous_response_id"], text_of(successor)) == (steered, "Oslo then.")
    assert successor["tools"] == cut["tools"]
    sent = upstream.requests("m1")[-1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert sent[-1]["content"] in ("Oslo instead", [{"type": "text", "text": "Oslo instead"}])


async def test_a_steer_waits_for_the_outputs_of_calls(socket: Socket, upstream: Upstream) -> None:
    calling = Script((Say("I look."), Call("look", "{}", call_id="call_1")), stall_after=6)
    steered = await _steerable(socket, upstream, calling, Script((Say("Done."),)))
    await socket.until("response.function_call_arguments.delta")
    await socket.send({"type": "response.steer", "previous_response_id": steered, "input": "And be brief"})
    await socket.until("response.steer.accepted")
    upstream.release()
    assert (await socket.response())["status"] == "completed"
    pending = await socket.until("response.steer.pending")
    assert pending["reason"] == "waiting_for_required_input"
    assert pending["required_input"] == [{"type": "function_call_output", "call_id": "call_1", "name": "look"}]
    output = pending["required_input"][0] | {"output": "sunny"}
    output.pop("name")
    await socket.create(model="chat/m1", input=[output], previous_response_id=steered, tools=[LOOK])
    assert text_of(await socket.response()) == "Done."
    sent = upstream.requests("m1")[-1].body["messages"]
    assert {"And be brief", "sunny"} <= {str(message.get("content")) for message in sent}


@pytest.mark.parametrize(
    ("steer", "code"),
    [
        ({"previous_response_id": "resp_none", "input": "x"}, "response_not_found"),
        ({"input": []}, "invalid_input"),
        ({"input": [{"role": "developer", "content": "x"}]}, "invalid_input"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "invalid_input"),
        ({"input": 7}, "invalid_input"),
    ],
)
async def test_a_steer_that_cannot_be_used_comes_back(
    socket: Socket, upstream: Upstream, steer: Json, code: str
) -> None:
    running = await _steerable(socket, upstream, Script((Say("Rome is old."),), stall_after=3))
    await socket.send({"type": "response.steer", "previous_response_id": running} | steer)
    failed = await socket.until("response.steer.failed")
    assert failed["error"]["code"] == code
    assert failed["steer"]["input"] == steer["input"]
    upstream.release()
    assert (await socket.response())["status"] == "completed"


async def test_a_response_that_has_ended_is_not_steered(socket: Socket) -> None:
    await socket.create(input="hi")
    done = await socket.response()
    await socket.send({"type": "response.steer", "previous_response_id": done["id"], "input": "x"})
    assert (await socket.until("response.steer.failed"))["error"]["code"] == "response_already_completed"


async def test_a_response_in_a_conversation_is_not_steered(socket: Socket, client: Client, upstream: Upstream) -> None:
    conversation = (await client.request("POST", "/conversations", json={})).body["id"]
    upstream.queue("m1", Script((Say("Rome is old."),), stall_after=3))
    await socket.create(model="chat/m1", input="x", conversation=conversation)
    running = (await socket.until("response.created"))["response"]["id"]
    await socket.send({"type": "response.steer", "previous_response_id": running, "input": "x"})
    failed = await socket.until("response.steer.failed")
    assert failed["error"]["code"] == "steering_not_supported"
    upstream.release()
    await socket.response()


# -- the connection's own life


async def test_a_slow_reader_gets_everything_in_order(client: Client, http: aiohttp.ClientSession) -> None:
    async with connect(http, client.url) as socket:
        await socket.create(input="#sim words 20000")
        await socket.until("response.created")
        transport = socket.connection._response.connection.transport
        transport.pause_reading()
        async with connect(http, client.url) as other:  # nobody else is held up
            await other.create(input="hi")
            assert (await other.response())["status"] == "completed"
        transport.resume_reading()
        assert len(text_of(await socket.response()).split()) == 20000


@pytest.mark.slow
async def test_a_drain_lets_responses_end_and_then_closes(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    server = new_server(env={"ANTIPHON_DRAIN_S": "5"})
    async with connect(http, server.url) as busy, connect(http, server.url) as idle:
        await busy.create(input="#sim slow 30ms\n#sim words 20")
        await busy.until("response.output_text.delta")
        server.terminate()
        closed = await asyncio.wait_for(idle.connection.receive(), 5)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        await busy.create("late", input="hi")
        assert (await busy.error("late"))["code"] == "service_unavailable"
        assert (await busy.response())["status"] == "completed"
        assert (await asyncio.wait_for(busy.connection.receive(), 5)).type == aiohttp.WSMsgType.CLOSE
    assert await asyncio.to_thread(server.wait) == 0
