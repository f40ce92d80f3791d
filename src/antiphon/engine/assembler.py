"""Deltas to events: the only place that mints ids, output_index and content_index.

One assembler serves one response, which may take several model turns. Keys belong to a turn; an item is opened by the
first delta under its key and closed by `Ended`, by the next item, or at the end of the turn: only calls stay open side
by side, what else arrives between their pieces waits until they are whole. The response's `output` is the list of the
very bytes that `response.output_item.done` carried.

    begin -> (begin_turn -> apply* -> end_turn)+ -> finish | fail | cancel | steer
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

import msgspec

from antiphon.protocol import deltas as de
from antiphon.protocol import events as ev
from antiphon.protocol.errors import ApiError, UpstreamFault
from antiphon.protocol.ids import new_id, output_item_id
from antiphon.protocol.response import IncompleteDetails, Response, ResponseError, ResponseUsage
from antiphon.providers.base import ReplayRecord

from .history import StoredTurn
from .open_items import ItemEnd, OpenCall, OpenItem, OpenMessage, OpenNative, OpenReasoning, Place, raw

LEGAL_CALL_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_USAGE: Final = de.Usage()
_CALLS: Final = ("function_call", "custom_tool_call")
_SERIAL: Final = (
    de.Text,
    de.Texts,
    de.Refusal,
    de.Cited,
    de.Summary,
    de.Thought,
    de.Thinking,
    de.Carried,
    de.Native,
    de.NativeEvent,
)
Seal = Callable[[ReplayRecord], str]
Emit = Callable[[Sequence[ev.Event]], None]
"""Takes events that belong together, in order, and does not keep their list."""


class Assembler:
    """Builds one response's events and its final object.

    `emit` takes all events of one call of a method: a log is told of a chunk once, however many events it makes.
    `seal`, when given, makes the `encrypted_content` of reasoning items.
    `taken_call_ids` are those of the context: a call id is unique within a conversation.
    """

    def __init__(
        self,
        response: Response,
        emit: Emit,
        *,
        seal: Seal | None = None,
        taken_call_ids: set[str] | None = None,
    ) -> None:
        self.response = response
        self.usage = _NO_USAGE
        self.turns: list[StoredTurn] = []
        self.paused = False
        self.finished: de.Finished | None = None
        self.failure: UpstreamFault | None = None
        self._has_cut_item = False
        self._called = False
        self._emit = emit
        self._events: list[ev.Event] = []
        self._say = self._events.append
        self._seal = seal
        self._taken: set[str] = set() if taken_call_ids is None else taken_call_ids
        self._output: list[msgspec.Raw | None] = []
        self._open: dict[int, OpenItem] = {}
        self._open_calls = 0
        self._waiting: list[de.Delta] = []
        self._past_usage = _NO_USAGE
        self._origin = ("", "", "")
        self._first = 0
        self._kept: de.Kept | None = None
        self._carried: dict[int, msgspec.Raw] = {}
        self._call_ids: dict[str, str] = {}

    def begin(self) -> None:
        """The response exists: `response.created`, `response.in_progress`."""
        if self.response.status == "queued":  # a background response was created when it was queued
            self.proceed()
            return
        snapshot = ev.Snapshot(self.response)
        self._emit((ev.ResponseCreated(snapshot), ev.ResponseInProgress(snapshot)))

    def proceed(self) -> None:
        """A worker has taken a queued response up: `response.in_progress`."""
        self.response.status = "in_progress"
        self._emit((ev.ResponseInProgress(ev.Snapshot(self.response)),))

    def restore(self, output: list[msgspec.Raw], turns: Sequence[StoredTurn], usage: de.Usage) -> None:
        """Go on from what another worker had come to; items after the last finished turn are abandoned."""
        self.response.status = "in_progress"
        self._output = [*output]
        self.turns = [*turns]
        self.usage = usage
        whole = self.turns[-1].end if self.turns else 0
        if whole < len(output):
            self.turns.append(StoredTurn(whole, len(output), None, is_abandoned=True))

    def begin_turn(self, family: str, scope: str, model: str) -> None:
        """A model turn begins; the three name who will be able to read its blocks again."""
        self._origin = (family, scope, model)
        self._first = len(self._output)
        self._open = {}
        self._open_calls = 0
        self._waiting = []
        self._kept = None
        self._carried = {}
        self._call_ids = {}
        self._past_usage = self.usage
        self.paused = False
        self.finished = None

    def apply_all(self, deltas: list[de.Delta]) -> None:
        """Apply a chunk's deltas; those after the end of the turn are ignored."""
        for delta in deltas:
            # Only beside an open call has anything to wait.
            if self._waiting or (self._open_calls and isinstance(delta, _SERIAL)):
                self._apply_serial(delta)
            else:
                self._APPLY[type(delta)](self, delta)
        self._flush()

    def _flush(self) -> None:
        """What was said in this call goes out."""
        if self._events:
            self._emit(self._events)
            self._events.clear()

    def _apply_serial(self, delta: de.Delta) -> None:
        """Keep items one after the other: while a call is open, deltas of other kinds wait for its end."""
        of_waiting = isinstance(delta, de.Ended) and delta.key not in self._open
        if (isinstance(delta, _SERIAL) or of_waiting) and self._has_open_call():
            self._waiting.append(delta)
            return
        self._APPLY[type(delta)](self, delta)
        if self._waiting and not self._has_open_call():
            waiting, self._waiting = self._waiting, []
            self.apply_all(waiting)

    def _has_open_call(self) -> bool:
        return self._open_calls > 0

    def end_turn(self) -> None:
        """The turn's bytes have ended: close what is open, keep the replay record."""
        cut = self.finished is None or self.finished.reason is not None or self.failure is not None
        if self._waiting:
            self._close_all("completed")
            waiting, self._waiting = self._waiting, []
            self.apply_all(waiting)
        self._close_all("incomplete" if cut and not self.paused else "completed")
        record = None
        if self._kept is not None:
            kept = self._kept
            record = ReplayRecord(*self._origin, kept.blocks, kept.essential, self._call_ids, kept.omits_cut)
        carried: dict[int, ReplayRecord] = {}
        for index, blocks in self._carried.items():
            carried[index] = ReplayRecord(*self._origin, blocks)
        self.turns.append(StoredTurn(self._first, len(self._output), record, carried))

    def finish(self, completed_at: int) -> ev.Terminal:
        """The terminal event of a response whose last turn finished; not emitted: first it must be stored."""
        reason = self.finished.reason if self.finished is not None else None
        if self.paused or (reason is None and self._has_cut_item):
            # Continued as often as is allowed and still not done; or an item that its provider calls incomplete.
            reason = "max_output_tokens"
        response = self._settled(completed_at)
        if reason is None:
            response.status = "completed"
            return ev.ResponseCompleted(raw(response))
        response.status = "incomplete"
        response.completed_at = None
        response.incomplete_details = IncompleteDetails(reason)
        return ev.ResponseIncomplete(raw(response))

    def fail(self, error: ApiError) -> ev.Terminal:
        """The terminal event of a response that cannot go on; open items are closed as incomplete."""
        self._close_all("incomplete")
        code = error.fault.stream_code if isinstance(error, UpstreamFault) else "server_error"
        response = self._settled(None)
        response.status = "failed"
        response.error = ResponseError(code, error.message)
        return ev.ResponseFailed(raw(response))

    def take_call_ids(self, call_ids: set[str]) -> None:
        """Call ids that must not be used again."""
        self._taken |= call_ids

    def cancel(self) -> ev.Terminal:
        """The terminal event of a response that was cancelled: no event of its own is defined for it.

        Clients that follow learn from the response's status; OpenAI's event types end in completed, incomplete, failed.
        """
        self._close_all("incomplete")
        response = self._settled(None)
        response.status = "cancelled"
        return ev.ResponseFailed(raw(response))

    def steer(self) -> ev.Terminal:
        """The terminal event of a response that new input of the user interrupted."""
        self._close_all("incomplete")
        response = self._settled(None)
        response.status = "incomplete"
        response.incomplete_details = IncompleteDetails("steered")
        return ev.ResponseIncomplete(raw(response))

    @property
    def has_calls(self) -> bool:
        """Whether the client has been, or is being, asked to run tools."""
        return self._called

    def output(self) -> list[msgspec.Raw]:
        """The finished items."""
        return list(filter(None, self._output))

    def add_usage(self, usage: de.Usage) -> None:
        """Count what a model call beside the answer's own turns has used."""
        past, usage = self.usage, usage.sane()
        if past is _NO_USAGE:  # as of an answer's first turn
            self.usage = usage
            return
        self.usage = de.Usage(
            past.input_tokens + usage.input_tokens,
            past.cached_tokens + usage.cached_tokens,
            past.cache_write_tokens + usage.cache_write_tokens,
            past.output_tokens + usage.output_tokens,
            past.reasoning_tokens + usage.reasoning_tokens,
        )

    def add_item(self, item_type: str, make: Callable[[str, str], msgspec.Raw], content: str, progress: str) -> None:
        """An item of our own making: added empty, one event on its progress, done with its content."""
        place = self._place(item_type)
        item = make(place.item_id, content)
        self._say(ev.OutputItemAdded(place.output_index, make(place.item_id, "")))
        self._say(ev.Forwarded(progress, place.item_id, place.output_index, {}))
        self._output[place.output_index] = item
        self._say(ev.OutputItemDone(place.output_index, item))
        self._flush()

    def _settled(self, completed_at: int | None) -> Response:
        response = self.response
        response.completed_at = completed_at
        response.output = self.output()
        response.usage = ResponseUsage.of(self.usage)
        return response

    # -- items

    def _place(self, item_type: str) -> Place:
        if self._open:
            is_call = item_type in _CALLS
            for key in [key for key, item in self._open.items() if not (is_call and isinstance(item, OpenCall))]:
                self._close(key, "completed")
        index = len(self._output)
        self._output.append(None)
        return Place(output_item_id(self.response.id, item_type, index), index, self._say)

    def _message(self, key: int, phase: str | None = None) -> OpenMessage:
        found = self._open.get(key)
        if isinstance(found, OpenMessage):
            return found
        self._close(key, "completed")
        message = self._open[key] = OpenMessage(self._place("message"), phase)
        return message

    def _reasoning(self, key: int) -> OpenReasoning:
        found = self._open.get(key)
        if isinstance(found, OpenReasoning):
            return found
        self._close(key, "completed")
        reasoning = self._open[key] = OpenReasoning(self._place("reasoning"))
        return reasoning

    def _close(self, key: int, status: ItemEnd) -> None:
        item = self._open.pop(key, None)
        if item is None:
            return
        index = item.place.output_index
        self._open_calls -= isinstance(item, OpenCall)
        done = item.close(status)
        self._output[index] = done
        self._say(ev.OutputItemDone(index, done))

    def _close_all(self, status: ItemEnd) -> None:
        keys = sorted(self._open, key=lambda key: self._open[key].place.output_index) if self._open else []
        for key in keys:
            # What was cut is the item being written last; those before it are whole.
            self._close(key, status if key == keys[-1] else "completed")
        self._flush()

    def _public_call_id(self, upstream_id: str) -> str:
        if LEGAL_CALL_ID.fullmatch(upstream_id) and upstream_id not in self._taken:
            public = upstream_id
        else:
            public = new_id("call")
            self._call_ids[public] = upstream_id
        self._taken.add(public)
        return public

    # -- deltas

    def _on_started(self, delta: de.Started) -> None:
        if delta.service_tier:
            self.response.service_tier = delta.service_tier

    def _on_text(self, delta: de.Text) -> None:
        if delta.text:
            item = self._open.get(delta.key)
            message = item if isinstance(item, OpenMessage) else self._message(delta.key, delta.phase)
            message.text(delta.text, delta.logprobs)

    def _on_texts(self, delta: de.Texts) -> None:
        item = self._open.get(delta.key)
        message = item if isinstance(item, OpenMessage) else self._message(delta.key)
        message.texts(delta.pieces)

    def _on_refusal(self, delta: de.Refusal) -> None:
        if delta.text:
            self._message(delta.key).refusal(delta.text)

    def _on_cited(self, delta: de.Cited) -> None:
        self._message(delta.key).cite(delta.annotation)

    def _on_summary(self, delta: de.Summary) -> None:
        if delta.text:
            self._reasoning(delta.key).summary(delta.text, delta.part)

    def _on_thought(self, delta: de.Thought) -> None:
        if delta.text:
            self._reasoning(delta.key).thought(delta.text)

    def _on_thinking(self, delta: de.Thinking) -> None:
        self._reasoning(delta.key)

    def _on_carried(self, delta: de.Carried) -> None:
        reasoning = self._reasoning(delta.key)
        self._carried[reasoning.place.output_index] = delta.blocks
        if self._seal is not None:
            reasoning.encrypted_content = self._seal(ReplayRecord(*self._origin, delta.blocks))

    def _on_call_started(self, delta: de.CallStarted) -> None:
        self._called = True
        self._close(delta.key, "completed")
        place = self._place("custom_tool_call" if delta.kind == "custom" else "function_call")
        call_id = self._public_call_id(delta.call_id)
        call = OpenCall(place, call_id, delta.name, delta.namespace, delta.kind)
        self._open[delta.key] = call
        self._open_calls += 1

    def _on_call_arguments(self, delta: de.CallArguments) -> None:
        call = self._open.get(delta.key)
        if delta.text and isinstance(call, OpenCall):
            call.arguments(delta.text)

    def _on_native(self, delta: de.Native) -> None:
        item = self._open.get(delta.key)
        if isinstance(item, OpenNative):
            item.replace(delta.item)
        else:
            self._close(delta.key, "completed")
            self._open[delta.key] = OpenNative(self._place(delta.type), delta.type, delta.item)
        if delta.stage == "done":
            self._close(delta.key, "completed")

    def _on_native_event(self, delta: de.NativeEvent) -> None:
        item = self._open.get(delta.key)
        if isinstance(item, OpenNative):
            item.forward(delta.type, delta.event)

    def _on_ended(self, delta: de.Ended) -> None:
        if delta.status == "incomplete" and delta.key in self._open:
            self._has_cut_item = True
        self._close(delta.key, delta.status)

    def _on_used(self, delta: de.Used) -> None:
        self.usage = self._past_usage
        self.add_usage(delta.usage)

    def _on_kept(self, delta: de.Kept) -> None:
        self._kept = delta

    def _on_removed(self, delta: de.Removed) -> None:
        self.note_removed("", delta.reason)

    def note_removed(self, item_id: str, reason: str) -> None:
        """Say in `response.input_transformations` that a reasoning item was not shown to the model."""
        known = self.response.input_transformations
        rows = [] if known is msgspec.UNSET else known
        row = {"type": "reasoning", "id": item_id, "action": "removed", "reason": reason}
        self.response.input_transformations = [*rows, raw(row)]

    def _on_paused(self, delta: de.Paused) -> None:
        del delta
        self.paused = True

    def _on_finished(self, delta: de.Finished) -> None:
        self.finished = delta

    def _on_failed(self, delta: de.Failed) -> None:
        self.failure = delta.error

    _APPLY: ClassVar[dict[type, Callable[..., None]]] = {
        de.Started: _on_started,
        de.Text: _on_text,
        de.Texts: _on_texts,
        de.Refusal: _on_refusal,
        de.Cited: _on_cited,
        de.Summary: _on_summary,
        de.Thought: _on_thought,
        de.Thinking: _on_thinking,
        de.Carried: _on_carried,
        de.CallStarted: _on_call_started,
        de.CallArguments: _on_call_arguments,
        de.Native: _on_native,
        de.NativeEvent: _on_native_event,
        de.Ended: _on_ended,
        de.Used: _on_used,
        de.Kept: _on_kept,
        de.Removed: _on_removed,
        de.Paused: _on_paused,
        de.Finished: _on_finished,
        de.Failed: _on_failed,
    }
