"""Tools, settings and the call itself. Tests with a number are pitfalls of the provider reference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import ConfigDict, TypeAdapter
from tests.unit.providers.chat_kit import DIALECT, OPENAI, body, encode, target

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    AdditionalTools,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputText,
    Message,
)
from antiphon.protocol.request import ReasoningSettings, Text, TextFormat
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
from antiphon.providers.base import Target, Vendor
from antiphon.providers.quirks import ChatQuirks, Quirks

USER = Message("user", "hi")
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}}}')
F = FunctionTool("f", "does", SCHEMA, strict=True)
G = FunctionTool("g")
WEB = HostedTool("web_search", msgspec.Raw(b'{"type":"web_search"}'))
CUSTOM = CustomTool("exec", format=GrammarSpec("start: /a/", "lark"))


class StrictParams(CompletionCreateParamsStreaming):
    """The SDK's type, refusing what it does not know; a subclass, since other tests use the type as it is."""

    __pydantic_config__ = ConfigDict(extra="forbid")


def exhaust(value: object) -> None:
    """Walk a validated value: pydantic looks into an Iterable only as it is read."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, Iterable) and not isinstance(value, str):
        for inner in value:
            exhaust(inner)


def functions(sent: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in sent.get("tools", [])]


def test_the_call_is_a_streamed_post() -> None:
    request = encode(USER)
    assert (request.method, request.url) == ("POST", "https://upstream.example/v1/chat/completions")
    assert dict(request.headers)["authorization"] == "Bearer key"
    sent = msgspec.json.decode(request.body)
    assert (sent["model"], sent["stream"], sent["stream_options"]) == ("m", True, {"include_usage": True})


def test_the_vendors_query_and_constant_fields_are_sent() -> None:
    quirks = ChatQuirks(query="api-version=1", extra_body={"reasoning_format": "parsed"}, has_stream_options=False)
    request = encode(USER, quirks=quirks)
    assert request.url.endswith("/chat/completions?api-version=1")
    sent = msgspec.json.decode(request.body)
    assert sent["reasoning_format"] == "parsed"
    assert "stream_options" not in sent


def test_models_are_listed_where_the_vendor_lists_them() -> None:
    listing = DIALECT.models_request(target().vendor)
    assert listing is not None
    assert (listing.method, listing.url) == ("GET", "https://upstream.example/v1/models")
    assert DIALECT.models_request(target(ChatQuirks(models_path="")).vendor) is None


def test_a_refused_call_is_classified() -> None:
    assert DIALECT.fault(429, {}, b'{"error":{"code":"insufficient_quota","message":"x"}}').kind == "quota"


def test_functions_keep_their_schema_to_the_order_of_its_keys() -> None:
    assert SCHEMA in encode(USER, tools=(F,)).body.replace(b" ", b"")
    sent = body(USER, tools=(F, G))["tools"]
    assert sent[0]["function"]["strict"] is True
    assert sent[1] == {
        "type": "function",
        "function": {"name": "g", "parameters": {"type": "object", "properties": {}}},
    }


def test_what_a_declaration_cannot_say_is_named() -> None:
    tool = FunctionTool("f", strict=True, async_=True, output_schema=SCHEMA, allowed_callers=("x",))
    request = encode(USER, tools=(tool, WEB), quirks=ChatQuirks(has_strict_tools=False))
    assert request.dropped == (
        "tools[1].web_search",
        "tools.f.strict",
        "tools.f.output_schema",
        "tools.f.async",
        "tools.f.allowed_callers",
    )


def test_custom_tools_are_native_or_wrapped() -> None:
    assert body(tools=(CUSTOM,), quirks=OPENAI)["tools"] == [
        {
            "type": "custom",
            "custom": {
                "name": "exec",
                "format": {"type": "grammar", "grammar": {"definition": "start: /a/", "syntax": "lark"}},
            },
        }
    ]
    wrapped = body(tools=(CUSTOM,))["tools"][0]["function"]
    assert "start: /a/" in wrapped["parameters"]["properties"]["input"]["description"]
    assert body(tools=(CustomTool("t"),), quirks=OPENAI)["tools"][0]["custom"]["format"] == {"type": "text"}


def test_pitfall_091_093_and_094_a_local_server_sees_function_tools_alone() -> None:
    space = NamespaceTool("mcp", (FunctionTool("read"), CustomTool("exec")))
    search = HostedTool("tool_search", msgspec.Raw(b'{"type":"tool_search","execution":"client"}'))
    sent = body(USER, AdditionalTools((G,)), tools=(F, space, CUSTOM, WEB, search))
    assert {tool["type"] for tool in sent["tools"]} == {"function"}
    assert functions(sent) == ["f", "mcp__read", "mcp__exec", "exec", "tool_search", "g"]


@pytest.mark.parametrize("quirks", [ChatQuirks(), OPENAI, ChatQuirks(tool_choices=frozenset())])
@pytest.mark.parametrize("choice", ["auto", "none", AllowedChoice("auto", (ToolRef("function", "f"),))])
def test_pitfall_010_and_063_without_tools_there_is_no_choice(quirks: ChatQuirks, choice: object) -> None:
    sent = body(
        USER, tools=(WEB,), tool_choice=choice, parallel_tool_calls=False, parallel_tool_calls_said=True, quirks=quirks
    )
    assert not sent.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


def test_parallel_calls_are_spoken_of_only_when_the_client_does() -> None:
    assert "parallel_tool_calls" not in body(USER, tools=(F,))
    assert (
        body(USER, tools=(F,), parallel_tool_calls=False, parallel_tool_calls_said=True)["parallel_tool_calls"] is False
    )
    mute = ChatQuirks(tuning=frozenset())
    assert encode(USER, tools=(F,), parallel_tool_calls=False, parallel_tool_calls_said=True, quirks=mute).dropped == (
        "parallel_tool_calls",
    )
    assert encode(USER, tools=(F,), parallel_tool_calls_said=True, quirks=mute).dropped == ()


ALLOWED = AllowedChoice("required", (ToolRef("function", "g"), ToolRef("web_search")))
NAMED = NamedChoice(ToolRef("function", "g"))
FEW = ChatQuirks(tool_choices=frozenset({"required"}), required_word="any")


@pytest.mark.parametrize(
    ("choice", "quirks", "value", "left"),
    [
        ("auto", ChatQuirks(), None, ["f", "g"]),
        ("none", ChatQuirks(), "none", ["f", "g"]),
        ("none", FEW, None, []),
        ("required", ChatQuirks(), "required", ["f", "g"]),
        ("required", FEW, "any", ["f", "g"]),
        (NAMED, ChatQuirks(), {"type": "function", "function": {"name": "g"}}, ["f", "g"]),
        (NAMED, FEW, "any", ["g"]),
        (ALLOWED, FEW, "any", ["g"]),
        (AllowedChoice("auto", (ToolRef("function", "g"),)), ChatQuirks(), None, ["g"]),
        (AllowedChoice("none", (ToolRef("function", "g"),)), ChatQuirks(), "none", ["f", "g"]),
        (
            ALLOWED,
            OPENAI,
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]},
            },
            ["f", "g"],
        ),
    ],
)
def test_every_form_of_tool_choice_is_kept_or_emulated(
    choice: object, quirks: ChatQuirks, value: object, left: list[str]
) -> None:
    sent = body(USER, tools=(F, G, WEB), tool_choice=choice, quirks=quirks)
    assert sent.get("tool_choice") == value
    assert functions(sent) == left


def test_a_forced_custom_tool_is_named_as_it_was_declared() -> None:
    choice = NamedChoice(ToolRef("custom", "exec"))
    assert body(tools=(CUSTOM,), tool_choice=choice, quirks=OPENAI)["tool_choice"]["custom"] == {"name": "exec"}
    assert body(tools=(CUSTOM,), tool_choice=choice)["tool_choice"]["function"] == {"name": "exec"}


@pytest.mark.parametrize(
    ("choice", "quirks"),
    [
        (NamedChoice(ToolRef("web_search")), ChatQuirks()),
        (AllowedChoice("required", (ToolRef("web_search"),)), ChatQuirks()),
        ("required", ChatQuirks(tool_choices=frozenset())),
        (NAMED, ChatQuirks(tool_choices=frozenset())),
    ],
)
def test_a_choice_that_cannot_be_kept_is_refused(choice: object, quirks: ChatQuirks) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(USER, tools=(F, G, WEB), tool_choice=choice, quirks=quirks)
    assert caught.value.param == "tool_choice"


def test_a_required_call_with_nothing_to_call_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        encode(USER, tools=(WEB,), tool_choice="required")


def test_forcing_a_call_stops_thinking_where_both_cannot_be() -> None:
    quirks = ChatQuirks(forcing_stops_thinking=True, reasoning_request="thinking_and_effort")
    request = encode(USER, tools=(F,), tool_choice="required", reasoning=ReasoningSettings("high"), quirks=quirks)
    sent = msgspec.json.decode(request.body)
    assert sent["thinking"] == {"type": "disabled"}
    assert "reasoning_effort" not in sent
    assert request.dropped == ("reasoning.effort",)


@pytest.mark.parametrize(
    ("style", "effort", "fields"),
    [
        ("effort", "xhigh", {"reasoning_effort": "high"}),
        ("effort", "none", {"reasoning_effort": "none"}),
        ("openrouter", "low", {"reasoning": {"effort": "low"}}),
        ("thinking_type", "none", {"thinking": {"type": "disabled"}}),
        ("thinking_type", "low", {"thinking": {"type": "enabled"}}),
        ("thinking_and_effort", "max", {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        ("thinking_and_effort", "none", {"thinking": {"type": "disabled"}}),
        ("none", "low", {}),
    ],
)
def test_effort_is_asked_for_the_vendors_way(style: str, effort: str, fields: dict[str, object]) -> None:
    quirks = msgspec.convert({"reasoning_request": style}, ChatQuirks)
    request = encode(USER, reasoning=ReasoningSettings(effort), quirks=quirks)
    sent = msgspec.json.decode(request.body)
    assert {key: sent[key] for key in ("thinking", "reasoning_effort", "reasoning") if key in sent} == fields
    assert request.dropped == (() if fields else ("reasoning.effort",))


def test_an_effort_word_mapped_to_nothing_is_left_out_by_name() -> None:
    quirks = ChatQuirks(effort_map={"none": ""})
    assert encode(USER, reasoning=ReasoningSettings("none", "auto"), quirks=quirks).dropped == (
        "reasoning.effort",
        "reasoning.summary",
    )


def test_structured_outputs_are_enforced_or_refused() -> None:
    wanted = Text(TextFormat("json_schema", "w", SCHEMA, "d", True))
    assert body(USER, text=wanted)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "w", "description": "d", "schema": msgspec.json.decode(SCHEMA), "strict": True},
    }
    any_object = Text(TextFormat("json_object"))
    assert body(USER, text=any_object)["response_format"] == {"type": "json_object"}
    only_schema = ChatQuirks(response_formats=frozenset({"json_schema"}))
    assert body(USER, text=any_object, quirks=only_schema)["response_format"]["json_schema"]["schema"] == {
        "type": "object"
    }
    with pytest.raises(InvalidRequest) as caught:
        encode(USER, text=wanted, quirks=ChatQuirks(response_formats=frozenset({"json_object"})))
    assert caught.value.param == "text.format.type"


FULL: dict[str, Any] = {
    "max_output_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.9,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "top_logprobs": 2,
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "user": "u",
    "metadata": {"a": "b"},
    "text": Text(verbosity="low"),
}


def test_openai_gets_every_setting() -> None:
    request = encode(USER, quirks=OPENAI, **FULL)
    sent = msgspec.json.decode(request.body)
    assert request.dropped == ()
    assert sent["max_completion_tokens"] == 9
    assert (sent["logprobs"], sent["top_logprobs"], sent["store"], sent["verbosity"]) == (True, 2, False, "low")
    for name in ("temperature", "service_tier", "prompt_cache_key", "safety_identifier", "user", "metadata"):
        assert sent[name] == FULL[name]


def test_what_an_unknown_server_may_not_know_is_named() -> None:
    request = encode(USER, **FULL)
    assert request.dropped == (
        "text.verbosity",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
    )
    sent = msgspec.json.decode(request.body)
    assert sent["max_tokens"] == 9
    assert not sent.keys() & {"store", "metadata", "service_tier", "verbosity"}


def test_pitfall_012_what_openai_gets_is_what_its_own_types_say() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(StrictParams)
    choices = ["none", "required", NAMED, NamedChoice(ToolRef("custom", "exec")), ALLOWED]
    context = (
        Message("developer", "be brief"),
        Message(
            "user",
            (
                InputText("x"),
                InputImage("low", "https://a.example/i.png"),
                InputFile("a", "data:application/pdf;base64,AAAA"),
            ),
        ),
        Message("assistant", "calling"),
        FunctionCall("a", "f", "{}"),
        CustomToolCall("b", "exec", "ls"),
        FunctionCallOutput((InputText("1"), InputImage(image_url="data:image/png;base64,AAAA")), "a"),
        CustomToolCallOutput("b", "2"),
    )
    for choice in choices:
        sent = encode(
            *context,
            instructions="be",
            tools=(F, G, CUSTOM, WEB),
            tool_choice=choice,
            parallel_tool_calls_said=True,
            reasoning=ReasoningSettings("low"),
            quirks=OPENAI,
            **{**FULL, "text": Text(TextFormat("json_schema", "w", SCHEMA), "low")},
        )
        exhaust(adapter.validate_python(msgspec.json.decode(sent.body)))


def test_the_credential_is_in_its_vendors_header() -> None:
    vendor = Vendor("azure", "chat_completions", "https://x", auth="api-key", api_key="k", quirks=Quirks())
    listing = DIALECT.models_request(Target(vendor, "m").vendor)
    assert listing is not None
    assert dict(listing.headers)["api-key"] == "k"


def test_logprobs_may_be_asked_for_without_alternatives() -> None:
    sent = body(USER, include=frozenset({"message.output_text.logprobs"}))
    assert sent["logprobs"] is True
    assert "top_logprobs" not in sent


def test_a_forced_call_without_a_word_on_reasoning_drops_nothing() -> None:
    quirks = ChatQuirks(forcing_stops_thinking=True)
    for reasoning in (None, ReasoningSettings("none")):
        request = encode(USER, tools=(F,), tool_choice="required", reasoning=reasoning, quirks=quirks)
        assert request.dropped == ()
