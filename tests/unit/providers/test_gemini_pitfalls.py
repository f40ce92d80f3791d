"""What went wrong elsewhere with Gemini, by the numbers of the reference's list of pitfalls."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.genai import types

from antiphon.protocol import deltas as de
from antiphon.protocol.parsing import parse_item, parse_request
from antiphon.providers.base import Entry, HttpRequest, ModelTurn, ReplayRecord, Target, Turn, Vendor
from antiphon.providers.gemini import Gemini

Json = dict[str, Any]
HERE = Vendor("google", "gemini", "https://a.example/v1beta", "x-goog-api-key", scope="google#1")
VERTEX = Vendor("vertex", "gemini", "https://b.example/v1", scope="vertex#1")
LOOK: Json = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
SKIP = "skip_thought_signature_validator"


def encode(body: Json, *past: Entry, vendor: Vendor = HERE) -> HttpRequest:
    request = parse_request(msgspec.json.encode({"model": "gemini-3.7-flash"} | body))
    turn = Turn(request, (*past, *(entry.item for entry in request.input)))
    return Gemini().encode(turn, Target(vendor, request.model))


def sent(body: Json, *past: Entry, vendor: Vendor = HERE) -> Json:
    return msgspec.json.decode(encode(body, *past, vendor=vendor).body)


def answered(*parts: Json) -> tuple[list[de.Delta], ModelTurn]:
    """What an answer of these parts is understood as, and the turn that a chain keeps of it."""
    request = encode({"input": "Hi", "tools": [LOOK]})
    decoder = Gemini().decoder(Target(HERE, "gemini-3.7-flash"), request)
    chunks = [{"candidates": [{"content": {"parts": [part]}}]} for part in parts]
    chunks.append({"candidates": [{"finishReason": "STOP"}]})
    deltas = decoder.feed(b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks))
    deltas += decoder.close()
    (kept,) = [delta for delta in deltas if isinstance(delta, de.Kept)]
    calls = [delta for delta in deltas if isinstance(delta, de.CallStarted)]
    items = [
        {"type": "function_call", "call_id": call.call_id or f"call_{place}", "name": call.name, "arguments": "{}"}
        for place, call in enumerate(calls)
    ]
    ids = {f"call_{place}": "" for place, call in enumerate(calls) if not call.call_id}
    record = ReplayRecord("gemini", "google#1", "gemini-3.7-flash", kept.blocks, kept.essential, ids)
    return deltas, ModelTurn(tuple(parse_item(msgspec.Raw(msgspec.json.encode(item))) for item in items), record)


def output(call_id: str, said: Any = "ok") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": said}


def test_pitfalls_7_and_8_signatures_return_on_the_very_parts_they_came_on() -> None:
    parts = (
        {"text": "I think", "thought": True, "thoughtSignature": "YQ=="},
        {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "Yg=="},
        {"functionCall": {"name": "look", "args": {"x": 1}}},
    )
    _, turn = answered(*parts)
    body = sent({"input": [output("call_0"), output("call_1")], "tools": [LOOK]}, turn)
    assert body["contents"][1]["parts"] == list(parts)


def test_pitfall_8_a_signature_on_text_returns_on_the_text() -> None:
    _, turn = answered({"text": "Hel"}, {"text": "lo"}, {"text": "", "thoughtSignature": "Yw=="})
    body = sent({"input": "And?"}, turn)
    assert body["contents"][1]["parts"] == [{"text": "Hello", "thoughtSignature": "Yw=="}]


@pytest.mark.parametrize("pitfall", [34, 36])
def test_pitfalls_34_and_36_a_signature_never_reaches_another_upstream(pitfall: int) -> None:
    del pitfall
    _, turn = answered({"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "Yg=="})
    body = sent({"input": [output("call_0")], "tools": [LOOK]}, turn, vendor=VERTEX)
    (part,) = body["contents"][1]["parts"]
    assert part["thoughtSignature"] == SKIP


@pytest.mark.parametrize("said", ['{"$ref": "#/x"}', [{"type": "input_text", "text": '{"$ref": "#/x"}'}]])
def test_pitfalls_44_and_100_outputs_are_strings_whatever_they_hold(said: Any) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    body = sent({"input": [{"role": "user", "content": "Hi"}, call, output("c1", said)], "tools": [LOOK]})
    response = body["contents"][-1]["parts"][0]["functionResponse"]["response"]
    assert response == {"output": '{"$ref": "#/x"}'}


HARD_SCHEMAS: list[Json] = [
    {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "x"}}},
    {"type": "object", "properties": {"a": {"type": ["string", "null"], "enum": ["x", None]}}},
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"const": 1}}},
    {"type": "object", "properties": {"t": {"$ref": "#"}}, "additionalProperties": False},
    {
        "type": "object",
        "patternProperties": {"^x": {"exclusiveMinimum": 0}},
        "$schema": "http://json-schema.org/draft-07/schema#",
    },
]


@pytest.mark.parametrize("schema", HARD_SCHEMAS)
def test_pitfall_45_any_json_schema_is_declared_as_one(schema: Json) -> None:
    body = sent({"input": "Hi", "tools": [LOOK | {"parameters": schema}]})
    (declared,) = body["tools"][0]["functionDeclarations"]
    assert "parameters" not in declared
    assert "$schema" not in declared["parametersJsonSchema"]
    types.Tool.model_validate(body["tools"][0])


def test_pitfall_58_only_the_first_call_of_an_answer_gets_the_dummy() -> None:
    calls = [{"type": "function_call", "call_id": f"c{n}", "name": "look", "arguments": "{}"} for n in range(3)]
    outputs = [output(f"c{n}") for n in range(3)]
    body = sent({"input": [{"role": "user", "content": "Hi"}, *calls, *outputs], "tools": [LOOK]})
    assert [part.get("thoughtSignature") for part in body["contents"][1]["parts"]] == [SKIP, None, None]


def test_pitfall_67_no_calling_config_without_declarations() -> None:
    assert "toolConfig" not in sent({"input": "Hi", "tool_choice": "none"})
    assert "toolConfig" not in sent({"input": "Hi", "tools": [{"type": "web_search"}], "parallel_tool_calls": False})


def test_pitfall_79_a_thought_and_a_call_in_one_answer_are_both_kept() -> None:
    deltas, turn = answered(
        {"text": "Hm", "thought": True}, {"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "Yg=="}
    )
    names = [type(delta).__name__ for delta in deltas if not isinstance(delta, de.Used | de.Started)]
    assert names[:4] == ["Summary", "Carried", "Ended", "CallStarted"]
    assert turn.record is not None
    assert b'"thought":true' in bytes(turn.record.blocks)
