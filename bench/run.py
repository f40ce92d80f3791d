"""`make bench`: what Antiphon costs beside a plain reverse proxy, in one run, as ratios.

Rounds go through all targets in turn, each with processes started anew, and the median of the rounds counts: a noisy
machine is noisy for all.
Nothing but loopback is asked, for a bounded time. `--quick` is a look, `--write` writes docs/performance.md;
`--stored`, `--soak` and `--peers` add what takes longer.
"""

from __future__ import annotations

import argparse
import http.client
import platform
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import peers
from counted import counted
from growth import bounds, growth, soak
from report import write_report
from targets import KEY, PostgreSQL, Target, build, install_mb, start_antiphon, start_mock, start_nginx, start_relay

from harness import (
    FOLDER,
    ROOT,
    Bench,
    Json,
    agent_tools,
    ask,
    body_1kb,
    body_2mb,
    body_60kb,
    body_history,
    request_file,
)

T = TypeVar("T")
_CONVERSATIONS = 16
_COMPACTING: Json = {"context_management": [{"type": "compaction", "compact_threshold": 20_000}]}
_TURNS = ((1, 10, "1-10"), (11, 45, ""), (46, 55, "46-55"), (56, 190, ""), (191, 200, "191-200"))


def requests_for(bench: Bench, name: str, make: Callable[..., Json], model: str, **more: Any) -> dict[str, Path]:
    """The same request for nginx, and for Antiphon without and with storing on each store."""
    # Antiphon always streams from its provider: through nginx and the relay a JSON request is answered as JSON.
    plain = request_file(f"{name}-plain", make(f"x/{model}", **more))
    found = {target: plain for target in ("nginx", "relay") if target in bench.targets}
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
            paced = {"connections": 32, "rate": 1000}
            bench.compare("JSON request of 1 KB at 1,000/s", requests, lambda one: one.cpu_us, "CPU us", **paced)
            bench.compare("Requests a second", requests, lambda one: one.requests / one.seconds, "1/s", connections=32)
    dialects = {
        f"sqlite:{vendor}": request_file(f"d-{vendor}", body_1kb(f"{vendor}/n10"))
        for vendor in ("chat", "native", "messages")
    }
    bench.compare("JSON request by dialect", dialects, lambda one: one.cpu_us, "CPU us", connections=8)


def latency(bench: Bench) -> None:
    requests = requests_for(bench, "rate", body_1kb, "n10")
    direct = {"direct": request_file("rate-direct", body_1kb("x/n10"))}
    # 50 requests a second are few: a p99 of one round's four seconds would be its second worst.
    samples = bench.samples(direct | requests, connections=16, rate=50, seconds=3 * bench.seconds)
    bench.note("JSON request of 1 KB at 50/s", "CPU us", {name: one.cpu_us for name, one in samples.items()})
    for share, read in (("p50", lambda one: one.p50_us), ("p99", lambda one: one.p99_us)):
        found = {name: read(one) for name, one in samples.items()}
        bench.note(f"Latency at 50/s, {share}", "us", found)
        added = {name: value - found["direct"] for name, value in found.items() if name != "direct"}
        bench.note(f"Added latency at 50/s, {share}", "us", added)
    streams = requests_for(bench, "first", body_1kb, "n50", stream=True)
    bench.compare("Time to first event at 50/s", streams, lambda one: one.first_p50_us, "us", connections=16, rate=50)


def streams(bench: Bench) -> None:
    # Through nginx come the provider's events, through Antiphon its own: each is counted as what reaches the client.
    burst = requests_for(bench, "burst", body_1kb, "n500", stream=True)
    bench.compare("Streamed event, burst of 500", burst, lambda one: one.cpu_us_event, "CPU us", connections=8)
    for count, pace, events in ((200, 20, 100), (100, 100, 300)):
        paced = requests_for(bench, f"paced{pace}", body_1kb, f"p{pace}x{events}", stream=True)
        name, settings = f"Streamed event, {count} at {pace}/s", {"connections": count, "seconds": 0.5}
        bench.compare(name, paced, lambda one: one.cpu_us_event, "CPU us", **settings)


def chains(bench: Bench) -> None:
    target = bench.targets["sqlite"]
    found: dict[str, float] = {}
    previous: str | None = None
    for turn in range(1, 201):
        previous = _turn_after(target, previous)
        if turn in (1, 10, 50, 200):
            body = body_1kb("chat/n10", previous_response_id=previous, store=False)
            found[str(turn)] = bench.load(target, request_file(f"chain-{turn}", body), connections=8).cpu_us
    bench.note("Turn after a stored chain of N", "CPU us", found)
    whole = {"sqlite": request_file("chain-whole", body_history("chat/n10", 200, store=False))}
    bench.compare("The context of turn 200 sent by the client", whole, lambda one: one.cpu_us, "CPU us", connections=8)
    _conversations(bench, target)
    _cold(bench)


def _conversations(bench: Bench, target: Target) -> None:
    """Conversations side by side, turn by turn: what a turn costs around the Nth."""
    kinds: dict[str, Callable[..., Any]] = {
        "Turn N of 16 conversations that go on": partial(_turn_after, target),
        "The same, Responses provider": partial(_turn_after, target, model="native/n10"),
        "The same, Messages provider": partial(_turn_after, target, model="messages/n10"),
        "The same, by `conversation`": partial(_turn_in, target),
        "The same, of an agent with 30 tools": partial(_turn_after, target, tools=agent_tools()),
        "The same, all of it sent by the client": partial(_turn_sent, target),
        "The same, compacted at 20,000 tokens": partial(_turn_after, target, **_COMPACTING),
    }
    for name, turn in kinds.items():
        bench.note(name, "CPU us", _growth(target, turn)[0])
    found, _ = _growth(target, partial(_turn_after, target), 64, ((1, 10, "1-10"), (11, 90, ""), (91, 100, "91-100")))
    bench.note("Turn N of 64 conversations that go on", "CPU us", found)


def _cold(bench: Bench) -> None:
    """The whole past of a conversation at once."""
    mock = bench.targets["direct"].port
    cold = start_antiphon("cold", FOLDER, mock)
    _, latest = _growth(cold, partial(_turn_after, cold))
    cold.stop()
    cold = start_antiphon("cold", FOLDER, mock, is_fresh=False)
    for _ in range(50):
        ask(cold, body_1kb("chat/n10"))
    ways = {
        "of the store": [body_1kb("chat/n10", previous_response_id=previous) for previous in latest],
        "of the client": [body_history("chat/n10", 200, name=f"{number}") for number in range(len(latest))],
    }
    found: dict[str, float] = {}
    for way, bodies in ways.items():
        before = cold.cpu_s()
        for body in bodies:
            ask(cold, body)
        found[way] = (cold.cpu_s() - before) / len(bodies) * 1e6
    bench.note("Turn 201 in a process that knows none", "CPU us", found)
    cold.stop()


def _growth(
    target: Target, turn: Callable[..., T], count: int = _CONVERSATIONS, turns: Sequence[tuple[int, int, str]] = _TURNS
) -> tuple[dict[str, float], list[T | None]]:
    """What the named turns of so many conversations cost, and where they stand after the last."""
    found: dict[str, float] = {}
    latest: list[T | None] = [None] * count
    connections = [http.client.HTTPConnection("127.0.0.1", target.port, timeout=30) for _ in latest]
    with ThreadPoolExecutor(count) as pool:
        for first, last, name in turns:
            before = target.cpu_s()
            for _ in range(first, last + 1):
                latest = list(pool.map(turn, latest, connections))
            if name:
                found[name] = (target.cpu_s() - before) / (last + 1 - first) / count * 1e6
    for connection in connections:
        connection.close()
    return found, latest


def _turn_after(
    target: Target,
    previous: str | None,
    kept: http.client.HTTPConnection | None = None,
    model: str = "chat/n10",
    **more: Any,
) -> str:
    link = {"previous_response_id": previous} if previous else {}
    return str(ask(target, body_1kb(model, **more) | link, kept)["id"])


def _turn_sent(target: Target, said: list[Json] | None, kept: http.client.HTTPConnection) -> list[Json]:
    said = said or [{"role": "user", "content": f"I am {id(kept)}."}]
    body = body_1kb("chat/n10", store=False)
    said = [*said, {"role": "user", "content": body["input"]}]
    return [*said, *ask(target, body | {"input": said}, kept)["output"]]


def _turn_in(target: Target, conversation: str | None, kept: http.client.HTTPConnection) -> str:
    found = conversation or str(ask(target, {}, kept, "/v1/conversations")["id"])
    ask(target, body_1kb("chat/n10", conversation=found), kept)
    return found


def resume(bench: Bench) -> None:
    target = bench.targets["sqlite"]
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


def sockets(bench: Bench) -> None:
    """Creates over one WebSocket, one after the other."""
    from websockets.sync.client import connect

    target, count = bench.targets["sqlite"], 400
    create = msgspec.json.encode({"type": "response.create"} | body_1kb("chat/n10", store=False)).decode()
    url = f"ws://127.0.0.1:{target.port}/v1/responses"
    with connect(url, additional_headers={"authorization": f"Bearer {KEY}"}, compression=None) as socket:
        before = target.cpu_s()
        for _ in range(count):
            socket.send(create)
            while '"response.completed"' not in str(socket.recv(timeout=10))[:60]:
                pass
        bench.note("Create over a WebSocket", "CPU us", {"sqlite": (target.cpu_s() - before) / count * 1e6})


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="one short round of each")
    options.add_argument("--write", action="store_true", help="write docs/performance.md and its plot")
    options.add_argument("--add", action="store_true", help="keep the last run's other results")
    options.add_argument("--only", default="", help="run the parts whose names hold this")
    options.add_argument("--soak", type=float, default=0, metavar="MIN", help="also load it at half speed for minutes")
    options.add_argument(
        "--stored", type=int, default=0, metavar="N", help="also compare a store of N with one of 1,000"
    )
    options.add_argument("--peers", action="store_true", help="also compare the gateways that bench-peers installed")
    return options.parse_args()


def _start(bench: Bench, store_url: str | None) -> None:
    mock = bench.targets["direct"] = start_mock(FOLDER)
    nginx = start_nginx(FOLDER, mock.port)
    if nginx is not None:
        bench.targets["nginx"] = nginx
    bench.targets["relay"] = start_relay(mock.port)
    bench.targets["sqlite"] = start_antiphon("sqlite", FOLDER, mock.port)
    if store_url is not None:
        bench.targets["postgres"] = start_antiphon("postgres", FOLDER, mock.port, store_url)
    threading.Event().wait(1)
    for target in bench.targets.values():
        target.started_mb = target.rss_mb()
    # What a process does for the first time is not what it costs.
    for name, request in requests_for(bench, "warm", body_1kb, "n10").items():
        bench.load(bench.targets[name.partition(":")[0]], request, 32, seconds=1)


def _stop(bench: Bench) -> None:
    while bench.targets:
        bench.targets.popitem()[1].stop()


def _measure(bench: Bench, only: str) -> None:
    """One round."""
    started = {name: one.started_s for name, one in bench.targets.items() if name in ("sqlite", "postgres")}
    bench.note("Start to first answer", "CPU s", started)
    for part in (json_requests, latency, streams, chains, resume, sockets):
        if only in part.__name__:
            part(bench)
    if only in "memory":
        target = bench.targets["sqlite"]
        values = {"start": target.started_mb, "after the load": target.rss_mb()}
        bench.note("Memory of one worker", "MB", values)
        bounds(bench)


def _measure_once(bench: Bench, given: argparse.Namespace) -> None:
    """What takes too long to be done in every round."""
    if given.only in "counted":
        counted(bench)
    if given.only in "install":
        bench.note("Wheels of a base install", "MB", {"sqlite": install_mb(ROOT)})
    if given.peers:
        peers.compare(bench)
    if given.stored:
        growth(bench, (1000, given.stored))
    if given.soak:
        soak(bench, given.soak * 60)


def _merged(before: Json, now: Json) -> Json:
    """The results of both; a new one stands behind the one it was measured after, or if that is every run's, last."""
    names = list(before)
    for last, name in pairwise(["", *now]):
        if name not in names:
            names.insert(names.index(last) + 1 if last in names[1:] else len(names), name)
    both = before | now
    return {name: both[name] for name in names}


def main() -> None:
    given = _options()
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background a shell has SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    FOLDER.mkdir(exist_ok=True)
    build(FOLDER)
    bench = Bench(seconds=1.0 if given.quick else 4.0, rounds=1 if given.quick else 3)
    cluster = PostgreSQL()
    began = time.monotonic()
    try:
        store_url = cluster.start()
        for number in range(1, bench.rounds + 1):
            print(f"-- round {number} of {bench.rounds}", flush=True)
            _stop(bench)
            _start(bench, store_url)
            _measure(bench, given.only)
        _measure_once(bench, given)
        print(f"-- medians; took {time.monotonic() - began:.0f} s, Python {platform.python_version()}")
        bench.print_results()
        _keep(bench, given)
    finally:
        _stop(bench)
        cluster.stop()


def _keep(bench: Bench, given: argparse.Namespace) -> None:
    results, plans, kept = bench.results, bench.plans, FOLDER / "results.json"
    if given.add and kept.exists():
        before, plans_before = msgspec.json.decode(kept.read_bytes())
        results, plans = _merged(before, results), plans or plans_before
    kept.write_bytes(msgspec.json.format(msgspec.json.encode([results, plans])))
    if given.write:
        write_report(ROOT / "docs", results, plans)


if __name__ == "__main__":
    main()
