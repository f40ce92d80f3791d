"""JSON Schema as plain data: telling its forms apart, and two schemas at once. Makes no values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, TypeGuard

Json: TypeAlias = Any  # a JSON value: what a client's schema holds has no type that can be written down
Schema: TypeAlias = "Mapping[str, Json]"

_KINDS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("object", frozenset({"properties", "required", "additionalProperties", "patternProperties", "minProperties"})),
    ("array", frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})),
    ("number", frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})),
    ("string", frozenset({"pattern", "format", "minLength", "maxLength"})),
)


class Impossible(ValueError):
    """The schema admits nothing that this maker can make."""


def is_schema(value: Json) -> TypeGuard[Schema]:
    """Whether it is an object: a schema, or a value with properties."""
    return isinstance(value, dict)


def is_list(value: Json) -> TypeGuard[list[Json]]:
    """Whether it is an array."""
    return isinstance(value, list)


def merged(first: Schema, second: Schema) -> dict[str, Json]:
    """Both schemas at once, as far as keyword by keyword can tell."""
    both = dict(first)
    for key, value in second.items():
        known = both.get(key)
        if key == "properties" and is_schema(known):
            both[key] = known | value
        elif key in ("required", "allOf") and is_list(known):
            both[key] = known + [entry for entry in value if entry not in known]
        elif key in ("minimum", "exclusiveMinimum", "minLength", "minItems") and known is not None:
            both[key] = max(known, value)
        elif key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems") and known is not None:
            both[key] = min(known, value)
        elif key == "enum" and is_list(known):
            both[key] = [entry for entry in known if entry in value]
        elif key == "type" and known is not None:
            both[key] = [kind for kind in listed(known) if kind in listed(value)] or _narrower(known, value)
        else:
            both[key] = value
    return both


def listed(kind: Json) -> list[Json]:
    return kind if is_list(kind) else [kind]


def _narrower(first: Json, second: Json) -> list[str]:
    return ["integer"] if "integer" in (*listed(first), *listed(second)) else []


def implied(schema: Schema) -> str:
    return next((kind for kind, keywords in _KINDS if keywords & set(schema)), "string")


def weight(branch: Json) -> int:
    """How deep a branch may lead: null, then scalars, then arrays, then objects and references."""
    kind = branch.get("type") if is_schema(branch) else None
    order = ("null", "string", "integer", "number", "boolean", "array")
    return order.index(kind) if kind in order else len(order)


def is_of_type(value: Json, declared: Json) -> bool:
    kinds: dict[str, bool] = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    return declared is None or any(kinds.get(kind, False) for kind in listed(declared))
