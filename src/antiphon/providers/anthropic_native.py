"""Tools that run at Anthropic: how they are declared, and what they did as items of the Responses API.

    web_search                                  web_search; a page that it opens is web_fetch
    code_interpreter                            code_execution (bash and a text editor among it)

A call streams its input like any other; its result comes whole in a block of its own. The blocks themselves are kept
for replay, since only they hold what the model read. Items come one after the other: of calls that run side by side the
first is shown as it runs, the others with their results. Source: Anthropic "Web search tool", "Web fetch tool", "Code
execution tool"; reference of provider wires, §3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from antiphon.protocol.deltas import Delta
from antiphon.protocol.tools import HostedTool

from . import native_items as native
from .anthropic_blocks import Block

Raw = msgspec.Raw
_SEARCHES: Final = ("web_search", "web_search_preview")
_NO_LOCATION: Final = Raw(b"null")
_CONTAINER: Final = "anthropic"
"""Stands for the container where the stream has not named it yet; the field is required."""


class _Filters(msgspec.Struct, frozen=True):
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None


class _Search(msgspec.Struct, frozen=True):
    filters: _Filters | None = None
    user_location: Raw = _NO_LOCATION


def declared(tool: HostedTool, served: frozenset[str], max_uses: int | None) -> list[Block] | None:
    """The wire's own tools in place of a hosted one; None where the vendor runs none, or cannot keep its filters."""
    if tool.type in _SEARCHES and "web_search" in served:
        return _search_tools(tool, served, max_uses)
    if tool.type == "code_interpreter" and "code_interpreter" in served:
        return [{"type": "code_execution_20250825", "name": "code_execution"}]
    return None


def _search_tools(tool: HostedTool, served: frozenset[str], max_uses: int | None) -> list[Block] | None:
    said = msgspec.json.decode(tool.raw, type=_Search)
    filters = said.filters or _Filters()
    if filters.allowed_domains and filters.blocked_domains:
        return None  # the wire takes one of them
    limits: Block = {} if max_uses is None else {"max_uses": max_uses}
    for name in ("allowed_domains", "blocked_domains"):
        domains: list[str] | None = getattr(filters, name)
        if domains:
            limits[name] = domains
    search: Block = {"type": "web_search_20250305", "name": "web_search"} | limits
    if bytes(said.user_location) != b"null":
        search["user_location"] = _location(said.user_location)
    fetch: Block = {"type": "web_fetch_20250910", "name": "web_fetch"} | limits
    return [search, fetch] if "web_fetch" in served else [search]


def _location(location: Raw) -> Block:
    said = msgspec.json.decode(location, type=dict[str, str | None])
    place: Block = {"type": "approximate"}
    return place | {name: value for name, value in said.items() if value and name != "type"}


class _Input(msgspec.Struct, frozen=True):
    """The inputs of all of these tools in one shape."""

    query: str = ""
    url: str = ""
    code: str = ""
    command: str = ""
    path: str = ""
    file_text: str = ""


class _Page(msgspec.Struct, frozen=True):
    url: str = ""


class _Outcome(msgspec.Struct, frozen=True):
    """A result's content where it is one object: of code, or an error."""

    type: str = ""
    stdout: str = ""
    stderr: str = ""
    error_code: str = ""
    return_code: int = 0


class _Result(msgspec.Struct, frozen=True):
    tool_use_id: str = ""
    content: Raw = _NO_LOCATION


@dataclass(slots=True)
class _Running:
    """A call whose result has not come yet."""

    key: int
    kind: Literal["search", "code"]
    begun: list[Delta]
    action: dict[str, object] = field(default_factory=dict)
    code: str = ""
    is_shown: bool = False


class NativeCalls:
    """The calls of one answer to tools of the provider's own."""

    def __init__(self, include: frozenset[str]) -> None:
        self._include = include
        self._running: dict[str, _Running] = {}
        self.container_id = _CONTAINER

    def called(self, key: int, call_id: str, name: str, arguments: str) -> list[Delta]:
        """A call is whole and begins to run; nothing is shown of tools that nobody here knows."""
        running = self._begun(key, name, _input(arguments))
        if running is None:
            return []
        running.is_shown = not self._running
        self._running[call_id] = running
        return running.begun if running.is_shown else []

    def _begun(self, key: int, name: str, said: _Input) -> _Running | None:
        if name == "web_search":
            action = native.search_action([said.query], [], self._include)
            return _Running(key, "search", native.search_begun(key, action), action)
        if name == "web_fetch":
            action = native.open_action(said.url)
            return _Running(key, "search", native.search_begun(key, action), action)
        if name.endswith("code_execution"):
            code = said.code or said.command or f"{said.path}\n{said.file_text}".strip()
            begun = [*native.code_begun(key, self.container_id), *native.code_written(key, code)]
            return _Running(key, "code", [*begun, *native.code_runs(key, code)], code=code)
        return None

    def answered(self, block: Raw) -> list[Delta]:
        """A result has come: its call is over."""
        try:
            result = msgspec.json.decode(block, type=_Result)
            running = self._running.pop(result.tool_use_id, None)
            if running is None:
                return []
            before = [] if running.is_shown else [*self._end_shown(), *running.begun]
            return before + self._ended(running, result.content)
        except msgspec.MsgspecError:
            return []  # a result of a later version: kept for replay, and not shown

    def _end_shown(self) -> list[Delta]:
        """The call that is shown as running ends before another one's item begins."""
        shown = next((call_id for call_id, running in self._running.items() if running.is_shown), None)
        return [] if shown is None else self._ended(self._running.pop(shown), Raw(b"{}"))

    def _ended(self, running: _Running, content: Raw) -> list[Delta]:
        return self._searched(running, content) if running.kind == "search" else self._ran(running, content)

    def _searched(self, running: _Running, content: Raw) -> list[Delta]:
        is_list = bytes(content)[:1] == b"["
        pages = msgspec.json.decode(content, type=list[_Page]) if is_list else []
        failed = not is_list and bool(msgspec.json.decode(content, type=_Outcome).error_code)
        action = running.action
        if is_list and action["type"] == "search":
            queries = action["queries"]
            assert isinstance(queries, list), "a search has its queries"
            action = native.search_action(
                msgspec.convert(queries, list[str]), [page.url for page in pages if page.url], self._include
            )
        return native.search_ended(running.key, action, "failed" if failed else "completed")

    def _ran(self, running: _Running, content: Raw) -> list[Delta]:
        outcome = msgspec.json.decode(content, type=_Outcome)
        status: native.Status = "failed" if outcome.error_code else "completed"
        logs = outcome.stdout + outcome.stderr
        return native.code_ended(running.key, running.code, self.container_id, logs, self._include, status)


def _input(arguments: str) -> _Input:
    try:
        return msgspec.json.decode(arguments or "{}", type=_Input)
    except msgspec.MsgspecError:
        return _Input()
