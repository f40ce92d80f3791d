"""Instructions of a request, counted by valgrind's callgrind: the same within a few hundredths at every run.

What the kernel does is not counted, and what misses a cache counts as what does not: CPU time is measured beside it.
Left out where valgrind is not installed.
"""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
from targets import Target, start_antiphon

from harness import FOLDER, NUMBER, Bench, Json, ask, body_1kb, body_60kb

_WARM = 120
_ASKED = 100
_LOOKS = 100
_OUT = FOLDER / "callgrind"
_CALLGRIND = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={_OUT}"]
_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)


def counted(bench: Bench) -> None:
    """One process that is asked for one kind of request after the other, over one connection."""
    if shutil.which("valgrind") is None:
        print("instructions are not counted: install valgrind")
        return
    target = start_antiphon("counted", FOLDER, bench.targets["direct"].port, command=_CALLGRIND)
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)) as connection:
            bench.note("Instructions of a request", "thousand", _kinds(target, connection))
    finally:
        target.stop()
        for dump in _dumps():
            dump.unlink()


def _kinds(target: Target, connection: http.client.HTTPConnection) -> dict[str, float]:
    def plain(body: Json) -> Callable[[], object]:
        return lambda: ask(target, body, connection)

    def numbered(body: Json) -> Callable[[], object]:
        written = msgspec.json.encode(body).decode()
        return lambda: ask(target, msgspec.json.decode(written.replace(NUMBER, f"{next(numbers):012}")), connection)

    def turn() -> None:
        nonlocal latest
        after = {} if latest is None else {"previous_response_id": latest}
        latest = ask(target, body_1kb("chat/n10", **after), connection)["id"]

    numbers = iter(range(10**6))
    latest: str | None = None
    kinds: dict[str, Callable[[], object]] = {
        "1 KB stateless": plain(body_1kb("chat/n10", store=False)),
        "1 KB full": plain(body_1kb("chat/n10")),
        "60 KB stateless": numbered(body_60kb("chat/n10", store=False)),
        "turn of a chain": turn,
    }
    found: dict[str, float] = {}
    for name, one in kinds.items():
        connection.close()  # it may have waited too long; the next request opens it
        found[name] = _count(target, one)
    return found


def _count(target: Target, one: Callable[[], object]) -> float:
    for _ in range(_WARM):
        one()
    before = set(_dumps())
    _control(target, "--zero")
    _control(target, "--instr=on")
    for _ in range(_ASKED):
        one()
    _control(target, "--instr=off")
    _control(target, "--dump")
    for _ in range(_LOOKS):
        found = [_TOTAL.search(dump.read_text(errors="replace")) for dump in set(_dumps()) - before]
        totals = [int(total.group(1)) for total in found if total is not None]
        if totals:
            return max(totals) / _ASKED / 1000
        threading.Event().wait(0.1)
    raise TimeoutError("callgrind has not written what it counted")


def _dumps() -> list[Path]:
    return list(FOLDER.glob(f"{_OUT.name}*"))


def _control(target: Target, *command: str) -> None:
    subprocess.run(["callgrind_control", *command, str(target.process.pid)], check=True, capture_output=True)
