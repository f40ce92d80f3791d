"""Pitfalls of other gateways with provider-run MCP tools, each by its number, on a recorded answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from tests.harness.stage import Stage
from tests.wire.recording import Recording

from antiphon.protocol import deltas as de

CASE = Recording(Path(__file__).parents[2] / "wire" / "responses" / "openai_mcp")


def performed(body: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    stage = Stage()
    stage.turn(CASE.decode(body))
    return stage.types(), stage.finish()["output"]


def test_pitfall_088_a_plain_answer_has_the_items_of_the_stream() -> None:
    (blocks,) = [delta.blocks for delta in CASE.decode(CASE.body) if isinstance(delta, de.Kept)]
    plain = {"id": "resp_1", "object": "response", "status": "completed", "output": msgspec.json.decode(blocks)}
    _, streamed = performed(CASE.body)
    _, whole = performed(msgspec.json.encode(plain))
    assert [item["type"] for item in whole] == [item["type"] for item in streamed]
    assert whole == streamed


def test_pitfall_095_the_events_of_a_call_come_in_openais_order() -> None:
    types, _ = performed(CASE.body)
    assert [kind for kind in types if kind.startswith("mcp_call")] == [
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "mcp_call.completed",
    ]
    assert types.index("output_item.added") < types.index("mcp_list_tools.in_progress")


def test_pitfall_097_tools_are_listed_before_they_are_called() -> None:
    _, output = performed(CASE.body)
    kinds = [item["type"] for item in output]
    assert kinds.index("mcp_list_tools") < kinds.index("mcp_call")
