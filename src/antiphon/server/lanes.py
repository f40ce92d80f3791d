"""The lanes of one WebSocket: what each runs, what waits, and what the connection remembers.

A lane runs its creates one after the other; lanes run side by side. Each remembers its latest response, with what that
response's chain needs, so that `store: false` can be continued on this connection and nowhere else. What is stored
comes from the store, as everywhere: there it may have been deleted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import msgspec

from antiphon.engine.history import Link
from antiphon.protocol.events import SteerReceipt
from antiphon.protocol.items import CustomToolCall, FunctionCall
from antiphon.protocol.parsing import parse_item
from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.protocol.socket_events import Create, Steer
from antiphon.runs.run import Run
from antiphon.store.base import StoredResponse

MAX_STEERS: Final = 8


@dataclass(frozen=True, slots=True)
class AcceptedSteer:
    """Input that the server owns until a successor takes it."""

    receipt: SteerReceipt
    steer: Steer
    items: tuple[InputItem, ...]


@dataclass(slots=True)
class Lane:
    """One lane; the default lane's `name` is None. `owed` are steers that wait for the client's tool outputs."""

    name: str | None
    waiting: deque[Create] = field(default_factory=deque[Create])
    run: Run | None = None
    request: CreateResponse | None = None
    latest: str | None = None
    steers: list[AcceptedSteer] = field(default_factory=list)
    owed: dict[str, list[AcceptedSteer]] = field(default_factory=dict)
    is_working: bool = False


class Memory:
    """The latest response of each lane, and of these and their ancestors what no store can tell."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}

    def __len__(self) -> int:
        return len(self._links)

    def local(self, previous_response_id: str | None, lanes: list[Lane]) -> dict[str, Link]:
        """What a continuation may read here: everything for a lane's latest response, nothing for another."""
        is_latest = any(lane.latest == previous_response_id for lane in lanes)
        return self._links if previous_response_id is not None and is_latest else {}

    def keep(self, lane: Lane, response: StoredResponse, lanes: list[Lane], *, is_stored: bool) -> None:
        """A lane's new latest response; what no lane can reach any more is forgotten."""
        lane.latest = response.id
        if not is_stored or response.previous_response_id in self._links:
            self._links[response.id] = Link(response)
        self._forget(lanes)

    def evict(self, lane: Lane, lanes: list[Lane]) -> None:
        """The lane has no latest response any more."""
        lane.latest = None
        self._forget(lanes)

    def _forget(self, lanes: list[Lane]) -> None:
        reachable: set[str] = set()
        for lane in lanes:
            link = lane.latest
            while link is not None and link in self._links and link not in reachable:
                reachable.add(link)
                link = self._links[link].stored.previous_response_id
        self._links = {name: kept for name, kept in self._links.items() if name in reachable}


def required_input(response: msgspec.Raw) -> tuple[msgspec.Raw, ...]:
    """Stubs of the tool outputs that a finished response waits for; none if it waits for nothing."""
    output = msgspec.json.decode(response, type=_WithOutput).output
    stubs: list[dict[str, str]] = []
    for item in map(parse_item, output):
        if isinstance(item, FunctionCall):
            stubs.append({"type": "function_call_output", "call_id": item.call_id, "name": item.name})
        elif isinstance(item, CustomToolCall):
            stubs.append({"type": "custom_tool_call_output", "call_id": item.call_id})
    return tuple(msgspec.Raw(msgspec.json.encode(stub)) for stub in stubs)


class _WithOutput(msgspec.Struct, frozen=True):
    output: tuple[msgspec.Raw, ...]
