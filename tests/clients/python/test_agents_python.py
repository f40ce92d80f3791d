"""`openai-agents`, unchanged: a run, a streamed run, tools, structured output, several turns."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai.types.shared import Reasoning
from pydantic import BaseModel
from tests.harness.process import DIALECTS, KEY, ServerProcess
from tests.upstream.server import Upstream

pytestmark = pytest.mark.clients
set_tracing_disabled(True)


class Forecast(BaseModel):
    city: str
    degrees: int


@function_tool
def look(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


@pytest.fixture(params=list(DIALECTS))
async def model(
    request: pytest.FixtureRequest, antiphon_server: ServerProcess, upstream: Upstream
) -> AsyncIterator[OpenAIResponsesModel]:
    del upstream
    async with openai.AsyncOpenAI(base_url=antiphon_server.url, api_key=KEY) as client:
        yield OpenAIResponsesModel(model=f"{request.param}/m1", openai_client=client)


async def test_run_calls_the_tool_and_answers(model: OpenAIResponsesModel) -> None:
    settings = ModelSettings(reasoning=Reasoning(effort="low", summary="auto"))
    agent = Agent(name="a", instructions="Be brief.", model=model, tools=[look], model_settings=settings)
    result = await Runner.run(agent, "How is it?")
    assert result.final_output == "The tool said: sunny in Paris"


async def test_streamed_run_calls_the_tool_and_answers(model: OpenAIResponsesModel) -> None:
    agent = Agent(name="a", model=model, tools=[look])
    result = Runner.run_streamed(agent, "How is it?")
    kinds = [event.type async for event in result.stream_events()]
    assert "raw_response_event" in kinds
    assert result.final_output == "The tool said: sunny in Paris"


async def test_output_type_is_parsed(model: OpenAIResponsesModel) -> None:
    agent = Agent(name="a", model=model, output_type=Forecast)
    assert (await Runner.run(agent, "Rome?")).final_output == Forecast(city="Paris", degrees=7)


async def test_turns_follow_by_echo_and_by_id(model: OpenAIResponsesModel) -> None:
    agent = Agent(name="a", model=model)
    first = await Runner.run(agent, "one")
    echoed = await Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "two"}])
    assert echoed.final_output == "Turn 2. You said: two"
    by_id = await Runner.run(agent, "three", previous_response_id=first.last_response_id)
    assert by_id.final_output == "Turn 2. You said: three"
