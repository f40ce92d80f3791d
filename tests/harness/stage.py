"""An assembler on a stage: deltas in, events out, numbered as a log would and held to the grammar at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.engine.assembler import Assembler
from antiphon.protocol import deltas as de
from antiphon.protocol.errors import ApiError
from antiphon.protocol.events import Event, encode_event
from antiphon.protocol.grammar import StreamChecker
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.response import new_response
from antiphon.providers.base import ReplayRecord

RESPONSE_ID = "resp_" + "0" * 26
Json = dict[str, Any]


class Stage:
    """An assembler whose events are numbered as a log would."""

    def __init__(self, seal: bool = False, taken: set[str] | None = None) -> None:
        self.events: list[Json] = []
        request = CreateResponse(model="sim/standard")
        self.assembler = Assembler(
            new_response(request, RESPONSE_ID, 1_700_000_000),
            self.extend,
            seal=_seal if seal else None,
            taken_call_ids=taken,
        )
        self.assembler.begin()

    def emit(self, event: Event) -> None:
        event.sequence_number = len(self.events)
        self.events.append(msgspec.json.decode(encode_event(event)))

    def extend(self, events: Sequence[Event]) -> None:
        for event in events:
            self.emit(event)

    def turn(self, deltas: list[de.Delta]) -> None:
        self.assembler.begin_turn("sim", "sim#0", "standard")
        self.assembler.apply_all(deltas)
        self.assembler.end_turn()

    def finish(self, failure: ApiError | None = None) -> Json:
        """The terminal response: of a failure that was reported or is given, else of a finished turn."""
        failure = self.assembler.failure or failure
        terminal = self.assembler.fail(failure) if failure else self.assembler.finish(1_700_000_001)
        self.emit(terminal)
        checker = StreamChecker()
        for event in self.events:
            checker.feed(event)
        checker.finish()
        return self.events[-1]["response"]

    def types(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.events]


def _seal(record: ReplayRecord) -> str:
    return "sealed:" + bytes(record.blocks).decode()
