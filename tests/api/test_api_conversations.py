"""Conversations over real sockets: items, limits, the lock, and what is written when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.harness.client import Client, Json, text_of
from tests.harness.process import DIALECTS
from tests.upstream.script import Call, Failure, Say, Script, Think
from tests.upstream.server import Upstream

LOOK: Json = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}


async def conversation(client: Client, **body: Any) -> str:
    answer = await client.request("POST", "/conversations", json=body)
    assert answer.status == 200, answer.body
    assert set(answer.body) == {"id", "object", "created_at", "metadata"}
    return answer.body["id"]


async def items(client: Client, conversation_id: str, query: str = "?order=asc&limit=100") -> list[Json]:
    answer = await client.get(f"/conversations/{conversation_id}/items{query}")
    assert answer.status == 200, answer.body
    return answer.body["data"]


def words(rows: list[Json]) -> list[str]:
    return [row["content"][0]["text"] for row in rows if row["type"] == "message"]


@pytest.mark.parametrize("vendor", list(DIALECTS))
async def test_input_and_output_join_the_conversation_and_the_next_turn_sees_them(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    upstream.queue("m1", Script((Think("Hm."), Say("Hello Ann."))), Script((Say("You are Ann."),)))
    where = await conversation(client, items=[{"role": "developer", "content": "Be brief."}])
    body = {"model": f"{vendor}/m1", "conversation": where, "reasoning": {"effort": "low"}}
    first = await client.create(body | {"input": "I am Ann"})
    assert first["conversation"] == {"id": where}
    await client.create(body | {"input": "Who am I?"})
    rows = await items(client, where)
    assert words(rows) == ["Be brief.", "I am Ann", "Hello Ann.", "Who am I?", "You are Ann."]
    assert [row["id"] for row in rows if row in first["output"]] == [item["id"] for item in first["output"]]
    sent = upstream.requests("m1")[-1].raw.decode()
    for word in ("Be brief.", "I am Ann", "Hello Ann.", "Who am I?"):
        assert word in sent


async def test_calls_and_their_outputs_go_on_in_a_conversation(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Call("look", "{}", call_id="call_1"),)), Script((Say("Sunny."),)))
    where = await conversation(client)
    body = {"model": "chat/m1", "conversation": where, "tools": [LOOK]}
    await client.create(body | {"input": "Look"})
    missing = await client.post(body | {"input": "well?"})
    assert (missing.status, "No tool output found" in missing.error["message"]) == (400, True)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "sun"}
    assert text_of(await client.create(body | {"input": [output]})) == "Sunny."
    rows = await items(client, where)
    assert [row["type"] for row in rows] == ["message", "function_call", "function_call_output", "message"]


async def test_a_deleted_output_takes_its_call_out_of_the_models_sight(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Call("look", "{}", call_id="call_1"),)), Script((Say("Sunny."),)))
    where = await conversation(client)
    body = {"model": "chat/m1", "conversation": where, "tools": [LOOK]}
    await client.create(body | {"input": "Look"})
    await client.create(body | {"input": [{"type": "function_call_output", "call_id": "call_1", "output": "sun"}]})
    output = next(row for row in await items(client, where) if row["type"] == "function_call_output")
    answer = await client.delete(f"/conversations/{where}/items/{output['id']}")
    assert (answer.status, answer.body["id"]) == (200, where)
    await client.create(body | {"input": "And now?"})
    sent = upstream.requests("m1")[-1].raw.decode()
    assert "call_1" not in sent
    assert "Sunny." in sent


async def test_what_fails_or_is_left_adds_nothing_and_frees_the_lock(client: Client, upstream: Upstream) -> None:
    where = await conversation(client)
    body = {"model": "chat/m1", "conversation": where, "input": "hi"}
    upstream.queue("m1", Script(refuse=Failure(400, "invalid_request_error")))
    assert (await client.post(body)).status == 400
    upstream.queue("m1", Script((Say("Hello there, world."),), fail=Failure(), fail_after=4))
    assert (await client.create(body))["status"] == "failed"
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    async with client.open_stream(body) as opened:
        await opened.read_until("response.output_text.delta")
    assert await asyncio.to_thread(upstream.requests("m1")[-1].left.wait, 5)
    async with asyncio.timeout(5):
        while (answer := await client.post(body)).status == 400:
            assert answer.error["code"] == "conversation_locked"
    assert answer.status == 200
    assert len(await items(client, where)) == 2


async def test_while_one_runs_the_conversation_is_locked(client: Client, upstream: Upstream) -> None:
    where = await conversation(client)
    body = {"model": "chat/m1", "conversation": where, "input": "hi"}
    upstream.queue("m1", Script((Say("Hello there, world."),), stall_after=3))
    async with client.open_stream(body) as opened:
        await opened.read_until("response.output_text.delta")
        busy = await client.post(body)
        assert (busy.status, busy.error["code"], busy.error["param"]) == (400, "conversation_locked", "conversation")
        adding = await client.request(
            "POST", f"/conversations/{where}/items", json={"items": [{"role": "user", "content": "x"}]}
        )
        assert (adding.status, adding.error["code"]) == (400, "conversation_locked")
        upstream.release()
        await opened.read_all()
    assert len(await items(client, where)) == 2


async def test_a_background_response_writes_to_its_conversation(client: Client) -> None:
    where = await conversation(client)
    answer = await client.post(
        {"model": "sim/standard", "conversation": where, "input": "Say hello", "background": True}
    )
    async with asyncio.timeout(5):
        while (await client.get(f"/responses/{answer.body['id']}")).body["status"] != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert words(await items(client, where)) == ["Say hello", "hello"]


async def test_a_chain_goes_on_from_a_response_of_a_conversation(client: Client) -> None:
    where = await conversation(client, items=[{"role": "user", "content": "My name is Ann"}])
    first = await client.create({"model": "sim/standard", "conversation": where, "input": "hi"})
    await client.create({"model": "sim/standard", "conversation": where, "input": "My name is Bo now"})
    later = await client.create(
        {"model": "sim/standard", "previous_response_id": first["id"], "input": "What is my name?"}
    )
    assert "Ann" in text_of(later)
    listed = (await client.get(f"/responses/{later['id']}/input_items?order=asc")).body["data"]
    assert words(listed)[0] == "My name is Ann"


async def test_pages_go_both_ways(client: Client) -> None:
    rows = [{"role": "user", "content": str(number)} for number in range(5)]
    where = await conversation(client, items=rows)
    assert words(await items(client, where, "")) == ["4", "3", "2", "1", "0"]
    page = (await client.get(f"/conversations/{where}/items?limit=2&order=asc")).body
    assert (words(page["data"]), page["has_more"]) == (["0", "1"], True)
    page = (await client.get(f"/conversations/{where}/items?limit=3&order=asc&after={page['last_id']}")).body
    assert (words(page["data"]), page["has_more"]) == (["2", "3", "4"], False)
    back = await client.get(f"/conversations/{where}/items?limit=3&after={page['first_id']}")
    assert words(back.body["data"]) == ["1", "0"]
    assert (await client.get(f"/conversations/{where}/items?after=msg_none")).status == 400


async def test_an_item_can_be_referred_to_and_survives_its_response(client: Client) -> None:
    where = await conversation(client, items=[{"role": "user", "content": "My name is Ann"}])
    made = await client.create({"model": "sim/standard", "conversation": where, "input": "Say hello"})
    await client.delete(f"/responses/{made['id']}")
    rows = await items(client, where)
    references = [{"type": "item_reference", "id": row["id"]} for row in rows]
    answer = await client.create(
        {"model": "sim/standard", "input": [*references, {"role": "user", "content": "What is my name?"}]}
    )
    assert "Ann" in text_of(answer)
    other = await conversation(client, items=references[:2])
    assert words(await items(client, other)) == words(rows)[:2]


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        ("", {"items": [{"role": "user", "content": "x"}] * 21}, "array_above_max_length", "items"),
        ("", {"metadata": {"k" * 65: "v"}}, None, "metadata"),
        ("", {"metadata": {"k": "v" * 513}}, None, "metadata"),
        ("", {"metadata": {str(number): "v" for number in range(17)}}, "object_above_max_properties", "metadata"),
        ("", {"items": [{"role": "nobody", "content": "x"}]}, "invalid_value", "items[0].role"),
        ("", {"items": [{"type": "item_reference", "id": "x"}]}, None, "items[0].id"),
        ("", {"title": "x"}, "unknown_parameter", "title"),
        ("/ID", {}, "missing_required_parameter", "metadata"),
        ("/ID/items", {}, "missing_required_parameter", "items"),
        ("/ID/items", {"items": 7}, "invalid_type", "items"),
    ],
)
async def test_a_wrong_body_is_refused_by_name(
    client: Client, path: str, body: Json, code: str | None, param: str
) -> None:
    where = await conversation(client)
    answer = await client.request("POST", "/conversations" + path.replace("ID", where), json=body)
    assert answer.status in (400, 404)
    assert code is None or answer.error["code"] == code
    assert answer.error["param"].startswith(param)


async def test_metadata_is_replaced_and_a_deleted_conversation_is_gone(client: Client) -> None:
    where = await conversation(client, metadata={"a": "1"}, items=[{"role": "user", "content": "x"}])
    path = f"/conversations/{where}"
    assert (await client.request("POST", path, json={"metadata": {"b": "2"}})).body["metadata"] == {"b": "2"}
    assert (await client.request("POST", path, json={"metadata": None})).body["metadata"] == {}
    gone = await client.delete(path)
    assert gone.body == {"id": where, "object": "conversation.deleted", "deleted": True}
    for answer in (await client.delete(path), await client.get(path), await client.get(path + "/items")):
        assert (answer.status, answer.error["message"]) == (404, f"Conversation with id '{where}' not found.")
    used = await client.post({"model": "sim/standard", "conversation": where, "input": "x"})
    assert (used.status, used.error["param"], used.error["code"]) == (404, None, None)
