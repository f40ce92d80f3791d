"""What one process takes on at once: responses, bytes of bodies, open files. Who finds no room is told at once."""

from __future__ import annotations

import asyncio
import io
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack

import aiohttp
import msgspec
import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from openai.types.responses import Response
from tests.harness.client import Answer, Client, with_room
from tests.harness.process import KEY, ServerProcess
from tests.harness.socket import connect
from tests.upstream.server import Upstream

STALL = {"model": "sim/standard", "input": "#sim stall"}
HELLO = {"model": "sim/standard", "input": "hi"}
LARGE = 110_000
TWO_AT_ONCE = {"ANTIPHON_MAX_RESPONSES": "2"}
FEW_BYTES = {"ANTIPHON_MAX_BODY_BYTES": "200000", "ANTIPHON_MAX_BODIES_BYTES": "300000"}


def check_overloaded(answer: Answer) -> None:
    assert answer.status == 503, answer.body
    assert answer.error["code"] == "server_is_overloaded"
    assert answer.error["type"] == "server_error"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["connection"] == "close"  # a new one may come to another process


async def test_more_responses_at_once_than_the_server_may_make_are_503(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    client = Client(http, new_server(env=TWO_AT_ONCE).url)
    async with client.open_stream(STALL) as first, client.open_stream(STALL) as second:
        await first.read_until("response.created")
        await second.read_until("response.created")
        check_overloaded(await client.post(HELLO))
        check_overloaded(await client.post(HELLO | {"stream": True}))
        check_overloaded(await client.post(HELLO, headers={"idempotency-key": "again"}))
        assert (await client.get("/models")).status == 200  # what makes no response goes on
        assert (await client.request("GET", f"{client.url.removesuffix('/v1')}/ready")).status == 200
        queued = await client.post(HELLO | {"background": True})
        assert queued.status == 200
    answer = await with_room(lambda: client.post(HELLO, headers={"idempotency-key": "again"}))
    assert answer.body["status"] == "completed"
    assert "idempotent-replayed" not in answer.headers
    assert (await client.get(f"/responses/{queued.body['id']}")).body["status"] == "completed"


async def test_a_socket_is_told_too_and_stays_open(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    server = new_server(env={"ANTIPHON_MAX_RESPONSES": "1"})
    client = Client(http, server.url)
    async with connect(http, server.url) as socket:
        async with client.open_stream(STALL) as stream:
            await stream.read_until("response.created")
            await socket.create(input="hi")
            refused = await socket.error()
            assert (refused["status"], refused["code"]) == (503, "server_is_overloaded")
        await with_room(lambda: client.post(HELLO))
        await socket.create(input="hi")
        assert (await socket.response())["status"] == "completed"


async def test_the_sdk_comes_back_by_itself(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    url = new_server(env={"ANTIPHON_MAX_RESPONSES": "1"}).url
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=3) as sdk:
        async with asyncio.TaskGroup() as group, Client(http, url).open_stream(STALL) as stream:
            await stream.read_until("response.created")
            with pytest.raises(openai.InternalServerError) as refused:
                await _hello(sdk.with_options(max_retries=0))
            assert refused.value.code == "server_is_overloaded"
            waiting = group.create_task(_hello(sdk))
            await asyncio.sleep(0.1)
        assert waiting.result().status == "completed"


async def _hello(sdk: openai.AsyncOpenAI) -> Response:
    return await sdk.responses.create(model="sim/standard", input="hi")


async def test_bodies_beyond_what_the_server_may_hold_are_503(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    client = Client(http, new_server(env=FEW_BYTES).url)
    large = HELLO | {"input": "x" * LARGE}
    async with client.open_stream(STALL | {"instructions": "x" * 199_000}) as stream:
        await stream.read_until("response.created")
        check_overloaded(await client.post(large | {"metadata": {"large": "yes"}}))
        check_overloaded(await client.request("POST", "/responses/input_tokens", json=large))
        check_overloaded(await client.request("POST", "/responses", data=_pieces(LARGE)))
        assert (await client.post(HELLO)).status == 200
    assert (await with_room(lambda: client.post(large))).status == 200
    for _ in range(4):  # and each gives back what it held, refused or not
        assert (await client.post(large)).status == 200
        assert (await client.post(large | {"bogus": 1})).status == 400
        assert (await client.with_key("sk-wrong").post(large)).status == 401


@pytest.mark.parametrize("kind", ["chain", "conversation"])
async def test_what_requests_continue_is_held_too_until_they_end(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, kind: str
) -> None:
    client = Client(http, new_server(env=FEW_BYTES).url)
    said = HELLO | {"input": "x" * 80_000}
    links: list[dict[str, str]] = []
    for _ in range(4):
        if kind == "chain":
            links.append({"previous_response_id": (await client.create(said))["id"]})
        else:
            links.append({"conversation": (await client.request("POST", "/conversations", json={})).body["id"]})
            await client.create(said | links[-1])
    async with AsyncExitStack() as stack:
        for link in links[:3]:
            stream = await stack.enter_async_context(client.open_stream(STALL | link))
            await stream.read_until("response.created")
        for more in ({}, {"stream": True}, {"background": True}):
            check_overloaded(await client.post(HELLO | links[3] | more))
        check_overloaded(await client.request("POST", "/responses/input_tokens", json=HELLO | links[3]))
        if kind == "chain":
            check_overloaded(await client.get(f"/responses/{links[3]['previous_response_id']}/input_items"))
        assert (await client.post(HELLO)).status == 200
    assert (await with_room(lambda: client.post(HELLO | links[3]))).status == 200
    for _ in range(4):
        assert (await client.post(HELLO | links[3])).status == 200
        assert (await client.post(HELLO | links[3] | {"model": "sim/none"})).status == 404
    twice = await client.create(said | links[3])
    longer = {"previous_response_id": twice["id"]} if kind == "chain" else links[3]
    assert (await client.post(HELLO | longer)).error["code"] == "context_length_exceeded"  # more than half of the room


async def test_answers_that_nobody_reads_are_held_too(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    limits = {"ANTIPHON_MAX_BODY_BYTES": "8000000", "ANTIPHON_MAX_BODIES_BYTES": "16000000"}
    server = new_server(env=limits)
    client = Client(http, server.url)
    body = io.BytesIO(msgspec.json.encode(HELLO | {"instructions": "x" * 7_000_000}))
    made = (await client.request("POST", "/responses", data=body)).body
    path, loop = f"/responses/{made['id']}", asyncio.get_running_loop()
    head = f"GET /v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(12):  # the system itself holds some megabytes of each
            small = stack.enter_context(socket.socket())
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            small.connect(("127.0.0.1", server.port))
            small.setblocking(False)
            await loop.sock_sendall(small, head.encode())
            if not (await loop.sock_recv(small, 100)).startswith(b"HTTP/1.1 200"):
                break
        else:
            pytest.fail("all were answered")
        check_overloaded(await client.get(path))
        check_overloaded(await client.request("POST", "/responses", data=io.BytesIO(body.getvalue())))
        assert (await client.get("/models")).status == 200
    assert (await with_room(lambda: client.get(path))).body == made
    for _ in range(4):
        assert (await client.get(path)).status == 200


async def test_media_fetched_by_url_is_held_too(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"\x89PNG\r\n\x1a\n" + bytes(120_000))

    app = web.Application()
    app.router.add_get("/{name}", answer)
    async with TestServer(app) as site:
        client = Client(http, new_server(env=FEW_BYTES, config="[media]\nallow_private = true").url)

        def showing(*names: str) -> dict[str, object]:
            parts = [{"type": "input_image", "image_url": str(site.make_url(f"/{name}"))} for name in names]
            return {"model": "gem/m1", "input": [{"role": "user", "content": parts}], "store": False}

        check_overloaded(await client.post(showing("a", "b", "c")))
        assert upstream.requests() == []
        for _ in range(4):  # fetched anew, or kept
            assert (await client.post(showing("d"))).status == 200


async def _pieces(size_bytes: int) -> AsyncIterator[bytes]:
    """A body that does not say how large it will be."""
    for _ in range(0, size_bytes, 1000):
        yield b" " * 1000


async def test_creates_that_wait_on_a_socket_are_held_and_given_back(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession
) -> None:
    server = new_server(env=FEW_BYTES)
    client = Client(http, server.url)
    large = HELLO | {"input": "x" * LARGE}
    async with connect(http, server.url) as socket:
        await socket.create(input="#sim stall")
        await socket.event()
        for _ in range(3):
            await socket.create(input="x" * LARGE)  # behind the one that stalls
        while (event := await socket.event())["type"] != "error":
            pass
        assert event["error"]["code"] == "server_is_overloaded"
        check_overloaded(await client.post(large))
    for _ in range(3):
        assert (await with_room(lambda: client.post(large))).status == 200


async def test_the_server_asks_for_as_many_files_as_it_may_have(new_server: Callable[..., ServerProcess]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        server = new_server()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert found == min(hard, 1 << 20)


def test_few_files_bound_the_responses_and_doctor_says_so() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 528))\n"
        "from antiphon.server.open_files import open_files, raise_open_files, responses_within\n"
        "from antiphon.config import Settings\n"
        "from antiphon.cli.doctor import _files\n"
        "print(open_files(), raise_open_files(), responses_within(raise_open_files()), responses_within(3))\n"
        "print(_files(Settings()).detail)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20)
    counted, said = done.stdout.splitlines()
    assert counted == "64 528 100 1"
    assert said.startswith("528 are enough for 100 responses at once, not for 4,000: raise the hard limit")
