"""Schemas for providers that enforce them: what is kept, what is told, and what never changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antiphon.providers.schemas import lower_schema


def lowered(schema: Any) -> Any:
    return msgspec.json.decode(lower_schema(msgspec.Raw(msgspec.json.encode(schema))))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {}, "additionalProperties": False},
        {"type": "string", "enum": ["a", "b"]},
        {"const": 1},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "string", "format": "date-time"}}},
        {"type": "string", "title": "T", "description": "D"},
    ],
)
def test_what_the_grammar_knows_is_kept_as_it_is(schema: Any) -> None:
    assert lowered(schema) == schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 9}, "{minimum: 0, maximum: 9}"),
        ({"type": "string", "pattern": "^a$"}, '{pattern: "^a$"}'),
        ({"type": "string", "format": "phone"}, '{format: "phone"}'),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, "{minItems: 2}"),
        ({"type": "string", "description": "D", "maxLength": 3}, "D {maxLength: 3}"),
    ],
)
def test_what_the_grammar_does_not_know_is_told(schema: dict[str, Any], words: str) -> None:
    told = lowered(schema)
    assert told["description"] == words
    assert set(told) <= {"type", "items", "description"}


def test_every_object_is_closed_at_every_depth() -> None:
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"one": inner, "many": {"type": "array", "items": inner}, "maybe": {"anyOf": [inner]}},
        "$defs": {"Inner": inner | {"type": ["object", "null"]}},
    }
    found = lowered(schema)
    closed = [found, found["properties"]["one"], found["properties"]["many"]["items"]]
    closed += [found["properties"]["maybe"]["anyOf"][0], found["$defs"]["Inner"]]
    assert all(part["additionalProperties"] is False for part in closed)


def test_one_of_becomes_any_of() -> None:
    assert lowered({"oneOf": [{"type": "string", "minLength": 1}]}) == {
        "anyOf": [{"type": "string", "description": "{minLength: 1}"}]
    }


def test_a_maps_values_are_told_since_a_map_cannot_be_enforced() -> None:
    found = lowered({"type": "object", "additionalProperties": {"type": "integer"}})
    assert found["additionalProperties"] is False
    assert found["description"] == '{additionalProperties: {"type":"integer"}}'


def test_notes_for_people_are_left_out() -> None:
    assert lowered({"$schema": "s", "$id": "i", "$comment": "c", "examples": [1], "type": "integer"}) == {
        "type": "integer"
    }


def test_properties_named_like_keywords_are_properties() -> None:
    schema = {"type": "object", "properties": {"pattern": {"type": "string"}}, "required": ["pattern"]}
    assert lowered(schema) == schema | {"additionalProperties": False}


def test_the_same_schema_gives_the_same_bytes_and_keeps_the_order_of_its_keys() -> None:
    raw = msgspec.Raw(b'{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}')
    assert bytes(lower_schema(raw)) == bytes(lower_schema(raw))
    assert list(lowered(msgspec.json.decode(raw))["properties"]) == ["z", "a"]


@pytest.mark.parametrize("schema", [True, {"items": False}])
def test_boolean_schemas_are_left_alone(schema: Any) -> None:
    assert lowered(schema) == schema
