"""A value that a JSON Schema accepts, with words of the conversation where they fit.

Built, not searched for: each keyword narrows what is made. Required properties are made, others only where the text
mentions them or where nothing is required. `not`, `if`, `dependentSchemas`, `unevaluated*`, `contains` and `oneOf`
with overlapping branches are not solved (docs/simulator.md, "Limits"). No client pattern is ever executed.
Source: JSON Schema 2020-12; OpenAI structured outputs guide for the subset that matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from .simulator_hints import Hints
from .simulator_patterns import UnreadablePattern, matching

Json: TypeAlias = Any  # a JSON value: what a client's schema holds has no type that can be written down
Schema: TypeAlias = "Mapping[str, Json]"

MAX_DEPTH: Final = 24
MAX_ITEMS: Final = 4_096
_LEAN_DEPTH: Final = 4
"""From here on only what is required is made, and the shallowest branch is taken."""

_FORMATS: Final = {
    "date-time": "2026-01-15T12:30:00Z",
    "date": "2026-01-15",
    "time": "12:30:00Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "idn-email": "ada@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/example",
    "iri": "https://example.com/",
    "iri-reference": "/example",
    "uri-template": "/example/{id}",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
    "json-pointer": "/example",
    "relative-json-pointer": "0",
    "regex": "^example$",
}
_KINDS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("object", frozenset({"properties", "required", "additionalProperties", "patternProperties", "minProperties"})),
    ("array", frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})),
    ("number", frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})),
    ("string", frozenset({"pattern", "format", "minLength", "maxLength"})),
)


class Impossible(ValueError):
    """The schema admits nothing that this maker can make."""


def value_for(schema: msgspec.Raw | bytes, hints: Hints) -> Json:
    """A value for the schema. Raises Impossible."""
    document = msgspec.json.decode(schema)
    return _Maker(document, hints).value(document, "", 0)


class _Maker:
    def __init__(self, root: Json, hints: Hints) -> None:
        self._root = root
        self._hints = hints

    def value(self, schema: Json, name: str, depth: int) -> Json:
        """A value for `schema`; `name` is the property it is for."""
        if depth > MAX_DEPTH or schema is False:
            raise Impossible("the schema is false, or never ends")
        if not isinstance(schema, dict):
            return self._hints.string(name)
        flat = self._flat(schema, depth)
        if "const" in flat:
            return flat["const"]
        if isinstance(flat.get("enum"), list):
            return self._of_enum(flat)
        for keyword in ("anyOf", "oneOf"):
            if flat.get(keyword):
                return self._of_branches(flat, keyword, name, depth)
        return self._of_type(flat, name, depth)

    def _flat(self, schema: Schema, depth: int) -> dict[str, Json]:
        """The schema with $ref and allOf merged into it."""
        flat = dict(schema)
        for _ in range(MAX_DEPTH):
            parts: list[Json] = []
            if "$ref" in flat:
                parts.append(self._resolved(flat.pop("$ref")))
            parts.extend(flat.pop("allOf", ()))
            if not parts:
                return flat
            for part in parts:
                if part is False:
                    raise Impossible("a part of allOf is false")
                if isinstance(part, dict):
                    flat = _merged(flat, part)
        raise Impossible("$ref never ends")

    def _resolved(self, reference: Json) -> Json:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Impossible(f"$ref {reference!r} is not in this schema")
        place = self._root
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, list) and step.isdecimal() and int(step) < len(place):
                place = place[int(step)]
            elif isinstance(place, dict) and step in place:
                place = place[step]
            else:
                raise Impossible(f"$ref {reference!r} leads nowhere")
        return place

    def _of_enum(self, schema: Schema) -> Json:
        values = [value for value in schema["enum"] if _is_of(value, schema.get("type"))]
        if not values:
            raise Impossible("the enum has no value of its type")
        return next((value for value in values if value is not None and self._hints.mentions(value)), values[0])

    def _of_branches(self, schema: Schema, keyword: str, name: str, depth: int) -> Json:
        rest = {key: value for key, value in schema.items() if key != keyword}
        branches = list(schema[keyword])
        if depth >= _LEAN_DEPTH:
            branches.sort(key=_weight)
        for branch in branches:
            try:
                merged = _merged(rest, branch) if isinstance(branch, dict) else rest if branch else branch
                return self.value(merged, name, depth + 1)
            except Impossible:
                continue
        raise Impossible(f"no branch of {keyword} can be made")

    def _of_type(self, schema: Schema, name: str, depth: int) -> Json:
        declared = schema.get("type")
        kinds = declared if isinstance(declared, list) else [declared or _implied(schema)]
        if depth >= _LEAN_DEPTH and "null" in kinds:
            return None
        makers: dict[str, Callable[[], Json]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, name, depth),
            "string": lambda: self._string(schema, name),
            "integer": lambda: self._number(schema, is_whole=True),
            "number": lambda: self._number(schema, is_whole=False),
            "boolean": lambda: True,
            "null": lambda: None,
        }
        for kind in kinds:
            if kind in makers:
                return makers[kind]()
        raise Impossible(f"unknown type {declared!r}")

    def _object(self, schema: Schema, depth: int) -> dict[str, Json]:
        properties: Mapping[str, Json] = schema.get("properties") or {}
        required: Sequence[str] = schema.get("required") or ()
        other = schema.get("additionalProperties", True)
        made: dict[str, Json] = {}
        for name, inner in properties.items():
            if name in required:
                made[name] = self.value(inner, name, depth + 1)
            elif depth < _LEAN_DEPTH and (not required or self._hints.mentions(name)):
                self._try(made, name, inner, depth)
        for name in required:
            if name not in made:
                made[name] = self.value(_schema_of(name, schema, other), name, depth + 1)
        least = schema.get("minProperties", 0)
        for name in [*properties, *(f"property_{number}" for number in range(min(least, MAX_ITEMS)))]:
            if len(made) < least and name not in made:
                made[name] = self.value(properties.get(name, other), name, depth + 1)
        return made

    def _try(self, made: dict[str, Json], name: str, schema: Json, depth: int) -> None:
        try:
            made[name] = self.value(schema, name, depth + 1)
        except Impossible:
            return  # an optional property that cannot be made is left out

    def _array(self, schema: Schema, name: str, depth: int) -> list[Json]:
        least, most = schema.get("minItems", 0), schema.get("maxItems", MAX_ITEMS)
        if least > min(most, MAX_ITEMS):
            raise Impossible(f"an array of at least {least} and at most {most} items")
        prefix: Sequence[Json] = schema.get("prefixItems") or ()
        inner = schema.get("items", True)
        wanted = self._item_count(inner, depth) if inner is not False else 0
        count = min(max(least, wanted, len(prefix) if depth < _LEAN_DEPTH else 0), most)
        made: list[Json] = []
        is_unique = schema.get("uniqueItems") is True
        for index in range(count):
            item = prefix[index] if index < len(prefix) else inner
            try:
                value = self.value(item, name, depth + 1)
                made.append(self._distinct(value, made, item) if is_unique else value)
            except Impossible:
                if len(made) >= least:
                    break
                raise
        return made

    def _item_count(self, inner: Json, depth: int) -> int:
        """One item; of plain strings one for each name in the text; deep down none."""
        if depth >= _LEAN_DEPTH:
            return 0
        is_plain = (
            isinstance(inner, dict) and inner.get("type") == "string" and not {"enum", "const", "format"} & set(inner)
        )
        return min(max(self._hints.entity_count, 1), 8) if is_plain else 1

    def _distinct(self, value: Json, made: list[Json], schema: Json) -> Json:
        """A value that is not yet in a unique array."""
        if not _is_in(value, made):
            return value
        flat = self._flat(schema, 0) if isinstance(schema, dict) else {}
        for candidate in self._candidates(value, flat, len(made)):
            if not _is_in(candidate, made):
                return candidate
        raise Impossible("no further value for a unique array")

    def _candidates(self, value: Json, schema: Schema, nth: int) -> Sequence[Json]:
        if isinstance(schema.get("enum"), list):
            return schema["enum"]
        if isinstance(value, bool):
            return (True, False)
        if isinstance(value, int | float):
            step = schema.get("multipleOf", 1)
            low, high, _ = _bounds(schema, is_whole=isinstance(value, int))
            steps = (value + sign * step * number for number in range(1, nth + 2) for sign in (1, -1))
            return [candidate for candidate in steps if low <= candidate <= high]
        if isinstance(value, str) and not {"format", "pattern"} & set(schema):
            most = schema.get("maxLength", MAX_ITEMS)
            return [
                (value[: max(most - len(tail), 0)] + tail)[:most] for tail in (str(number) for number in range(nth + 1))
            ]
        if isinstance(value, dict):
            return [
                value | {key: candidate}
                for key, inner in value.items()
                for candidate in self._candidates(inner, self._property(schema, key), nth)
            ]
        return ()

    def _property(self, schema: Schema, key: str) -> Schema:
        found = (schema.get("properties") or {}).get(key)
        return self._flat(found, 0) if isinstance(found, dict) else {}

    def _string(self, schema: Schema, name: str) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", 1 << 20)
        if least > most or least > 1 << 20:
            raise Impossible(f"a string of at least {least} and at most {most} characters")
        if isinstance(schema.get("pattern"), str):
            return _of_pattern(schema["pattern"], least)
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._hints.string(name)
        if len(text) < least:
            text = text.ljust(least, ".")
        return text[:most]

    def _number(self, schema: Schema, *, is_whole: bool) -> int | float:
        low, high, is_open = _bounds(schema, is_whole=is_whole)
        step = schema.get("multipleOf") or (1 if is_whole else None)
        if low > high:
            raise Impossible(f"no number between {low} and {high}")
        hinted = self._hints.number(low, high, is_whole=is_whole)
        number = hinted if hinted is not None else _nearest_one(low, high, is_open=is_open)
        if step is None:
            return int(number) if number.is_integer() else number
        return _multiple(number, low, high, step)


def _of_pattern(pattern: str, least: int) -> str:
    try:
        text = matching(pattern)
    except UnreadablePattern as error:
        raise Impossible(str(error)) from error
    # An open pattern may be lengthened by its own last character: [a-z]+ with minLength 5.
    return text + (text[-1:] or "a") * (least - len(text))


def _nearest_one(low: float, high: float, *, is_open: bool) -> float:
    """1 where the bounds allow it, else the bound nearest to it, and inside of an open one."""
    number = min(max(1.0, low), high)
    if is_open and number in (low, high):
        number = (
            (low + high) / 2 if math.isfinite(low) and math.isfinite(high) else number + (1 if number == low else -1)
        )
    return number


def _multiple(number: float, low: float, high: float, step: float) -> int | float:
    """The multiple of `step` nearest to `number` within the bounds."""
    for count in (round(number / step), math.ceil(low / step) if math.isfinite(low) else 0):
        multiple = count * step
        if low <= multiple <= high:
            return int(multiple) if float(multiple).is_integer() else multiple
    if math.isfinite(high) and low <= (multiple := math.floor(high / step) * step):
        return int(multiple) if float(multiple).is_integer() else multiple
    raise Impossible(f"no multiple of {step} between {low} and {high}")


def _bounds(schema: Schema, *, is_whole: bool) -> tuple[float, float, bool]:
    """Least and greatest number, and whether either is excluded; for whole numbers none is."""
    low, high = float(schema.get("minimum", -math.inf)), float(schema.get("maximum", math.inf))
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    if is_whole or "multipleOf" in schema:
        step = 1.0 if is_whole else float(schema["multipleOf"]) / 2
        return max(low, _past(above, step)), min(high, -_past(-below, step)), False
    return max(low, above), min(high, below), above >= low or below <= high


def _past(bound: float, step: float) -> float:
    """The least that lies past an excluded lower bound."""
    return math.floor(bound) + 1 if step == 1 and math.isfinite(bound) else bound + step


def _merged(first: Schema, second: Schema) -> dict[str, Json]:
    """Both schemas at once, as far as keyword by keyword can tell."""
    merged = dict(first)
    for key, value in second.items():
        known = merged.get(key)
        if key == "properties" and isinstance(known, dict):
            merged[key] = known | value
        elif key in ("required", "allOf") and isinstance(known, list):
            merged[key] = known + [entry for entry in value if entry not in known]
        elif key in ("minimum", "exclusiveMinimum", "minLength", "minItems") and known is not None:
            merged[key] = max(known, value)
        elif key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems") and known is not None:
            merged[key] = min(known, value)
        elif key == "enum" and isinstance(known, list):
            merged[key] = [entry for entry in known if entry in value]
        elif key == "type" and known is not None:
            merged[key] = [kind for kind in _listed(known) if kind in _listed(value)] or _narrower(known, value)
        else:
            merged[key] = value
    return merged


def _listed(kind: Json) -> list[Json]:
    return kind if isinstance(kind, list) else [kind]


def _narrower(first: Json, second: Json) -> list[str]:
    return ["integer"] if "integer" in (*_listed(first), *_listed(second)) else []


def _schema_of(name: str, schema: Schema, other: Json) -> Json:
    """The schema of a property that `properties` does not name."""
    patterns: Mapping[str, Json] = schema.get("patternProperties") or {}
    return next((inner for pattern, inner in patterns.items() if pattern.strip("^$.*+") in name), other)


def _implied(schema: Schema) -> str:
    return next((kind for kind, keywords in _KINDS if keywords & set(schema)), "string")


def _weight(branch: Json) -> int:
    """How deep a branch may lead: null, then scalars, then arrays, then objects and references."""
    kind = branch.get("type") if isinstance(branch, dict) else None
    order = ("null", "string", "integer", "number", "boolean", "array")
    return order.index(kind) if kind in order else len(order)


def _is_of(value: Json, declared: Json) -> bool:
    kinds: dict[str, bool] = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    return declared is None or any(kinds.get(kind, False) for kind in _listed(declared))


def _is_in(value: Json, made: list[Json]) -> bool:
    encoded = msgspec.json.encode(value)
    return any(msgspec.json.encode(known) == encoded for known in made)
