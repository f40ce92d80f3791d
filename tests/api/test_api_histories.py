"""Clients that keep their conversation and send all of it with every turn: what a model is sent is what they sent."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import msgspec
import pytest
from tests.api.test_api_state import LOOK, THINKERS
from tests.harness.client import Client, Json
from tests.harness.process import DIALECTS, ServerProcess
from tests.upstream.script import Call, Say, Script, Think
from tests.upstream.server import Upstream

LONG = "word " * 1_000


async def create(client: Client, body: Json, begin: bytes = b"[") -> Json:
    """A response to this body, whose input begins so: with blanks of its own it is like nothing that came before."""
    array = msgspec.Raw(begin + msgspec.json.encode(body["input"])[1:])
    data = msgspec.json.encode(body | {"input": array})
    answer = await client.request("POST", "/responses", data=data, headers={"content-type": "application/json"})
    assert answer.status == 200, answer.body
    return answer.body


@pytest.mark.parametrize("vendor", list(DIALECTS))
async def test_what_goes_on_is_sent_as_what_begins_anew(client: Client, upstream: Upstream, vendor: str) -> None:
    name = THINKERS.get(vendor, "m1")
    settings: Json = {"model": f"{vendor}/{name}", "store": False, "include": ["reasoning.encrypted_content"]}
    settings |= {"tools": [LOOK], "reasoning": {"effort": "low"}, "instructions": "Be brief."}
    history: list[Json] = [{"role": "user", "content": f"Look around. {LONG}"}]
    for number in range(5):
        says = (Think("Hm."), Say(f"Looking {number}."), Call("look", "{}"))
        upstream.queue(name, Script(says), Script((Say("Seen."),)))
        body = settings | {"input": history}
        output = (await create(client, body))["output"]
        kept = upstream.requests(name)[-1].raw
        await create(client, body, b"[" + b" " * (number + 1))
        assert upstream.requests(name)[-1].raw == kept
        history += output
        called = [item["call_id"] for item in output if item["type"] == "function_call"]
        history += [{"type": "function_call_output", "call_id": call_id, "output": "a tree"} for call_id in called]
        history += [{"role": "user", "content": f"Go on, {number}."}] if number % 3 else []


async def test_two_that_began_alike_are_told_apart(client: Client, upstream: Upstream) -> None:
    begun: list[Json] = [{"role": "user", "content": f"Look around. {LONG}"}]
    for number in range(6):
        upstream.queue("m1", *(Script((Say(f"{number}"),)) for _ in range(2)))
        mine, yours = ([*begun, {"role": "user", "content": f"{name} {number}"}] for name in ("mine", "yours"))
        for said in (mine, yours):
            await client.create({"model": "chat/m1", "input": said})
            sent = upstream.requests("m1")[-1].raw.decode()
            assert ("mine" in sent, "yours" in sent) == (said is mine, said is yours)
        begun = [*begun, {"role": "assistant", "content": f"So {number}."}]


async def test_what_is_wrong_with_the_latest_is_said_by_its_place(client: Client, upstream: Upstream) -> None:
    history: list[Json] = [{"role": "user", "content": LONG}] * 3
    for _ in range(3):
        upstream.queue("m1", Script((Say("Hi."),)))
        await client.create({"model": "chat/m1", "input": history})
    wrong = {"type": "message", "role": "nobody", "content": "x"}
    answer = await client.post({"model": "chat/m1", "input": [*history, {"role": "user", "content": "y"}, wrong]})
    assert (answer.status, answer.body["error"]["param"]) == (400, "input[4].role")
    lost = {"type": "function_call_output", "call_id": "call_0", "output": "x"}
    answer = await client.post({"model": "chat/m1", "input": [*history, lost]})
    assert answer.status == 400
    assert "call_0" in answer.body["error"]["message"]
    upstream.queue("m1", Script((Say("Hi."),)))
    await client.create({"model": "chat/m1", "input": [*history, {"role": "user", "content": "y"}]})


async def test_a_server_that_keeps_nothing_answers_the_same(
    new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream
) -> None:
    client = Client(http, new_server(env={"ANTIPHON_MAX_KNOWN_BYTES": "0"}).url)
    history: list[Json] = [{"role": "user", "content": f"word0. {LONG}"}]
    previous: Json = {}
    for number in range(1, 5):
        upstream.queue("m1", *(Script((Say(f"word{number}."),)) for _ in range(2)))
        previous = await client.create({"model": "chat/m1", "input": history[-1:]} | previous)
        chained = upstream.requests("m1")[-1].raw
        await client.create({"model": "chat/m1", "input": history, "store": False})
        assert upstream.requests("m1")[-1].raw == chained
        history += [*previous["output"], {"role": "user", "content": f"So {number}?"}]
        previous = {"previous_response_id": previous["id"]}
