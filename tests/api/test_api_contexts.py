"""Contexts made short: compaction by summary and by the provider, truncation, and counting."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest
from tests.harness.client import Client, Json, text_of
from tests.harness.process import DIALECTS, ServerProcess
from tests.upstream.script import Call, Failure, Say, Script
from tests.upstream.server import BLOB, Upstream

TOO_LONG = Script(
    refuse=Failure(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    )
)
LONG: list[Json] = [
    {"role": "user", "content": "I am Ann. " + "word " * 1000},
    {"role": "assistant", "content": "I see."},
]
FULL = """
[[vendor]]
name = "full"
dialect = "responses"
base_url = "{url}"
api_key_env = "UPSTREAM_KEY"
quirks.responses.compacts = true
quirks.responses.counts_tokens = true

[[vendor]]
name = "counting"
dialect = "anthropic"
base_url = "{url}"
api_key_env = "UPSTREAM_KEY"
quirks.anthropic.counts_tokens = true

[[vendor]]
name = "small"
dialect = "chat_completions"
base_url = "{url}"
api_key_env = "UPSTREAM_KEY"
quirks.limits.context_window = 1000
"""


@pytest.fixture
def full(new_server: Callable[..., ServerProcess], http: aiohttp.ClientSession, upstream: Upstream) -> Client:
    """A server whose vendors can count, compact, and are known to be small."""
    return Client(http, new_server(config=FULL.replace("{url}", upstream.url)).url)


@pytest.mark.parametrize("vendor", list(DIALECTS))
async def test_a_long_context_is_compacted_inside_the_response_and_the_chain_goes_on_from_it(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    upstream.queue("m1", Script((Say("Ann said many words."),)), Script((Say("Hello Ann."),)), Script((Say("Bye."),)))
    rule = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    question = {"role": "user", "content": "Greet me"}
    streamed = await client.stream({"model": f"{vendor}/m1", "input": [*LONG, question]} | rule)
    assert streamed.types[2:5] == [
        "response.output_item.added", "response.compaction.compacting", "response.output_item.done",
    ]  # fmt: skip
    first = streamed.response
    assert [item["type"] for item in first["output"]] == ["compaction", "message"]
    summarising, answering = (request.raw.decode() for request in upstream.requests("m1"))
    assert "word word" in summarising
    assert "word word" not in answering
    assert "Ann said many words." in answering
    assert "Greet me" in answering
    await client.create({"model": f"{vendor}/m1", "input": "bye", "previous_response_id": first["id"]} | rule)
    chained = upstream.requests("m1")[-1].raw.decode()
    assert "word word" not in chained
    for word in ("Ann said many words.", "Greet me", "Hello Ann.", "bye"):
        assert word in chained


async def test_usage_of_the_summary_is_counted(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("s"),)), Script((Say("a"),)))
    rule = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    compacted = await client.create({"model": "chat/m1", "input": [*LONG, {"role": "user", "content": "x"}]} | rule)
    upstream.queue("m1", Script((Say("a"),)))
    plain = await client.create({"model": "chat/m1", "input": "x"} | rule)
    assert compacted["usage"]["total_tokens"] == 2 * plain["usage"]["total_tokens"]


async def test_a_summary_that_came_as_one_document_is_read(client: Client, upstream: Upstream) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Ann said many words."}, "finish_reason": "stop"}
    upstream.queue("m1", Script(document={"id": "c", "model": "m1", "choices": [choice]}), Script((Say("Hello."),)))
    rule = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    await client.create({"model": "chat/m1", "input": [*LONG, {"role": "user", "content": "Greet me"}]} | rule)
    assert "Ann said many words." in upstream.requests("m1")[-1].raw.decode()


@pytest.mark.parametrize("vendor", list(DIALECTS))
async def test_half_a_summary_is_none(client: Client, upstream: Upstream, vendor: str) -> None:
    upstream.queue("m1", Script((Say("Ann said many words."),), end_after=4))
    rule = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    answer = await client.post({"model": f"{vendor}/m1", "input": [*LONG, {"role": "user", "content": "x"}]} | rule)
    assert answer.status == 502
    assert "before the answer was complete" in answer.error["message"]


@pytest.mark.parametrize("keeps_all", [True, False])
async def test_a_client_that_keeps_its_history_sends_the_item_back(
    client: Client, upstream: Upstream, keeps_all: bool
) -> None:
    upstream.queue("m1", Script((Say("Ann said many words."),)), Script((Say("Hello."),)), Script((Say("Bye."),)))
    rule = {"context_management": [{"type": "compaction", "compact_threshold": 1000}], "store": False}
    history: list[Json] = [
        {"role": "developer", "content": "Be brief."},
        *LONG,
        {"role": "user", "content": "Greet me"},
    ]
    first = await client.create({"model": "chat/m1", "input": history} | rule)
    sent = [*history, *first["output"]] if keeps_all else first["output"]
    await client.create({"model": "chat/m1", "input": [*sent, {"role": "user", "content": "bye"}]} | rule)
    assert len(upstream.requests("m1")) == 3
    last = upstream.requests("m1")[-1].raw.decode()
    assert "word word" not in last
    assert ("Be brief." in last) == keeps_all
    for word in ("Ann said many words.", "Greet me", "Hello.", "bye"):
        assert word in last


async def test_a_trigger_compacts_and_does_nothing_else(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("Ann said many words."),)))
    body = {"model": "chat/m1", "input": [*LONG, {"type": "compaction_trigger"}]}
    assert [item["type"] for item in (await client.create(body))["output"]] == ["compaction"]
    wrong = await client.post({"model": "chat/m1", "input": [{"type": "compaction_trigger"}, *LONG]})
    assert (wrong.status, wrong.error["param"]) == (400, "input")


async def test_another_projects_item_cannot_be_read_and_says_so(client: Client, upstream: Upstream) -> None:
    body = await client.request("POST", "/responses/compact", json={"model": "sim/standard", "input": LONG})
    item = body.body["output"][-1]
    broken = item | {"encrypted_content": item["encrypted_content"][:-3] + "xyz"}
    answer = await client.post({"model": "sim/standard", "input": [broken, {"role": "user", "content": "hi"}]})
    assert (answer.status, answer.error["code"]) == (400, "invalid_encrypted_content")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"input": "x"}, "missing_required_parameter"),
        ({"model": "sim/standard"}, "missing_required_parameter"),
        ({"model": "sim/standard", "input": "x", "stream": True}, "unknown_parameter"),
        ({"model": "sim/standard", "input": []}, None),
        ({"model": "sim/standard", "previous_response_id": "resp_x"}, "previous_response_not_found"),
    ],
)
async def test_what_cannot_be_compacted_is_400(client: Client, body: Json, code: str | None) -> None:
    answer = await client.request("POST", "/responses/compact", json=body)
    assert (answer.status, answer.error["code"]) == (400, code)


async def test_a_chain_is_compacted_by_its_last_response(client: Client) -> None:
    first = await client.create({"model": "sim/standard", "input": "My name is Ann"})
    answer = await client.request(
        "POST", "/responses/compact", json={"model": "sim/standard", "previous_response_id": first["id"]}
    )
    assert [item["type"] for item in answer.body["output"]] == ["message", "compaction"]
    goes_on = [*answer.body["output"], {"role": "user", "content": "What is my name?"}]
    assert "Ann" in text_of(await client.create({"model": "sim/standard", "input": goes_on}))


@pytest.mark.slow
async def test_a_provider_that_compacts_does_it_itself_and_reads_its_blob_again(
    full: Client, upstream: Upstream
) -> None:
    made = await full.request("POST", "/responses/compact", json={"model": "full/m1", "input": LONG})
    item = made.body["output"][-1]
    assert made.body["usage"]["total_tokens"] == 37
    assert BLOB not in item["encrypted_content"]
    upstream.queue("m1", Script((Say("Hello."),)))
    await full.create({"model": "full/m1", "input": [item, {"role": "user", "content": "hi"}]})
    assert upstream.requests("m1")[-1].body["input"][0]["encrypted_content"] == BLOB
    other = await full.post({"model": "chat/m1", "input": [item, {"role": "user", "content": "hi"}]})
    assert other.status == 400


@pytest.mark.slow
async def test_tokens_are_counted_where_the_provider_counts_and_estimated_elsewhere(
    full: Client, upstream: Upstream
) -> None:
    for model, how, tokens in (
        ("full/m1", "counted", 4242),
        ("counting/m1", "counted", 4343),
        ("chat/m1", "estimated", None),
    ):
        answer = await full.request("POST", "/responses/input_tokens", json={"model": model, "input": "hello"})
        assert answer.headers["antiphon-input-tokens"] == how
        assert answer.body == {"object": "response.input_tokens", "input_tokens": tokens or answer.body["input_tokens"]}
    upstream.serves_side_calls = False
    answer = await full.request("POST", "/responses/input_tokens", json={"model": "full/m1", "input": "hello"})
    upstream.serves_side_calls = True
    assert (answer.status, answer.headers["antiphon-input-tokens"]) == (200, "estimated")


# -- truncation

TURNS: list[Json] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": "oldest " * 100},
    {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "sun"},
    {"role": "assistant", "content": "It is sunny."},
    {"role": "user", "content": "middle " * 100},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "newest"},
]


@pytest.mark.parametrize("vendor", list(DIALECTS))
async def test_whole_exchanges_are_dropped_when_the_model_says_it_is_too_long(
    client: Client, upstream: Upstream, vendor: str
) -> None:
    upstream.queue("m1", TOO_LONG, Script((Say("ok"),)))
    answer = await client.create({"model": f"{vendor}/m1", "input": TURNS, "truncation": "auto"})
    assert (text_of(answer), answer["truncation"]) == ("ok", "auto")
    first, second = (request.raw.decode() for request in upstream.requests("m1"))
    assert "oldest" in first
    assert "call_1" in first or vendor == "gem"  # whose wire has no ids of foreign calls
    for word in ("oldest", "call_1", "sunny"):
        assert word not in second
    for word in ("Be brief.", "newest"):
        assert word in second


async def test_it_is_tried_once_more_and_then_refused(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", TOO_LONG, TOO_LONG, Script((Say("never"),)))
    answer = await client.post({"model": "chat/m1", "input": TURNS, "truncation": "auto"})
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert len(upstream.requests("m1")) == 2


@pytest.mark.parametrize("body", [{"input": TURNS}, {"input": "one message", "truncation": "auto"}])
async def test_nothing_is_dropped_unasked_or_where_nothing_can_be(
    client: Client, upstream: Upstream, body: Json
) -> None:
    upstream.queue("m1", TOO_LONG)
    answer = await client.post({"model": "chat/m1"} | body)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert len(upstream.requests("m1")) == 1


@pytest.mark.slow
async def test_a_window_that_is_known_is_never_overrun(full: Client, upstream: Upstream) -> None:
    history = [{"role": role, "content": f"{number} " * 400} for number in range(6) for role in ("user", "assistant")]
    await full.create(
        {"model": "small/m1", "input": [*history, {"role": "user", "content": "newest"}], "truncation": "auto"}
    )
    sent = [message["content"] for message in upstream.requests("m1")[-1].body["messages"]]
    assert "newest" in str(sent[-1])
    assert 1 < len(sent) < len(history)


async def test_an_output_whose_call_was_dropped_goes_too(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", TOO_LONG, Script((Call("look", "{}"),)))
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
    late = [
        {"role": "user", "content": "oldest " * 200},
        {"type": "function_call", "call_id": "call_9", "name": "look", "arguments": "{}", "async": True},
        {"role": "assistant", "content": "It runs."},
        {"role": "user", "content": "newest"},
        {"type": "function_call_output", "call_id": "call_9", "output": "sun"},
    ]
    await client.create({"model": "chat/m1", "input": late, "truncation": "auto", "tools": [tool]})
    assert "call_9" not in upstream.requests("m1")[-1].raw.decode()
