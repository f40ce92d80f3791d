"""Other spellings of a request that clients written for Chat Completions or for other gateways use. One table.

| setting `[compat]` | what is sent | what it means |
|---|---|---|
| max_tokens | `max_tokens` | `max_output_tokens` |
| reasoning_effort | `reasoning_effort` | `reasoning.effort` |
| nested_format | `text.format.json_schema.{name, schema, strict, description}` | the same without `json_schema` |
| include_usage | `stream_options.include_usage` | nothing: usage always comes |

A request that is right as it stands is never looked at here: only after a refusal is it respelled and read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

Fields = dict[str, msgspec.Raw]
_fields: Final = msgspec.json.Decoder(Fields).decode
_encode: Final = msgspec.json.Encoder().encode
_NULL: Final = b"null"


@dataclass(frozen=True, slots=True)
class Spellings:
    """Which of them are taken."""

    max_tokens: bool = True
    reasoning_effort: bool = True
    nested_format: bool = True
    include_usage: bool = False


def respell(body: bytes, allowed: Spellings) -> bytes | None:
    """The body in the API's own spelling; None if nothing in it was spelled otherwise, or it is no object."""
    try:
        fields = _fields(body)
        changed = [change(fields) for name, change in _CHANGES if getattr(allowed, name)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _encode(fields) if any(changed) else None


def _max_tokens(fields: Fields) -> bool:
    if "max_tokens" not in fields:
        return False
    value = fields.pop("max_tokens")
    if not _is_said(fields, "max_output_tokens"):
        fields["max_output_tokens"] = value
    return True


def _reasoning_effort(fields: Fields) -> bool:
    if "reasoning_effort" not in fields:
        return False
    effort = fields.pop("reasoning_effort")
    reasoning = _fields(fields["reasoning"]) if _is_said(fields, "reasoning") else {}
    if not _is_said(reasoning, "effort"):
        fields["reasoning"] = msgspec.Raw(_encode(reasoning | {"effort": effort}))
    return True


def _nested_format(fields: Fields) -> bool:
    text = _fields(fields["text"]) if _is_said(fields, "text") else {}
    asked = _fields(text["format"]) if _is_said(text, "format") else {}
    if not _is_said(asked, "json_schema"):
        return False
    flat = {name: value for name, value in asked.items() if name != "json_schema"} | _fields(asked["json_schema"])
    fields["text"] = msgspec.Raw(_encode(text | {"format": flat}))
    return True


def _include_usage(fields: Fields) -> bool:
    options = _fields(fields["stream_options"]) if _is_said(fields, "stream_options") else {}
    if "include_usage" not in options:
        return False
    del options["include_usage"]
    fields["stream_options"] = msgspec.Raw(_encode(options))
    return True


def _is_said(fields: Fields, name: str) -> bool:
    return name in fields and bytes(fields[name]) != _NULL


_CHANGES: Final[tuple[tuple[str, Callable[[Fields], bool]], ...]] = (
    ("max_tokens", _max_tokens),
    ("reasoning_effort", _reasoning_effort),
    ("nested_format", _nested_format),
    ("include_usage", _include_usage),
)
