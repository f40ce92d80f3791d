"""`langchain-openai` with the Responses API, unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr
from tests.harness.process import DIALECTS, KEY, ServerProcess
from tests.upstream.server import Upstream

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]


class Forecast(BaseModel):
    """A forecast."""

    city: str
    degrees: int


@tool
def look(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


@pytest.fixture(params=list(DIALECTS))
def model(request: pytest.FixtureRequest, antiphon_server: ServerProcess, upstream: Upstream) -> ChatOpenAI:
    del upstream
    settings: dict[str, Any] = {"reasoning": {"effort": "low", "summary": "auto"}}
    return ChatOpenAI(
        model=f"{request.param}/m1",
        base_url=antiphon_server.url,
        api_key=SecretStr(KEY),
        use_responses_api=True,
        **settings,
    )


def test_invoke(model: ChatOpenAI) -> None:
    assert model.invoke("hello").text == "Turn 1. You said: hello"


def test_stream_adds_up(model: ChatOpenAI) -> None:
    chunks = list(model.stream("hello"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == "Turn 1. You said: hello"
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == 30


@pytest.mark.parametrize("is_streamed", [False, True])
def test_tool_loop(model: ChatOpenAI, is_streamed: bool) -> None:
    bound = model.bind_tools([look])
    messages: list[Any] = [HumanMessage("How is it?")]
    if is_streamed:
        first: Any = None
        for chunk in bound.stream(messages):
            first = chunk if first is None else first + chunk
    else:
        first = bound.invoke(messages)
    (call,) = first.tool_calls
    assert call["args"] == {"city": "Paris"}
    messages += [first, ToolMessage(look.invoke(call["args"]), tool_call_id=call["id"])]
    assert bound.invoke(messages).text == "The tool said: sunny in Paris"


def test_structured_output(model: ChatOpenAI) -> None:
    structured = model.with_structured_output(Forecast, method="json_schema")
    assert structured.invoke("Rome?") == Forecast(city="Paris", degrees=7)


def test_turns_follow(model: ChatOpenAI) -> None:
    first = model.invoke("one")
    second = model.invoke([HumanMessage("one"), first, HumanMessage("two")])
    assert second.text == "Turn 2. You said: two"
