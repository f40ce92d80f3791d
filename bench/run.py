"""`make bench`: what Antiphon costs beside a plain reverse proxy, in one run, as ratios.

Rounds go through all targets in turn, and the median of the rounds counts, so that a noisy machine is noisy for all.
Nothing but loopback is asked, for a bounded time. `--quick` is a look, `--write` writes docs/performance.md.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import platform
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from report import write_report
from targets import KEY, PostgreSQL, Target, build, start_antiphon, start_mock, start_nginx

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".bench"
TEXT = "The quick brown fox jumps over the lazy dog. "


def body_1kb(model: str, **more: Any) -> Json:
    return {"model": model, "instructions": TEXT * 4, "input": TEXT * 15} | more


def body_60kb(model: str, **more: Any) -> Json:
    """What an agent sends: 30 tools and 40 items."""
    properties = {f"field{number}": {"type": "string", "description": TEXT} for number in range(6)}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    tools = [
        {"type": "function", "name": f"tool_{n}", "description": TEXT * 4, "parameters": schema, "strict": False}
        for n in range(30)
    ]
    items: list[Json] = []
    for number in range(13):
        items.append({"role": "user", "content": [{"type": "input_text", "text": TEXT * 12}]})
        call = {"type": "function_call", "call_id": f"call_{number}", "name": "tool_1", "arguments": '{"field1":"x"}'}
        items += [call, {"type": "function_call_output", "call_id": f"call_{number}", "output": TEXT * 12}]
    return {"model": model, "input": [*items, {"role": "user", "content": "Go on."}], "tools": tools} | more


def body_2mb(model: str, **more: Any) -> Json:
    image = "data:image/png;base64," + base64.b64encode(bytes(1_500_000)).decode()
    parts = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": image}]
    return {"model": model, "input": [{"role": "user", "content": parts}]} | more


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
    """Everything that runs, and what was found."""

    seconds: float
    rounds: int
    targets: dict[str, Target] = field(default_factory=dict)
    results: Json = field(default_factory=dict)

    def load(self, target: Target, request: Path, connections: int, rate: float = 0, seconds: float = 0) -> Sample:
        command = [str(FOLDER / "load"), "127.0.0.1", str(target.port), str(request), str(connections)]
        command += [str(seconds or self.seconds), *([str(rate)] if rate else [])]
        before = target.cpu_s()
        done = subprocess.run(command, capture_output=True, check=True, timeout=240)
        sample = Sample(**msgspec.json.decode(done.stdout), cpu_s=target.cpu_s() - before)
        if sample.errors > sample.requests // 100:
            raise RuntimeError(f"{target.name}: {sample.errors} of {sample.requests} requests failed")
        return sample

    def compare(
        self, name: str, requests: dict[str, Path], read: Callable[[Sample], float], unit: str, **load: Any
    ) -> dict[str, float]:
        """The median of each target over the rounds, printed as it comes."""
        found: dict[str, list[float]] = {target: [] for target in requests}
        for _ in range(self.rounds):
            for target, request in requests.items():
                found[target].append(read(self.load(self.targets[target.partition(":")[0]], request, **load)))
        medians = {target: statistics.median(values) for target, values in found.items()}
        self.results[name] = {"unit": unit, "values": medians}
        floor = medians.get("nginx")
        shown = "  ".join(
            f"{one} {value:.1f}" + (f" ({value / floor:.1f}x)" if floor else "") for one, value in medians.items()
        )
        print(f"{name:<34}{unit:<12}{shown}", flush=True)
        return medians


def request_file(name: str, body: Json, path: str = "/v1/responses", method: str = "POST") -> Path:
    """A whole request as a file."""
    data = b"" if method == "GET" else msgspec.json.encode(body)
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    file = FOLDER / f"{name}.http"
    file.write_bytes(head.encode() + data)
    return file


def ask(target: Target, body: Json) -> Json:
    """One request, outside of any measure."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    connection.request("POST", "/v1/responses", msgspec.json.encode(body), {"authorization": f"Bearer {KEY}"})
    answer = connection.getresponse()
    found: Json = msgspec.json.decode(answer.read())
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{target.name}: {found}")
    return found


def requests_for(bench: Bench, name: str, make: Callable[..., Json], model: str, **more: Any) -> dict[str, Path]:
    """The same request for nginx, and for Antiphon without and with storing on each store."""
    # Antiphon always streams from its provider: through nginx a JSON request is answered as JSON.
    found = {"nginx": request_file(f"{name}-nginx", make(f"x/{model}", **more))} if "nginx" in bench.targets else {}
    found["sqlite:stateless"] = request_file(f"{name}-stateless", make(f"chat/{model}", store=False, **more))
    found["sqlite:full"] = request_file(f"{name}-full", make(f"chat/{model}", **more))
    if "postgres" in bench.targets:
        found["postgres:full"] = found["sqlite:full"]
    return found


def json_requests(bench: Bench) -> None:
    for name, make in (("1 KB", body_1kb), ("60 KB", body_60kb), ("2 MB", body_2mb)):
        requests = requests_for(bench, f"json-{name.replace(' ', '')}", make, "n10")
        bench.compare(f"JSON request of {name}", requests, lambda one: one.cpu_us, "CPU us", connections=8)
        if name == "1 KB":
            bench.compare("Requests a second", requests, lambda one: one.requests / one.seconds, "1/s", connections=32)
    dialects = {
        f"sqlite:{vendor}": request_file(f"d-{vendor}", body_1kb(f"{vendor}/n10"))
        for vendor in ("chat", "native", "messages")
    }
    bench.compare("JSON request by dialect", dialects, lambda one: one.cpu_us, "CPU us", connections=8)


def latency(bench: Bench) -> None:
    requests = requests_for(bench, "rate", body_1kb, "n10")
    direct = {"direct": request_file("rate-direct", body_1kb("x/n10"))}
    for share, read in (("p50", lambda one: one.p50_us), ("p99", lambda one: one.p99_us)):
        found = bench.compare(f"Latency at 50/s, {share}", direct | requests, read, "us", connections=16, rate=50)
        added = {name: value - found["direct"] for name, value in found.items() if name != "direct"}
        bench.results[f"Added latency at 50/s, {share}"] = {"unit": "us", "values": added}
    streams = requests_for(bench, "first", body_1kb, "n50", stream=True)
    bench.compare("Time to first event at 50/s", streams, lambda one: one.first_p50_us, "us", connections=16, rate=50)


def streams(bench: Bench) -> None:
    # Through nginx come the provider's events, through Antiphon its own: each is counted as what reaches the client.
    burst = requests_for(bench, "burst", body_1kb, "n500", stream=True)
    bench.compare("Streamed event, burst of 500", burst, lambda one: one.cpu_us_event, "CPU us", connections=8)
    paced = requests_for(bench, "paced", body_1kb, "p20x100", stream=True)
    settings = {"connections": 200, "seconds": 0.5}
    bench.compare("Streamed event, 200 at 20/s", paced, lambda one: one.cpu_us_event, "CPU us", **settings)


def chains(bench: Bench) -> None:
    target = bench.targets["sqlite"]
    found: dict[str, float] = {}
    previous: str | None = None
    for turn in range(1, 201):
        link = {"previous_response_id": previous} if previous else {}
        previous = ask(target, body_1kb("chat/n10") | link)["id"]
        if turn in (1, 10, 50, 200):
            body = body_1kb("chat/n10", previous_response_id=previous, store=False)
            found[str(turn)] = statistics.median(
                bench.load(target, request_file(f"chain-{turn}", body), 8).cpu_us for _ in range(bench.rounds)
            )
    bench.results["Turn after a stored chain of N"] = {"unit": "CPU us", "values": found}
    print(f"{'Turn after a stored chain of N':<34}{'CPU us':<12}" + "  ".join(f"{k} {v:.1f}" for k, v in found.items()))


def resume(bench: Bench) -> None:
    target = bench.targets["sqlite"]
    made = ask(target, body_1kb("chat/n500", background=True))
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    body = msgspec.json.encode(body_1kb("chat/n500", background=True, stream=True))
    connection.request("POST", "/v1/responses", body, {"authorization": f"Bearer {KEY}"})
    events = connection.getresponse().read()
    connection.close()
    response_id = msgspec.json.decode(events.partition(b"data: ")[2].partition(b"\n")[0])["response"]["id"]
    path = f"/v1/responses/{response_id}?stream=true"
    requests = {"sqlite:resumed": request_file("resume", {}, path, "GET")}
    bench.compare("Resumed event, of a stored log", requests, lambda one: one.cpu_us_event, "CPU us", connections=8)
    requests = {"sqlite:background": request_file("background", body_1kb("chat/n10", background=True))}
    bench.compare("Background response", requests, lambda one: one.cpu_us, "CPU us", connections=8)
    del made


def sockets(bench: Bench) -> None:
    """Creates over one WebSocket, one after the other."""
    from websockets.sync.client import connect

    target, count = bench.targets["sqlite"], 400
    create = msgspec.json.encode({"type": "response.create"} | body_1kb("chat/n10", store=False)).decode()
    found: list[float] = []
    for _ in range(bench.rounds):
        url = f"ws://127.0.0.1:{target.port}/v1/responses"
        with connect(url, additional_headers={"authorization": f"Bearer {KEY}"}, compression=None) as socket:
            before = target.cpu_s()
            for _ in range(count):
                socket.send(create)
                while '"response.completed"' not in str(socket.recv(timeout=10))[:60]:
                    pass
            found.append((target.cpu_s() - before) / count * 1e6)
    bench.results["Create over a WebSocket"] = {"unit": "CPU us", "values": {"sqlite": statistics.median(found)}}
    print(f"{'Create over a WebSocket':<34}{'CPU us':<12}sqlite {statistics.median(found):.1f}")


def memory(bench: Bench, at_start: dict[str, float]) -> None:
    """Resident memory: at start, per open idle stream, and after all that was asked."""
    target = bench.targets["sqlite"]
    before, idle = target.rss_mb(), 500
    request = request_file("idle", body_1kb("chat/p0.1x1", stream=True, store=False))
    command = [str(FOLDER / "load"), "127.0.0.1", str(target.port), str(request), str(idle), "0.5"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    threading.Event().wait(4)
    during = target.rss_mb()
    process.wait(60)
    values = {
        "start": at_start["sqlite"],
        "after the load": before,
        "KB per idle stream": (during - before) * 1024 / idle,
    }
    bench.results["Memory, MB"] = {"unit": "MB", "values": values}
    print(f"{'Memory':<34}{'MB':<12}" + "  ".join(f"{name} {value:.1f}" for name, value in values.items()))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="one short round of each")
    options.add_argument("--write", action="store_true", help="write docs/performance.md and its plot")
    options.add_argument("--only", default="", help="run the parts whose names hold this")
    given = options.parse_args()
    FOLDER.mkdir(exist_ok=True)
    build(FOLDER)
    bench = Bench(seconds=1.0 if given.quick else 4.0, rounds=1 if given.quick else 3)
    cluster = PostgreSQL()
    try:
        mock = bench.targets["direct"] = start_mock(FOLDER)
        nginx = start_nginx(FOLDER, mock.port)
        if nginx is not None:
            bench.targets["nginx"] = nginx
        bench.targets["sqlite"] = start_antiphon("sqlite", FOLDER, mock.port)
        url = cluster.start()
        if url is not None:
            bench.targets["postgres"] = start_antiphon("postgres", FOLDER, mock.port, url)
        threading.Event().wait(1)
        at_start = {name: target.rss_mb() for name, target in bench.targets.items()}
        started = {name: one.started_s for name, one in bench.targets.items() if name in ("sqlite", "postgres")}
        bench.results["Start to first answer"] = {"unit": "CPU s", "values": started}
        began = time.monotonic()
        for part in (json_requests, latency, streams, chains, resume, sockets):
            if given.only in part.__name__:
                part(bench)
        if given.only in "memory":
            memory(bench, at_start)
        print(f"took {time.monotonic() - began:.0f} s, Python {platform.python_version()}")
        (FOLDER / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(bench.results)))
        if given.write:
            write_report(ROOT / "docs", bench.results)
    finally:
        for target in bench.targets.values():
            target.stop()
        cluster.stop()


if __name__ == "__main__":
    main()
