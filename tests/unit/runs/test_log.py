"""The event log: numbering, waking, encoding once, padding."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from antiphon.protocol.errors import ServerFault
from antiphon.protocol.events import OutputTextDelta, ResponseCreated
from antiphon.runs.log import EventLog


def delta(text: str) -> OutputTextDelta:
    return OutputTextDelta("msg_1", 0, 0, text)


def payloads(frames: bytes) -> list[dict]:
    return [msgspec.json.decode(frame.split(b"data: ", 1)[1]) for frame in frames.split(b"\n\n") if frame]


def test_sequence_number_is_the_index_in_the_log() -> None:
    log = EventLog()
    for text in "abc":
        log.append(delta(text))
    assert [event["sequence_number"] for event in payloads(log.frames(0, 3, is_padded=False)[0])] == [0, 1, 2]


async def test_a_burst_of_events_wakes_a_reader_once() -> None:
    log = EventLog()
    wakes: list[int] = []

    async def read() -> None:
        while not log.is_closed:
            await log.wait(wakes[-1] if wakes else 0)
            wakes.append(len(log))

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await asyncio.sleep(0)
        for text in "abc":
            log.append(delta(text))
        log.close()
    assert wakes == [3]


async def test_every_reader_is_woken_by_an_event_and_by_the_end() -> None:
    log = EventLog()
    for end in (lambda: log.append(delta("x")), log.close):
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(log.wait(len(log))) for _ in range(2)]
            await asyncio.sleep(0)
            assert not any(wait.done() for wait in waits)
            end()


def test_a_listener_is_told_of_every_event_until_it_leaves() -> None:
    log = EventLog()
    heard: list[int] = []
    log.listen(lambda: heard.append(len(log)))
    log.append(delta("x"))
    log.append(delta("y"))
    log.listen(None)
    log.append(delta("z"))
    assert heard == [1, 2]


async def test_a_reader_behind_the_end_does_not_wait() -> None:
    log = EventLog()
    log.append(delta("x"))
    await asyncio.wait_for(log.wait(0), 1)


def test_closing_with_an_error_keeps_it_for_the_edge() -> None:
    log = EventLog()
    error = ServerFault("no")
    log.close(error)
    assert log.error is error
    assert log.last is None


def test_where_several_read_an_event_is_encoded_once_and_its_bytes_shared() -> None:
    log = EventLog(is_shared=True)
    log.append(ResponseCreated(msgspec.Raw(b"{}")))
    assert log.encoded(0) is log.encoded(0)


@pytest.mark.parametrize("text", ["", "a", "sixteen letters!", "naïve 🙂"])
def test_padding_brings_every_delta_to_a_multiple_of_sixteen(text: str) -> None:
    log = EventLog()
    log.append(delta(text))
    (event,) = payloads(log.frames(0, 1, is_padded=True)[0])
    assert (len(event["delta"]) + len(event["obfuscation"])) % 16 == 0
    assert event["obfuscation"]


def test_only_deltas_are_padded_and_only_on_demand() -> None:
    log = EventLog()
    log.append(ResponseCreated(msgspec.Raw(b"{}")))
    log.append(delta("x"))
    assert "obfuscation" not in payloads(log.frames(0, 2, is_padded=True)[0])[0]
    assert "obfuscation" not in payloads(log.frames(1, 1, is_padded=False)[0])[0]
