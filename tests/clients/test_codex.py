"""The Codex CLI does a real task in a temporary folder; the scripted model tells it which commands to run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest
from tests.clients.conftest import NODE_FOLDER
from tests.harness.process import DIALECTS, KEY, ServerProcess
from tests.upstream.script import Call, Say, Script, Think
from tests.upstream.server import Upstream

pytestmark = [pytest.mark.clients, pytest.mark.slow]

RUN_S = 60
CONFIG = """
model = "{model}"
model_provider = "antiphon"
model_reasoning_effort = "low"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.antiphon]
name = "antiphon"
base_url = "{base_url}"
env_key = "ANTIPHON_KEY"
wire_api = "responses"
"""


@pytest.mark.parametrize("vendor", DIALECTS)
def test_codex_creates_a_file_that_the_model_asked_for(
    vendor: str, node_env: dict[str, str], antiphon_server: ServerProcess, upstream: Upstream, tmp_path: Path
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (home / "config.toml").write_text(CONFIG.format(model=f"{vendor}/codex", base_url=antiphon_server.url))
    create = msgspec.json.encode({"cmd": "printf 'made by a model' > made.txt"}).decode()
    read = msgspec.json.encode({"cmd": "cat made.txt"}).decode()
    upstream.queue(
        "codex",
        Script((Think("A file is wanted."), Say("I make the file."), Call("exec_command", create))),
        Script((Think("Now look."), Call("exec_command", read))),
        Script((Say("The file is there."),)),
    )
    command = ["node_modules/.bin/codex", "exec", "--skip-git-repo-check", "-C", str(work), "Make made.txt"]
    env = node_env | {"CODEX_HOME": str(home), "ANTIPHON_KEY": KEY, "RUST_LOG": "error"}
    done = subprocess.run(
        command, cwd=NODE_FOLDER, env=env, capture_output=True, timeout=RUN_S, check=False, stdin=subprocess.DEVNULL
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said[-3000:]
    assert (work / "made.txt").read_text() == "made by a model", said[-3000:]
    assert "The file is there." in said
    turns = upstream.requests("codex")
    assert len(turns) == 3
    assert b"made by a model" in turns[2].raw
