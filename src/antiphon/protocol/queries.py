"""Query strings of the read endpoints, checked as OpenAI does.

Arrays come as `include[]=a&include[]=b` (SDKs) or `include=a`. Source: reference "include values", "input_items".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

import msgspec

from .errors import InvalidRequest
from .explain import check_id, invalid, unknown_parameter, unsupported_choice, wrong_type
from .request_schema import Include

Pairs = Iterable[tuple[str, str]]
MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20
_INTEGER: Final = re.compile(r"-?\d{1,18}")
_TOLERATED: Final = frozenset({"beta"})  # `?beta=true` is added by SDK helpers and changes nothing here


class ListQuery(msgspec.Struct, frozen=True):
    """A cursor page: at most `limit` rows after the row with id `after`, newest first by default."""

    after: str | None = None
    order: Literal["asc", "desc"] = "desc"
    limit: int = DEFAULT_LIMIT
    include: frozenset[str] = frozenset()


class RetrieveQuery(msgspec.Struct, frozen=True):
    """GET of one response; `starting_after` is a sequence number."""

    include: frozenset[str] = frozenset()
    stream: bool = False
    starting_after: int | None = None
    include_obfuscation: bool = True


def parse_list_query(pairs: Pairs) -> ListQuery:
    """Raises InvalidRequest that names the parameter."""
    values, include = _collect(pairs, ("after", "order", "limit", "before"))
    order = values.get("order", "desc")
    if order not in ("asc", "desc"):
        raise unsupported_choice("order", order, ["asc", "desc"])
    limit = _integer("limit", values["limit"]) if "limit" in values else DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        is_below = limit < 1
        side, bound, code = (
            ("below minimum", ">= 1", "integer_below_min_value")
            if is_below
            else ("above maximum", f"<= {MAX_LIMIT}", "integer_above_max_value")
        )
        raise invalid(
            "limit", f"Invalid 'limit': integer {side} value. Expected a value {bound}, but got {limit}.", code
        )
    return ListQuery(values.get("after") or None, "asc" if order == "asc" else "desc", limit, include)


def parse_version_query(pairs: Pairs) -> str | None:
    """`version`, if it is given. Raises InvalidRequest for any other parameter."""
    return _collect(pairs, ("version",))[0].get("version")


def parse_include_query(pairs: Pairs) -> frozenset[str]:
    """For endpoints that take `include` alone. Raises InvalidRequest that names the parameter."""
    return _collect(pairs, ())[1]


def parse_retrieve_query(pairs: Pairs) -> RetrieveQuery:
    """Raises InvalidRequest that names the parameter."""
    values, include = _collect(pairs, ("stream", "starting_after", "include_obfuscation"))
    cursor = values.get("starting_after")
    return RetrieveQuery(
        include,
        _boolean("stream", values, default=False),
        None if cursor is None else _integer("starting_after", cursor),
        _boolean("include_obfuscation", values, default=True),
    )


def _collect(pairs: Pairs, known: tuple[str, ...]) -> tuple[dict[str, str], frozenset[str]]:
    values: dict[str, str] = {}
    include: list[str] = []
    for name, value in pairs:
        if re.fullmatch(r"include(\[\d*\])?", name):
            include.append(value)
        elif name in known:
            check_id(name, value)
            values[name] = value
        elif name not in _TOLERATED:
            raise unknown_parameter(name, (*known, "include"))
    choices = list(get_args(Include))
    for position, value in enumerate(include):
        if value not in choices:
            raise unsupported_choice(f"include[{position}]", value, choices)
    return values, frozenset(include)


def _integer(name: str, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise wrong_type(name, "int", "str")
    return int(text)


def _boolean(name: str, values: Mapping[str, str], *, default: bool) -> bool:
    text = values.get(name)
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise _not_boolean(name)
    return text.lower() == "true"


def _not_boolean(name: str) -> InvalidRequest:
    return wrong_type(name, "bool", "str")
