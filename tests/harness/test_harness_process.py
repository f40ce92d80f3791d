"""The harness reads its own configuration back, and takes only ports that are free."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path

from tests.harness.client import timeless
from tests.harness.process import DIALECTS, free_port, write_config


def test_the_configuration_names_each_dialect_once(tmp_path: Path) -> None:
    rows = tomllib.loads(write_config(tmp_path, "http://127.0.0.1:9/v1").read_text())["vendor"]
    assert {row["name"]: row["dialect"] for row in rows} == DIALECTS
    assert all("api_key" not in row for row in rows)


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))


def test_timeless_values_differ_in_content_alone() -> None:
    assert timeless({"id": "a", "output": [{"id": "b", "x": 1}]}) == timeless({"id": "c", "output": [{"x": 1}]})
