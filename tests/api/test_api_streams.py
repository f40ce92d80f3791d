"""Streaming over real sockets: one grammar on every dialect, and the same response as JSON mode gives."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import msgspec
import pytest
from tests.harness.client import KEY, Client, calls_of, text_of, timeless
from tests.harness.process import DIALECTS, NEEDS_CLAUDE
from tests.upstream.script import Call, Counts, Decline, Failure, Redacted, Say, Script, Think
from tests.upstream.server import Upstream

LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
SCRIPTS = {
    "text": Script((Say("Hello there, world."),)),
    "nothing": Script(()),
    "reasoning": Script((Think("Let me think about it."), Say("Done.")), counts=Counts(reasoning=5)),
    "call": Script((Call("look", '{"city":"Rome"}'),)),
    "call without arguments": Script((Call("look", "{}"),)),
    "reasoning, text and parallel calls": Script(
        (Think("Two cities."), Say("I look."), Call("look", '{"city":"Rome"}'), Call("look", '{"city":"Oslo"}'))
    ),
    "refusal": Script((Decline("I cannot do that."),)),
    "cut by length": Script((Say("Half an ans"),), finish="length"),
    "cut by the filter": Script((Say("Half an ans"),), finish="content_filter"),
    "failed in the middle": Script((Say("Hello there, world."),), fail=Failure(type="server_error"), fail_after=4),
}
WIRE_NOISE = {
    "odd chunks": Script((Say("Grüße 👋🏽 Welt"),), chunk_bytes=3),
    "CRLF and comments": Script((Say("Grüße 👋🏽 Welt"),), crlf=True, comments=True),
    "usage twice": Script((Say("Grüße 👋🏽 Welt"),), usage_twice=True),
}


@pytest.fixture(params=list(DIALECTS))
def vendor(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("case", SCRIPTS)
async def test_stream_and_json_give_the_same_response(
    client: Client, upstream: Upstream, vendor: str, case: str
) -> None:
    upstream.queue("m1", SCRIPTS[case], SCRIPTS[case])
    body = {"model": f"{vendor}/m1", "input": "hi", "tools": [LOOK]}
    streamed = await client.stream(body)
    if case == "failed in the middle":
        assert streamed.response["status"] == "failed"
        return
    assert timeless(await client.create(body)) == timeless(streamed.response)


@pytest.mark.parametrize("case", WIRE_NOISE)
async def test_noise_on_the_wire_changes_nothing(client: Client, upstream: Upstream, vendor: str, case: str) -> None:
    upstream.queue("m1", WIRE_NOISE[case])
    response = (await client.stream({"model": f"{vendor}/m1", "input": "hi"})).response
    assert text_of(response) == "Grüße 👋🏽 Welt"
    assert response["usage"]["total_tokens"] == 30


async def test_usage_has_openais_sense_on_every_dialect(client: Client, upstream: Upstream, vendor: str) -> None:
    written = 10 if vendor in ("chat", "claude", "converse") else 0
    counts = Counts(100, 60, written, 40, reasoning=0 if vendor in ("converse", "coh") else 15)
    upstream.queue("m1", Script((Think("hm"), Say("ok")), counts=counts))
    usage = (await client.create({"model": f"{vendor}/m1", "input": "hi"}))["usage"]
    assert usage == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": counts.cache_write},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": 140,
    }


@pytest.mark.parametrize("counts", [Counts(-20, -4, 0, -10, -5), Counts(2**63, 2**62, 0, 2**63, 2**62)])
async def test_counts_that_cannot_be_true_are_kept_from_the_bill(
    client: Client, upstream: Upstream, vendor: str, counts: Counts
) -> None:
    upstream.queue("m1", Script((Say("ok"),), counts=counts))
    response = await client.create({"model": f"{vendor}/m1", "input": "hi"})
    usage = response["usage"]
    given = [usage["input_tokens"], usage["output_tokens"]]
    given += [*usage["input_tokens_details"].values(), *usage["output_tokens_details"].values()]
    assert all(0 <= count <= 2**40 for count in given)
    assert usage["output_tokens_details"]["reasoning_tokens"] <= usage["output_tokens"]
    assert (await client.get(f"/responses/{response['id']}")).body == response  # it could be written


async def test_every_item_is_streamed_in_order(client: Client, upstream: Upstream, vendor: str) -> None:
    upstream.queue("m1", SCRIPTS["reasoning, text and parallel calls"])
    response = (await client.stream({"model": f"{vendor}/m1", "input": "hi", "tools": [LOOK]})).response
    carrier = ["reasoning"] if vendor == "gem" else []  # the signature of its first call
    types = ["reasoning", "message", *carrier, "function_call", "function_call"]
    assert [item["type"] for item in response["output"]] == types
    assert [call["arguments"] for call in calls_of(response)] == ['{"city":"Rome"}', '{"city":"Oslo"}']
    assert len({call["call_id"] for call in calls_of(response)}) == 2


async def test_a_refusal_is_said_in_a_part_or_by_the_reason(client: Client, upstream: Upstream, vendor: str) -> None:
    upstream.queue("m1", SCRIPTS["refusal"])
    response = (await client.stream({"model": f"{vendor}/m1", "input": "hi"})).response
    if vendor == "coh":
        assert text_of(response) == "I cannot do that."  # the wire has no word for it
    elif vendor in ("claude", "gem", "converse"):
        assert response["incomplete_details"] == {"reason": "content_filter"}
    else:
        parts = response["output"][0]["content"]
        assert parts == [{"type": "refusal", "refusal": "I cannot do that."}]


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
async def test_a_cut_answer_is_incomplete(
    client: Client, upstream: Upstream, vendor: str, finish: Any, reason: str
) -> None:
    if (vendor, finish) == ("coh", "content_filter"):
        pytest.skip("Cohere's wire names no filter")
    upstream.queue("m1", Script((Say("Half an ans"),), finish=finish))
    response = await client.create({"model": f"{vendor}/m1", "input": "hi"})
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": reason}


@NEEDS_CLAUDE
async def test_hidden_reasoning_still_is_an_item(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Redacted(), Think(""), Say("ok"))))
    response = (await client.stream({"model": "claude/m1", "input": "hi"})).response
    assert [item["type"] for item in response["output"]][-1] == "message"
    assert response["output"][0]["type"] == "reasoning"
    assert response["output"][0]["summary"] == []


async def test_obfuscation_pads_deltas_unless_it_is_turned_off(client: Client, vendor: str) -> None:
    body = {"model": f"{vendor}/m1", "input": "hi"}
    padded = [e for e in (await client.stream(body)).events if e["type"].endswith(".delta")]
    assert padded
    assert all(isinstance(event.get("obfuscation"), str) for event in padded)
    bare = await client.stream(body | {"stream_options": {"include_obfuscation": False}})
    assert not any("obfuscation" in event for event in bare.events)


async def test_done_is_the_last_line_of_a_stream(client: Client, vendor: str) -> None:
    streamed = await client.stream({"model": f"{vendor}/m1", "input": "hi"})
    assert streamed.raw.endswith(b"data: [DONE]\n\n")


async def test_created_arrives_before_the_model_says_anything(client: Client, upstream: Upstream, vendor: str) -> None:
    upstream.queue("m1", Script(stall_after=1))
    async with client.open_stream({"model": f"{vendor}/m1", "input": "hi"}) as opened:
        event = await opened.read_until("response.created")
        assert event["response"]["status"] == "in_progress"
        upstream.release()
        assert text_of((await opened.read_all()).response) == "Hello."


async def test_a_client_that_leaves_closes_the_upstream_at_once(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    upstream.queue("m1", Script(stall_after=2))
    async with client.open_stream({"model": f"{vendor}/m1", "input": "hi"}) as opened:
        await opened.read_until("response.in_progress")
    assert await asyncio.to_thread(upstream.requests("m1")[0].left.wait, 5)


async def test_a_client_that_reads_late_gets_every_event_once_and_in_order(client: Client) -> None:
    """More than the sockets hold: the log goes on, and what waited is sent when it can be."""
    host, _, port = client.url.removeprefix("http://").partition("/")[0].partition(":")
    body = msgspec.json.encode({"model": "sim/standard", "input": "#sim words 20000", "stream": True})
    head = f"POST /v1/responses HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n"
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, (host, int(port)))
        await loop.sock_sendall(raw, f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await asyncio.sleep(0.5)
        heard = bytearray()
        while piece := await loop.sock_recv(raw, 1 << 20):
            heard += piece
            if len(heard) < 500_000:
                await asyncio.sleep(0.001)
    found = [int(number) for number in re.findall(rb'"sequence_number":(\d+)', heard)]
    assert found == list(range(len(found)))
    assert len(found) > 20_000
    assert heard.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
