"""The value maker: whatever it makes, the schema accepts."""

from __future__ import annotations

import asyncio
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.providers.simulator_play import STRING, play, raw

from antiphon.protocol.request import Text, TextFormat
from antiphon.providers.simulator_hints import Hints
from antiphon.providers.simulator_json import Impossible
from antiphon.providers.simulator_schema import value_for

TEXT = "Ada Lovelace (ada@lovelace.uk) is 36 and lives in London with Grace since 2019-05-01; she pays 12.50 in blue."


def made(schema: Any, text: str = TEXT) -> Any:
    value = value_for(msgspec.json.encode(schema), Hints(text))
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(value)
    return value


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


LEAVES = st.one_of(
    st.builds(lambda values: {"enum": values}, st.lists(st.text(max_size=5) | st.integers(), min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.text(max_size=5) | st.none() | st.booleans()),
    st.builds(
        lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
        st.integers(0, 50),
        st.integers(0, 50),
    ),
    st.builds(
        lambda low, more, whole: {"type": "integer" if whole else "number", "minimum": low, "maximum": low + more},
        st.integers(-100, 100),
        st.integers(0, 50),
        st.booleans(),
    ),
    st.builds(
        lambda low, more: {"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": low + more},
        st.integers(-100, 100),
        st.integers(2, 50),
    ),
    st.builds(
        lambda low, more: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + more},
        st.integers(-100, 100),
        st.integers(1, 50),
    ),
    st.builds(lambda step: {"type": "integer", "multipleOf": step, "minimum": 3}, st.integers(1, 40)),
    st.sampled_from(
        [{"type": kind} for kind in ("string", "integer", "number", "boolean", "null", "array", "object")]
        + [{"type": ["null", "string"]}, {"type": ["integer", "null"]}, True, {}]
    ),
    st.sampled_from(
        [{"type": "string", "format": name} for name in ("date-time", "date", "email", "uuid", "ipv4", "ipv6", "uri")]
    ),
    st.sampled_from(
        [
            {"type": "string", "pattern": pattern}
            for pattern in (
                r"^[A-Z]{3}-\d{4}$",
                r"^(red|green)\s+\w+$",
                r"^#[0-9a-fA-F]{6}$",
                r"^\+?[1-9]\d{1,14}$",
                r"^[^a-z]+$",
                r"^(?:a|b){2,3}[.]c?$",
                r"^\S+@\S+\.[a-z]{2,}$",
                r"^$",
                r"[\w-]+",
                r"^x*y{0,2}z$",
            )
        ]
    ),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["name", "age", "location", "text", "colour", "email", "items"])
    properties = st.dictionaries(names, inner, max_size=4)
    return st.one_of(
        st.builds(lambda given: closed(**given), properties),
        st.builds(lambda given: {"type": "object", "properties": given}, properties),
        st.builds(
            lambda given, least: {"type": "object", "properties": given, "minProperties": least},
            properties,
            st.integers(0, 5),
        ),
        st.builds(
            lambda item, least, more: {"type": "array", "items": item, "minItems": least, "maxItems": least + more},
            inner,
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        st.builds(lambda prefix, rest: {"type": "array", "prefixItems": prefix, "items": rest}, st.lists(inner), inner),
        st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda item: {"allOf": [item]}, inner),
    )


ALL_SCHEMAS = st.recursive(LEAVES, nested, max_leaves=12)


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    return draw(ALL_SCHEMAS)


@pytest.mark.slow
@given(schemas(), st.sampled_from(["", TEXT, "weather in Paris and Rome, 3 times"]))
@settings(max_examples=200, deadline=None)
def test_what_is_made_is_valid(schema: Any, text: str) -> None:
    made(schema, text)


@given(schemas())
@settings(max_examples=50, deadline=None)
def test_a_reference_is_followed(inner: Any) -> None:
    made({"$defs": {"a/b": inner}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a~1b"}}, "required": ["x"]})


@given(schemas())
@settings(max_examples=50, deadline=None)
def test_the_same_schema_and_text_give_the_same_value(schema: Any) -> None:
    assert made(schema) == made(schema)


def test_words_of_the_text_fill_the_properties_they_fit() -> None:
    text = {"type": "string"}
    schema = closed(name=text, email=text, age={"type": "integer"}, colour={"enum": ["red", "blue"]}, date=text)
    assert made(schema) == {
        "name": "Ada Lovelace",
        "email": "ada@lovelace.uk",
        "age": 36,
        "colour": "blue",
        "date": "2019-05-01",
    }


def test_a_list_has_all_names_in_order_and_days_are_none() -> None:
    schema = closed(who={"type": "string"}, people={"type": "array", "items": {"type": "string"}})
    assert made(schema, "Alice and Bob meet on Friday.") == {"who": "Alice", "people": ["Alice", "Bob"]}


def test_a_linked_list_comes_to_an_end() -> None:
    schema = {
        "$defs": {
            "node": closed(value={"type": "string"}, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
        },
        "$ref": "#/$defs/node",
    }
    assert made(schema)["next"]["next"]["value"]


def test_a_tree_of_arrays_comes_to_an_end() -> None:
    schema = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}, "required": ["kids"]}
    made(schema)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "string"},
        {"type": "string", "maxLength": 1},
        {"type": "integer"},
        {"type": "integer", "minimum": 1, "maximum": 3},
        {"type": "number", "multipleOf": 0.5},
        {"enum": ["a", "b", "c"]},
        closed(n={"type": "integer"}),
        closed(text={"type": "string"}, n={"const": 1}),
    ],
)
@pytest.mark.parametrize("text", ["", TEXT])
def test_unique_items_differ(item: Any, text: str) -> None:
    assert len(made({"type": "array", "items": item, "minItems": 3, "uniqueItems": True}, text)) >= 3


def test_unique_items_that_run_out_end_the_array() -> None:
    assert made({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True}) == [True, False]
    assert len(made({"type": "array", "items": {"type": "string", "pattern": "a"}, "uniqueItems": True})) == 1
    assert made({"type": "array", "prefixItems": [{"const": 1}, {"const": 1}], "uniqueItems": True}) == [1]
    assert made({"type": "array", "prefixItems": [{"type": "null"}, {"type": "null"}], "uniqueItems": True}) == [None]


def test_a_reference_into_a_list_is_followed() -> None:
    assert made({"anyOf": [{"const": 5}], "allOf": [{"$ref": "#/anyOf/0"}]}) == 5
    with pytest.raises(Impossible):
        made({"anyOf": [{"const": 5}], "allOf": [{"$ref": "#/anyOf/7"}]})


def test_numbers_keep_within_bounds_open_on_one_side() -> None:
    assert made({"type": "number", "minimum": 100_000.5}) == 100_001
    assert made({"type": "number", "exclusiveMaximum": -2.5}, "") == -3
    assert made({"type": "number", "multipleOf": 0.25, "exclusiveMaximum": 0.3}, "") == 0
    assert made({"type": "integer", "multipleOf": 7, "maximum": -10}, "") == -14
    assert made({"type": "number", "minimum": 1.25, "maximum": 1.5}, "") == 1.375


def test_all_of_narrows_every_keyword() -> None:
    made(
        {
            "allOf": [
                {"type": "object", "properties": {"n": {"minimum": 3, "type": "number"}}, "required": ["n"]},
                {"type": "object", "properties": {"m": {"enum": ["x", "y"]}}, "required": ["m", "n"]},
            ]
        }
    )
    made({"allOf": [{"type": "integer", "minimum": 2}, {"type": "number", "minimum": 5, "maximum": 9}, True]})
    made({"type": "integer", "maximum": 4, "allOf": [{"maximum": 2}, {"type": ["integer", "string"]}]})
    made({"enum": ["a", "b"], "allOf": [{"enum": ["b", "c"]}]})


def test_a_required_property_that_is_not_described_is_made() -> None:
    made({"type": "object", "required": ["x"]})
    made({"type": "object", "required": ["s_1"], "patternProperties": {"^s_": {"type": "integer"}}})
    made({"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}})


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"$ref": "#"},
        {"$ref": "#/$defs/absent"},
        {"$ref": "https://example.com/schema"},
        {"allOf": [False]},
        {"enum": ["a"], "type": "integer"},
        {"anyOf": [False, {"enum": []}]},
        {"type": "unheard-of"},
        {"type": "array", "minItems": 3, "maxItems": 1},
        {"type": "array", "items": False, "minItems": 1},
        {"type": "string", "minLength": 3, "maxLength": 1},
        {"type": "string", "pattern": "("},
        {"type": "integer", "minimum": 3, "maximum": 1},
        {"type": "object", "properties": 3},
        {"type": "integer", "minimum": []},
        {"type": "integer", "multipleOf": 10, "minimum": 1, "maximum": 9},
        {"type": "array", "items": {"const": 1}, "uniqueItems": True, "minItems": 2},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    ],
)
def test_what_nothing_satisfies_is_impossible(schema: Any) -> None:
    with pytest.raises(Impossible):
        value_for(msgspec.json.encode(schema), Hints(TEXT))


def test_an_optional_property_beside_required_ones_is_made_where_the_text_speaks_of_it() -> None:
    schema = {"type": "object", "properties": {"a1": {"const": 1}, "pays": {}, "shoe": {}}, "required": ["a1"]}
    assert set(made(schema)) == {"a1", "pays"}


def test_an_optional_property_that_is_impossible_is_left_out() -> None:
    assert made({"type": "object", "properties": {"a": False, "b": {"const": 1}}}) == {"b": 1}


def test_a_schema_that_branches_without_end_is_given_up() -> None:
    endless = closed(x={"$ref": "#"}, y={"$ref": "#"})
    with pytest.raises(Impossible):
        value_for(msgspec.json.encode({"anyOf": [endless, endless, endless]}), Hints(TEXT))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a" * 1_000_000, "1+" * 500_000, "A " * 500_000, "my " * 300_000, "/" * 1_000_000])
async def test_a_hostile_text_is_read_in_bounded_time(text: str) -> None:
    schema = raw(closed(email=STRING, expression=STRING, path=STRING, url=STRING, time=STRING, who=STRING))
    settings = Text(TextFormat("json_schema", "x", schema))
    async with asyncio.timeout(5):
        assert (await play(text, text=settings)).text
        assert (await play(text + " what is my name?")).text


def test_sizes_without_end_are_given_up() -> None:
    huge = {"type": "array", "minItems": 4000, "items": {"type": "string", "minLength": 19_000}}
    with pytest.raises(Impossible):
        value_for(msgspec.json.encode(huge), Hints(TEXT))
