"""Conversations that begin on one dialect, go on on another and return: every pair, with all that a turn can hold.

The scripted upstream refuses, as the providers do, what is rendered wrongly: calls without results, foreign signatures,
roles out of order. The fixture asserts that it refused nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.harness.client import Client, Json, calls_of, text_of
from tests.harness.process import DIALECTS
from tests.upstream.script import Say, Script
from tests.upstream.server import Upstream

LOOK: Json = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
MODELS = {vendor: f"{vendor}/{'m-claude' if vendor == 'converse' else 'm1'}" for vendor in DIALECTS}
MARKS = {
    "claude": '"signature"',
    "native": '"encrypted_content"',
    "gem": '"thoughtSignature"',
    "converse": '"reasoningContent"',
    "coh": '"thinking"',
}
"""What shows that a model's own reasoning came back to it; most chat vendors want none."""
ASKED: list[Json] = [
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look at both in parallel."},
            {"type": "input_image", "image_url": PNG},
        ],
    }
]


class Talk:
    """One conversation, kept by the server or by the client."""

    def __init__(self, client: Client, *, is_stored: bool, is_streamed: bool) -> None:
        self._client = client
        self._is_stored = is_stored
        self._is_streamed = is_streamed
        self._history: list[Json] = []
        self._previous: str | None = None

    async def say(self, model: str, items: list[Json], **more: Any) -> Json:
        body: Json = {"model": model, "tools": [LOOK], "reasoning": {"effort": "low", "summary": "auto"}} | more
        self._history += items
        if self._is_stored:
            body["input"] = items
            if self._previous is not None:
                body["previous_response_id"] = self._previous
        else:
            body |= {"input": self._history, "store": False, "include": ["reasoning.encrypted_content"]}
        send = self._client.stream if self._is_streamed else self._client.create
        answer = await send(body)
        response: Json = answer if isinstance(answer, dict) else answer.response
        assert response["status"] == "completed", response
        self._previous = response["id"]
        self._history = [*self._history, *response["output"]]
        return response


@pytest.mark.parametrize("is_streamed", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "unstored"])
@pytest.mark.parametrize("second", DIALECTS)
@pytest.mark.parametrize("first", DIALECTS)
async def test_a_conversation_goes_there_and_back(
    client: Client, upstream: Upstream, first: str, second: str, is_stored: bool, is_streamed: bool
) -> None:
    talk = Talk(client, is_stored=is_stored, is_streamed=is_streamed)
    one = await talk.say(MODELS[first], ASKED)
    calls = calls_of(one)
    assert len({call["call_id"] for call in calls}) == 2
    outputs = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": f"result {number}"}
        for number, call in enumerate(calls)
    ]
    # The client may answer in any order; all but OpenAI's own wires want the order of the calls.
    two = await talk.say(MODELS[second], outputs[::-1])
    ordered = "result 1 | result 0" if second in ("chat", "native") else "result 0 | result 1"
    assert text_of(two) == f"The tool said: {ordered}"
    three = await talk.say(MODELS[first], [{"role": "user", "content": "And now?"}], tool_choice="none")
    assert text_of(three) == "Turn 2. You said: And now?"
    has_reasoned = one["output"][0]["type"] == "reasoning"
    if first != second and has_reasoned:
        removed = {row["id"] for row in two["input_transformations"]}
        assert one["output"][0]["id"] in removed
    bodies = [msgspec.json.encode(received.body).decode() for received in upstream.requests()]
    assert all(PNG.partition(",")[2] in body for body in bodies), "the picture was lost on the way"
    if first in MARKS and has_reasoned:
        assert MARKS[first] in bodies[2], "the first model did not get its own reasoning back"


@pytest.mark.parametrize("first", DIALECTS)
@pytest.mark.parametrize("second", DIALECTS)
async def test_the_same_past_is_rendered_as_the_same_bytes(
    client: Client, upstream: Upstream, first: str, second: str
) -> None:
    talk = Talk(client, is_stored=True, is_streamed=False)
    one = await talk.say(MODELS[first], ASKED)
    outputs = [{"type": "function_call_output", "call_id": call["call_id"], "output": "x"} for call in calls_of(one)]
    two = await talk.say(MODELS[second], outputs)
    body = {"model": MODELS[first], "input": "Again", "previous_response_id": two["id"], "tools": [LOOK]}
    for _ in range(2):
        await client.create(body)
    assert upstream.requests()[-1].raw == upstream.requests()[-2].raw


async def test_an_answer_that_its_provider_breaks_off_is_continued_in_one_response(
    client: Client, upstream: Upstream
) -> None:
    upstream.queue("m1", Script((Say("Part one [long]"), Say(" and part two."))))
    response = await client.create({"model": "gem/m1", "input": "Tell me everything."})
    assert response["status"] == "completed"
    assert "".join(part["text"] for item in response["output"] for part in item["content"]).endswith("part two.")
    assert len(upstream.requests("m1")) == 2
    assert upstream.requests("m1")[1].body["continuationToken"]
    again = {"model": "gem/m1", "input": "And?", "previous_response_id": response["id"]}
    assert text_of(await client.create(again)) == "Turn 2. You said: And?"
