"""What grows, and what must not: a store of a million responses, half an hour of load, readers that do not read."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec
from plans import traced
from targets import KEY, Target, start_antiphon

from antiphon.store.sqlite import open_sqlite
from harness import FOLDER, Bench, ask, body_1kb, body_2mb, body_60kb, request_file

_COPY = """
WITH RECURSIVE n (v) AS (SELECT ?1 UNION ALL SELECT v + 1 FROM n WHERE v < ?2)
INSERT INTO {table} SELECT printf('resp_%026d', v), {columns} FROM n, {table} WHERE {key} = ?3"""
_STEP = 50_000
_ASKED = 1500
_SLICE_S = 30.0
_STREAMS = 500
_READERS = 200
_BODIES = 16
_SETTLE_S = 3.0


def growth(bench: Bench, sizes: tuple[int, ...]) -> None:
    """The same requests on stores of different sizes, in turn; and the plans of the look-ups on the largest."""
    mock = bench.targets["direct"].port
    names = [f"{size:,}" for size in sizes]
    for name, size in zip(names, sizes, strict=True):
        bench.targets[name] = _filled(name, mock, size)
    stored = {name: request_file("size-create", body_1kb("chat/n10")) for name in names}
    # As many different ones in each store, for what was read of late is kept.
    known = {name: random.sample(range(1, size + 1), min(sizes)) for name, size in zip(names, sizes, strict=True)}
    for _ in range(bench.rounds):
        bench.compare("Stored request, by size of store", stored, lambda one: one.cpu_us, "CPU us", connections=8)
        ids = {name: [f"resp_{number:026d}" for number in random.choices(known[name], k=_ASKED)] for name in names}
        for kind, ask_for in (("Retrieve", _retrieved), ("Turn after", _continued)):
            values = {name: ask_for(bench.targets[name], ids[name]) for name in names}
            bench.note(f"{kind} a random response, by size of store", "CPU us", values)
    file = FOLDER / names[-1] / "data" / "antiphon.db"
    bench.plans = asyncio.run(_plans(file))
    for name in names:
        bench.targets.pop(name).stop()


def _filled(name: str, mock: int, size: int) -> Target:
    """A server whose store holds `size` copies of a real response, each with its ledger line."""
    target = start_antiphon(name, FOLDER, mock)
    template = ask(target, body_1kb("chat/n10"))["id"]
    target.stop()
    connection = apsw.Connection(str(FOLDER / name / "data" / "antiphon.db"))
    connection.execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL")
    for first in range(1, size + 1, _STEP):
        last = min(first + _STEP - 1, size)
        for table, key in (("responses", "id"), ("usage", "response_id")):
            others = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != key]
            copy = _COPY.format(table=table, columns=", ".join(others), key=key)
            connection.execute(copy, (first, last, template))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os.sync()  # the disk is still writing what was filled in: not what is measured
    return start_antiphon(name, FOLDER, mock, is_fresh=False)


def _cpu_us(target: Target, asked: Iterator[tuple[str, str, bytes]]) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    before, count = target.cpu_s(), 0
    for method, path, body in asked:
        connection.request(method, path, body, {"authorization": f"Bearer {KEY}", "content-type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{target.name}: {data[:300]!r}")
        count += 1
    connection.close()
    return (target.cpu_s() - before) / count * 1e6


def _retrieved(target: Target, ids: list[str]) -> float:
    return _cpu_us(target, (("GET", f"/v1/responses/{one}", b"") for one in ids))


def _continued(target: Target, ids: list[str]) -> float:
    bodies = (body_1kb("chat/n10", previous_response_id=one, store=False) for one in ids)
    return _cpu_us(target, (("POST", "/v1/responses", msgspec.json.encode(body)) for body in bodies))


async def _plans(file: Path) -> dict[str, list[str]]:
    """The plans of what requests do with stored responses."""
    with traced() as plans:
        store = await open_sqlite(file)
    plans.forget()
    project = str(next(apsw.Connection(str(file)).execute("SELECT project FROM responses LIMIT 1"))[0])
    one = f"resp_{1:026d}"
    await store.load(project, one)
    await store.removals(project)
    await store.chain(project, one)
    await store.delete(project, one)
    await store.purge(0)
    await store.close()
    return plans.of(file)


def soak(bench: Bench, seconds: float) -> None:
    """Half of what one worker can do, for a long time, of every kind of request; resident memory over that time."""
    target = bench.targets["sqlite"]
    kinds = {
        "json": body_1kb("chat/n10"),
        "stream": body_1kb("chat/n50", stream=True),
        "native": body_1kb("native/n10"),
        "agent": body_60kb("chat/n10"),
        "unstored": body_1kb("messages/n10", store=False),
        "background": body_1kb("chat/n10", background=True),
        "image": body_2mb("chat/n10", store=False),
        "turn": body_1kb("chat/n10", previous_response_id=ask(target, body_1kb("chat/n10"))["id"]),
    }
    files = {name: request_file(f"soak-{name}", body) for name, body in kinds.items()}
    rates = {name: _half(bench, target, file) for name, file in files.items()}
    sizes: list[float] = []
    ends_at = time.monotonic() + seconds
    for name in itertools.cycle(files):
        if time.monotonic() >= ends_at:
            break
        bench.load(target, files[name], 32, rates[name], _SLICE_S)
        sizes.append(target.rss_mb())
        print(f"  soak: {name:<12}{rates[name]:7.1f}/s  {sizes[-1]:.1f} MB", flush=True)
    turns = [statistics.mean(sizes[first : first + len(files)]) for first in range(0, len(sizes), len(files))]
    values = {"first round": turns[0], "half-way": turns[len(turns) // 2], "last round": turns[-1], "most": max(sizes)}
    bench.note(f"Memory over {seconds / 60:.0f} minutes at half load", "MB", values)


def _half(bench: Bench, target: Target, file: Path) -> float:
    most = bench.load(target, file, 32, seconds=3)
    return max(most.requests / most.seconds / 2, 1)


def bounds(bench: Bench) -> None:
    """Resident memory that one open stream holds, one reader that does not read, one large body; on a fresh server."""
    target = bench.targets["bounds"] = start_antiphon("bounds", FOLDER, bench.targets["direct"].port)
    bench.load(target, request_file("bounds-warm", body_1kb("chat/n10", stream=True)), 32)
    values: dict[str, float] = {}
    for name, body, count in (
        ("idle stream", body_1kb("chat/p0.1x1", stream=True, store=False), _STREAMS),
        ("reader that leaves 500 events unread", body_1kb("chat/n500", stream=True, store=False), _READERS),
        ("2 MB body waiting for its provider", body_2mb("chat/p0.1x1", stream=True, store=False), _BODIES),
    ):
        request = request_file("bounds", body).read_bytes()
        before = target.rss_mb()
        with _unread(target, request, count):
            threading.Event().wait(_SETTLE_S)
            values[name] = (target.rss_mb() - before) * 1024 / count
    bench.note("Memory held by one", "KB", values)
    bench.targets.pop("bounds").stop()


@contextmanager
def _unread(target: Target, request: bytes, count: int) -> Iterator[None]:
    """Clients that ask and do not read."""
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            client = socket.socket()
            clients.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", target.port))
            client.sendall(request)
        yield
    finally:
        for client in clients:
            client.close()
