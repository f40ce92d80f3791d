"""Pitfalls of the provider reference that show only on a whole server, each by its number there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.harness.client import Client, Json, calls_of, text_of
from tests.harness.process import DIALECTS, NEEDS_CLAUDE
from tests.upstream.script import Call, Decline, Failure, Redacted, Say, Script, Think
from tests.upstream.server import Upstream

LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture(params=list(DIALECTS))
def vendor(request: pytest.FixtureRequest) -> str:
    return request.param


async def follow(client: Client, model: str, previous: Json, *items: Json) -> Json:
    body = {"model": model, "input": list(items), "previous_response_id": previous["id"], "tools": [LOOK]}
    return await client.create(body)


def output_of(call: Json, output: Any = "sunny") -> Json:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


async def test_pitfall_16_a_call_without_arguments_has_an_empty_object(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    upstream.queue("m1", Script((Call("look", "{}"),)))
    response = (await client.stream({"model": f"{vendor}/m1", "input": "hi", "tools": [LOOK]})).response
    assert [call["arguments"] for call in calls_of(response)] == ["{}"]


async def test_pitfall_21_output_is_accepted_unchanged_as_input(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    upstream.queue("m1", Script((Think("hm"), Say("I look."), Call("look", '{"city":"Rome"}'))))
    one = await client.create({"model": f"{vendor}/m1", "input": "How is Rome?", "tools": [LOOK]})
    items: list[Json] = [{"role": "user", "content": "How is Rome?"}, *one["output"], output_of(calls_of(one)[0])]
    two = await client.create({"model": f"{vendor}/m1", "input": items, "tools": [LOOK]})
    assert text_of(two) == "The tool said: sunny"


@pytest.mark.slow
async def test_pitfall_23_five_thousand_equal_deltas_pass(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("na" * 5000, piece=2),)))
    streamed = await client.stream({"model": "chat/m1", "input": "hi"})
    assert streamed.types.count("response.output_text.delta") == 5000
    assert text_of(streamed.response) == "na" * 5000


async def test_pitfall_26_three_parallel_calls_one_without_arguments(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    upstream.queue("m1", Script((Call("look", '{"city":"a"}'), Call("look", "{}"), Call("look", '{"city":"b"}'))))
    streamed = await client.stream({"model": f"{vendor}/m1", "input": "hi", "tools": [LOOK]})
    carrier = 1 if vendor == "gem" else 0  # the signature of its first call
    assert streamed.types.count("response.output_item.added") == 3 + carrier
    assert streamed.types.count("response.function_call_arguments.done") == 3


async def test_pitfall_37_an_error_chunk_in_a_200_stream_is_a_failure(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("Hello"),), fail=Failure(message="Provider broke."), fail_after=1))
    answer = await client.post({"model": "chat/m1", "input": "hi"})
    assert answer.status >= 500 or answer.body["status"] == "failed"


async def test_pitfall_57_an_empty_call_id_is_replaced(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Call("look", "{}", call_id=""),)))
    one = await client.create({"model": "chat/m1", "input": "a", "tools": [LOOK]})
    (call,) = calls_of(one)
    assert call["call_id"]
    assert text_of(await follow(client, "chat/m1", one, output_of(call))) == "The tool said: sunny"


async def test_pitfall_61_a_late_developer_item_keeps_its_place(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    items: list[Json] = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "so"},
        {"role": "developer", "content": "Speak French."},
        {"role": "user", "content": "second"},
    ]
    await client.create({"model": f"{vendor}/m1", "input": items})
    body = upstream.requests("m1")[0].body
    text = msgspec.json.encode(body.get("input") or body.get("messages") or body["contents"]).decode()
    assert text.index("first") < text.index("Speak French.")


@NEEDS_CLAUDE
async def test_pitfall_65_reasoning_without_summary_keeps_its_carrier(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Think(""), Redacted(), Say("ok"))))
    settings: Json = {"model": "claude/m1", "store": False}
    one = await client.create(settings | {"input": "hi"})
    assert one["output"][0]["summary"] == []
    again = [{"role": "user", "content": "hi"}, *one["output"], {"role": "user", "content": "more"}]
    await client.create(settings | {"input": again})
    turn = upstream.requests("m1")[1].body["messages"][1]["content"]
    assert [block["type"] for block in turn] == ["thinking", "redacted_thinking", "text"]


async def test_pitfall_73_call_ids_repeated_upstream_are_distinct_here(client: Client, upstream: Upstream) -> None:
    again = Script((Call("look", '{"city":"Rome"}', call_id="call_0"),))
    upstream.queue("m1", again, again)
    one = await client.create({"model": "chat/m1", "input": "a", "tools": [LOOK]})
    two = await follow(client, "chat/m1", one, output_of(calls_of(one)[0]), {"role": "user", "content": "b"})
    assert calls_of(one)[0]["call_id"] != calls_of(two)[0]["call_id"]
    three = await follow(client, "chat/m1", two, output_of(calls_of(two)[0], "rainy"))
    assert text_of(three) == "The tool said: rainy"


async def test_pitfall_89_there_are_no_empty_messages(client: Client, upstream: Upstream, vendor: str) -> None:
    upstream.queue("m1", Script((Think("hm"), Call("look", "{}"))))
    response = await client.create({"model": f"{vendor}/m1", "input": "a", "tools": [LOOK]})
    assert [item["type"] for item in response["output"]] == ["reasoning", "function_call"]


async def test_pitfall_92_content_list_outputs_reach_every_dialect(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    one = await client.create({"model": f"{vendor}/m1", "input": "a", "tools": [LOOK]})
    parts = [{"type": "input_text", "text": "sun"}, {"type": "input_text", "text": "ny"}]
    two = await follow(client, f"{vendor}/m1", one, output_of(calls_of(one)[0], parts))
    assert "sun" in text_of(two)
    assert len(upstream.requests("m1")) == 2


@NEEDS_CLAUDE
async def test_pitfall_103_temperature_never_reaches_a_claude_that_refuses_it(
    client: Client, upstream: Upstream
) -> None:
    answer = await client.post({"model": "claude/m1", "input": "a", "temperature": 0.5})
    assert answer.status in (200, 400)
    assert upstream.refusals == []
    if answer.status == 200 and "temperature" not in upstream.requests("m1")[0].body:
        assert "temperature" in answer.headers["antiphon-dropped"]


async def test_a_refused_turn_can_be_followed(client: Client, upstream: Upstream, vendor: str) -> None:
    upstream.queue("m1", Script((Decline("No."),)))
    one = await client.create({"model": f"{vendor}/m1", "input": "bad"})
    two = await follow(client, f"{vendor}/m1", one, {"role": "user", "content": "good"})
    assert two["status"] == "completed"


async def test_an_empty_turn_can_be_followed(client: Client, upstream: Upstream, vendor: str) -> None:
    upstream.queue("m1", Script(()))
    one = await client.create({"model": f"{vendor}/m1", "input": "say nothing"})
    assert one["output"] == []
    two = await follow(client, f"{vendor}/m1", one, {"role": "user", "content": "good"})
    assert two["status"] == "completed"


async def test_a_failed_turn_can_be_followed(client: Client, upstream: Upstream, vendor: str) -> None:
    failure = Failure(type="overloaded_error" if vendor == "claude" else "server_error")
    upstream.queue("m1", Script((Think("hm"), Say("Half an answer")), fail=failure, fail_after=4))
    one = (await client.stream({"model": f"{vendor}/m1", "input": "one"})).response
    assert one["status"] == "failed"
    two = await follow(client, f"{vendor}/m1", one, {"role": "user", "content": "two"})
    assert two["status"] == "completed"
