"""The scripted upstream is itself believed by the providers' SDKs, and refuses what the providers refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from tests.upstream.script import Call, Decline, Failure, Redacted, Say, Script, Think
from tests.upstream.server import KEY, Upstream

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
CLAUDE_TOOL: Any = {"name": "look", "input_schema": SCHEMA}
NATIVE_TOOL: Any = {"type": "function", "name": "look", "parameters": SCHEMA, "strict": False}
USER: Any = {"role": "user", "content": "hi"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    running = Upstream().start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _fresh(upstream: Upstream) -> None:
    upstream.forget()


@pytest.fixture(scope="module")
def chat(upstream: Upstream) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(upstream: Upstream) -> Iterator[anthropic.Anthropic]:
    base_url = upstream.url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=base_url, api_key=KEY, max_retries=0) as client:
        yield client


def ask_claude(claude: anthropic.Anthropic, messages: list[Any], **more: Any) -> Any:
    settings: dict[str, Any] = {"model": "m1", "max_tokens": 3000, "tools": [CLAUDE_TOOL], "messages": messages}
    with claude.messages.stream(**(settings | more)) as stream:
        return stream.get_final_message()


def ask_native(client: openai.OpenAI, items: Any, **more: Any) -> Any:
    settings: dict[str, Any] = {"model": "m1", "store": False, "include": ["reasoning.encrypted_content"]}
    with client.responses.stream(input=items, **(settings | more)) as stream:
        return stream.get_final_response()


def echoed(message: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]}


def test_the_chat_sdk_accumulates_text_calls_and_usage(chat: openai.OpenAI, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Think("hm"), Say("Hello there"), Call("look", '{"city":"Rome"}'))))
    more: Any = {"stream_options": {"include_usage": True}}
    with chat.chat.completions.stream(model="m1", messages=[USER], tools=[CHAT_TOOL], **more) as stream:
        answer = stream.get_final_completion()
    message = answer.choices[0].message
    assert message.content == "Hello there"
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == '{"city":"Rome"}'
    assert answer.usage is not None
    assert answer.usage.total_tokens == 30


def test_the_claude_sdk_accumulates_every_block(claude: anthropic.Anthropic, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Redacted(), Think("hm"), Say("Hello there"), Call("look", '{"city":"Rome"}'))))
    message = ask_claude(claude, [USER])
    assert [block.type for block in message.content] == ["redacted_thinking", "thinking", "text", "tool_use"]
    assert message.content[3].input == {"city": "Rome"}


def test_the_responses_sdk_accumulates_every_item(chat: openai.OpenAI, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Think("hm"), Say("Hello there"), Decline("No."), Call("look"))))
    answer = ask_native(chat, "hi", tools=[NATIVE_TOOL])
    assert [item.type for item in answer.output] == ["reasoning", "message", "message", "function_call"]
    assert answer.output_text == "Hello there"


def test_thinking_must_come_back_byte_for_byte(claude: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    first = ask_claude(claude, [USER], thinking=thinking)
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "sunny"}
    history: list[Any] = [USER, echoed(first), {"role": "user", "content": [result]}]
    assert ask_claude(claude, history, thinking=thinking).content[-1].text == "The tool said: sunny"
    history[1]["content"][0]["thinking"] += " "
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        ask_claude(claude, history, thinking=thinking)
    del history[1]["content"][0]
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking`"):
        ask_claude(claude, history, thinking=thinking)


def test_a_bound_model_refuses_a_changed_prefix(claude: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "adaptive"}
    first = ask_claude(claude, [USER], model="m-bound", thinking=thinking)
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "sunny"}
    history: list[Any] = [USER, echoed(first), {"role": "user", "content": [result]}]
    ask_claude(claude, history, model="m-bound", thinking=thinking)
    with pytest.raises(anthropic.BadRequestError, match="bound to a different conversation"):
        ask_claude(claude, history, model="m-bound", thinking=thinking, system="Be brief.")


@pytest.mark.parametrize(
    ("messages", "rule"),
    [
        ([USER, USER], "alternate"),
        ([USER, {"role": "assistant", "content": "so"}], "prefill"),
        ([{"role": "user", "content": [{"type": "text", "text": ""}]}], "non-whitespace"),
        (
            [
                USER,
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {}}]},
                USER,
            ],
            "without `tool_result`",
        ),
        ([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "y"}]}], "unexpected"),
        ([{"role": "user", "content": [{"type": "text", "text": "a", "bogus": 1}]}], "Extra inputs"),
    ],
)
def test_claude_refuses(claude: anthropic.Anthropic, messages: list[Any], rule: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=rule):
        ask_claude(claude, messages)


def test_claude_of_2026_10_21_refuses_sampling(claude: anthropic.Anthropic) -> None:
    head = {"anthropic-version": "2026-10-21"}
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        ask_claude(claude, [USER], extra_body={"temperature": 1}, extra_headers=head)


@pytest.mark.parametrize(
    ("messages", "more", "rule"),
    [
        ([USER], {"extra_body": {"bogus": 1}}, "Unrecognized request argument"),
        ([USER], {"tools": []}, "too short"),
        ([USER], {"parallel_tool_calls": False}, "only allowed when 'tools'"),
        ([USER, {"role": "tool", "tool_call_id": "a", "content": "b"}], {}, "must be a response to"),
        ([USER, {"role": "assistant", "content": None}], {}, "required"),
        ([USER], {"temperature": "warm"}, "SDK's type"),
    ],
)
def test_chat_refuses(chat: openai.OpenAI, messages: Any, more: Any, rule: str) -> None:
    with pytest.raises(openai.BadRequestError, match=rule):
        chat.chat.completions.create(model="m1", messages=messages, stream=True, **more)


def test_native_refuses_what_it_never_kept(chat: openai.OpenAI) -> None:
    first = ask_native(chat, [USER], reasoning={"effort": "low"})
    echo = [item.model_dump(exclude_none=True) for item in first.output]
    assert ask_native(chat, [USER, *echo, USER]).output_text == "Turn 2. You said: hi"
    with pytest.raises(openai.BadRequestError, match="required following item"):
        ask_native(chat, [USER, echo[0], USER])
    with pytest.raises(openai.BadRequestError, match="could not be verified"):
        ask_native(chat, [USER, echo[0] | {"encrypted_content": "sealed.x"}, echo[1], USER])
    with pytest.raises(openai.NotFoundError, match="not found"):
        ask_native(chat, [USER, echo[1] | {"id": "msg_other"}, USER])
    with pytest.raises(openai.BadRequestError, match="No tool call found"):
        ask_native(chat, [USER, {"type": "function_call_output", "call_id": "c", "output": "x"}])


def test_a_wrong_key_is_401_on_every_wire(upstream: Upstream) -> None:
    with openai.OpenAI(base_url=upstream.url, api_key="no", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            ask_native(client, "hi")
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="m1", messages=[USER], stream=True)


def test_a_scripted_refusal_has_its_status_and_headers(chat: openai.OpenAI, upstream: Upstream) -> None:
    upstream.queue("m1", Script(refuse=Failure(429, "rate_limit", headers={"retry-after": "7"})))
    with pytest.raises(openai.RateLimitError) as caught:
        ask_native(chat, "hi")
    assert caught.value.response.headers["retry-after"] == "7"


def test_a_reader_that_leaves_is_noticed(chat: openai.OpenAI, upstream: Upstream) -> None:
    upstream.queue("m1", Script(stall_after=2))
    with chat.chat.completions.create(model="m1", messages=[USER], stream=True) as stream:
        next(iter(stream))
    assert upstream.requests("m1")[0].left.wait(5)


def test_odd_chunks_comments_and_crlf_change_nothing(chat: openai.OpenAI, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("Grüße, Welt"),), chunk_bytes=3, crlf=True, comments=True))
    assert ask_native(chat, "hi").output_text == "Grüße, Welt"
