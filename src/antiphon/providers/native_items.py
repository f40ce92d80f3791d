"""What a provider's own tools did, as the Responses API shows it: items and their events, from words no wire owns.

    web_search_call         added -> in_progress -> searching -> completed -> done {action}
    code_interpreter_call   added -> in_progress -> code.delta, code.done -> interpreting -> completed -> done
    image_generation_call   added -> in_progress -> generating -> completed -> done {result}

Sources and outputs stand in an item only where the client asked for them by `include`.
Source: OpenAI OpenAPI `WebSearchToolCall`, `CodeInterpreterToolCall`, `ImageGenToolCall`; reference §1.0 and §3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from antiphon.protocol.deltas import Delta, Native, NativeEvent

Raw = msgspec.Raw
Fields = dict[str, object]
Status = Literal["completed", "failed", "incomplete"]
INCLUDE_SOURCES: Final = "web_search_call.action.sources"
INCLUDE_OUTPUTS: Final = "code_interpreter_call.outputs"
_SEARCH: Final = "web_search_call"
_CODE: Final = "code_interpreter_call"
_IMAGE: Final = "image_generation_call"
_encode: Final = msgspec.json.Encoder().encode
_EMPTY: Final = Raw(b"{}")


def _raw(fields: Fields) -> Raw:
    return Raw(_encode(fields))


def _event(key: int, name: str, **fields: object) -> NativeEvent:
    return NativeEvent(key, f"response.{name}", _raw(fields) if fields else _EMPTY)


def search_action(queries: Sequence[str], sources: Sequence[str], include: frozenset[str]) -> Fields:
    """The action of a search; `query` is the first of its queries."""
    action: Fields = {"type": "search", "query": queries[0] if queries else "", "queries": list(queries)}
    if INCLUDE_SOURCES in include:
        action["sources"] = [{"type": "url", "url": url} for url in sources]
    return action


def open_action(url: str) -> Fields:
    """The action of a page that was opened."""
    return {"type": "open_page", "url": url}


def search_begun(key: int, action: Fields) -> list[Delta]:
    """A search, or the opening of a page, has begun."""
    item = _raw({"type": _SEARCH, "status": "in_progress", "action": action})
    return [
        Native(key, _SEARCH, item, "added"),
        _event(key, f"{_SEARCH}.in_progress"),
        _event(key, f"{_SEARCH}.searching"),
    ]


def search_ended(key: int, action: Fields, status: Status = "completed") -> list[Delta]:
    """It is over."""
    item = _raw({"type": _SEARCH, "status": status, "action": action})
    return [_event(key, f"{_SEARCH}.completed"), Native(key, _SEARCH, item)]


def code_begun(key: int, container_id: str) -> list[Delta]:
    """The model begins to write code that its provider will run."""
    item = _code_item("in_progress", "", container_id, None)
    return [Native(key, _CODE, item, "added"), _event(key, f"{_CODE}.in_progress")]


def code_written(key: int, text: str) -> list[Delta]:
    """More of the code."""
    return [_event(key, f"{_CODE}_code.delta", delta=text)] if text else []


def code_runs(key: int, code: str) -> list[Delta]:
    """The code is whole and runs."""
    return [_event(key, f"{_CODE}_code.done", code=code), _event(key, f"{_CODE}.interpreting")]


def code_ended(
    key: int, code: str, container_id: str, logs: str, include: frozenset[str], status: Status = "completed"
) -> list[Delta]:
    """It has run; `logs` is all that it printed."""
    outputs: list[Fields] | None = [{"type": "logs", "logs": logs}] if INCLUDE_OUTPUTS in include else None
    return [_event(key, f"{_CODE}.completed"), Native(key, _CODE, _code_item(status, code, container_id, outputs))]


def _code_item(status: str, code: str, container_id: str, outputs: list[Fields] | None) -> Raw:
    item: Fields = {"type": _CODE, "status": status, "code": code, "container_id": container_id, "outputs": outputs}
    return _raw(item)


def image_made(key: int, base64: str) -> list[Delta]:
    """A picture, whole at once."""
    begun: Fields = {"type": _IMAGE, "status": "in_progress", "result": None}
    return [
        Native(key, _IMAGE, _raw(begun), "added"),
        _event(key, f"{_IMAGE}.in_progress"),
        _event(key, f"{_IMAGE}.generating"),
        _event(key, f"{_IMAGE}.completed"),
        Native(key, _IMAGE, _raw({"type": _IMAGE, "status": "completed", "result": base64})),
    ]


def url_citation(url: str, title: str, start: int, end: int) -> Raw:
    """An annotation over the code points from `start` up to `end`."""
    return _raw({"type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end})
