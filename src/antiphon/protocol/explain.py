"""A refused JSON document in OpenAI's words: which field, what is wrong with it, what would be right.

msgspec says yes or no at the speed of C; this module runs only after a no. It reads the one sentence that msgspec
gives, finds the type that stands at the failing path, and makes the code, param and message that OpenAI would.
Source: reference "Errors, headers, retries"; OpenAI error codes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import inspect

from .errors import InvalidRequest

_AT: Final = re.compile(r" - at (?:`key` in )?`\$([^`]*)`$")
_WRONG: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$|$)", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`")
_ENUM: Final = re.compile(r"Invalid (?:enum )?value '?(.*?)'?(?= - at|$)", re.DOTALL)
_LENGTH: Final = re.compile(r"Expected `(str|array|object)` of length (<=|>=) (\d+)")
_RANGE: Final = re.compile(r"Expected `(int|float)` (<=|>=|<|>) ([-\d.e+]+)")
_PATTERN: Final = re.compile(r"Expected `str` matching regex '(.*?)'(?= - at|$)", re.DOTALL)

_LONGEST_ID: Final = 512
_TYPE_NAMES: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal",
    "bool": "a boolean",
    "null": "null",
    "array": "an array",
    "object": "an object",
}
_LENGTH_CODES: Final = {
    ("str", "<="): "string_above_max_length",
    ("str", ">="): "string_below_min_length",
    ("array", "<="): "array_above_max_length",
    ("array", ">="): "array_below_min_length",
    ("object", "<="): "object_above_max_properties",
    ("object", ">="): "object_below_min_properties",
}
_NOUNS: Final = {"str": "characters", "array": "items", "object": "properties"}


def join_path(prefix: str, rest: str) -> str:
    """`input[0]` + `.content[1]` -> `input[0].content[1]`; map keys, which msgspec writes `[...]`, end the path."""
    path = prefix + rest.split("[...]", 1)[0]
    return path.removeprefix(".")


def explain(error: msgspec.ValidationError, wire_type: object, prefix: str = "") -> InvalidRequest:
    """The InvalidRequest behind a ValidationError of decoding `wire_type` at the path `prefix`."""
    sentence = str(error)
    at = _AT.search(sentence)
    inner = at[1] if at else ""
    return _explain(sentence, wire_type, inner, join_path(prefix, inner))


def _explain(sentence: str, wire_type: object, inner: str, param: str) -> InvalidRequest:
    if found := _UNKNOWN.match(sentence):
        return unknown_parameter(join_path(param, "." + found[1]), _names(_type_at(wire_type, inner)))
    if found := _MISSING.match(sentence):
        return missing_parameter(join_path(param, "." + found[1]))
    if found := _LENGTH.match(sentence):
        return _wrong_length(param, found[1], found[2], int(found[3]))
    if found := _RANGE.match(sentence):
        return _out_of_range(param, found[1], found[2], found[3])
    if found := _PATTERN.match(sentence):
        return invalid(
            param, f"Invalid '{param}': string does not match pattern. Expected a string that matches '{found[1]}'."
        )
    if found := _WRONG.match(sentence):
        return wrong_type(param, found[1], found[2])
    if found := _ENUM.match(sentence):
        return unsupported_choice(param, found[1], _choices(wire_type, inner))
    return invalid(param or None, f"Invalid value for '{param}': {_AT.sub('', sentence)}.")


def invalid(param: str | None, message: str, code: str = "invalid_value") -> InvalidRequest:
    """A plain refusal at a path."""
    return InvalidRequest(message, param=param, code=code)


def check_id(param: str, value: str | None) -> None:
    """Raises InvalidRequest for text that no id or name can be: control characters, or over 512 characters."""
    if value is not None and (not value.isprintable() or len(value) > _LONGEST_ID):
        raise invalid(param, f"Invalid '{param}': must be at most {_LONGEST_ID} printable characters.")


def not_json(error: Exception) -> InvalidRequest:
    """The body is no JSON at all."""
    return InvalidRequest(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        f"correctly. The API expects a JSON payload, but what was sent was not valid JSON: {error}.)"
    )


def unknown_parameter(param: str, known: Iterable[str]) -> InvalidRequest:
    """`unknown_parameter`, with the nearest known name if one is near."""
    name = re.split(r"[.\]]", param)[-1]
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    hint = f" Did you mean '{param.removesuffix(name)}{near[0]}'?" if near else ""
    return invalid(param, f"Unknown parameter: '{param}'.{hint}", "unknown_parameter")


def missing_parameter(param: str) -> InvalidRequest:
    """`missing_required_parameter`."""
    return invalid(param, f"Missing required parameter: '{param}'.", "missing_required_parameter")


def wrong_type(param: str, expected: str, got: str) -> InvalidRequest:
    """`invalid_type`; types as msgspec names them, unions joined by `|`."""
    names = [_TYPE_NAMES.get(name, f"a {name}") for name in expected.split(" | ") if name != "null"]
    wanted = f"one of {', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names) or "null"
    given = _TYPE_NAMES.get(got, f"a {got}")
    where = f" for '{param}'" if param else ""
    return invalid(param or None, f"Invalid type{where}: expected {wanted}, but got {given} instead.", "invalid_type")


def unsupported_choice(param: str, value: str, choices: list[str]) -> InvalidRequest:
    """`invalid_value` that lists what would be right."""
    quoted = [f"'{choice}'" for choice in choices]
    listed = f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else "".join(quoted)
    supported = f" Supported values are: {listed}." if listed else ""
    return invalid(param, f"Invalid value: '{value}'.{supported}")


def _wrong_length(param: str, kind: str, relation: str, bound: int) -> InvalidRequest:
    limit = "at most" if relation == "<=" else "at least"
    kind_name = {"str": "string", "array": "array", "object": "object"}[kind]
    size = "too long" if relation == "<=" else "too short"
    return invalid(
        param,
        f"Invalid '{param}': {kind_name} {size}. Expected {limit} {bound} {_NOUNS[kind]}.",
        _LENGTH_CODES[kind, relation],
    )


def _out_of_range(param: str, kind: str, relation: str, bound: str) -> InvalidRequest:
    name = "integer" if kind == "int" else "decimal"
    is_below = relation in (">=", ">")
    side = "below minimum" if is_below else "above maximum"
    code = f"{name}_{'below_min' if is_below else 'above_max'}_value"
    return invalid(param, f"Invalid '{param}': {name} {side} value. Expected a value {relation} {bound}.", code)


# -- the type at a path


def _type_at(wire_type: object, path: str) -> inspect.Type:
    """The msgspec type that stands at a path such as `.content[0].detail`; AnyType when it cannot be told."""
    found: list[inspect.Type] = [inspect.type_info(wire_type)]
    for step in re.findall(r"\.[^.\[]+|\[[^\]]*\]", path):
        found = [inner for outer in found for inner in _inside(outer, step)]
    flat = [leaf for outer in found for leaf in _leaves(outer)]
    return inspect.UnionType(tuple(flat)) if flat else inspect.AnyType()


def _leaves(outer: inspect.Type) -> list[inspect.Type]:
    if isinstance(outer, inspect.UnionType):
        return [leaf for inner in outer.types for leaf in _leaves(inner)]
    if isinstance(outer, inspect.Metadata):
        return _leaves(outer.type)
    return [outer]


def _inside(outer: inspect.Type, step: str) -> list[inspect.Type]:
    found: list[inspect.Type] = []
    for leaf in _leaves(outer):
        if step.startswith(".") and isinstance(leaf, inspect.StructType):
            found += [field.type for field in leaf.fields if field.encode_name == step[1:]]
        elif isinstance(leaf, inspect.VarTupleType | inspect.ListType) and step.startswith("["):
            found.append(leaf.item_type)
    return found


def _structs(outer: inspect.Type) -> list[inspect.StructType]:
    return [leaf for leaf in _leaves(outer) if isinstance(leaf, inspect.StructType)]


def _names(outer: inspect.Type) -> list[str]:
    return [field.encode_name for struct in _structs(outer) for field in struct.fields]


def _choices(wire_type: object, path: str) -> list[str]:
    """What may stand at the path: the values of a Literal, or the tags of a union of Structs."""
    values = [
        str(value)
        for leaf in _leaves(_type_at(wire_type, path))
        if isinstance(leaf, inspect.LiteralType)
        for value in leaf.values
    ]
    parent, _, field = path.rpartition(".")
    tags = [str(struct.tag) for struct in _structs(_type_at(wire_type, parent)) if struct.tag_field == field]
    return values or tags
