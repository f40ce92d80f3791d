"""JSON Schema for providers that enforce one: what their grammar cannot say moves into the description.

The client always sees its own schema; this is only what travels. Results are cached by the schema's bytes, so the same
schema always gives the same bytes.
Source: reference of provider wires, §2.6 "Anthropic structured/strict"; Anthropic "Structured outputs".
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

Json = dict[str, "Json"] | list["Json"] | str | float | bool | None
Schema = dict[str, Json]

_KEPT: Final = frozenset(
    {"type", "properties", "required", "items", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "definitions"}
)
_KEPT_BESIDE: Final = frozenset({"title", "description", "default"})
_DROPPED: Final = frozenset({"$schema", "$id", "$comment", "examples", "additionalProperties", "oneOf"})
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_MAPS: Final = ("properties", "$defs", "definitions")


def lower_schema(schema: msgspec.Raw) -> msgspec.Raw:
    """A schema that Anthropic's strict mode and structured outputs accept."""
    return msgspec.Raw(_lowered(bytes(schema)))


@lru_cache(maxsize=512)
def _lowered(schema: bytes) -> bytes:
    value: Json = msgspec.json.decode(schema)
    return msgspec.json.encode(_lower(value) if isinstance(value, dict) else value)


def _lower(schema: Schema) -> Schema:
    lowered: Schema = {}
    told: Schema = {}
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict):
            lowered[key] = {name: _inner(inner) for name, inner in value.items()}
        elif key in ("anyOf", "allOf", "oneOf") and isinstance(value, list):
            lowered["anyOf" if key == "oneOf" else key] = [_inner(inner) for inner in value]
        elif key == "items":
            lowered[key] = _inner(value)
        elif key in _KEPT or key in _KEPT_BESIDE or _is_enforced(key, value):
            lowered[key] = value
        elif key not in _DROPPED or isinstance(value, dict):  # a map's values are told, the map cannot be enforced
            told[key] = value
    if _is_object(schema):
        lowered["additionalProperties"] = False
    return _described(lowered, told)


def _is_object(schema: Schema) -> bool:
    kind = schema.get("type")
    return "properties" in schema or kind == "object" or (isinstance(kind, list) and "object" in kind)


def _inner(schema: Json) -> Json:
    return _lower(schema) if isinstance(schema, dict) else schema


def _is_enforced(key: str, value: Json) -> bool:
    return (key == "format" and value in _FORMATS) or (key == "minItems" and value in (0, 1))


def _described(schema: Schema, told: Schema) -> Schema:
    """Constraints the grammar does not know, in words the model reads."""
    if not told:
        return schema
    words = ", ".join(f"{key}: {msgspec.json.encode(value).decode()}" for key, value in told.items())
    before = schema.get("description")
    return schema | {"description": f"{before} {{{words}}}" if isinstance(before, str) else f"{{{words}}}"}
