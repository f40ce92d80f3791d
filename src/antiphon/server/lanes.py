"""The lanes of one WebSocket: what each runs, what waits, and what the connection remembers.

A lane runs its creates one after the other; lanes run side by side. Each remembers its latest response, with what that
response's chain needs, so that `store: false` can be continued on this connection and nowhere else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import msgspec

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
    steers: list[AcceptedSteer] = field(default_factory=list[AcceptedSteer])
    owed: dict[str, list[AcceptedSteer]] = field(default_factory=dict[str, list[AcceptedSteer]])
    is_working: bool = False


class Memory:
    """The latest response of each lane, and their ancestors that no store has."""

    def __init__(self) -> None:
        self._responses: dict[str, StoredResponse] = {}

    def __len__(self) -> int:
        return len(self._responses)

    def local(self, previous_response_id: str | None, lanes: list[Lane]) -> dict[str, StoredResponse]:
        """What a continuation may read here: everything for a lane's latest response, nothing for another."""
        is_latest = any(lane.latest == previous_response_id for lane in lanes)
        return self._responses if previous_response_id is not None and is_latest else {}

    def keep(self, lane: Lane, stored: StoredResponse | None, lanes: list[Lane]) -> None:
        """A lane's new latest response; what no lane can reach any more is forgotten."""
        lane.latest = None if stored is None else stored.id
        if stored is not None:
            self._responses[stored.id] = stored
        self._forget(lanes)

    def _forget(self, lanes: list[Lane]) -> None:
        reachable: set[str] = set()
        for lane in lanes:
            link = lane.latest
            while link is not None and link in self._responses and link not in reachable:
                reachable.add(link)
                link = self._responses[link].previous_response_id
        self._responses = {name: stored for name, stored in self._responses.items() if name in reachable}


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
