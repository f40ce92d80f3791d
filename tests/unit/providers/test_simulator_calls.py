"""Which tools the simulator calls, with what, and that it stops."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import msgspec
import pytest
from tests.unit.providers.simulator_play import CLOCK, STRING, WEATHER, encoded, function, play, raw

from antiphon.protocol.deltas import CallStarted, Native
from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    AdditionalTools,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCallOutput,
    Message,
    ToolSearchCall,
    ToolSearchOutput,
)
from antiphon.protocol.tools import (
    AllowedChoice,
    CustomTool,
    FunctionTool,
    GrammarSpec,
    HostedTool,
    NamedChoice,
    NamespaceTool,
    ToolRef,
)

TOOLS = (WEATHER, CLOCK)
SHELL = CustomTool("run_shell", "Run a shell command")


async def calls(*context: Any, **settings: Any) -> list[tuple[str, Any]]:
    made = (await play(*context, **settings)).calls
    return [(name, msgspec.json.decode(arguments)) for name, arguments in made]


async def test_the_tool_that_fits_is_called_with_words_of_the_text() -> None:
    asked = "What's the weather like in San Francisco today?"
    assert await calls(asked, tools=TOOLS) == [("get_weather", {"location": "San Francisco"})]


async def test_no_tool_is_called_where_none_fits() -> None:
    answer = await play("Tell me a joke about cats.", tools=TOOLS)
    assert answer.calls == []
    assert answer.text


async def test_each_thing_gets_a_call_of_its_own() -> None:
    assert await calls("Weather in Paris, London and Oslo?", tools=TOOLS) == [
        ("get_weather", {"location": "Paris"}),
        ("get_weather", {"location": "London"}),
        ("get_weather", {"location": "Oslo"}),
    ]


async def test_two_tools_that_both_fit_are_both_called() -> None:
    assert [name for name, _ in await calls("Weather and time in Paris?", tools=TOOLS)] == ["get_weather", "get_time"]


async def test_a_tool_of_two_names_gets_both_in_one_call() -> None:
    trip = function("book_flight", "Book a flight", origin=STRING, destination=STRING)
    assert await calls("Book a flight from Paris to London", tools=(trip,)) == [
        ("book_flight", {"origin": "Paris", "destination": "London"})
    ]


async def test_a_query_gets_the_whole_text_once() -> None:
    search = function("search", "Search documents", query=STRING)
    assert await calls("search Ada and Grace", tools=(search,)) == [("search", {"query": "search Ada and Grace"})]


async def test_without_parallel_calls_they_come_one_after_the_other() -> None:
    asked = "Weather in Paris and London?"
    first = await play(asked, tools=TOOLS, parallel_tool_calls=False)
    assert first.calls == [("get_weather", '{"location":"Paris"}')]
    past = [asked, first.as_turn(), *first.outputs("mild")]
    second = await play(*past, tools=TOOLS, parallel_tool_calls=False)
    assert second.calls == [("get_weather", '{"location":"London"}')]
    third = await play(*past, second.as_turn(), *second.outputs("wet"), tools=TOOLS, parallel_tool_calls=False)
    assert third.calls == []
    assert third.text == "get_weather returned: mild get_weather returned: wet"


async def test_after_its_outputs_the_simulator_talks_and_a_new_question_calls_again() -> None:
    first = await play("Weather in Paris?", tools=TOOLS)
    past = ["Weather in Paris?", first.as_turn(), *first.outputs("mild")]
    answer = await play(*past, tools=TOOLS)
    assert answer.text == "get_weather returned: mild"
    again = await calls(*past, answer.as_turn(), "And the weather in Rome?", tools=TOOLS)
    assert again == [("get_weather", {"location": "Rome"})]


async def test_an_output_without_a_known_call_is_quoted() -> None:
    assert (await play("Go", FunctionCallOutput("done", "call_x"))).text == "The tool returned: done"


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", []),
        ("auto", []),
        ("required", ["get_weather"]),
        (NamedChoice(ToolRef("function", "get_time")), ["get_time"]),
        (AllowedChoice("required", (ToolRef("function", "get_time"),)), ["get_time"]),
        (AllowedChoice("auto", (ToolRef("function", "get_time"),)), []),
        (AllowedChoice("none", (ToolRef("function", "get_time"),)), []),
        (NamedChoice(ToolRef("custom", "run_shell")), ["run_shell"]),
    ],
)
async def test_tool_choice_is_obeyed_whatever_the_text_says(choice: Any, called: list[str]) -> None:
    answer = await play("Tell me a joke", tools=(*TOOLS, SHELL), tool_choice=choice)
    assert [name for name, _ in answer.calls] == called


async def test_tool_choice_keeps_a_fitting_tool_from_being_called() -> None:
    assert await calls("Weather in Paris?", tools=TOOLS, tool_choice="none") == []
    only_time = AllowedChoice("auto", (ToolRef("function", "get_time"),))
    assert await calls("weather in Paris?", tools=TOOLS, tool_choice=only_time) == []


async def test_a_forced_call_is_made_again_after_outputs() -> None:
    first = await play("Weather in Paris?", tools=TOOLS)
    past = ("Weather in Paris?", first.as_turn(), *first.outputs("mild"))
    assert await calls(*past, tools=TOOLS, tool_choice="required") == [("get_weather", {"location": "Paris"})]


async def test_scripted_calls_are_made_as_written() -> None:
    script = '#sim call get_time {"city":"Oslo"}\n#sim call get_weather\nabout Rome'
    assert await calls(script, tools=TOOLS) == [("get_time", {"city": "Oslo"}), ("get_weather", {"location": "Rome"})]


async def test_calls_makes_so_many_calls() -> None:
    assert len(await calls("#sim calls 3\nweather", tools=TOOLS)) == 3


async def test_a_scripted_call_to_an_unknown_tool_says_so() -> None:
    assert "No tool 'nope' can be called here" in (await play("#sim call nope", tools=TOOLS)).text
    assert "are: none" in (await play("#sim call nope")).text
    refused = await play("#sim call get_time", tools=TOOLS, tool_choice="none")
    assert "No tool 'get_time' can be called" in refused.text


async def test_a_custom_tool_gets_plain_text() -> None:
    answer = await play("Run the shell command ls", tools=(SHELL,))
    assert answer.calls == [("run_shell", "Run the shell command ls")]
    (started,) = answer.all(CallStarted)
    assert started.kind == "custom"
    again = await play(
        "Run the shell command ls",
        CustomToolCall(started.call_id, "run_shell", "ls"),
        CustomToolCallOutput(started.call_id, "a.txt"),
        tools=(SHELL,),
    )
    assert again.text == "run_shell returned: a.txt"


@pytest.mark.parametrize(
    ("syntax", "definition", "pattern"),
    [
        ("regex", r"^[a-z]{3}-\d+$", r"[a-z]{3}-\d+"),
        ("lark", 'start: "ls" " " NAME\nNAME: /[a-z]+/', r"ls [a-z]+"),
        ("lark", "start: %declare", r"(?s).*"),
    ],
)
async def test_a_grammar_is_followed(syntax: Any, definition: str, pattern: str) -> None:
    tool = CustomTool("run_shell", "Run a shell command", GrammarSpec(definition, syntax))
    ((_, text),) = (await play("#sim custom run_shell", tools=(tool,))).calls
    assert re.fullmatch(pattern, text)


async def test_a_scripted_custom_input_is_sent_as_written() -> None:
    assert (await play("#sim custom run_shell ls -la", tools=(SHELL,))).calls == [("run_shell", "ls -la")]
    assert (await play("#sim custom run_shell", tools=(SHELL,))).calls == [("run_shell", "simulated input")]


async def test_a_namespaced_call_is_lifted_back() -> None:
    crm = NamespaceTool("crm", (function("find_customer", "Find a customer", who=STRING),))
    (started,) = (await play("find the customer Ada", tools=(crm,))).all(CallStarted)
    assert (started.name, started.namespace) == ("find_customer", "crm")
    by_namespace = AllowedChoice("required", (ToolRef("namespace", "crm"),))
    (forced,) = (await play("hello", tools=(crm,), tool_choice=by_namespace)).all(CallStarted)
    assert forced.namespace == "crm"


async def test_additional_tools_can_be_called() -> None:
    assert await calls(AdditionalTools((WEATHER,)), "Weather in Rome?") == [("get_weather", {"location": "Rome"})]


SEARCH = HostedTool("tool_search", raw({"type": "tool_search", "execution": "client"}))


async def test_a_deferred_tool_is_searched_for_and_then_called() -> None:
    deferred = FunctionTool("get_weather", "Weather", WEATHER.parameters, defer_loading=True)
    searching = await play("Weather in Rome?", tools=(SEARCH, deferred))
    (found,) = searching.all(Native)
    item = msgspec.json.decode(found.item)
    assert (item["type"], item["execution"]) == ("tool_search_call", "client")
    past = (
        "Weather in Rome?",
        ToolSearchCall(raw(item["arguments"]), call_id=item["call_id"]),
        ToolSearchOutput((deferred, NamespaceTool("n", (CLOCK,)), SEARCH), call_id=item["call_id"]),
    )
    loaded = await play(*past, tools=(SEARCH, deferred))
    assert loaded.calls == [("get_weather", '{"location":"Rome"}')]
    answer = await play(*past, loaded.as_turn(), *loaded.outputs("mild"), tools=(SEARCH, deferred))
    assert answer.text == "tool_search returned: found get_weather, n__get_time get_weather returned: mild"


async def test_a_search_that_finds_nothing_is_not_repeated() -> None:
    deferred = FunctionTool("get_weather", "Weather", WEATHER.parameters, defer_loading=True)
    past = ("Weather in Rome?", ToolSearchCall(raw({}), call_id="c"), ToolSearchOutput((), call_id="c"))
    assert (await play(*past, tools=(SEARCH, deferred))).text == "tool_search returned: found nothing"
    one = await play(*past, tools=(SEARCH, deferred), parallel_tool_calls=False)
    assert one.calls == []


def test_hosted_tools_are_left_out_and_named() -> None:
    web = HostedTool("web_search", raw({"type": "web_search"}))
    assert encoded("hi", tools=(web, WEATHER)).dropped == ("tools[0].web_search",)


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        NamedChoice(ToolRef("web_search")),
        AllowedChoice("required", (ToolRef("web_search"),)),
        AllowedChoice("required", ()),
    ],
)
def test_a_forced_hosted_tool_is_refused(choice: Any) -> None:
    web = HostedTool("web_search", raw({"type": "web_search"}))
    with pytest.raises(InvalidRequest) as caught:
        encoded("hi", tools=(web,), tool_choice=choice)
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize("parameters", [raw(None), raw({"$ref": "#"}), raw({"enum": [1]}), raw(True), None])
async def test_odd_parameters_still_give_an_object(parameters: Any) -> None:
    tool = FunctionTool("odd", "", parameters) if parameters is not None else FunctionTool("odd")
    assert await calls("#sim call odd", tools=(tool,)) == [("odd", {})]


async def test_arguments_are_valid_for_their_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "unit": {"enum": ["c", "f"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
            "where": {"type": "object", "properties": {"city": STRING}, "required": ["city"]},
        },
        "required": ["unit", "days", "where"],
    }
    tool = FunctionTool("forecast", "Weather forecast", raw(schema))
    ((_, arguments),) = await calls("Forecast for Rome over 3 days in f", tools=(tool,))
    jsonschema.validate(arguments, schema)
    assert arguments == {"unit": "f", "days": 3, "where": {"city": "Rome"}}


async def test_a_message_without_a_user_can_still_force_a_call() -> None:
    assert await calls(Message("developer", "go"), tools=(CLOCK,), tool_choice="required") == [
        ("get_time", {"city": "simulated city"})
    ]
