"""Which streamed event may follow which, as tables, and a checker that holds a stream to them.

Used by tests on every stream, and in debug by the assembler. It never repairs anything.

    response   created (queued) in_progress item* completed|incomplete|failed       then nothing
    item       output_item.added, the steps of its type (ITEM_STEPS), output_item.done
    part       added, delta*, done, part done; the deltas join to the text of both "done" events

Items open one after the other; only calls may be open together. The sequence number counts every event
from 0, the output index counts items from 0, content and summary indices count parts from 0. The terminal
response's output is deep-equal to the items of `output_item.done`.
Source: reference of providers, "The one emitter every adapter drives"; Open Responses 2026-04-24.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeGuard

Json = Mapping[str, object]
Steps = Mapping[str, Mapping[str, str]]

RESPONSE_STEPS: Final[Steps] = {
    "start": {"created": "created"},
    "created": {"queued": "queued", "in_progress": "running"},
    "queued": {"in_progress": "running"},
    "running": {"completed": "ended", "incomplete": "ended", "failed": "ended"},
    "ended": {},
}

_TEXT_STEPS: Final[Steps] = {
    "open": {"content_part.added:output_text": "text", "content_part.added:refusal": "refusal"},
    "text": {
        "output_text.delta": "text",
        "output_text.annotation.added": "text",
        "output_text.done": "part",
    },
    "refusal": {"refusal.delta": "refusal", "refusal.done": "part"},
    "part": {"content_part.done": "open"},
}
_REASONING_STEPS: Final[Steps] = {
    "open": {
        "reasoning_summary_part.added:summary_text": "summary",
        "content_part.added:reasoning_text": "text",
    },
    "summary": {"reasoning_summary_text.delta": "summary", "reasoning_summary_text.done": "summary_part"},
    "summary_part": {"reasoning_summary_part.done": "open"},
    "text": {"reasoning_text.delta": "text", "reasoning_text.done": "part"},
    "part": {"content_part.done": "open"},
}

ITEM_STEPS: Final[Mapping[str, Steps]] = {
    "message": _TEXT_STEPS,
    "reasoning": _REASONING_STEPS,
    "function_call": {
        "fresh": {"function_call_arguments.delta": "fresh", "function_call_arguments.done": "open"},
        "open": {},
    },
    "custom_tool_call": {
        "fresh": {"custom_tool_call_input.delta": "fresh", "custom_tool_call_input.done": "open"},
        "open": {},
    },
}
"""Per item type: state -> event (and type of its part) -> state. Only "open" may be followed by done."""

EMPTY_ITEMS: Final[Mapping[str, Mapping[str, object]]] = {
    "message": {"content": [], "role": "assistant", "status": "in_progress"},
    "reasoning": {"summary": []},
    "function_call": {"arguments": "", "status": "in_progress"},
    "custom_tool_call": {"input": ""},
}
"""What an item holds in `output_item.added`, before its parts and arguments are streamed."""

SERIAL_ITEMS: Final = frozenset({"message", "reasoning"})
"""Types that are never open together with another item."""

WHOLE_FIELDS: Final[Mapping[str, str]] = {
    "output_text.done": "text",
    "refusal.done": "refusal",
    "reasoning_summary_text.done": "text",
    "reasoning_text.done": "text",
    "function_call_arguments.done": "arguments",
    "custom_tool_call_input.done": "input",
}
"""The field of each "done" event that repeats what the deltas joined to."""

TERMINAL_STATUS: Final = frozenset({"completed", "incomplete", "failed"})


class GrammarError(Exception):
    """A stream broke a rule. `position` counts events from 0."""

    def __init__(self, position: int, rule: str) -> None:
        super().__init__(f"event {position}: {rule}")
        self.position = position
        self.rule = rule


class _BrokenRuleError(Exception):
    """A rule was broken by the event at hand; the checker adds the position."""


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise _BrokenRuleError(rule)


def _is_json(value: object) -> TypeGuard[Json]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _object(holder: Json, name: str) -> Json:
    value = holder.get(name)
    if not _is_json(value):
        raise _BrokenRuleError(f"{name} must be an object, not {value!r}")
    return value


def _list(holder: Json, name: str) -> list[object]:
    value = holder.get(name)
    if not _is_list(value):
        raise _BrokenRuleError(f"{name} must be a list, not {value!r}")
    return value


def _text(holder: Json, name: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        raise _BrokenRuleError(f"{name} must be a string, not {value!r}")
    return value


def _text_field(part: Json) -> str:
    return "refusal" if part.get("type") == "refusal" else "text"


class _OpenItem:
    """One item between `output_item.added` and `output_item.done`."""

    def __init__(self, item: Json) -> None:
        self.id = _text(item, "id")
        self.type = _text(item, "type")
        self.added = item
        _require(self.id != "", "an item's id is empty")
        steps = ITEM_STEPS.get(self.type)
        self._steps = steps
        self._state = "fresh" if steps is not None and "fresh" in steps else "open"
        self._joined = ""
        self._logprobs: list[object] = []
        self._annotations: list[object] = []
        self._content: list[object] = []
        self._summary: list[object] = []
        for name, empty in EMPTY_ITEMS.get(self.type, {}).items():
            found = item.get(name)
            _require(found == empty, f"added {self.type}.{name} must be {empty!r}, is {found!r}")

    def feed(self, kind: str, event: Json) -> None:
        """One event of this item; `kind` is its type without `response.`."""
        if self._steps is None:
            _require(kind.startswith(self.type), f"{kind} does not belong to a {self.type}")
            return
        self._step(self._steps, kind, event)
        if self.type in SERIAL_ITEMS:
            self._check_index(kind, event)
        if kind.endswith(".delta"):
            self._feed_delta(event)
        elif kind.endswith("part.added"):
            self._joined, self._logprobs, self._annotations = "", [], []
            part = _object(event, "part")
            _require(part.get(_text_field(part)) == "", "an added part has text")
        elif kind.endswith("part.done"):
            self._feed_part_done(kind, _object(event, "part"))
        elif kind == "output_text.annotation.added":
            _require(event.get("annotation_index") == len(self._annotations), "annotation_index has a gap")
            self._annotations.append(event.get("annotation"))
        else:
            self._feed_whole(kind, event)

    def _step(self, steps: Steps, kind: str, event: Json) -> None:
        step = f"{kind}:{_object(event, 'part').get('type')}" if kind.endswith("part.added") else kind
        reached = steps[self._state].get(step)
        if reached is None:
            raise _BrokenRuleError(f"{step} may not follow in state {self._state!r} of {self.type}")
        self._state = reached

    def _check_index(self, kind: str, event: Json) -> None:
        is_summary = kind.startswith("reasoning_summary")
        name, parts = ("summary_index", self._summary) if is_summary else ("content_index", self._content)
        _require(event.get(name) == len(parts), f"{name} is {event.get(name)!r}, expected {len(parts)}")

    def _feed_delta(self, event: Json) -> None:
        delta = _text(event, "delta")
        _require(delta != "", "a delta is empty")
        self._joined += delta
        if "logprobs" in event:
            self._logprobs.extend(_list(event, "logprobs"))

    def _feed_whole(self, kind: str, event: Json) -> None:
        name = WHOLE_FIELDS[kind]
        whole, joined = _text(event, name), self._joined
        _require(whole == joined, f"{kind}.{name} is not the deltas joined: {whole!r} != {joined!r}")
        _require(event.get("logprobs", self._logprobs) == self._logprobs, f"{kind}.logprobs differ")

    def _feed_part_done(self, kind: str, part: Json) -> None:
        _require(part.get(_text_field(part)) == self._joined, f"{kind}: the text is not what was streamed")
        if part.get("type") == "output_text":
            _require(part.get("annotations") == self._annotations, f"{kind}.annotations were not streamed")
            _require(part.get("logprobs", self._logprobs) == self._logprobs, f"{kind}.logprobs differ")
        (self._summary if kind.startswith("reasoning_summary") else self._content).append(part)

    def close(self, item: Json) -> None:
        """`output_item.done`: the item equals what was streamed of it."""
        _require(self._state == "open", f"{self.type} {self.id!r} ends in state {self._state!r}")
        for name in ("id", "type", "call_id", "name", "namespace", "role"):
            said = self.added.get(name)  # a provider's own item may get its name late
            _require(said is None or item.get(name) == said, f"{self.type}.{name} changed until done")
        _require(item.get("status") != "in_progress", f"{self.type} is done and still in_progress")
        if self.type == "message":
            _require(item.get("content") == self._content, "message.content is not the streamed parts")
        elif self.type == "reasoning":
            _require(item.get("summary") == self._summary, "reasoning.summary is not the streamed parts")
            content = _list(item, "content") if item.get("content") else []
            _require(content == self._content, "reasoning.content is not the streamed parts")
        elif self._steps is not None:
            name = "arguments" if self.type == "function_call" else "input"
            _require(item.get(name) == self._joined, f"{self.type}.{name} is not what was streamed")
        if self.type in ("message", "function_call"):
            self._check_done_status(item)

    def _check_done_status(self, item: Json) -> None:
        status = item.get("status")
        _require(status in ("completed", "incomplete"), f"done status is {status!r}")
        has_no_arguments = item.get("arguments") == "" and status == "completed"
        _require(not has_no_arguments, 'arguments of a call without arguments are "{}", never ""')


class StreamChecker:
    """Feed every event of one stream in order, then call `finish`; GrammarError at the first broken rule."""

    def __init__(self) -> None:
        self._position = 0
        self._state = "start"
        self._response_id = ""
        self._open: dict[int, _OpenItem] = {}
        self._done: dict[int, Json] = {}
        self._ids: set[str] = set()
        self._final: Json = {}

    def feed(self, event: Json) -> None:
        """The next event, as a JSON object."""
        try:
            self._feed(event)
        except _BrokenRuleError as broken:
            raise GrammarError(self._position, str(broken)) from broken
        self._position += 1

    def finish(self) -> Json:
        """The stream has ended; returns the terminal response."""
        if self._state != "ended":
            raise GrammarError(self._position, f"ended in state {self._state!r}, without a terminal event")
        return self._final

    def _feed(self, event: Json) -> None:
        kind = _text(event, "type").removeprefix("response.")
        number = event.get("sequence_number")
        _require(number == self._position, f"sequence_number is {number!r}, expected {self._position}")
        _require(self._state != "ended", f"{kind} after the terminal event")
        if kind == "steer.accepted":  # WebSocket only, and about the connection: an answer goes on as it was
            _require(self._state == "running", "a steer was accepted before response.in_progress")
            return
        if "response" in event:
            self._feed_response(kind, _object(event, "response"))
            return
        _require(self._state == "running", f"{kind} before response.in_progress")
        index = event.get("output_index")
        if not isinstance(index, int) or isinstance(index, bool):
            raise _BrokenRuleError(f"output_index must be an integer, not {index!r}")
        if kind == "output_item.added":
            self._add(index, _object(event, "item"))
        else:
            self._feed_item(index, kind, event)

    def _feed_item(self, index: int, kind: str, event: Json) -> None:
        item = self._open.get(index)
        if item is None:
            raise _BrokenRuleError(f"{kind} for output_index {index}, where no item is open")
        if kind == "output_item.done":
            item.close(_object(event, "item"))
            self._done[index] = _object(event, "item")
            del self._open[index]
            return
        item_id = event.get("item_id")
        # OpenAI's shell_call_command events alone carry no item_id.
        is_named = item_id == item.id or kind.startswith("shell_call_command")
        _require(is_named, f"item_id is {item_id!r}, expected {item.id!r}")
        item.feed(kind, event)

    def _add(self, index: int, item: Json) -> None:
        expected = len(self._open) + len(self._done)
        _require(index == expected, f"output_index is {index}, expected {expected}")
        new = _OpenItem(item)
        _require(new.id not in self._ids, f"item id {new.id!r} is used twice")
        types = {other.type for other in self._open.values()}
        alone = not types or not ((types | {new.type}) & SERIAL_ITEMS)
        _require(alone, f"{new.type} opens while {sorted(types)} are open")
        self._ids.add(new.id)
        self._open[index] = new

    def _feed_response(self, kind: str, response: Json) -> None:
        reached = RESPONSE_STEPS[self._state].get(kind)
        if reached is None:
            raise _BrokenRuleError(f"{kind} may not follow in state {self._state!r}")
        if self._state == "start":
            self._response_id = _text(response, "id")
        _require(response.get("id") == self._response_id != "", "response.id is empty or changed")
        self._state = reached
        if kind in TERMINAL_STATUS:
            self._end(kind, response)
            return
        allowed = ("queued", "in_progress") if kind == "created" else (kind,)
        _require(response.get("status") in allowed, f"{kind} carries status {response.get('status')!r}")
        _require(response.get("output") == [], f"{kind} carries output")
        _require(response.get("usage") is None, f"{kind} carries usage")

    def _end(self, kind: str, response: Json) -> None:
        _require(not self._open, f"{kind} while items {sorted(self._open)} are open")
        # OpenAI defines no event for a cancelled response: it ends in response.failed with a status of its own.
        found = response.get("status")
        _require(found == kind or (kind, found) == ("failed", "cancelled"), f"{kind} carries status {found!r}")
        done = [self._done[index] for index in range(len(self._done))]
        _require(_list(response, "output") == done, "the terminal output is not that of output_item.done")
        for name, status in (("error", "failed"), ("incomplete_details", "incomplete")):
            _require((response.get(name) is not None) == (found == status), f"{name} is set exactly when {status}")
        if kind == "completed":
            _require(response.get("usage") is not None, "completed without usage")
            # A background response keeps what a lost worker left behind; the answer itself comes after it.
            own = done[-1:] if response.get("background") is True else done
            cut = [item["id"] for item in own if item.get("status") == "incomplete" and item["type"] in ITEM_STEPS]
            _require(not cut, f"completed with incomplete items {cut}")
        self._final = response
