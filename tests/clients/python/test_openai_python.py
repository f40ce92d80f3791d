"""The `openai` package, unchanged: sync, async, stream helpers, parse, retries, errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel
from tests.harness.process import DIALECTS, KEY, ServerProcess
from tests.upstream.script import Counts, Failure, Say, Script
from tests.upstream.server import Upstream

pytestmark = pytest.mark.clients

LOOK: Any = {
    "type": "function",
    "name": "look",
    "description": "Weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Forecast(BaseModel):
    city: str
    degrees: int
    sky: Literal["clear", "cloudy"]


@pytest.fixture(params=list(DIALECTS))
def model(request: pytest.FixtureRequest, upstream: Upstream) -> str:
    del upstream
    return f"{request.param}/m1"


@pytest.fixture
def sdk(antiphon_server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=antiphon_server.url, api_key=KEY) as client:
        yield client


def test_plain(sdk: openai.OpenAI, model: str) -> None:
    response = sdk.responses.create(model=model, input="hello")
    assert response.output_text == "Turn 1. You said: hello"
    assert response._request_id


def test_stream_helper_accumulates_what_create_returns(sdk: openai.OpenAI, model: str) -> None:
    with sdk.responses.stream(model=model, input="hello", reasoning={"effort": "low", "summary": "auto"}) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == "Turn 1. You said: hello"
    assert final.output[0].type == ("message" if model.startswith("converse") else "reasoning")
    assert sdk.responses.retrieve(final.id).output_text == final.output_text


def test_parse_gives_a_model_instance(sdk: openai.OpenAI, model: str) -> None:
    parsed = sdk.responses.parse(model=model, input="Rome?", text_format=Forecast).output_parsed
    assert parsed == Forecast(city="Paris", degrees=7, sky="clear")


def test_stream_helper_parses_too(sdk: openai.OpenAI, model: str) -> None:
    with sdk.responses.stream(model=model, input="Rome?", text_format=Forecast) as stream:
        assert stream.get_final_response().output_parsed == Forecast(city="Paris", degrees=7, sky="clear")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_tool_loop_with_state(sdk: openai.OpenAI, model: str, is_streamed: bool) -> None:
    def ask(**settings: Any) -> Any:
        if not is_streamed:
            return sdk.responses.create(model=model, tools=[LOOK], **settings)
        with sdk.responses.stream(model=model, tools=[LOOK], **settings) as stream:
            return stream.get_final_response()

    first = ask(input="How is Rome?", reasoning={"effort": "low"})
    (call,) = [item for item in first.output if item.type == "function_call"]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = ask(input=[output], previous_response_id=first.id, reasoning={"effort": "low"})
    assert second.output_text == "The tool said: sunny"


def test_tool_loop_without_state(sdk: openai.OpenAI, model: str) -> None:
    history: list[Any] = [{"role": "user", "content": "How is Rome?"}]
    settings: Any = {"model": model, "tools": [LOOK], "store": False, "reasoning": {"effort": "low"}}
    settings["include"] = ["reasoning.encrypted_content"]
    first = sdk.responses.create(input=history, **settings)
    history += first.output
    call = first.output[-1]
    assert call.type == "function_call"
    history.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    assert sdk.responses.create(input=history, **settings).output_text == "The tool said: sunny"


def test_conversation_lookup_and_deletion(sdk: openai.OpenAI, model: str) -> None:
    first = sdk.responses.create(model=model, input="one")
    second = sdk.responses.create(model=model, input="two", previous_response_id=first.id)
    assert second.output_text == "Turn 2. You said: two"
    items = list(sdk.responses.input_items.list(second.id, order="asc", limit=2))
    assert [item.type for item in items] == ["message", "message", "message"]
    sdk.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(first.id)


async def test_async_client_streams(antiphon_server: ServerProcess, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=antiphon_server.url, api_key=KEY) as client:
        stream = await client.responses.create(model=model, input="hello", stream=True)
        types = [event.type async for event in stream]
        assert types[0] == "response.created"
        assert types[-1] == "response.completed"
        parsed = await client.responses.parse(model=model, input="Rome?", text_format=Forecast)
        assert parsed.output_parsed is not None


def test_retries_follow_retry_after_ms(sdk: openai.OpenAI, upstream: Upstream, model: str) -> None:
    headers = {"retry-after-ms": "10", "retry-after": "0"}
    kind = "rate_limit_error"
    busy = Script(refuse=Failure(429, kind, "rate_limit_exceeded", "Slow down.", headers))
    upstream.queue("m1", *[busy] * 4, Script((Say("At last."),)))  # more often than the server itself asks again
    assert sdk.responses.create(model=model, input="hello").output_text == "At last."


def test_a_project_at_its_limit_is_come_back_to(
    new_server: Callable[..., ServerProcess], upstream: Upstream, model: str
) -> None:
    url = new_server(config='[[project]]\nname = "default"\ntokens_per_minute = 60000').url
    upstream.queue("m1", Script((Say("One."),), counts=Counts(input=60_500, cached=0)), Script((Say("Two."),)))
    with openai.OpenAI(base_url=url, api_key=KEY) as sdk:
        first = sdk.responses.with_raw_response.create(model=model, input="hello")
        assert first.headers["x-ratelimit-limit-tokens"] == "60000"
        with pytest.raises(openai.RateLimitError) as caught:
            sdk.with_options(max_retries=0).responses.create(model=model, input="hello")
        assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "tokens")
        assert sdk.responses.create(model=model, input="hello").output_text == "Two."


def test_a_failure_in_the_middle_is_raised_by_the_helper(sdk: openai.OpenAI, upstream: Upstream, model: str) -> None:
    kind = "overloaded_error" if model.startswith("claude") else "server_error"
    upstream.queue("m1", Script((Say("Hello there, world"),), fail=Failure(type=kind), fail_after=6))
    events = [event.type for event in sdk.responses.create(model=model, input="hello", stream=True)]
    assert events[-1] == "response.failed"


def test_errors_have_their_classes(antiphon_server: ServerProcess, sdk: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model=model, input="hello", temperature=9)
    assert caught.value.param == "temperature"
    with (
        openai.OpenAI(base_url=antiphon_server.url, api_key="sk-no") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.responses.create(model=model, input="hello")


def test_models(sdk: openai.OpenAI) -> None:
    names = [row.id for row in sdk.models.list()]
    assert names
    assert sdk.models.retrieve(names[0]).id == names[0]
