"""The steps of each engine's schema: ENGINE/NNNN_what.sql, in order."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple


class Step(NamedTuple):
    """One file: its number and its statements."""

    version: int
    sql: str


def steps(engine: str) -> tuple[Step, ...]:
    """Every step of an engine, in order."""
    folder = resources.files(__name__) / engine
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return tuple(Step(int(name[:4]), folder.joinpath(name).read_text("utf-8")) for name in names)
