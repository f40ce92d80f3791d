"""A response's events as a person reads them: reasoning dimmed, the text live, tool calls, usage at the end.

Colours only where the stream is a terminal; rich decides, and honours NO_COLOR.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec
from rich.console import Console

_REASONING: Final = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
_TEXT: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})
_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_CALLS: Final = frozenset({"function_call", "custom_tool_call"})


class Tokens(msgspec.Struct):
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: Tokens = msgspec.field(default_factory=Tokens)
    output_tokens_details: Tokens = msgspec.field(default_factory=Tokens)


class Failure(msgspec.Struct):
    message: str = ""
    reason: str = ""


class Shown(msgspec.Struct):
    id: str = ""
    model: str = ""
    status: str = ""
    usage: Usage | None = None
    error: Failure | None = None
    incomplete_details: Failure | None = None


class ShownItem(msgspec.Struct):
    type: str = ""
    name: str = ""
    arguments: str = ""
    input: str = ""


class Event(msgspec.Struct):
    """The parts of a streamed event that are shown."""

    type: str
    delta: str = ""
    item: ShownItem | None = None
    response: Shown | None = None


class Screen:
    """Where the answer is printed. `failure` says why a response failed, once it has."""

    def __init__(self) -> None:
        self._text = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._aside = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._open: str = ""
        self.failure: str | None = None

    def note(self, text: str) -> None:
        """A remark beside the answer."""
        self._aside.print(text, style="yellow", markup=False)

    def show(self, event: Event) -> None:
        """Print what this event adds."""
        if event.type in _REASONING:
            self._switch("reasoning")
            self._aside.print(event.delta, style="dim italic", end="", markup=False)
        elif event.type in _TEXT:
            self._switch("text")
            self._text.print(event.delta, end="", markup=False)
            self._text.file.flush()
        elif event.type == "response.output_item.done" and event.item is not None and event.item.type in _CALLS:
            self._switch("")
            self._aside.print(
                f"→ {event.item.name}({event.item.arguments or event.item.input})", style="cyan", markup=False
            )
        elif event.type in _TERMINAL and event.response is not None:
            self._end(event.response)

    def _switch(self, kind: str) -> None:
        """End the line of what was printed before, when something else begins."""
        if self._open and self._open != kind:
            (self._text if self._open == "text" else self._aside).print()
        self._open = kind

    def _end(self, response: Shown) -> None:
        self._switch("")
        if response.status == "failed":
            self.failure = response.error.message if response.error else "the response failed"
        if response.status == "incomplete" and response.incomplete_details is not None:
            self.note(f"incomplete: {response.incomplete_details.reason}")
        self._aside.print(_summary(response), style="dim", markup=False)


def _summary(response: Shown) -> str:
    parts = [response.model]
    if usage := response.usage:
        cached, reasoning = usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens
        parts.append(f"{usage.input_tokens} in" + (f" ({cached} cached)" if cached else ""))
        parts.append(f"{usage.output_tokens} out" + (f" ({reasoning} reasoning)" if reasoning else ""))
    return " · ".join([*parts, response.id])
