"""Other gateways beside Antiphon, each from its registry in an environment of its own: `make bench-peers`.

All of them pass a Responses request on to a provider that speaks Responses, the wire that each of them knows best; so
does Antiphon here. What each keeps beside that stands in the report's head.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from targets import KEY, MEASURED, Target, answering, free_port

from harness import FOLDER, Bench, body_1kb, request_file

ENVIRONMENTS = FOLDER / "peers"
_LITELLM = """\
model_list:
{models}
litellm_settings:
  telemetry: false
"""
_MODEL = """\
  - model_name: {name}
    litellm_params: {{model: openai/{name}, api_base: "http://127.0.0.1:{mock}/v1", api_key: none}}
"""


@dataclass(frozen=True)
class Peer:
    """One gateway: what to install, how to start it before a provider at `mock`, and what a request needs."""

    package: str
    command: Callable[[Path, int, int], list[str]]
    headers: Callable[[int], dict[str, str]] = lambda mock: {}


def _litellm(home: Path, mock: int, port: int) -> list[str]:
    config = home / "config.yaml"
    models = "".join(_MODEL.format(name=name, mock=mock) for name in ("n10", "n500"))
    config.write_text(_LITELLM.format(models=models))
    return [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


def _smg(home: Path, mock: int, port: int) -> list[str]:
    worker = ["--backend", "openai", "--worker-urls", f"http://127.0.0.1:{mock}", "--disable-health-check"]
    own = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port()), "--log-level", "error"]
    return [str(home / "bin" / "smg"), "launch", *worker, *own, "--history-backend", "memory"]


def _agentic(home: Path, mock: int, port: int) -> list[str]:
    for file in home.glob("store.db*"):
        file.unlink()
    own = ["--gateway-host", "127.0.0.1", "--gateway-port", str(port), "--skip-llm-ready-check"]
    store = ["--db-url", f"sqlite://{home / 'store.db'}?mode=rwc"]
    return [str(home / "bin" / "agentic-server"), "--llm-api-base", f"http://127.0.0.1:{mock}", *own, *store]


def _portkey(home: Path, mock: int, port: int) -> list[str]:
    del mock
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return ["node", str(script), f"--port={port}", "--headless"]


def _portkey_headers(mock: int) -> dict[str, str]:
    return {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{mock}/v1"}


PEERS = {
    "litellm": Peer("litellm[proxy]==1.106.2", _litellm),
    "portkey": Peer("@portkey-ai/gateway@1.15.2", _portkey, _portkey_headers),
    "smg": Peer("smg", _smg),
    "agentic-server": Peer("agentic-api==0.9.0", _agentic),
}


def install() -> None:
    """Each peer that is not here yet, in an environment of its own; one that cannot be had is left out, and said so."""
    for name, peer in PEERS.items():
        home = ENVIRONMENTS / name
        if (home / "installed").exists():
            continue
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        print(f"installing {peer.package}", flush=True)
        try:
            if peer.package.startswith("@"):
                subprocess.run(["npm", "install", "--silent", "--prefix", str(home), peer.package], check=True)
            else:
                subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
                subprocess.run([str(home / "bin" / "pip"), "install", "--quiet", peer.package], check=True)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{name} is left out: {error}")
            continue
        (home / "installed").touch()


def compare(bench: Bench) -> None:
    """CPU, speed, latency, streams and memory of every peer beside Antiphon's, in turn."""
    mock = bench.targets["direct"].port
    for name, peer in PEERS.items():
        home, port = ENVIRONMENTS / name, free_port()
        if (home / "installed").exists():
            bench.targets[name] = _started(name, peer, mock, port)
    peers = [name for name in PEERS if name in bench.targets]
    at_start = {name: bench.targets[name].rss_mb() for name in peers}
    bench.note("Peers: memory at start", "MB", at_start | {"sqlite": bench.targets["sqlite"].started_mb})
    request = _requests(bench, peers, "n10")
    burst = _answered(bench, _requests(bench, peers, "n500", stream=True))
    for _ in range(bench.rounds):
        bench.compare("Peers: JSON request of 1 KB", request, lambda one: one.cpu_us, "CPU us", connections=8)
        bench.compare(
            "Peers: requests a second", request, lambda one: one.requests / one.seconds, "1/s", connections=32
        )
        bench.compare("Peers: latency at 50/s, p50", request, lambda one: one.p50_us, "us", connections=16, rate=50)
        bench.compare("Peers: streamed event, burst", burst, lambda one: one.cpu_us_event, "CPU us", connections=8)
    after = {name: bench.targets[name].rss_mb() for name in (*peers, "sqlite")}
    bench.note("Peers: memory after the load", "MB", after)
    for name in peers:
        bench.targets.pop(name).stop()


def _answered(bench: Bench, requests: dict[str, Path]) -> dict[str, Path]:
    """Those that the target answers with 200; the others are named."""
    found: dict[str, Path] = {}
    for name, request in requests.items():
        try:
            bench.load(bench.targets[name.partition(":")[0]], request, 1, seconds=0.2)
        except RuntimeError as error:
            print(f"  left out: {error}", flush=True)
        else:
            found[name] = request
    return found


def _started(name: str, peer: Peer, mock: int, port: int) -> Target:
    home = ENVIRONMENTS / name
    log = (home / "log").open("wb")
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY, "HOME": str(home)}
    command = [*MEASURED, *peer.command(home, mock, port)]
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=home)
    return answering(Target(name, port, process), "/")


def _requests(bench: Bench, peers: list[str], model: str, **more: object) -> dict[str, Path]:
    mock = bench.targets["direct"].port
    body = body_1kb(model, **more)
    found = {"nginx": request_file(f"peer-nginx-{model}", body)} if "nginx" in bench.targets else {}
    found["sqlite:stateless"] = request_file(f"peer-own-{model}", body_1kb(f"native/{model}", store=False, **more))
    found["sqlite:full"] = request_file(f"peer-full-{model}", body_1kb(f"native/{model}", **more))
    for name in peers:
        found[name] = request_file(f"peer-{name}-{model}", body, headers=PEERS[name].headers(mock))
    return found


if __name__ == "__main__":
    install()
