"""Turns as Responses-speaking upstreams are sent them: stateless, by quirks, and never silently less."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    AdditionalTools,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputImage,
    InputText,
    ItemReference,
    Message,
    Opaque,
    OutputText,
    PlainText,
    Reasoning,
    ReasoningText,
    RefusalPart,
    SummaryText,
    ToolSearchCall,
    ToolSearchOutput,
)
from antiphon.protocol.request import CreateResponse, ReasoningSettings, Text, TextFormat
from antiphon.protocol.tools import (
    AllowedChoice,
    CustomTool,
    FunctionTool,
    GrammarSpec,
    HostedTool,
    NamedChoice,
    NamespaceTool,
    Tool,
    ToolRef,
)
from antiphon.providers.base import Entry, HttpRequest, ModelTurn, ReplayedReasoning, ReplayRecord, Target, Turn, Vendor
from antiphon.providers.quirks import Quirks, ResponsesQuirks
from antiphon.providers.responses import Responses

SDK_BODY: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsStreaming)
# The contract of Open Responses has these two, the SDK's types do not.
OPEN_RESPONSES_ONLY = {"presence_penalty", "frequency_penalty"}

WEATHER = FunctionTool("weather", "Tells it.", msgspec.Raw(b'{"type":"object","properties":{}}'), False)
PATCH = CustomTool("apply_patch", "Patches.", GrammarSpec("start: x", "lark"))
CRM = NamespaceTool("crm", (FunctionTool("find"), CustomTool("note")), "Customers.")
SEARCH = HostedTool("web_search", msgspec.Raw(b'{"type":"web_search","search_context_size":"low"}'))
CLIENT_SEARCH = HostedTool("tool_search", msgspec.Raw(b'{"type":"tool_search","execution":"client"}'))

LOCAL = ResponsesQuirks(
    tool_types=frozenset({"function"}),
    item_types=frozenset({"message", "function_call", "function_call_output", "reasoning"}),
    tool_choice_types=frozenset({"function"}),
    reasoning="text",
    text_tool_outputs=True,
)
SEALED = {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": "E", "status": None}


def target(quirks: ResponsesQuirks | None = None, **vendor: Any) -> Target:
    fields = {"api_key": "k", "scope": "account"} | vendor
    own = Quirks(responses=quirks or ResponsesQuirks())
    return Target(Vendor("up", "responses", "https://up.example/v1", quirks=own, **fields), "m")


def encode(
    *context: Entry, quirks: ResponsesQuirks | None = None, pending: tuple[ReplayRecord, ...] = (), **fields: Any
) -> HttpRequest:
    request = CreateResponse(**({"model": "up/m"} | fields))
    return Responses().encode(Turn(request, context, pending), target(quirks))


def body_of(request: HttpRequest) -> dict[str, Any]:
    """The body, which must also be one that the SDK's own types allow."""
    body = msgspec.json.decode(request.body)
    assert set(body) <= set(ResponseCreateParamsStreaming.__annotations__) | {"stream"} | OPEN_RESPONSES_ONLY
    SDK_BODY.validate_python(typed(body))
    return body


def typed(body: dict[str, Any]) -> dict[str, Any]:
    """The body with what the SDK's types demand and the API does not: ids on items, parameters on tools, ..."""
    items = [{"id": "x", "status": "completed"} | _typed_item(item) for item in body["input"]]
    tools = [_typed_tool(tool) for tool in body.get("tools", ())]
    return body | {"input": items, "tools": tools}


def _typed_item(item: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(item.get("content"), list):
        return item
    return item | {
        "content": [{"detail": "auto"} | part if part["type"] == "input_image" else part for part in item["content"]]
    }


def _typed_tool(tool: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": {}, "strict": None} | tool if tool["type"] == "function" else tool


def inputs(*context: Entry, quirks: ResponsesQuirks | None = None, **fields: Any) -> list[dict[str, Any]]:
    return body_of(encode(*context, quirks=quirks, **fields))["input"]


def record(
    *blocks: dict[str, Any], family: str = "responses", scope: str = "account", model: str = "m", **fields: Any
) -> ReplayRecord:
    return ReplayRecord(family, scope, model, msgspec.Raw(msgspec.json.encode(blocks)), **fields)


def call_block(call_id: str = "c", name: str = "weather", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_up", "call_id": call_id, "name": name, "arguments": "{ }"} | fields


def own_turn(*blocks: dict[str, Any], **fields: Any) -> ModelTurn:
    items = (Reasoning(id="rs_ours"), FunctionCall("c", "weather", "{}", "fc_ours", "completed"))
    return ModelTurn(items, record(*(blocks or (SEALED, call_block())), **fields))


OUTPUT = FunctionCallOutput("12 degrees", call_id="c")


# -- the call itself ---------------------------------------------------------------------------------------------------


def test_call_is_streamed_stateless_and_asks_for_sealed_reasoning() -> None:
    request = encode(Message("user", "Hi"))
    assert (request.method, request.url) == ("POST", "https://up.example/v1/responses")
    assert dict(request.headers)["authorization"] == "Bearer k"
    assert body_of(request) == {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }


def test_instructions_and_every_setting_are_forwarded_as_said() -> None:
    schema = msgspec.Raw(b'{"type":"object"}')
    request = encode(
        Message("user", "Hi"),
        instructions="Be brief.",
        tools=(WEATHER,),
        parallel_tool_calls_said=True,
        parallel_tool_calls=False,
        max_tool_calls=3,
        max_output_tokens=100,
        temperature=0.0,
        top_p=0.5,
        top_logprobs=2,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        truncation="auto",
        text=Text(TextFormat("json_schema", "out", schema, "An answer.", True), "low"),
        reasoning=ReasoningSettings("high", "auto", "all_turns", "pro"),
        metadata={"a": "b"},
        service_tier="flex",
        prompt_cache_key="key",
        prompt_cache_options=msgspec.Raw(b'{"ttl":"30m"}'),
        prompt_cache_retention="24h",
        safety_identifier="s",
        user="u",
        include=frozenset({"web_search_call.action.sources"}),
    )
    body = body_of(request)
    expected = {
        "instructions": "Be brief.",
        "parallel_tool_calls": False,
        "max_tool_calls": 3,
        "max_output_tokens": 100,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_logprobs": 2,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "truncation": "auto",
        "text": {
            "format": {
                "type": "json_schema",
                "name": "out",
                "schema": {"type": "object"},
                "description": "An answer.",
                "strict": True,
            },
            "verbosity": "low",
        },
        "reasoning": {"effort": "high", "summary": "auto", "context": "all_turns", "mode": "pro"},
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "prompt_cache_key": "key",
        "prompt_cache_options": {"ttl": "30m"},
        "prompt_cache_retention": "24h",
        "safety_identifier": "s",
        "user": "u",
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content", "web_search_call.action.sources"],
    }
    assert {name: body[name] for name in expected} == expected
    assert request.dropped == ()


def test_penalties_of_zero_are_not_sent() -> None:
    assert encode(presence_penalty=0.0, frequency_penalty=0.0).body == encode().body


def test_json_object_format_and_schema_without_strict_are_forwarded_as_said() -> None:
    assert body_of(encode(text=Text(TextFormat("json_object"))))["text"] == {"format": {"type": "json_object"}}
    asked = TextFormat("json_schema", "out", msgspec.Raw(b"{}"))
    assert body_of(encode(text=Text(asked)))["text"]["format"] == {"type": "json_schema", "name": "out", "schema": {}}


def test_state_of_the_client_is_never_the_upstreams() -> None:
    body = body_of(encode(Message("user", "Hi"), previous_response_id="resp_1", store=True, background=False))
    assert "previous_response_id" not in body
    assert body["store"] is False


def test_padding_is_switched_off_where_that_is_known() -> None:
    body = body_of(encode(quirks=ResponsesQuirks(takes_obfuscation_option=True)))
    assert body["stream_options"] == {"include_obfuscation": False}


def test_azure_legacy_gets_its_api_version_and_its_key_header() -> None:
    vendor = target(ResponsesQuirks(query="api-version=2025-04-01-preview"), auth="api-key")
    request = Responses().encode(Turn(CreateResponse(model="m"), ()), vendor)
    assert request.url == "https://up.example/v1/responses?api-version=2025-04-01-preview"
    assert dict(request.headers)["api-key"] == "k"
    listing = Responses().models_request(vendor.vendor)
    assert listing is not None
    assert (listing.method, listing.url) == ("GET", "https://up.example/v1/models?api-version=2025-04-01-preview")


def test_fault_is_the_common_classifiers() -> None:
    assert Responses().fault(529, {}, b"").kind == "overloaded"


def test_decoder_lifts_by_the_names_of_the_request() -> None:
    request = encode(tools=(CRM,), quirks=LOCAL)
    decoder = Responses().decoder(target(LOCAL), request)
    deltas = decoder.feed(
        b'{"status":"completed","output":[{"type":"function_call","name":"crm__find","call_id":"c","arguments":"{}"}]}'
    )
    deltas += decoder.close()
    started = next(delta for delta in deltas if type(delta).__name__ == "CallStarted")
    assert (started.name, started.namespace) == ("find", "crm")


# -- what a vendor refuses ---------------------------------------------------------------------------------------------


def test_refused_settings_are_left_out_and_named_only_where_said() -> None:
    quirks = ResponsesQuirks(
        dropped_fields=frozenset({"store", "include", "metadata", "truncation", "user", "reasoning.summary"})
    )
    request = encode(metadata={"a": "b"}, reasoning=ReasoningSettings("low", "auto"), quirks=quirks)
    assert body_of(request) == {"model": "m", "input": [], "reasoning": {"effort": "low"}, "stream": True}
    assert request.dropped == ("reasoning.summary", "metadata")
    assert encode(quirks=quirks).dropped == ()


def test_include_that_the_client_asked_for_is_named_when_refused() -> None:
    quirks = ResponsesQuirks(dropped_fields=frozenset({"include"}))
    assert encode(include=frozenset({"reasoning.encrypted_content"}), quirks=quirks).dropped == ()
    assert encode(include=frozenset({"message.output_text.logprobs"}), quirks=quirks).dropped == ("include",)


def test_whole_object_is_refused_by_its_parent() -> None:
    quirks = ResponsesQuirks(dropped_fields=frozenset({"reasoning", "text"}))
    request = encode(reasoning=ReasoningSettings("low", "auto"), text=Text(verbosity="low"), quirks=quirks)
    assert request.dropped == ("text.verbosity", "reasoning.effort", "reasoning.summary")
    assert "reasoning" not in body_of(request)


def test_output_format_that_cannot_be_honoured_is_refused_by_name() -> None:
    quirks = ResponsesQuirks(dropped_fields=frozenset({"text.format"}))
    with pytest.raises(InvalidRequest) as refused:
        encode(text=Text(TextFormat("json_object")), quirks=quirks)
    assert refused.value.param == "text.format"


def test_value_outside_the_vendors_is_left_out_and_named() -> None:
    quirks = ResponsesQuirks(
        allowed_values={"reasoning.summary": frozenset({"auto"}), "service_tier": frozenset({"default"})}
    )
    request = encode(reasoning=ReasoningSettings("low", "detailed"), service_tier="default", quirks=quirks)
    assert body_of(request)["reasoning"] == {"effort": "low"}
    assert body_of(request)["service_tier"] == "default"
    assert request.dropped == ("reasoning.summary",)


# -- tools -------------------------------------------------------------------------------------------------------------


def test_pitfall_063_no_tools_no_tool_settings() -> None:
    body = body_of(encode(tool_choice="none", tool_choice_raw=msgspec.Raw(b'"none"'), parallel_tool_calls_said=True))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


def test_pitfall_010_tools_that_are_all_left_out_take_their_settings_along() -> None:
    request = encode(tools=(SEARCH,), parallel_tool_calls_said=True, quirks=LOCAL)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body_of(request))
    assert request.dropped == ("tools[0].web_search",)


def test_native_vendor_gets_the_clients_own_declarations_in_order() -> None:
    tools = body_of(encode(tools=(WEATHER, SEARCH, PATCH, CRM, CLIENT_SEARCH)))["tools"]
    assert [tool["type"] for tool in tools] == ["function", "web_search", "custom", "namespace", "tool_search"]
    assert tools[2]["format"] == {"type": "grammar", "definition": "start: x", "syntax": "lark"}
    assert [tool["name"] for tool in tools[3]["tools"]] == ["find", "note"]


def test_pitfall_091_local_engine_is_sent_only_functions() -> None:
    request = encode(tools=(WEATHER, SEARCH, PATCH, CRM, CLIENT_SEARCH), quirks=LOCAL)
    tools = body_of(request)["tools"]
    assert [(tool["type"], tool["name"]) for tool in tools] == [
        ("function", "weather"),
        ("function", "apply_patch"),
        ("function", "crm__find"),
        ("function", "crm__note"),
        ("function", "tool_search"),
    ]
    assert "start: x" in tools[1]["parameters"]["properties"]["input"]["description"]
    assert tools[0]["strict"] is False
    assert request.dropped == ("tools[1].web_search",)


def test_pitfall_093_094_namespace_is_flattened_and_its_history_with_it() -> None:
    items = inputs(FunctionCall("c", "find", "{}", namespace="crm"), OUTPUT, tools=(CRM,), quirks=LOCAL)
    assert items[0] == {"type": "function_call", "call_id": "c", "name": "crm__find", "arguments": "{}"}


def test_vendor_with_custom_tools_but_no_namespaces_keeps_the_custom_ones() -> None:
    quirks = ResponsesQuirks(tool_types=frozenset({"function", "custom"}))
    request = encode(
        CustomToolCall("c", "note", "x", namespace="crm"),
        CustomToolCallOutput("c", "ok"),
        tools=(PATCH, CRM),
        quirks=quirks,
    )
    body = body_of(request)
    assert [(tool["type"], tool["name"]) for tool in body["tools"]] == [
        ("custom", "apply_patch"),
        ("function", "crm__find"),
        ("custom", "crm__note"),
    ]
    assert body["tools"][0]["format"]["syntax"] == "lark"
    assert [item["type"] for item in body["input"]] == ["custom_tool_call", "custom_tool_call_output"]
    assert body["input"][0]["name"] == "crm__note"


def test_fields_refused_on_a_hosted_tool_are_left_out_and_named() -> None:
    quirks = ResponsesQuirks(dropped_tool_fields={"web_search": frozenset({"search_context_size"})})
    request = encode(tools=(WEATHER, SEARCH), quirks=quirks)
    assert body_of(request)["tools"][1] == {"type": "web_search"}
    assert request.dropped == ("tools[1].web_search.search_context_size",)


def test_tools_loaded_in_mid_conversation_are_declared_where_their_item_is_unknown() -> None:
    loaded = AdditionalTools((CRM, WEATHER))
    assert [item["type"] for item in inputs(loaded)] == ["additional_tools"]
    quirks = ResponsesQuirks(item_types=frozenset({"message"}))
    body = body_of(encode(loaded, tools=(WEATHER,), quirks=quirks))
    assert body["input"] == []
    assert [tool["name"] for tool in body["tools"]] == ["weather", "crm"]
    lowered = body_of(encode(loaded, tools=(WEATHER,), quirks=LOCAL))
    assert [tool["name"] for tool in lowered["tools"]] == ["weather", "crm__find", "crm__note"]


def test_same_tool_gets_the_same_bytes_every_time() -> None:
    """Pitfall 30: a prefix that changes is a cache that is lost."""
    tools = (SEARCH, CRM, WEATHER, PATCH)
    assert encode(tools=tools, quirks=LOCAL).body == encode(tools=tools, quirks=LOCAL).body


# -- tool_choice -------------------------------------------------------------------------------------------------------


def choose(choice: Any, *tools: Tool, raw: Any = None, quirks: ResponsesQuirks | None = None) -> dict[str, Any]:
    raw_choice = msgspec.Raw(msgspec.json.encode(raw if raw is not None else choice))
    return body_of(encode(tools=tools, tool_choice=choice, tool_choice_raw=raw_choice, quirks=quirks))


@pytest.mark.parametrize("choice", ["none", "required"])
def test_plain_choice_is_forwarded(choice: str) -> None:
    assert choose(choice, WEATHER)["tool_choice"] == choice
    assert choose(choice, WEATHER, quirks=LOCAL)["tool_choice"] == choice


def test_pitfall_012_named_choice_keeps_its_type() -> None:
    named = NamedChoice(ToolRef("function", "weather"))
    raw = {"type": "function", "name": "weather"}
    assert choose(named, WEATHER, raw=raw)["tool_choice"] == raw
    assert choose(named, WEATHER, raw=raw, quirks=LOCAL)["tool_choice"] == raw


def test_named_choice_of_a_lowered_tool_takes_its_wire_name() -> None:
    custom = NamedChoice(ToolRef("custom", "apply_patch"))
    raw = {"type": "custom", "name": "apply_patch"}
    assert choose(custom, PATCH, raw=raw)["tool_choice"] == raw
    assert choose(custom, PATCH, raw=raw, quirks=LOCAL)["tool_choice"] == {"type": "function", "name": "apply_patch"}
    inner = NamedChoice(ToolRef("function", "find", "crm"))
    assert choose(inner, CRM, raw={}, quirks=LOCAL)["tool_choice"] == {"type": "function", "name": "crm__find"}
    search = NamedChoice(ToolRef("tool_search"))
    quirks = msgspec.structs.replace(LOCAL, tool_choice_types=None)
    chosen = choose(search, CLIENT_SEARCH, raw={}, quirks=quirks)["tool_choice"]
    assert chosen == {"type": "function", "name": "tool_search"}


@pytest.mark.parametrize("choice", [NamedChoice(ToolRef("web_search")), "required"])
def test_forced_choice_of_a_tool_that_was_left_out_is_refused(choice: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        choose(choice, SEARCH, raw={"type": "web_search"}, quirks=LOCAL)
    assert refused.value.param == "tool_choice"


def test_hosted_choice_is_forwarded_where_the_tool_is_taken() -> None:
    raw = {"type": "image_generation"}
    image = HostedTool("image_generation", msgspec.Raw(b'{"type":"image_generation"}'))
    assert choose(NamedChoice(ToolRef("image_generation")), image, raw=raw)["tool_choice"] == raw


ALLOWED = AllowedChoice("required", (ToolRef("function", "weather"), ToolRef("custom", "apply_patch")))
ALLOWED_RAW = {
    "type": "allowed_tools",
    "mode": "required",
    "tools": [{"type": "function", "name": "weather"}, {"type": "custom", "name": "apply_patch"}],
}


def test_allowed_tools_are_forwarded_or_lowered_where_the_vendor_knows_them() -> None:
    assert choose(ALLOWED, WEATHER, PATCH, CRM, raw=ALLOWED_RAW)["tool_choice"] == ALLOWED_RAW
    quirks = msgspec.structs.replace(LOCAL, tool_choice_types=None)
    lowered = choose(ALLOWED, WEATHER, PATCH, CRM, raw=ALLOWED_RAW, quirks=quirks)["tool_choice"]
    assert lowered["tools"] == [{"type": "function", "name": "weather"}, {"type": "function", "name": "apply_patch"}]
    quirks = msgspec.structs.replace(quirks, tool_types=frozenset({"function", "custom"}))
    assert choose(ALLOWED, WEATHER, PATCH, CRM, raw=ALLOWED_RAW, quirks=quirks)["tool_choice"] == ALLOWED_RAW


def test_allowed_tools_are_the_only_ones_declared_where_the_vendor_does_not_know_them() -> None:
    body = choose(ALLOWED, WEATHER, PATCH, CRM, raw=ALLOWED_RAW, quirks=LOCAL)
    assert [tool["name"] for tool in body["tools"]] == ["weather", "apply_patch"]
    assert body["tool_choice"] == "required"
    namespace = AllowedChoice("auto", (ToolRef("namespace", "crm"),))
    body = choose(namespace, WEATHER, PATCH, CRM, raw={}, quirks=LOCAL)
    assert [tool["name"] for tool in body["tools"]] == ["crm__find", "crm__note"]
    assert "tool_choice" not in body
    native = ResponsesQuirks(tool_choice_types=frozenset())
    assert [tool["name"] for tool in choose(namespace, WEATHER, CRM, raw={}, quirks=native)["tools"]] == ["crm"]


def test_vendor_without_tool_choice_promises_nothing_it_cannot_keep() -> None:
    quirks = ResponsesQuirks(dropped_fields=frozenset({"tool_choice"}))
    assert "tool_choice" not in choose("auto", WEATHER, quirks=quirks)
    assert "tools" not in choose("none", WEATHER, quirks=quirks)
    with pytest.raises(InvalidRequest) as refused:
        choose("required", WEATHER, quirks=quirks)
    assert refused.value.param == "tool_choice"


# -- replay ------------------------------------------------------------------------------------------------------------


def test_pitfall_041_own_turn_goes_back_verbatim_but_for_ids() -> None:
    message = {
        "type": "message",
        "id": "msg_up",
        "role": "assistant",
        "status": "completed",
        "phase": "commentary",
        "content": [{"type": "output_text", "text": "é", "annotations": [], "logprobs": []}],
    }
    items = inputs(own_turn(SEALED, message, call_block(namespace="n")), OUTPUT)
    assert items[0] == {"type": "reasoning", "summary": [], "encrypted_content": "E"}
    assert items[1] == {name: value for name, value in message.items() if name != "id"}
    assert items[2] == {
        "type": "function_call",
        "call_id": "c",
        "name": "weather",
        "arguments": "{ }",
        "namespace": "n",
    }
    assert not any("id" in item for item in items)


def test_own_turn_is_rendered_to_the_same_bytes_every_time() -> None:
    assert encode(own_turn(), OUTPUT).body == encode(own_turn(), OUTPUT).body
    assert b'"arguments":"{ }"' in encode(own_turn(), OUTPUT).body


def test_pitfall_021_fields_that_the_vendor_refuses_are_not_sent_back() -> None:
    quirks = ResponsesQuirks(dropped_item_fields=frozenset({"status"}))
    items = inputs(own_turn(SEALED, call_block(status="completed")), OUTPUT, quirks=quirks)
    assert all(None not in item.values() and "status" not in item for item in items)


def test_pitfall_040_042_reasoning_goes_with_what_it_led_to_or_not_at_all() -> None:
    request = encode(ModelTurn((Reasoning(id="rs_ours"),), record(SEALED)), Message("user", "Go on"))
    assert [item["type"] for item in body_of(request)["input"]] == ["message"]
    assert request.removed == (("rs_ours", "answer_missing"),)
    both = inputs(own_turn(SEALED, SEALED | {"encrypted_content": "F"}, call_block()), OUTPUT)
    assert [item["type"] for item in both] == ["reasoning", "reasoning", "function_call", "function_call_output"]


@pytest.mark.parametrize("fields", [{"family": "anthropic"}, {"scope": "another"}])
def test_reasoning_of_another_account_is_removed_and_named(fields: dict[str, str]) -> None:
    request = encode(own_turn(**fields), OUTPUT)
    assert [item["type"] for item in body_of(request)["input"]] == ["function_call", "function_call_output"]
    assert body_of(request)["input"][0]["arguments"] == "{}"
    assert request.removed == (("rs_ours", "provider_changed"),)


def test_pitfall_064_reasoning_of_another_model_is_removed_unless_it_may_cross() -> None:
    request = encode(own_turn(model="m-mini"), OUTPUT)
    assert request.removed == (("rs_ours", "model_changed"),)
    assert body_of(request)["input"][0]["arguments"] == "{ }"
    crossing = encode(own_turn(model="m-mini"), OUTPUT, quirks=ResponsesQuirks(reasoning_crosses_models=True))
    assert crossing.removed == ()


def test_foreign_turn_is_sent_without_ids_phase_and_citations() -> None:
    annotation = msgspec.Raw(b'{"type":"url_citation","url":"http://x","title":"","start_index":0,"end_index":1}')
    message = Message(
        "assistant",
        (OutputText("Hi", (annotation,), (annotation,)), RefusalPart("No")),
        "msg_ours",
        "completed",
        "final_answer",
    )
    items = inputs(ModelTurn((message, Message("assistant", "plain", "msg_2"))))
    assert items == [
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "No"},
            ],
        },
        {"type": "message", "role": "assistant", "content": "plain"},
    ]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (
            {
                "type": "web_search_call",
                "action": {"type": "search", "query": "tides", "sources": [{"url": "http://t"}]},
            },
            "[searched the web: tides -> http://t]",
        ),
        (
            {"type": "web_search_call", "action": {"type": "open_page", "url": "http://p"}},
            "[searched the web: http://p]",
        ),
        ({"type": "file_search_call", "queries": ["a", "b"]}, "[searched files: a, b]"),
        (
            {"type": "code_interpreter_call", "code": "1+1", "outputs": [{"type": "logs", "logs": "2"}]},
            "[ran code: 1+1 -> 2]",
        ),
        ({"type": "code_interpreter_call", "code": "1"}, "[ran code: 1]"),
        ({"type": "mcp_call", "name": "f", "arguments": "{}", "output": "ok"}, "[called f({}) -> ok]"),
        ({"type": "mcp_call", "name": "f"}, "[called f()]"),
    ],
)
def test_what_another_providers_tool_did_is_told_in_words(item: dict[str, Any], words: str) -> None:
    opaque = Opaque(item["type"], "x_ours", msgspec.Raw(msgspec.json.encode(item)))
    (sent,) = inputs(ModelTurn((opaque,)))
    assert sent["content"][0]["text"] == words


@pytest.mark.parametrize(
    "item",
    [
        {"type": "image_generation_call", "result": "AAAA"},
        {"type": "web_search_call"},
        {"type": "file_search_call"},
        {"type": "code_interpreter_call"},
        {"type": "mcp_call"},
        {"type": "mcp_call", "name": 7},
    ],
)
def test_what_cannot_be_told_is_named_as_left_out(item: dict[str, Any]) -> None:
    opaque = Opaque(item["type"], "x_ours", msgspec.Raw(msgspec.json.encode(item)))
    request = encode(ModelTurn((opaque,)))
    assert body_of(request)["input"] == []
    assert request.dropped == (f"input.{item['type']}",)


def test_search_call_of_another_provider_is_named_as_left_out() -> None:
    call = ToolSearchCall(msgspec.Raw(b"{}"), "ts", execution="server")
    assert encode(ModelTurn((call,))).dropped == ("input.tool_search_call",)


def test_pitfall_073_upstream_gets_its_own_call_ids_back() -> None:
    turns: list[Entry] = []
    for public in ("call_a", "call_b"):
        items = (FunctionCall(public, "weather", "{}"),)
        turns += [
            ModelTurn(items, record(call_block("call_0"), call_ids={public: "call_0"})),
            FunctionCallOutput(public, call_id=public),
        ]
    assert [item["call_id"] for item in inputs(*turns)] == ["call_0"] * 4


def test_turn_whose_calls_have_no_ids_is_sent_under_the_public_ones() -> None:
    turn = ModelTurn((FunctionCall("call_pub", "weather", "{}"),), record(call_block(""), call_ids={"call_pub": ""}))
    items = inputs(turn, FunctionCallOutput("x", call_id="call_pub"))
    assert [item["call_id"] for item in items] == ["call_pub", "call_pub"]


def test_pitfall_102_reasoning_always_has_its_summary() -> None:
    bare = {"type": "reasoning", "encrypted_content": "E"}
    assert inputs(own_turn(bare, call_block()), OUTPUT)[0]["summary"] == []


def test_pitfall_104_order_of_items_is_preserved() -> None:
    entries: list[Entry] = [
        Message("user", "a"),
        own_turn(),
        OUTPUT,
        Message("developer", "b"),
        Message("assistant", "c"),
        FunctionCall("d", "f", "{}"),
        FunctionCallOutput("e", call_id="d"),
        Message("user", "f"),
    ]
    items = inputs(*entries)
    assert [item.get("role", item["type"]) for item in items] == [
        "user",
        "reasoning",
        "function_call",
        "function_call_output",
        "developer",
        "assistant",
        "function_call",
        "function_call_output",
        "user",
    ]


def test_native_items_of_an_own_turn_go_back_verbatim() -> None:
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "q"}}
    items = inputs(ModelTurn((Opaque("web_search_call", "ws_ours", msgspec.Raw(b"{}")),), record(search)))
    assert items == [{name: value for name, value in search.items() if name != "id"}]


def test_approval_names_its_request_by_the_upstreams_own_id() -> None:
    asked = {"type": "mcp_approval_request", "id": "mcpr_up", "arguments": "{}", "name": "f", "server_label": "s"}
    public = Opaque("mcp_approval_request", "mcpr_ours", msgspec.Raw(msgspec.json.encode(asked | {"id": "mcpr_ours"})))
    answer = b'{"type":"mcp_approval_response","id":"x","approval_request_id":"mcpr_ours","approve":true}'
    items = inputs(ModelTurn((public,), record(asked)), Opaque("mcp_approval_response", "x", msgspec.Raw(answer)))
    assert items[0]["id"] == "mcpr_up"
    assert items[1] == {"type": "mcp_approval_response", "approval_request_id": "mcpr_up", "approve": True}


def test_blocks_of_a_turn_that_goes_on_are_appended() -> None:
    request = encode(Message("user", "Hi"), pending=(record(SEALED, call_block()),))
    assert [item["type"] for item in body_of(request)["input"]] == ["message", "reasoning", "function_call"]


def test_replayed_reasoning_goes_back_in_its_place_or_is_named() -> None:
    item = Reasoning(id="rs_ours", encrypted_content="antiphon-sealed")
    block = msgspec.Raw(msgspec.json.encode(SEALED))
    call = FunctionCall("c", "weather", "{}")
    entry = ReplayedReasoning(item, ReplayRecord("responses", "account", "m", block))
    assert inputs(entry, call, OUTPUT)[0] == {"type": "reasoning", "summary": [], "encrypted_content": "E"}
    foreign = ReplayedReasoning(item, ReplayRecord("anthropic", "account", "m", block))
    assert encode(foreign, call, OUTPUT).removed == (("rs_ours", "provider_changed"),)
    other_model = ReplayedReasoning(item, ReplayRecord("responses", "account", "m-mini", block))
    assert encode(other_model, call, OUTPUT).removed == (("rs_ours", "model_changed"),)


# -- reasoning that clients bring --------------------------------------------------------------------------------------


def test_pitfall_065_sealed_reasoning_of_elsewhere_is_forwarded_with_its_empty_summary() -> None:
    item = Reasoning(id="rs_x", encrypted_content="gAAAA", content=None)
    assert inputs(item, Message("assistant", "Hi"))[0] == {
        "type": "reasoning",
        "summary": [],
        "encrypted_content": "gAAAA",
    }


def test_pitfall_090_reasoning_that_cannot_be_read_is_named() -> None:
    answer = Message("assistant", "Hi")
    assert encode(Reasoning((SummaryText("hm"),), "rs_x"), answer).removed == (("rs_x", "unreadable"),)
    sealed = Reasoning(id="rs_y", encrypted_content="gAAAA")
    for quirks in (ResponsesQuirks(reads_foreign_reasoning=False), LOCAL, ResponsesQuirks(reasoning="none")):
        assert encode(sealed, answer, quirks=quirks).removed == (("rs_y", "unreadable"),)


@pytest.mark.parametrize("after", [(), (Message("user", "Hi"),), (OUTPUT,), (Reasoning(encrypted_content="x"),)])
def test_pitfall_040_reasoning_that_led_to_nothing_is_removed_and_named(after: tuple[Entry, ...]) -> None:
    sealed = Reasoning(id="rs_y", encrypted_content="gAAAA")
    assert encode(sealed, *after).removed[0] == ("rs_y", "answer_missing")
    block = ReplayRecord("responses", "account", "m", msgspec.Raw(msgspec.json.encode(SEALED)))
    assert encode(ReplayedReasoning(sealed, block), *after).removed[0] == ("rs_y", "answer_missing")


def test_pitfall_090_raw_reasoning_reaches_a_model_that_reads_it() -> None:
    item = Reasoning(id="rs_x", content=(ReasoningText("hm"),), encrypted_content="foreign")
    assert inputs(item, Message("assistant", "Hi"), quirks=LOCAL)[0] == {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}],
    }
    own = {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    assert inputs(own_turn(own, call_block()), OUTPUT, quirks=LOCAL)[0]["content"] == own["content"]


def test_own_reasoning_without_sealed_content_is_unreadable() -> None:
    assert encode(own_turn({"type": "reasoning", "summary": []}, call_block()), OUTPUT).removed == (
        ("rs_ours", "unreadable"),
    )


# -- client items ------------------------------------------------------------------------------------------------------


def test_ids_and_statuses_of_client_items_are_not_sent() -> None:
    items = inputs(
        Message("user", (InputText("Hi"), InputImage(image_url="data:image/png;base64,AA")), "msg_x", "completed"),
        Message("assistant", (OutputText("Hi", (), None),), "msg_y", "completed", "final_answer"),
        CustomToolCall("c", "apply_patch", "x", "ctc_x", "completed"),
        CustomToolCallOutput("c", "ok", "ctco_x", "completed"),
        FunctionCall("d", "weather", "{}", "fc_x", "completed", None),
        FunctionCallOutput((InputText("ok"),), "d", "fco_x", "completed"),
    )
    assert not any({"id", "status"} & set(item) for item in items)
    assert items[1]["phase"] == "final_answer"
    assert items[5]["output"] == [{"type": "input_text", "text": "ok"}]


def test_text_parts_are_of_the_kind_that_their_role_takes() -> None:
    user = inputs(Message("user", (PlainText("a"), OutputText("b"))))[0]
    assert [part["type"] for part in user["content"]] == ["input_text", "input_text"]
    assistant = inputs(Message("assistant", (PlainText("a"), InputText("b"))))[0]
    assert [part["type"] for part in assistant["content"]] == ["output_text", "output_text"]


def test_custom_call_becomes_a_function_call_where_custom_tools_are_unknown() -> None:
    items = inputs(
        CustomToolCall("c", "apply_patch", "a\nb"), CustomToolCallOutput("c", (InputText("ok"),)), quirks=LOCAL
    )
    assert items == [
        {"type": "function_call", "call_id": "c", "name": "apply_patch", "arguments": '{"input":"a\\nb"}'},
        {"type": "function_call_output", "call_id": "c", "output": "ok"},
    ]


def test_pitfall_092_tool_outputs_are_text_where_lists_are_refused() -> None:
    output = FunctionCallOutput((InputText("a"), PlainText("b")), call_id="c")
    assert inputs(FunctionCall("c", "f", "{}"), output, quirks=LOCAL)[1]["output"] == "a\nb"
    image = FunctionCallOutput((InputImage(image_url="http://x"),), call_id="c")
    with pytest.raises(InvalidRequest, match="input_image"):
        encode(FunctionCall("c", "f", "{}"), image, quirks=LOCAL)


def test_async_output_that_names_its_tool_instead_of_a_call_is_forwarded() -> None:
    output = FunctionCallOutput("x", name="weather", namespace="crm")
    assert inputs(output) == [{"type": "function_call_output", "output": "x", "name": "weather", "namespace": "crm"}]


def test_search_of_the_clients_is_its_own_item_or_a_function_call() -> None:
    call = ToolSearchCall(msgspec.Raw(b'{"query":"x"}'), "tsc_x", "c", "client", "completed")
    output = ToolSearchOutput((WEATHER, SEARCH), "tso_x", "c", "client")
    assert [item["type"] for item in inputs(call, output)] == ["tool_search_call", "tool_search_output"]
    request = encode(call, output, tools=(CLIENT_SEARCH,), quirks=LOCAL)
    body = body_of(request)
    assert body["input"] == [
        {"type": "function_call", "call_id": "c", "name": "tool_search", "arguments": '{"query":"x"}'},
        {"type": "function_call_output", "call_id": "c", "output": '{"loaded":["weather","web_search"]}'},
    ]
    assert [tool["name"] for tool in body["tools"]] == ["tool_search", "weather"]


def test_search_of_a_providers_is_named_where_it_is_unknown() -> None:
    request = encode(ToolSearchCall(msgspec.Raw(b"{}")), ToolSearchOutput(()), quirks=LOCAL)
    assert request.dropped == ("input.tool_search_call", "input.tool_search_output")


def test_unknown_items_are_forwarded_without_their_ids() -> None:
    raw = msgspec.Raw(b'{"type":"shell_call_output","id":"sho_x","call_id":"c","output":[],"future":{"a":1}}')
    (sent,) = (msgspec.json.decode(encode(Opaque("shell_call_output", "sho_x", raw)).body))["input"]
    assert sent == {"type": "shell_call_output", "call_id": "c", "output": [], "future": {"a": 1}}


def test_items_that_the_vendor_does_not_know_are_told_in_words_or_named() -> None:
    search = Opaque("web_search_call", "ws", msgspec.Raw(b'{"type":"web_search_call","action":{"query":"tides"}}'))
    image = Opaque("image_generation_call", "ig", msgspec.Raw(b'{"type":"image_generation_call","result":"AA"}'))
    request = encode(search, image, quirks=LOCAL)
    (told,) = body_of(request)["input"]
    assert told["content"][0]["text"] == "[searched the web: tides]"
    assert request.dropped == ("input.image_generation_call",)


def test_compaction_is_refused_where_it_cannot_be_read() -> None:
    item = Opaque("compaction", None, msgspec.Raw(b'{"type":"compaction","encrypted_content":"E"}'))
    assert inputs(item) == [{"type": "compaction", "encrypted_content": "E"}]
    with pytest.raises(InvalidRequest, match="compaction"):
        encode(item, quirks=LOCAL)


def test_unresolved_reference_is_never_sent() -> None:
    with pytest.raises(InvalidRequest, match="msg_x"):
        encode(ItemReference("msg_x"))


def test_developer_messages_stay_become_system_or_are_folded() -> None:
    messages = (Message("developer", "A"), Message("user", "Hi"), Message("system", (InputText("B"), InputText("C"))))
    assert [item["role"] for item in inputs(*messages)] == ["developer", "user", "system"]
    system = inputs(*messages, quirks=ResponsesQuirks(system_messages="system"))
    assert [item["role"] for item in system] == ["system", "user", "system"]
    folded = body_of(encode(*messages, instructions="First.", quirks=ResponsesQuirks(system_messages="fold")))
    assert [item["role"] for item in folded["input"]] == ["user"]
    assert folded["instructions"] == "First.\n\nA\n\nB\nC"


def test_deepseek_gets_parallel_calls_without_a_message_between() -> None:
    quirks = ResponsesQuirks(joins_parallel_calls=True)
    items = inputs(
        Message("user", "Hi"),
        FunctionCall("a", "f", "{}"),
        Message("assistant", "And"),
        FunctionCall("b", "f", "{}"),
        FunctionCallOutput("1", call_id="a"),
        FunctionCallOutput("2", call_id="b"),
        Message("assistant", "Done"),
        FunctionCall("c", "f", "{}"),
        FunctionCallOutput("3", call_id="c"),
        quirks=quirks,
    )
    names = [item.get("call_id") or item["content"] for item in items]
    assert names == ["Hi", "And", "a", "b", "a", "b", "Done", "c", "c"]
