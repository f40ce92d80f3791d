"""Tools and tool_choice on the Messages wire."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.providers import anthropic_kit as kit

from antiphon.protocol.errors import InvalidRequest

BOTH = [kit.WEATHER, kit.NOW]
NAMESPACE = {"type": "namespace", "name": "fs", "description": "Files", "tools": [kit.NOW, kit.WEATHER]}


def choice(value: Any, **fields: Any) -> Any:
    return kit.body(tool_choice=value, **({"tools": BOTH} | fields)).get("tool_choice")


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("auto", None),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "name": "now"}, {"type": "tool", "name": "now"}),
    ],
)
def test_each_choice_has_its_form(said: Any, sent: Any) -> None:
    assert choice(said) == sent


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("auto", {"type": "auto", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ({"type": "function", "name": "now"}, {"type": "tool", "name": "now", "disable_parallel_tool_use": True}),
    ],
)
def test_pitfall_011_one_call_at_a_time_is_part_of_the_one_choice(said: Any, sent: Any) -> None:
    assert choice(said, parallel_tool_calls=False) == sent
    assert choice(said, parallel_tool_calls=True) == choice(said)


def test_pitfall_010_063_without_tools_nothing_is_said_of_tools() -> None:
    said = kit.body(parallel_tool_calls=False)
    assert {"tools", "tool_choice"} & set(said) == set()
    hosted = kit.body(tools=[{"type": "web_search"}], parallel_tool_calls=False)
    assert {"tools", "tool_choice"} & set(hosted) == set()


@pytest.mark.parametrize("model", ["claude-fable-5-1", "claude-mythos-5-2", "claude-opus-5-5", "claude-sonnet-5-5"])
@pytest.mark.parametrize(
    ("said", "words"),
    [("required", "at least one of the tools"), ({"type": "function", "name": "now"}, "the tool now")],
)
def test_models_that_cannot_be_forced_are_asked_in_words(model: str, said: Any, words: str) -> None:
    sent = kit.encode(model=model, tools=BOTH, tool_choice=said)
    assert b'"tool_choice"' not in sent.body
    assert words.encode() in sent.body
    assert sent.dropped == ("tool_choice",)


def test_a_thinking_budget_and_a_forced_choice_are_not_sent_together() -> None:
    said = {"model": "claude-sonnet-4-5", "tools": BOTH, "tool_choice": "required"}
    assert kit.encode(**said, reasoning={"effort": "high"}).dropped == ("tool_choice",)
    assert kit.body(**said)["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(("mode", "sent"), [("auto", None), ("required", {"type": "any"})])
def test_allowed_tools_are_the_only_ones_declared(mode: str, sent: Any) -> None:
    allowed = {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "now"}]}
    said = kit.body(tools=BOTH, tool_choice=allowed)
    assert [tool["name"] for tool in said["tools"]] == ["now"]
    assert said.get("tool_choice") == sent


@pytest.mark.parametrize(
    "said",
    [
        {"type": "web_search"},
        {"type": "function", "name": "absent"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
    ],
)
def test_a_choice_that_cannot_be_kept_is_refused(said: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        kit.encode(tools=[*BOTH, {"type": "web_search"}], tool_choice=said)
    assert caught.value.param is not None
    assert caught.value.param.startswith("tool_choice")


def test_required_with_nothing_but_hosted_tools_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        kit.encode(tools=[{"type": "web_search"}], tool_choice="required")


def test_hosted_tools_are_left_out_and_named() -> None:
    sent = kit.encode(tools=[{"type": "web_search"}, kit.NOW])
    assert sent.dropped == ("tools[0].web_search",)


def test_pitfall_068_a_namespace_is_flattened_to_legal_names() -> None:
    inner = {"type": "function", "name": "do it/now"}
    (tool,) = kit.body(tools=[NAMESPACE | {"tools": [inner]}])["tools"]
    assert tool["name"].startswith("fs__do_it_now_")
    assert tool["name"].replace("_", "").isalnum()


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        (None, {"type": "object", "properties": {}}),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": "object", "x": 1}, {"type": "object", "x": 1}),
    ],
)
def test_a_tools_schema_is_the_clients_own_with_an_object_at_its_root(parameters: Any, schema: Any) -> None:
    (tool,) = kit.body(tools=[kit.NOW | {"parameters": parameters, "strict": False}])["tools"]
    assert tool == {"name": "now", "input_schema": schema}


def test_a_strict_tool_is_lowered_and_says_so() -> None:
    strict = kit.WEATHER | {"strict": True, "description": "W"}
    (tool,) = kit.body(tools=[strict])["tools"]
    assert tool["strict"] is True
    assert tool["input_schema"]["additionalProperties"] is False


def test_a_custom_tool_is_a_function_of_one_text_that_tells_its_grammar() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: A"}
    (tool,) = kit.body(tools=[{"type": "custom", "name": "patch", "format": grammar}])["tools"]
    assert list(tool["input_schema"]["properties"]) == ["input"]
    assert "start: A" in tool["input_schema"]["properties"]["input"]["description"]


def test_a_forced_search_of_the_clients_is_a_forced_function() -> None:
    sent = kit.body(tools=[{"type": "tool_search", "execution": "client"}], tool_choice="required")
    assert sent["tool_choice"] == {"type": "any"}
