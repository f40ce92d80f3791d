"""`openai` for Node, Vercel's AI SDK (two providers) and `@openai/agents`: every flow on every dialect.

One Node process per client program runs all its flows (`node/run.mjs`): starting Node costs more than the flows.
"""

from __future__ import annotations

import subprocess
from typing import Any

import msgspec
import pytest
from tests.clients.conftest import NODE_FOLDER
from tests.harness.process import DIALECTS, KEY, ServerProcess
from tests.upstream.server import Upstream

pytestmark = pytest.mark.clients

RUN_S = 60
FORECAST = {"city": "Paris", "degrees": 7}
FLOWS: dict[str, Any] = {
    "plain": "Turn 1. You said: hello",
    "streamed": "Turn 1. You said: hello",
    "stream_helper": "Turn 1. You said: hello",
    "structured": FORECAST,
    "turns": "Turn 2. You said: two",
}
CLIENTS = {
    "openai_sdk": {"tool_loop": "The tool said: sunny", "tool_loop_streamed_without_state": "The tool said: sunny"},
    "ai_sdk_openai": {
        "tool_loop": "The tool said: sunny in Paris",
        "tool_loop_streamed": "The tool said: sunny in Paris",
    },
    "ai_sdk_open_responses": {
        "tool_loop": "The tool said: sunny in Paris",
        "tool_loop_streamed": "The tool said: sunny in Paris",
    },
    "agents_sdk": {"tool_loop": "The tool said: sunny in Paris", "tool_loop_streamed": "The tool said: sunny in Paris"},
}


@pytest.mark.slow
@pytest.mark.parametrize("program", CLIENTS)
def test_a_node_client_passes_every_flow_on_every_dialect(
    program: str, node_env: dict[str, str], antiphon_server: ServerProcess, upstream: Upstream
) -> None:
    command = ["node", "run.mjs", program, antiphon_server.url, KEY, *DIALECTS]
    done = subprocess.run(command, cwd=NODE_FOLDER, env=node_env, capture_output=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    expected = FLOWS | CLIENTS[program]
    for place, found in msgspec.json.decode(done.stdout).items():
        flow = place.partition("/")[2]
        assert found == expected[flow], f"{program}: {place} gave {found}"
    assert upstream.requests("m1")
