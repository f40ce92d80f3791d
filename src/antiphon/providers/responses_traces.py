"""What a provider's own tool did, in words, for a model of another provider.

A web_search_call of one provider is no item that another would take, yet the answer after it leans on what was found.
So the call becomes a short line of the assistant's; what cannot be told so is left to the caller to name as left out.
Source: reference "Moving between providers mid-conversation".
"""

from __future__ import annotations

from typing import Final

import msgspec

from antiphon.protocol.items import Opaque

_MAX_LENGTH: Final = 4000


class _Source(msgspec.Struct, frozen=True):
    url: str = ""


class _Action(msgspec.Struct, frozen=True):
    query: str | None = None
    queries: tuple[str, ...] | None = None
    url: str | None = None
    sources: tuple[_Source, ...] | None = None


class _Output(msgspec.Struct, frozen=True):
    logs: str = ""


class _Trace(msgspec.Struct, frozen=True):
    """The fields of hosted calls that can be told; everything else of them is ignored."""

    action: _Action | None = None
    queries: tuple[str, ...] | None = None
    code: str | None = None
    outputs: tuple[_Output, ...] | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | None = None


def told_in_words(item: Opaque) -> str | None:
    """One line such as `[searched the web: tide times -> https://...]`, or None where nothing can be told."""
    tell = _TELLERS.get(item.type)
    if tell is None:
        return None
    try:
        words = tell(msgspec.json.decode(item.raw, type=_Trace))
    except msgspec.DecodeError:
        return None
    return f"[{words[:_MAX_LENGTH]}]" if words else None


def _web_search(trace: _Trace) -> str:
    action = trace.action or _Action()
    asked = ", ".join(action.queries or ()) or action.query or action.url
    if not asked:
        return ""
    found = ", ".join(source.url for source in action.sources or () if source.url)
    return f"searched the web: {asked}" + (f" -> {found}" if found else "")


def _file_search(trace: _Trace) -> str:
    return f"searched files: {', '.join(trace.queries)}" if trace.queries else ""


def _code_interpreter(trace: _Trace) -> str:
    if not trace.code:
        return ""
    logs = "\n".join(output.logs for output in trace.outputs or () if output.logs)
    return f"ran code: {trace.code}" + (f" -> {logs}" if logs else "")


def _mcp_call(trace: _Trace) -> str:
    if not trace.name:
        return ""
    return f"called {trace.name}({trace.arguments or ''})" + (f" -> {trace.output}" if trace.output else "")


_TELLERS: Final = {
    "web_search_call": _web_search,
    "file_search_call": _file_search,
    "code_interpreter_call": _code_interpreter,
    "mcp_call": _mcp_call,
}
