"""Conversations: what the upstream really receives on later turns, on one dialect and across them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.harness.client import Client, Json, calls_of, text_of
from tests.harness.process import DIALECTS, NEEDS_CLAUDE
from tests.upstream.script import Call, Redacted, Say, Script, Think
from tests.upstream.server import Upstream

LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


THINKERS = {"converse": "m-claude"}
"""Models that reason, where it depends on the model's family."""


def history_of(body: Json) -> list[Json]:
    """The conversation in an upstream body, whatever the wire."""
    return next(body[name] for name in ("input", "messages", "contents") if name in body)


def texts_in(body: Json) -> str:
    return msgspec.json.encode(history_of(body)).decode()


async def loop(client: Client, first: str, second: str, third: str, **more: Any) -> list[Json]:
    """Ask, answer the call, ask again: three responses of one chain."""
    settings = {"tools": [LOOK], "reasoning": {"effort": "low", "summary": "auto"}} | more
    one = await client.create({"model": first, "input": "How is Rome?"} | settings)
    (call,) = calls_of(one)
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    two = await client.create({"model": second, "input": [output], "previous_response_id": one["id"]} | settings)
    assert text_of(two) == "The tool said: sunny"
    settings["tool_choice"] = "none"
    three = await client.create({"model": third, "input": "And now?", "previous_response_id": two["id"]} | settings)
    assert text_of(three) == "Turn 2. You said: And now?"
    return [one, two, three]


@pytest.mark.parametrize("second", DIALECTS)
@pytest.mark.parametrize("first", DIALECTS)
async def test_a_tool_loop_goes_on_within_and_between_dialects(
    client: Client, upstream: Upstream, first: str, second: str
) -> None:
    await loop(client, f"{first}/m1", f"{second}/m1", f"{first}/m1")
    turn_two, turn_three = (history_of(received.body) for received in upstream.requests()[1:])
    assert texts_in(upstream.requests()[1].body).count("How is Rome?") == 1
    for body in (turn_two, turn_three):
        text = msgspec.json.encode(body).decode()
        assert text.count("sunny") == 1 or body is turn_three
        assert text.index("How is Rome?") < text.index("sunny")


@pytest.mark.parametrize("vendor", DIALECTS)
async def test_reasoning_goes_back_to_its_own_model_as_it_came(client: Client, upstream: Upstream, vendor: str) -> None:
    model = f"{vendor}/{THINKERS.get(vendor, 'm1')}"
    await loop(client, model, model, model)
    text = texts_in(upstream.requests()[1].body)
    expected = {"claude": '"signature"', "native": '"encrypted_content"', "gem": '"thoughtSignature"'}
    expected |= {"converse": '"reasoningContent"', "coh": '"thinking"'}
    if vendor != "chat":  # most chat vendors want no reasoning back; those that do say so by a quirk
        assert expected[vendor] in text


@NEEDS_CLAUDE
@pytest.mark.parametrize(("first", "second"), [("claude", "chat"), ("claude", "native"), ("native", "claude")])
async def test_foreign_reasoning_is_left_out_and_said_so(
    client: Client, upstream: Upstream, first: str, second: str
) -> None:
    chain = await loop(client, f"{first}/m1", f"{second}/m1", f"{second}/m1")
    text = texts_in(upstream.requests()[1].body)
    assert "signature" not in text
    assert "encrypted_content" not in text
    (removed,) = chain[1]["input_transformations"]
    assert removed["action"] == "removed"
    assert removed["id"] == chain[0]["output"][0]["id"]


@NEEDS_CLAUDE
@pytest.mark.parametrize("model", ["m1", "m-bound"])
async def test_every_turn_repeats_the_last_one_byte_for_byte(client: Client, upstream: Upstream, model: str) -> None:
    await loop(client, f"claude/{model}", f"claude/{model}", f"claude/{model}", tool_choice="auto")
    first, second, third = (received.body["messages"] for received in upstream.requests(model))
    assert second[: len(first)] == first
    assert third[: len(second)] == second


@NEEDS_CLAUDE
async def test_redacted_and_silent_thinking_is_replayed_in_its_place(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Redacted(), Think(""), Say("I look."), Call("look", '{"city" : "Rome"}'))))
    await loop(client, "claude/m1", "claude/m1", "claude/m1")
    turn = upstream.requests("m1")[1].body["messages"][1]["content"]
    assert [block["type"] for block in turn] == ["redacted_thinking", "thinking", "text", "tool_use"]
    assert b'{"city" : "Rome"}' in upstream.requests("m1")[1].raw


@pytest.mark.parametrize("vendor", DIALECTS)
async def test_branches_of_one_response_do_not_see_each_other(client: Client, upstream: Upstream, vendor: str) -> None:
    model = f"{vendor}/m1"
    root = await client.create({"model": model, "input": "root"})
    for word in ("left", "right"):
        branch = await client.create({"model": model, "input": word, "previous_response_id": root["id"]})
        assert text_of(branch) == f"Turn 2. You said: {word}"
    text = texts_in(upstream.requests("m1")[2].body)
    assert "left" not in text
    assert "root" in text


async def test_instructions_are_not_inherited(client: Client, upstream: Upstream) -> None:
    one = await client.create({"model": "chat/m1", "input": "a", "instructions": "Be a pirate."})
    assert one["instructions"] == "Be a pirate."
    two = await client.create({"model": "chat/m1", "input": "b", "previous_response_id": one["id"]})
    assert two["instructions"] is None
    assert b"pirate" not in upstream.requests("m1")[1].raw


async def test_each_turn_adds_its_own_words_once(client: Client, upstream: Upstream) -> None:
    previous: Json = {}
    for number in range(8):
        previous = {"previous_response_id": previous["id"]} if previous else {}
        previous = await client.create({"model": "chat/m1", "input": f"word{number}."} | previous)
    lengths = [len(history_of(received.body)) for received in upstream.requests("m1")]
    assert lengths == [1 + 2 * number for number in range(8)]
    text = texts_in(upstream.requests("m1")[-1].body)
    assert all(text.count(f'"word{number}."') == 1 for number in range(8))


@pytest.mark.parametrize("vendor", DIALECTS)
async def test_a_client_without_state_echoes_items_and_reasoning_survives(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    name = THINKERS.get(vendor, "m1")
    settings: Json = {"model": f"{vendor}/{name}", "store": False, "include": ["reasoning.encrypted_content"]}
    settings |= {"tools": [LOOK], "reasoning": {"effort": "low"}}
    history: list[Json] = [{"role": "user", "content": "How is Rome?"}]
    one = await client.create(settings | {"input": history})
    assert one["store"] is False
    (call,) = calls_of(one)
    history += one["output"]
    history.append({"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"})
    two = await client.create(settings | {"input": history})
    assert text_of(two) == "The tool said: sunny"
    if vendor != "chat":
        markers = {"claude": '"signature"', "native": '"sealed.', "gem": '"thoughtSignature"'}
        marker = (markers | {"converse": '"reasoningContent"', "coh": '"thinking"'})[vendor]
        assert marker in texts_in(upstream.requests(name)[1].body)
    answer = await client.get(f"/responses/{one['id']}")
    assert answer.status == 404


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("vendor", DIALECTS)
async def test_a_call_whose_arguments_are_no_json_can_be_answered(
    client: Client, upstream: Upstream, vendor: str, is_stored: bool
) -> None:
    upstream.queue("m1", Script((Call("look", 'city = "Rome"'),)))
    settings: Json = {"store": is_stored, "tools": [LOOK]}
    asked = {"role": "user", "content": "How is Rome?"}
    one = await client.create(settings | {"model": "chat/m1", "input": [asked]})
    (call,) = calls_of(one)
    assert call["arguments"] == 'city = "Rome"'
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "arguments must be JSON"}
    history = {"input": [output], "previous_response_id": one["id"]}
    if not is_stored:
        history = {"input": [asked, *one["output"], output]}
    two = await client.create(settings | {"model": f"{vendor}/m1"} | history)
    assert text_of(two) == "The tool said: arguments must be JSON"
    assert "Rome" in texts_in(upstream.requests("m1")[1].body)


@pytest.mark.parametrize("vendor", DIALECTS)
async def test_a_call_that_was_cut_beside_whole_ones_is_left_out_alone(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    name = THINKERS.get(vendor, "m1")
    calls = (Call("look", '{"city":"Rome"}'), Call("look", '{"city":"Os' if vendor != "gem" else "{}"))
    upstream.queue(name, Script((Think("Let me look"), *calls), finish="length"))
    settings: Json = {"model": f"{vendor}/{name}", "tools": [LOOK], "reasoning": {"effort": "low"}}
    one = await client.create(settings | {"input": "How are Rome and Oslo?"})
    whole = [call for call in calls_of(one) if call["status"] == "completed"]
    outputs = [{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"} for call in whole]
    asked = {"role": "user", "content": "Go on."}
    two = await client.create(settings | {"input": [*outputs, asked], "previous_response_id": one["id"]})
    assert two["status"] == "completed"
    cut_by_us = vendor != "native"  # which calls it whole
    assert ("Os" in texts_in(upstream.requests(name)[1].body).replace("Rome and Oslo", "")) == (not cut_by_us)


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("said", [(), (Say("So far."),)])
@pytest.mark.parametrize("vendor", DIALECTS)
async def test_an_answer_that_was_cut_in_its_thoughts_can_be_followed(
    client: Client, upstream: Upstream, vendor: str, said: tuple[Say, ...], is_stored: bool
) -> None:
    name = THINKERS.get(vendor, "m1")
    settings: Json = {"model": f"{vendor}/{name}", "store": is_stored, "reasoning": {"effort": "low"}}
    settings |= {"include": ["reasoning.encrypted_content"], "max_output_tokens": 50}
    upstream.queue(name, Script((*said, Think("Let me think")), finish="length"))
    history: list[Json] = [{"role": "user", "content": "How is Rome?"}]
    cut = await client.create(settings | {"input": history})
    assert cut["incomplete_details"] == {"reason": "max_output_tokens"}
    before = cut
    for number in range(2):  # the second goes on from what was written for the first
        asked = {"role": "user", "content": f"Go on {number}."}
        history += [*before["output"], asked]
        sent = {"input": [asked], "previous_response_id": before["id"]} if is_stored else {"input": history}
        before = await client.create(settings | sent)
        assert before["status"] == "completed"
        assert f"Go on {number}." in text_of(before)


@NEEDS_CLAUDE
async def test_a_carrier_of_another_project_or_altered_is_not_replayed(client: Client, upstream: Upstream) -> None:
    settings: Json = {"model": "claude/m1", "store": False, "reasoning": {"effort": "low"}}
    one = await client.create(settings | {"input": "hi"})
    reasoning = one["output"][0]
    assert reasoning["encrypted_content"]
    altered = reasoning | {"encrypted_content": reasoning["encrypted_content"][:-6] + "AAAAAA"}
    again: list[Json] = [{"role": "user", "content": "hi"}, altered, *one["output"][1:]]
    await client.create(settings | {"input": [*again, {"role": "user", "content": "more"}]})
    assert "signature" not in texts_in(upstream.requests("m1")[1].body)


async def test_an_item_reference_stands_for_the_stored_item(client: Client, upstream: Upstream) -> None:
    one = await client.create({"model": "chat/m1", "input": "How is Rome?", "tools": [LOOK]})
    (call,) = calls_of(one)
    items: list[Json] = [
        {"role": "user", "content": "How is Rome?"},
        {"type": "item_reference", "id": call["id"]},
        {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"},
    ]
    two = await client.create({"model": "chat/m1", "input": items, "tools": [LOOK]})
    assert text_of(two) == "The tool said: sunny"
    answer = await client.post({"model": "chat/m1", "input": [{"type": "item_reference", "id": "msg_nowhere"}]})
    assert answer.status == 404
    assert "msg_nowhere" in answer.error["message"]


async def test_an_unknown_previous_response_is_400_by_its_code(client: Client) -> None:
    answer = await client.post({"model": "chat/m1", "input": "a", "previous_response_id": "resp_nowhere"})
    assert answer.status == 400
    assert answer.error["code"] == "previous_response_not_found"
    assert answer.error["param"] == "previous_response_id"
    assert answer.error["message"] == "Previous response with id 'resp_nowhere' not found."


async def test_an_output_without_its_call_is_400(client: Client) -> None:
    orphan = {"type": "function_call_output", "call_id": "call_x", "output": "y"}
    answer = await client.post({"model": "chat/m1", "input": [orphan]})
    assert answer.status == 400
    assert answer.error["message"] == "No tool call found for function call output with call_id call_x."


async def test_a_chain_that_was_just_continued_ends_where_a_link_is_deleted(client: Client) -> None:
    first = await client.create({"model": "chat/m1", "input": "one"})
    second = await client.create({"model": "chat/m1", "input": "two", "previous_response_id": first["id"]})
    third = await client.create({"model": "chat/m1", "input": "three", "previous_response_id": second["id"]})
    again = {"model": "chat/m1", "input": "four", "previous_response_id": third["id"]}
    await client.create(again)
    await client.delete(f"/responses/{second['id']}")
    refused = await client.post(again)
    assert (refused.status, refused.body["error"]["code"]) == (400, "previous_response_not_found")
