"""A real engine as upstream: llama.cpp's server with a tiny model of chance, on all three wires that it speaks.

`make test-engines` builds both and runs this; without them it is skipped. The model knows nothing, so what it says is
not looked at, only that everything around it holds: streams, state, usage, forced calls and schemas.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from tests.harness.process import KEY, ServerProcess, free_port

FOLDER = Path(os.environ.get("ANTIPHON_ENGINES", ".engines"))
SERVER, MODEL = FOLDER / "llama-server", FOLDER / "tiny.gguf"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (SERVER.exists() and MODEL.exists()), reason="no engine here: make test-engines"),
]
WIRES = ("chat", "responses", "messages")
START_S = 30.0
LOOK: Any = {
    "type": "function",
    "name": "look",
    "description": "Looks.",
    "parameters": {
        "type": "object",
        "properties": {"far": {"type": "boolean"}},
        "required": ["far"],
        "additionalProperties": False,
    },
    "strict": False,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The engine's base URL."""
    port = free_port()
    command = [str(SERVER), "--model", str(MODEL), "--host", "127.0.0.1", "--port", str(port), "--jinja"]
    log = (tmp_path_factory.mktemp("engine") / "log").open("wb")
    process = subprocess.Popen([*command, "--ctx-size", "4096", "--threads", "1"], stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def _wait(url: str) -> None:
    ends_at = time.monotonic() + START_S
    while time.monotonic() < ends_at:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        threading.Event().wait(0.1)
    raise TimeoutError(f"{url} does not answer")


@pytest.fixture(scope="module")
def server(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    rows = f"""
[[vendor]]
name = "llamacpp"
base_url = "{engine}"

[[vendor]]
name = "responses"
dialect = "responses"
base_url = "{engine}"
is_local = true
[vendor.quirks.responses]
tool_types = ["function"]
item_types = ["message", "function_call", "function_call_output", "reasoning"]
tool_choice_types = ["function"]
reasoning = "text"
text_tool_outputs = true

[[vendor]]
name = "messages"
dialect = "anthropic"
base_url = "{engine}"
is_local = true
[vendor.quirks.anthropic]
counts_tokens = true
caches = false

[[model]]
name = "chat-model"
targets = ["llamacpp/tiny"]

[[model]]
name = "responses-model"
targets = ["responses/tiny"]

[[model]]
name = "messages-model"
targets = ["messages/tiny"]
"""
    running = ServerProcess(tmp_path_factory.mktemp("server"), "http://127.0.0.1:9/v1", config=rows).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def sdk(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key=KEY, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(params=WIRES)
def model(request: pytest.FixtureRequest) -> str:
    return f"{request.param}-model"


def test_an_answer_and_its_stream_say_the_same(sdk: openai.OpenAI, model: str) -> None:
    settings: Any = {"model": model, "input": "Hello", "max_output_tokens": 24, "temperature": 0}
    whole = sdk.responses.create(**settings)
    assert whole.status in ("completed", "incomplete")
    assert whole.usage is not None
    assert whole.usage.input_tokens > 5
    events = list(sdk.responses.create(**settings, stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    last: Any = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert "".join(deltas) == last.response.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_conversation_grows_by_what_was_said(sdk: openai.OpenAI, model: str) -> None:
    one = sdk.responses.create(model=model, input="My name is Ada.", max_output_tokens=16)
    two = sdk.responses.create(model=model, input="And?", max_output_tokens=16, previous_response_id=one.id)
    assert one.usage is not None
    assert two.usage is not None
    # This engine leaves message_start out where its first token is no whole character: then nobody says the count.
    assert two.usage.input_tokens > one.usage.input_tokens or (model, two.usage.input_tokens) == ("messages-model", 0)


def test_a_conversation_crosses_the_wires(sdk: openai.OpenAI) -> None:
    previous = None
    for wire in (*WIRES, WIRES[0]):
        response = sdk.responses.create(
            model=f"{wire}-model", input="Go on.", max_output_tokens=16, previous_response_id=previous
        )
        previous = response.id
        assert response.status in ("completed", "incomplete")


def test_calls_and_their_outputs_are_taken(sdk: openai.OpenAI, model: str) -> None:
    items: Any = [
        {"role": "user", "content": "Look far and near."},
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"far":true}'},
        {"type": "function_call", "call_id": "call_2", "name": "look", "arguments": '{"far":false}'},
        {"type": "function_call_output", "call_id": "call_2", "output": "a tree"},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "a hill"}]},
    ]
    counted: list[int] = []
    for _ in range(5):  # the engine's Messages stream now and then lacks its message_start, and with it the count
        response = sdk.responses.create(model=model, input=items, tools=[LOOK], max_output_tokens=16)
        assert response.status in ("completed", "incomplete")
        assert response.usage is not None
        counted.append(response.usage.input_tokens)
    assert max(counted) > 100


def test_a_schema_is_held_by_the_engines_grammar(sdk: openai.OpenAI) -> None:
    properties = {"ok": {"type": "boolean"}}
    schema = {"type": "object", "properties": properties, "required": ["ok"], "additionalProperties": False}
    asked: Any = {"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": True}}
    response = sdk.responses.create(model="chat-model", input="Yes?", max_output_tokens=400, text=asked)
    assert type(msgspec.json.decode(response.output_text)["ok"]) is bool


def test_the_engine_is_found_and_its_window_learnt(sdk: openai.OpenAI) -> None:
    assert any(row.id.startswith("llamacpp/") for row in sdk.models.list())


def test_tokens_are_counted_by_the_engine(server: ServerProcess) -> None:
    body = msgspec.json.encode({"model": "messages-model", "input": "How many tokens is this?"})
    request = urllib.request.Request(f"{server.url}/responses/input_tokens", body, {"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["antiphon-input-tokens"] == "counted"
        assert msgspec.json.decode(answer.read())["input_tokens"] > 5
