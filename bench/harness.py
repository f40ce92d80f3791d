"""What the parts of the benchmark share: requests, the load generator, and what was found."""

from __future__ import annotations

import base64
import http.client
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from targets import BESIDE, KEY, Target

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".bench"
TEXT = "The quick brown fox jumps over the lazy dog. "


NUMBER = "~" * 12
"""The load generator makes a number of it, another one in every request."""


def body_1kb(model: str, **more: Any) -> Json:
    return {"model": model, "instructions": TEXT * 4, "input": TEXT * 15} | more


def agent_tools() -> list[Json]:
    """The 30 tools of an agent."""
    properties = {f"field{number}": {"type": "string", "description": TEXT} for number in range(6)}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return [
        {"type": "function", "name": f"tool_{n}", "description": TEXT * 4, "parameters": schema, "strict": False}
        for n in range(30)
    ]


def body_60kb(model: str, **more: Any) -> Json:
    """What an agent sends: 30 tools and 40 items, of a conversation of its own."""
    items: list[Json] = []
    for number in range(13):
        items.append({"role": "user", "content": [{"type": "input_text", "text": f"{NUMBER} {TEXT * 12}"}]})
        call = {"type": "function_call", "call_id": f"call_{number}", "name": "tool_1", "arguments": '{"field1":"x"}'}
        items += [call, {"type": "function_call_output", "call_id": f"call_{number}", "output": TEXT * 12}]
    return {"model": model, "input": [*items, {"role": "user", "content": "Go on."}], "tools": agent_tools()} | more


def body_2mb(model: str, **more: Any) -> Json:
    image = "data:image/png;base64," + base64.b64encode(bytes(1_500_000)).decode()
    parts = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": image}]
    return {"model": model, "input": [{"role": "user", "content": parts}]} | more


def body_history(model: str, turns: int, name: str = NUMBER, **more: Any) -> Json:
    """What a client sends that keeps its conversation itself."""
    items: list[Json] = []
    for number in range(turns):
        items.append({"role": "user", "content": f"{name} {TEXT * 15}"})
        answer = [{"type": "output_text", "text": "token " * 10, "annotations": []}]
        items.append(
            {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": answer}
        )
    question = {"role": "user", "content": TEXT * 15}
    return {"model": model, "instructions": TEXT * 4, "input": [*items, question]} | more


@dataclass
class Sample:
    """One run of the load generator against one target."""

    requests: int
    errors: int
    events: int
    seconds: float
    p50_us: float
    p99_us: float
    first_p50_us: float
    first_p99_us: float
    cpu_s: float = 0.0

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / max(self.requests, 1) * 1e6

    @property
    def cpu_us_event(self) -> float:
        return self.cpu_s / max(self.events, 1) * 1e6


@dataclass
class Bench:
    """Everything that runs, and what was found. Each round of a comparison is noted; its medians are the results.

    Two processes of the same code differ by a few hundredths for as long as they live: `rounds` are rounds of processes
    that were started anew, where that does not take too long.
    """

    seconds: float
    rounds: int
    targets: dict[str, Target] = field(default_factory=dict)
    found: dict[str, tuple[str, dict[str, list[float]]]] = field(default_factory=dict)
    plans: dict[str, list[str]] = field(default_factory=dict)

    def load(self, target: Target, request: Path, connections: int, rate: float = 0, seconds: float = 0) -> Sample:
        command = [*BESIDE, str(FOLDER / "load"), "127.0.0.1", str(target.port), str(request), str(connections)]
        command += [str(seconds or self.seconds), *([str(rate)] if rate else [])]
        before = target.cpu_s()
        done = subprocess.run(command, capture_output=True, check=True, timeout=240)
        sample = Sample(**msgspec.json.decode(done.stdout), cpu_s=target.cpu_s() - before)
        if sample.errors > sample.requests // 100:
            raise RuntimeError(f"{target.name}: {sample.errors} of {sample.requests} requests failed")
        return sample

    def samples(self, requests: dict[str, Path], **load: Any) -> dict[str, Sample]:
        """One round: each target in turn."""
        return {
            target: self.load(self.targets[target.partition(":")[0]], request, **load)
            for target, request in requests.items()
        }

    def compare(
        self, name: str, requests: dict[str, Path], read: Callable[[Sample], float], unit: str, **load: Any
    ) -> None:
        """One round, noted."""
        samples = self.samples(requests, **load)
        self.note(name, unit, {target: read(sample) for target, sample in samples.items()})

    def note(self, name: str, unit: str, values: dict[str, float]) -> None:
        """Keep what one round found, and print it."""
        _, rounds = self.found.setdefault(name, (unit, {}))
        for target, value in values.items():
            rounds.setdefault(target, []).append(value)
        print(_shown(name, unit, values), flush=True)

    @property
    def results(self) -> Json:
        """The medians of all rounds."""
        return {
            name: {"unit": unit, "values": {target: statistics.median(values) for target, values in rounds.items()}}
            for name, (unit, rounds) in self.found.items()
        }

    def print_results(self) -> None:
        """The medians as a table."""
        for name, found in self.results.items():
            print(_shown(name, found["unit"], found["values"]))


def _shown(name: str, unit: str, values: dict[str, float]) -> str:
    floor = max(values.get("nginx", 0), 0)  # what nginx adds may be lost in the noise
    cells = (f"{one} {value:.1f}" + (f" ({value / floor:.1f}x)" if floor else "") for one, value in values.items())
    return f"{name:<34}{unit:<12}{'  '.join(cells)}"


def request_file(
    name: str, body: Json, path: str = "/v1/responses", method: str = "POST", headers: dict[str, str] | None = None
) -> Path:
    """A whole request as a file."""
    data = b"" if method == "GET" else msgspec.json.encode(body)
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    head = head[:-2] + "".join(f"{field}: {value}\r\n" for field, value in (headers or {}).items()) + "\r\n"
    file = FOLDER / f"{name}.http"
    file.write_bytes(head.encode() + data)
    return file


def ask(
    target: Target, body: Json, kept: http.client.HTTPConnection | None = None, path: str = "/v1/responses"
) -> Json:
    """One request, over a connection that is kept or one of its own."""
    connection = kept or http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    connection.request("POST", path, msgspec.json.encode(body), {"authorization": f"Bearer {KEY}"})
    answer = connection.getresponse()
    found: Json = msgspec.json.decode(answer.read())
    if kept is None:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{target.name}: {found}")
    return found
