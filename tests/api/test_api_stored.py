"""What is kept of a response, and how it is read, listed and deleted."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.client import Client, Json, calls_of
from tests.harness.process import DIALECTS, NEEDS_CLAUDE

pytestmark = pytest.mark.usefixtures("upstream")


@pytest.mark.parametrize("vendor", DIALECTS)
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_get_returns_what_create_returned(client: Client, vendor: str, is_streamed: bool) -> None:
    body: Json = {"model": f"{vendor}/m1", "input": "hi", "metadata": {"a": "b"}, "reasoning": {"effort": "low"}}
    made = (await client.stream(body)).response if is_streamed else await client.create(body)
    answer = await client.get(f"/responses/{made['id']}")
    assert answer.status == 200
    assert answer.body == made


async def test_a_deleted_response_is_gone_and_nothing_can_follow_it(client: Client) -> None:
    made = await client.create({"model": "chat/m1", "input": "hi"})
    path = f"/responses/{made['id']}"
    gone = await client.delete(path)
    assert gone.status == 200
    assert gone.body == {"id": made["id"], "object": "response", "deleted": True}
    for answer in (await client.get(path), await client.delete(path), await client.get(f"{path}/input_items")):
        assert answer.status == 404
        assert answer.error["message"] == f"Response with id '{made['id']}' not found."
    answer = await client.post({"model": "chat/m1", "input": "on", "previous_response_id": made["id"]})
    assert answer.error["code"] == "previous_response_not_found"


async def test_deleting_a_link_breaks_the_chain_behind_it(client: Client) -> None:
    one = await client.create({"model": "chat/m1", "input": "one"})
    two = await client.create({"model": "chat/m1", "input": "two", "previous_response_id": one["id"]})
    await client.delete(f"/responses/{one['id']}")
    answer = await client.post({"model": "chat/m1", "input": "three", "previous_response_id": two["id"]})
    assert answer.error["code"] == "previous_response_not_found"
    assert (await client.get(f"/responses/{two['id']}")).status == 200


def texts(listed: Json) -> list[str]:
    return [part["text"] for item in listed["data"] for part in item["content"]]


async def test_input_items_are_listed_newest_first_with_paging(client: Client) -> None:
    words: list[Any] = [{"role": "user", "content": f"w{number}"} for number in range(5)]
    made = await client.create({"model": "chat/m1", "input": words})
    path = f"/responses/{made['id']}/input_items"
    whole = (await client.get(path)).body
    assert whole["object"] == "list"
    assert texts(whole) == ["w4", "w3", "w2", "w1", "w0"]
    assert whole["has_more"] is False
    assert (whole["first_id"], whole["last_id"]) == (whole["data"][0]["id"], whole["data"][-1]["id"])
    first = (await client.get(f"{path}?order=asc&limit=2")).body
    assert (texts(first), first["has_more"]) == (["w0", "w1"], True)
    rest = (await client.get(f"{path}?order=asc&limit=10&after={first['last_id']}")).body
    assert (texts(rest), rest["has_more"]) == (["w2", "w3", "w4"], False)


async def test_input_items_hold_the_history_of_the_chain(client: Client) -> None:
    one = await client.create({"model": "chat/m1", "input": "one"})
    two = await client.create({"model": "chat/m1", "input": "two", "previous_response_id": one["id"]})
    listed = (await client.get(f"/responses/{two['id']}/input_items?order=asc")).body
    assert texts(listed) == ["one", "Turn 1. You said: one", "two"]
    assert len({item["id"] for item in listed["data"]}) == 3


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up", "include[]=bogus"])
async def test_a_bad_list_query_is_400_by_its_name(client: Client, query: str) -> None:
    made = await client.create({"model": "chat/m1", "input": "hi"})
    answer = await client.get(f"/responses/{made['id']}/input_items?{query}")
    assert answer.status == 400
    assert (answer.error["param"] or "").startswith(query.partition("=")[0].removesuffix("[]"))


@NEEDS_CLAUDE
async def test_encrypted_reasoning_is_shown_only_when_it_is_included(client: Client) -> None:
    made = await client.create({"model": "claude/m1", "input": "hi", "reasoning": {"effort": "low"}})
    assert "encrypted_content" not in made["output"][0]
    path = f"/responses/{made['id']}?include[]=reasoning.encrypted_content"
    shown = (await client.get(path)).body
    assert shown["output"][0]["type"] == "reasoning"


async def test_stored_calls_and_outputs_are_input_items_with_ids(client: Client) -> None:
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    one = await client.create({"model": "chat/m1", "input": "hi", "tools": [tool]})
    (call,) = calls_of(one)
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    body = {"model": "chat/m1", "input": [output], "previous_response_id": one["id"], "tools": [tool]}
    two = await client.create(body)
    listed = (await client.get(f"/responses/{two['id']}/input_items?order=asc")).body["data"]
    assert [item["type"] for item in listed] == ["message", "function_call", "function_call_output"]
    assert all(item["id"] for item in listed)
    assert listed[1]["id"] == call["id"]
