"""A value that a JSON Schema accepts, with words of the conversation where they fit.

Built, not searched for: each keyword narrows what is made. Required properties are made, others only where the text
mentions them or where nothing is required. `not`, `if`, `dependentSchemas`, `unevaluated*`, `contains` and `oneOf`
with overlapping branches are not solved (docs/simulator.md, "Limits"). No client pattern is ever executed.
Source: JSON Schema 2020-12; OpenAI structured outputs guide for the subset that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from .simulator_hints import Hints
from .simulator_json import Impossible, Json, Schema, implied, is_list, is_of_type, is_schema, merged, weight
from .simulator_numbers import bounds, multiple_of, nearest_one
from .simulator_patterns import UnreadablePattern, matching

MAX_DEPTH: Final = 24
MAX_ITEMS: Final = 4_096
MAX_LENGTH: Final = 20_000
MAX_WORK: Final = 20_000
"""Values tried, and hundreds of characters made."""
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


def value_for(schema: msgspec.Raw | bytes, hints: Hints) -> Json:
    """A value for the schema. Raises Impossible."""
    document = msgspec.json.decode(schema)
    try:
        return _Maker(document, hints).value(document, "", 0)
    except (TypeError, AttributeError, ArithmeticError) as error:
        # Nobody has checked the schema: a keyword whose value has the wrong type surfaces as one of these.
        raise Impossible("the schema is malformed") from error


class _Maker:
    def __init__(self, root: Json, hints: Hints) -> None:
        self._root = root
        self._hints = hints
        self._budget = MAX_WORK

    def _spend(self, work: int) -> None:
        """A schema may branch and repeat without end: the work for one value is bounded."""
        self._budget -= work
        if self._budget < 0:
            raise Impossible("the value would be too large")

    def value(self, schema: Json, name: str, depth: int) -> Json:
        """A value for `schema`; `name` is the property it is for."""
        self._spend(1)
        if depth > MAX_DEPTH or schema is False:
            raise Impossible("the schema is false, or never ends")
        if not is_schema(schema):
            return self._hints.string(name)
        flat = self._flat(schema)
        if "const" in flat:
            return flat["const"]
        if is_list(flat.get("enum")):
            return self._of_enum(flat)
        for keyword in ("anyOf", "oneOf"):
            if flat.get(keyword):
                return self._of_branches(flat, keyword, name, depth)
        return self._of_type(flat, name, depth)

    def _flat(self, schema: Schema) -> dict[str, Json]:
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
                if is_schema(part):
                    flat = merged(flat, part)
        raise Impossible("$ref never ends")

    def _resolved(self, reference: Json) -> Json:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Impossible(f"$ref {reference!r} is not in this schema")
        place = self._root
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if is_list(place) and step.isdecimal() and int(step) < len(place):
                place = place[int(step)]
            elif is_schema(place) and step in place:
                place = place[step]
            else:
                raise Impossible(f"$ref {reference!r} leads nowhere")
        return place

    def _of_enum(self, schema: Schema) -> Json:
        values = [value for value in schema["enum"] if is_of_type(value, schema.get("type"))]
        if not values:
            raise Impossible("the enum has no value of its type")
        return next((value for value in values if value is not None and self._hints.mentions(value)), values[0])

    def _of_branches(self, schema: Schema, keyword: str, name: str, depth: int) -> Json:
        rest = {key: value for key, value in schema.items() if key != keyword}
        branches = list(schema[keyword])
        if depth >= _LEAN_DEPTH:
            branches.sort(key=weight)
        for branch in branches:
            try:
                both = merged(rest, branch) if is_schema(branch) else rest if branch else branch
                return self.value(both, name, depth + 1)
            except Impossible:
                continue
        raise Impossible(f"no branch of {keyword} can be made")

    def _of_type(self, schema: Schema, name: str, depth: int) -> Json:
        declared = schema.get("type")
        kinds = declared if is_list(declared) else [declared or implied(schema)]
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
        seen: set[bytes] | None = set() if schema.get("uniqueItems") is True else None
        for index in range(count):
            item = prefix[index] if index < len(prefix) else inner
            try:
                value = self.value(item, name, depth + 1)
                made.append(value if seen is None else self._distinct(value, seen, item))
            except Impossible:
                if len(made) >= least:
                    break
                raise
        return made

    def _item_count(self, inner: Json, depth: int) -> int:
        """One item; of plain strings one for each name in the text; deep down none."""
        if depth >= _LEAN_DEPTH:
            return 0
        self._hints.start_over()
        is_plain = is_schema(inner) and inner.get("type") == "string" and not {"enum", "const", "format"} & set(inner)
        return min(max(self._hints.entity_count, 1), 8) if is_plain else 1

    def _distinct(self, value: Json, seen: set[bytes], schema: Json) -> Json:
        """A value that is not yet in a unique array."""
        self._spend(len(seen) // 10)
        flat = self._flat(schema) if is_schema(schema) else {}
        candidates = self._candidates(value, flat, len(seen)) if msgspec.json.encode(value) in seen else (value,)
        for candidate in candidates:
            encoded = msgspec.json.encode(candidate)
            if encoded not in seen:
                seen.add(encoded)
                return candidate
        raise Impossible("no further value for a unique array")

    def _candidates(self, value: Json, schema: Schema, nth: int) -> Sequence[Json]:
        if {"const", "anyOf", "oneOf"} & set(schema):
            return ()
        if is_list(schema.get("enum")):
            return list[Json](schema["enum"])
        if isinstance(value, bool):
            return (True, False)
        if isinstance(value, int | float):
            step = schema.get("multipleOf", 1)
            low, high = bounds(schema, is_whole=isinstance(value, int))
            steps = (value + sign * step * number for number in range(1, nth + 2) for sign in (1, -1))
            return [candidate for candidate in steps if low <= candidate <= high]
        if isinstance(value, str) and not {"format", "pattern"} & set(schema):
            most = schema.get("maxLength", MAX_ITEMS)
            return [
                (value[: max(most - len(tail), 0)] + tail)[:most] for tail in (str(number) for number in range(nth + 1))
            ]
        if is_schema(value):
            return [
                {**value, key: candidate}
                for key, inner in value.items()
                for candidate in self._candidates(inner, self._property(schema, key), nth)
            ]
        return ()

    def _property(self, schema: Schema, key: str) -> Schema:
        properties: Schema = schema.get("properties") or {}
        found = properties.get(key)
        return self._flat(found) if is_schema(found) else {}

    def _string(self, schema: Schema, name: str) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", MAX_LENGTH)
        if least > min(most, MAX_LENGTH):
            raise Impossible(f"a string of at least {least} and at most {most} characters")
        self._spend(least // 100)
        if isinstance(schema.get("pattern"), str):
            return _of_pattern(schema["pattern"], least)
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._hints.string(name)
        if len(text) < least:
            text = text.ljust(least, ".")
        return text[:most]

    def _number(self, schema: Schema, *, is_whole: bool) -> int | float:
        low, high = bounds(schema, is_whole=is_whole)
        step = schema.get("multipleOf") or (1 if is_whole else None)
        if low > high:
            raise Impossible(f"no number between {low} and {high}")
        hinted = self._hints.number(low, high, is_whole=is_whole)
        number = hinted if hinted is not None else nearest_one(low, high)
        if step is None:
            return int(number) if number.is_integer() else number
        return multiple_of(number, low, high, step)


def _of_pattern(pattern: str, least: int) -> str:
    try:
        text = matching(pattern)
    except UnreadablePattern as error:
        raise Impossible(str(error)) from error
    # An open pattern may be lengthened by its own last character: [a-z]+ with minLength 5.
    return text + (text[-1:] or "a") * (least - len(text))


def _schema_of(name: str, schema: Schema, other: Json) -> Json:
    """The schema of a property that `properties` does not name."""
    patterns: Mapping[str, Json] = schema.get("patternProperties") or {}
    return next((inner for pattern, inner in patterns.items() if pattern.strip("^$.*+") in name), other)
