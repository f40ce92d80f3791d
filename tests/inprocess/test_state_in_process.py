"""Chains, references, carriers and deletion, through the whole server in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.inprocess.rig import Rig

TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig.open(tmp_path) as opened:
        yield opened


def text(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


async def test_a_chain_remembers_and_branches(rig: Rig) -> None:
    first = (await rig.post({"input": "My name is Ada."})).response
    second = (await rig.post({"input": "What is my name?", "previous_response_id": first["id"]})).response
    assert "Ada" in text(second)
    renamed = (await rig.post({"input": "My name is Bob.", "previous_response_id": first["id"]})).response
    third = (await rig.post({"input": "What is my name?", "previous_response_id": second["id"]})).response
    assert "Ada" in text(third)
    fourth = (await rig.post({"input": "What is my name?", "previous_response_id": renamed["id"]})).response
    assert "Bob" in text(fourth)


async def test_the_stream_and_the_json_answer_are_one_response(rig: Rig) -> None:
    whole = (await rig.post({"input": "count to five", "reasoning": {"effort": "low", "summary": "auto"}})).response
    body = {"input": "count to five", "reasoning": {"effort": "low", "summary": "auto"}, "stream": True}
    streamed = (await rig.post(body)).response
    own = ("id", "created_at", "completed_at", "output")
    assert {key: value for key, value in whole.items() if key not in own} == {
        key: value for key, value in streamed.items() if key not in own
    }
    without_ids = [[{**item, "id": ""} for item in response["output"]] for response in (whole, streamed)]
    assert without_ids[0] == without_ids[1]


async def test_a_stored_response_is_what_was_sent_and_is_gone_once_deleted(rig: Rig) -> None:
    made = await rig.post({"input": "Hi"})
    identity = made.response["id"]
    assert (await rig.get(f"/responses/{identity}")).raw == made.raw
    deleted = await rig.request("DELETE", f"/v1/responses/{identity}")
    assert deleted.body == {"id": identity, "object": "response", "deleted": True}
    assert (await rig.get(f"/responses/{identity}")).status == 404
    assert (await rig.request("DELETE", f"/v1/responses/{identity}")).status == 404
    after = await rig.post({"input": "x", "previous_response_id": identity})
    assert (after.status, after.error["code"]) == (400, "previous_response_not_found")


async def test_input_items_page_through_the_chain_newest_first(rig: Rig) -> None:
    first = (await rig.post({"input": "one"})).response
    second = (
        await rig.post({"input": [{"role": "user", "content": "two"}], "previous_response_id": first["id"]})
    ).response
    page = (await rig.get(f"/responses/{second['id']}/input_items?limit=2")).body
    assert page["data"][0]["content"][0]["text"] == "two"
    assert page["has_more"] is True
    rest = (await rig.get(f"/responses/{second['id']}/input_items?after={page['last_id']}")).body
    assert rest["has_more"] is False
    whole = (await rig.get(f"/responses/{second['id']}/input_items?order=asc")).body["data"]
    assert whole == [*rest["data"][::-1], *page["data"][::-1]]
    assert len({item["id"] for item in whole}) == 3
    assert (await rig.get(f"/responses/{second['id']}/input_items?after=msg_no")).error["param"] == "after"


async def test_what_is_too_large_to_be_read_is_not_continued(rig: Rig) -> None:
    first = (await rig.post({"input": "a" * 5_000})).response
    second = (await rig.post({"input": "b" * 5_000, "previous_response_id": first["id"]})).response
    made = (await rig.request("POST", "/v1/conversations", b"{}")).body
    for letter in "cd":
        await rig.post({"input": letter * 5_000, "conversation": made["id"]})
    stored = await rig.store.load(rig.project, first["id"])
    assert stored is not None
    rig.store.max_context_bytes = stored.size_bytes + 1_000
    assert (await rig.post({"input": "hi", "previous_response_id": first["id"]})).status == 200
    for links in ("known", "unknown"):
        for way in ({"previous_response_id": second["id"]}, {"conversation": made["id"]}):
            answer = await rig.post({"input": "hi"} | way)
            assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded"), (links, way)
            assert f"{rig.store.max_context_bytes:,} bytes" in answer.error["message"]
        rig.table.ports.links.forget(second["id"])
        rig.table.ports.conversations.forget(made["id"])
    assert (await rig.get(f"/responses/{second['id']}/input_items")).status == 400
    assert (await rig.get(f"/responses/{second['id']}")).status == 200
    assert len((await rig.get(f"/conversations/{made['id']}/items")).body["data"]) == 4


async def test_a_page_that_is_large_enough_ends(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.server.pages.PAGE_BYTES", 5_000)
    items = [{"role": "user", "content": letter * 4_000} for letter in "abcde"]
    response = (await rig.post({"input": items})).response
    seen, after = list[str](), ""
    for _ in range(3):
        page = (await rig.get(f"/responses/{response['id']}/input_items?order=asc{after}")).body
        seen.append("".join(item["content"][0]["text"][0] for item in page["data"]))
        after = f"&after={page['last_id']}"
    assert (seen, page["has_more"]) == (["ab", "cd", "e"], False)


async def test_items_may_be_named_by_reference(rig: Rig) -> None:
    first = (await rig.post({"input": "weather in Paris", "tools": [TOOL], "reasoning": {"effort": "low"}})).response
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    call = next(item for item in first["output"] if item["type"] == "function_call")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny #sim recall"}
    body = {"input": [{"role": "user", "content": "weather in Paris"}, *references, output], "tools": [TOOL]}
    assert (await rig.post(body)).response["status"] == "completed"


async def test_a_reference_to_nothing_is_404_and_to_anothers_item_too(rig: Rig) -> None:
    made = (await rig.post({"input": "Hi"})).response
    item = {"type": "item_reference", "id": made["output"][0]["id"]}
    other = await rig.keys.create("another")
    foreign = {"authorization": f"Bearer {other.key}"}
    assert (await rig.post({"input": [item]}, headers=foreign)).status == 404
    assert (await rig.get(f"/responses/{made['id']}", headers=foreign)).status == 404
    assert (await rig.request("DELETE", f"/v1/responses/{made['id']}", headers=foreign)).status == 404
    refused = await rig.post({"input": "x", "previous_response_id": made["id"]}, headers=foreign)
    assert refused.error["code"] == "previous_response_not_found"
    missing = await rig.post({"input": [{"type": "item_reference", "id": "msg_nothing"}]})
    assert (missing.status, missing.error["param"]) == (404, "input[0].id")


async def test_a_client_that_keeps_its_history_gets_its_reasoning_back_intact(rig: Rig) -> None:
    asked = {"reasoning": {"effort": "low"}, "store": False}
    first = (await rig.post({"input": "Hi"} | asked)).response
    assert (await rig.get(f"/responses/{first['id']}")).status == 404
    history = [{"role": "user", "content": "Hi"}, *first["output"], {"role": "user", "content": "#sim recall"}]
    recalled = text((await rig.post({"input": history} | asked)).response)
    assert "intact" in recalled
    other = await rig.keys.create("another")
    answer = await rig.post({"input": history} | asked, headers={"authorization": f"Bearer {other.key}"})
    assert answer.response["input_transformations"][0]["action"] == "removed"


async def test_reasoning_that_comes_back_by_its_id_is_found_in_the_store(rig: Rig) -> None:
    first = (await rig.post({"input": "Hi", "reasoning": {"effort": "low"}})).response
    assert "encrypted_content" not in first["output"][0]
    history = [{"role": "user", "content": "Hi"}, *first["output"], {"role": "user", "content": "#sim recall"}]
    assert "intact" in text((await rig.post({"input": history, "reasoning": {"effort": "low"}})).response)


async def test_calls_and_outputs_must_pair(rig: Rig) -> None:
    output = {"type": "function_call_output", "call_id": "call_9", "output": "x"}
    assert "No tool call found" in (await rig.post({"input": [output]})).error["message"]
    call = {"type": "function_call", "call_id": "call_9", "name": "f", "arguments": "{}"}
    assert "No tool output found" in (await rig.post({"input": [call]})).error["message"]
    assert (await rig.post({"input": [call | {"async": True}, {"role": "user", "content": "x"}]})).status == 200


async def test_a_cut_call_is_not_shown_to_the_model_again(rig: Rig) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    body = {"input": '#sim call get_weather {"city": "' + words + '"}', "tools": [TOOL]}
    cut = (await rig.post(body | {"max_output_tokens": 16})).response
    assert cut["status"] == "incomplete"
    assert cut["output"][-1]["status"] == "incomplete"
    assert (await rig.post({"input": "Hi", "previous_response_id": cut["id"]})).response["status"] == "completed"
