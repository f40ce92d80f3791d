"""Pitfalls of other gateways that only the whole server can show, each by its number."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.stage import Stage
from tests.inprocess.rig import Rig

from antiphon.engine.assembler import LEGAL_CALL_ID
from antiphon.protocol import deltas as de

DEV_ONLY = ("openai", "anthropic", "pydantic", "httpx", "requests", "tiktoken", "boto3", "google", "mcp")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig.open(tmp_path) as opened:
        yield opened


@given(st.text(max_size=2_000))
def test_pitfall_009_whatever_id_a_call_has_upstream_ours_is_legal(upstream_id: str) -> None:
    stage = Stage()
    stage.turn([de.CallStarted(0, "f", upstream_id), de.Finished()])
    call_id = stage.finish()["output"][0]["call_id"]
    assert LEGAL_CALL_ID.fullmatch(call_id)


def test_pitfall_024_the_server_imports_without_any_sdk() -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({DEV_ONLY!r}))"
    code = f"{blocked}; import antiphon.app, antiphon.cli.main"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


async def test_pitfall_066_retrieving_takes_the_includes_that_creating_takes(rig: Rig) -> None:
    made = (await rig.post({"input": "Hi", "reasoning": {"effort": "low"}})).response
    got = await rig.get(f"/responses/{made['id']}?include[]=reasoning.encrypted_content")
    assert got.body == made


async def test_pitfall_099_every_event_has_what_strict_parsers_need(rig: Rig) -> None:
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
    answer = await rig.post({"input": "weather?", "tools": [tool], "reasoning": {"effort": "low"}, "stream": True})
    completed = answer.events[-1]["response"]
    assert completed["output"]
    assert {"id", "object", "created_at", "model", "status"} <= completed.keys()
    for event in answer.events:
        assert "response" in event or {"output_index"} <= event.keys()


async def test_pitfall_101_reasoning_and_text_never_share_an_index(rig: Rig) -> None:
    body = {"input": "Hi", "reasoning": {"effort": "low", "summary": "auto"}, "stream": True}
    events = (await rig.post(body)).events
    thought = {event["output_index"] for event in events if "reasoning" in event["type"]}
    said = {event["output_index"] for event in events if event["type"].startswith("response.output_text")}
    assert thought
    assert said
    assert not thought & said
