"""docs/performance.md and its plot, from the results of one run."""

from __future__ import annotations

import math
import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from antiphon.cli.interpreter import is_plain

Json = dict[str, Any]
_HEAD = """\
# Performance

Written by `make bench ARGS=--write`. One process of Antiphon with everything on (keys, limits, translation, ledger,
durable store) beside nginx as a plain reverse proxy before the same provider. The provider and the load generator are
small C programs (`bench/`). What is measured has one core for itself, the rest runs on the others. Rounds go through
all targets in turn, each with processes started anew (but for peers, large stores and the soak); medians of three.
**Read the ratios**: the machine is small and noisy. Each row is from one run; with `--add` those that were not
measured again are from the run before.

- *nginx*: `proxy_buffering off`, keep-alive, one worker; it passes the provider's answer through, and keeps nothing.
- *relay*: `bench/relay.py`, the server and the upstream wire that Antiphon stands on, and nothing else.
- *stateless*: `store: false`, the ledger line is committed before the answer; *full*: and the response.
- A request of 60 KB is an agent's, with 30 tools, and each is of another conversation; so is the context of turn 200.
- At its limit a gateway finds its clients and its provider awake if it is as fast as they are, as nginx is; a slower
  one wakes them for every request. At the same rate both do.
- Instructions are counted by valgrind, where it is installed: without the kernel's, and the same at every run to within
  a few hundredths.
- *Peers* are asked the same Responses requests, and pass them on to a provider that speaks Responses: LiteLLM (one key,
  no state), Portkey (no state), SMG (history in memory), agentic-server (every response in SQLite). Antiphon's rows
  beside them are for the same provider. One that refused a kind of request is left out of its row.

| to repeat it | |
| --- | --- |
| `make bench` | all but what follows, 14 minutes |
| `make clean bench PYTHON=/usr/bin/python3` | with another interpreter than `python3` |
| `make bench ARGS="--stored 1000000"` | and a store of a million responses beside one of a thousand: 5 GB |
| `make bench ARGS="--soak 30"` | and half an hour at half load |
| `make bench-peers` | the peers, installed from their registries into `.bench/peers` |

Measured {date} on {machine}, Python {python}, built {built} optimisations.

![CPU per request and per event, as multiples of nginx's](performance.svg)

"""


def write_report(docs: Path, results: Json, plans: dict[str, list[str]]) -> None:
    """Both files."""
    (docs / "performance.md").write_text(_page(results) + _plans(plans), "utf-8")
    (docs / "performance.svg").write_text(_plot(results), "utf-8")


def _machine() -> str:
    names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"


def _page(results: Json) -> str:
    built = "without" if is_plain() else "with"
    python = platform.python_version()
    head = _HEAD.format(date=datetime.now(UTC).date(), machine=_machine(), python=python, built=built)
    rows: list[str] = []
    for name, found in results.items():
        floor = found["values"].get("nginx")
        is_rate = found["unit"] == "1/s"
        cells = [_cell(one, value, floor, is_rate=is_rate) for one, value in found["values"].items()]
        rows.append(f"| {name} | {found['unit']} | {' · '.join(cells)} |")
    return head + "| | unit | |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n"


def _plans(plans: dict[str, list[str]]) -> str:
    if not plans:
        return ""
    rows = [f"- `{statement}`\n" + "".join(f"  - {step}\n" for step in steps) for statement, steps in plans.items()]
    return "\n## Plans of the look-ups, on the larger store\n\n" + "".join(rows)


def _cell(name: str, value: float, floor: float | None, *, is_rate: bool) -> str:
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"
    ratio = ""
    if floor and min(floor, value) > 0 and name != "nginx":  # what nginx adds may be lost in the noise
        ratio = f" (1/{floor / value:.1f})" if is_rate else f" ({value / floor:.1f}x)"
    return f"{name.removeprefix('sqlite:')} {shown}{ratio}"


def _plot(results: Json) -> str:
    """Bars of multiples of nginx's, for every result that has them."""
    bars: list[tuple[str, str, float]] = []
    for name, found in results.items():
        floor = found["values"].get("nginx")
        if floor and found["unit"] == "CPU us":
            bars += [(name, one, value / floor) for one, value in found["values"].items() if one != "nginx"]
    height, most = 22, max((math.log10(max(ratio, 1)) for _, _, ratio in bars), default=1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height * len(bars) + 30}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    colours = {"stateless": "#4c78a8", "full": "#f58518"}
    for place, (name, one, ratio) in enumerate(bars):
        y, kind = 10 + place * height, one.partition(":")[2]
        colour = "#54a24b" if one.startswith("postgres") else colours.get(kind, "#888888")
        width = max(math.log10(max(ratio, 1)) / most * 330, 1)  # a decade is as wide as any other
        lines.append(
            f'<text x="340" y="{y + 13}" text-anchor="end">{name}, {one.replace(":", " ")}</text>'
            f'<rect x="350" y="{y}" width="{width:.1f}" height="16" fill="{colour}"/>'
            f'<text x="{356 + width:.1f}" y="{y + 13}">{ratio:.1f}x</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"
