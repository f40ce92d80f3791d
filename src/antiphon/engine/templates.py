"""Prompt templates: a stored part of a request with `{{placeholders}}`, and a request's own part laid over it.

Placeholders stand in `instructions` and in the text of messages of `input`. A value is text, or a content part: an
image or file takes the place of its placeholder as a part of its own. What the request says itself wins over the
template; its input follows the template's. Source: OpenAI `prompt`; reference "responses.create parameters".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.explain import explain, invalid, unknown_parameter
from antiphon.protocol.items import InputFile, InputImage, InputText
from antiphon.protocol.parsing import parse_request
from antiphon.protocol.request import PromptReference

Json = dict[str, object]
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]{0,63})\s*\}\}")
_TEXT_PARTS: Final = ("input_text", "output_text", "text")
NOT_IN_TEMPLATES: Final = frozenset(
    {"prompt", "previous_response_id", "conversation", "stream", "stream_options", "background", "store", "generate"}
)
"""Parameters that belong to one request."""

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value: Final = msgspec.json.Decoder(str | InputText | InputImage | InputFile)
_encode: Final = msgspec.json.Encoder().encode


def check_template(template: bytes) -> None:
    """Raises InvalidRequest for a template that could be no part of a request."""
    fields = _fields(template)
    for name in fields:
        if name in NOT_IN_TEMPLATES:
            raise invalid(
                f"template.{name}",
                f"Unsupported parameter: '{name}' belongs to a request, not to a prompt.",
                "unsupported_parameter",
            )
    needed = {"model": msgspec.Raw(b'"any"'), "input": msgspec.Raw(b'""')}
    try:
        parse_request(_encode(needed | fields))
    except InvalidRequest as error:
        raise InvalidRequest(
            error.message, param=f"template.{error.param or ''}".rstrip("."), code=error.code
        ) from None


def placeholders(template: bytes) -> list[str]:
    """The names of a template's placeholders, in order of appearance."""
    decoded: Json = msgspec.json.decode(template)
    texts = [text for name in ("instructions", "input") for text in _texts(decoded.get(name))]
    return list(dict.fromkeys(name for text in texts for name in _PLACEHOLDER.findall(text)))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in msgspec.convert(value, list[object]):
            yield from _texts(part)
    elif isinstance(value, dict):
        held = msgspec.convert(value, Json)
        for name in ("content", "text"):
            yield from _texts(held.get(name))


def apply_template(template: bytes, reference: PromptReference, request: bytes) -> bytes:
    """The request's body with the template under it. Raises InvalidRequest for variables that do not fit."""
    values = _values(reference)
    _check_names(placeholders(template), values)
    base: Json = msgspec.json.decode(template)
    instructions = base.get("instructions")
    if isinstance(instructions, str):
        base["instructions"] = _as_text(instructions, values)
    if "input" in base:
        base["input"] = _filled_input(base["input"], values)
    said = {name: raw for name, raw in _fields(request).items() if bytes(raw) != b"null"}
    own_input = _items(msgspec.json.decode(said["input"])) if "input" in said else []
    merged: Json = base | dict(said)
    if "input" in base or own_input:
        merged["input"] = [*_items(base.get("input")), *own_input]
    return _encode(merged)


def _values(reference: PromptReference) -> dict[str, str | Json]:
    values: dict[str, str | Json] = {}
    for name, raw in (reference.variables or {}).items():
        try:
            value = _value.decode(raw)
        except msgspec.ValidationError as error:
            kinds = str | InputText | InputImage | InputFile
            raise explain(error, kinds, f"prompt.variables.{name}") from error
        if isinstance(value, InputText):
            value = value.text
        values[name] = value if isinstance(value, str) else msgspec.json.decode(raw)
    return values


def _check_names(wanted: list[str], given: Mapping[str, object]) -> None:
    for name in given:
        if name not in wanted:
            raise unknown_parameter(f"prompt.variables.{name}", wanted)
    missing = [name for name in wanted if name not in given]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        raise invalid("prompt.variables", f"Missing prompt variables: {names}.", "missing_required_parameter")


def _as_text(text: str, values: Mapping[str, str | Json]) -> str:
    def fill(found: re.Match[str]) -> str:
        value = values[found[1]]
        if isinstance(value, str):
            return value
        raise invalid(
            f"prompt.variables.{found[1]}", f"'{found[1]}' stands in the prompt's instructions: only text fits there."
        )

    return _PLACEHOLDER.sub(fill, text)


def _filled_input(value: object, values: Mapping[str, str | Json]) -> list[Json]:
    return [_filled_item(item, values) for item in _items(value)]


def _items(value: object) -> list[Json]:
    """`input` as a list of items."""
    if value is None:
        return []
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    return msgspec.convert(value, list[Json])


def _filled_item(item: Json, values: Mapping[str, str | Json]) -> Json:
    content = item.get("content")
    if isinstance(content, str):
        parts = _filled_text(content, values, "input_text")
        texts = [part["text"] for part in parts if part.get("type") == "input_text"]
        return item | {"content": "".join(map(str, texts)) if len(texts) == len(parts) else parts}
    if not isinstance(content, list):
        return item
    filled: list[Json] = []
    for part in msgspec.convert(content, list[Json]):
        kind, text = part.get("type"), part.get("text")
        if kind in _TEXT_PARTS and isinstance(text, str) and _PLACEHOLDER.search(text):
            filled += _filled_text(text, values, str(kind))
        else:
            filled.append(part)
    return item | {"content": filled}


def _filled_text(text: str, values: Mapping[str, str | Json], kind: str) -> list[Json]:
    """A text with its placeholders filled, cut where an image or a file stands."""
    parts: list[Json] = []
    pending = ""
    position = 0
    for found in _PLACEHOLDER.finditer(text):
        pending += text[position : found.start()]
        position = found.end()
        value = values[found[1]]
        if isinstance(value, str):
            pending += value
            continue
        if pending:
            parts.append({"type": kind, "text": pending})
        parts.append(value)
        pending = ""
    pending += text[position:]
    if pending or not parts:
        parts.append({"type": kind, "text": pending})
    return parts
