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


def inline_refs(schema: msgspec.Raw) -> msgspec.Raw:
    """A schema with its references put in place and no `$schema`; a reference to itself stays one."""
    return msgspec.Raw(_inlined(bytes(schema)))


@lru_cache(maxsize=512)
def _inlined(schema: bytes) -> bytes:
    root: Json = msgspec.json.decode(schema)
    if not isinstance(root, dict):
        return schema
    inliner = _Inliner(root)
    inlined = inliner.inline(root, ())
    assert isinstance(inlined, dict), "an object stays an object"
    unused = ("$schema",) if inliner.is_recursive else ("$schema", "$defs", "definitions")
    return msgspec.json.encode({key: value for key, value in inlined.items() if key not in unused})


class _Inliner:
    """Puts what `$ref` means in its place, at most so many times that a schema cannot explode."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = 2_000
        self.is_recursive = False

    def inline(self, value: Json, within: tuple[str, ...]) -> Json:
        if isinstance(value, list):
            return [self.inline(one, within) for one in value]
        if not isinstance(value, dict):
            return value
        ref = value.get("$ref")
        meant = self._meant(ref) if isinstance(ref, str) else None
        if meant is None or not isinstance(ref, str):
            return {key: self.inline(inner, within) for key, inner in value.items()}
        self._left -= 1
        if ref in within or self._left < 0:
            self.is_recursive = True
            return value
        beside = {key: inner for key, inner in value.items() if key != "$ref"}
        inlined = self.inline(meant, (*within, ref))
        return {**inlined, **beside} if isinstance(inlined, dict) else inlined

    def _meant(self, ref: str) -> Json:
        """What a local reference points at, or None."""
        if not ref.startswith("#/"):
            return None
        found: Json = self._root
        for step in ref[2:].split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                return None
            found = found[key]
        return found
