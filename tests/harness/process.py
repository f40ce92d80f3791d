"""A real `antiphon serve` in a process of its own, over a data folder and a configuration made for the test.

Every dialect reaches the scripted upstream as a vendor: `chat/…`, `claude/…`, `native/…`, `gem/…`, `converse/…` and
`coh/…`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.upstream.server import KEY as UPSTREAM_KEY

from antiphon.app import dialects
from antiphon.providers.base import DialectName

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-antiphon-harness-0123456789abcdef"
ALL_DIALECTS: dict[str, DialectName] = {
    "chat": "chat_completions",
    "claude": "anthropic",
    "native": "responses",
    "gem": "gemini",
    "converse": "bedrock",
    "coh": "cohere",
}
DIALECTS = {vendor: dialect for vendor, dialect in ALL_DIALECTS.items() if dialect in dialects()}
"""The vendors of the tests' configuration, and what each speaks: those dialects that this build has."""
MORE = {"coh": 'quirks.cohere.path = "/chat"\n'}
"""What a vendor's row says besides."""
NEEDS_CLAUDE = pytest.mark.skipif("claude" not in DIALECTS, reason="this build has no anthropic dialect")
READY_S = 15.0
STOP_S = 10.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_config(folder: Path, upstream_url: str, more: str = "") -> Path:
    """`antiphon.toml` with the scripted upstream under each dialect."""
    rows = [
        f'[[vendor]]\nname = "{name}"\ndialect = "{dialect}"\n'
        f'base_url = "{upstream_url}"\napi_key_env = "UPSTREAM_KEY"\n{MORE.get(name, "")}'
        for name, dialect in DIALECTS.items()
    ]
    path = folder / "antiphon.toml"
    path.write_text("\n".join(rows) + more)
    return path


class ServerProcess:
    """One server. It may be stopped, killed and started again over the same data and port."""

    def __init__(
        self, folder: Path, upstream_url: str, *, workers: int = 1, config: str = "", env: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/v1"
        self._config = write_config(folder, upstream_url, config)
        self._workers = workers
        self._env = env or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.log_path = folder / "server.log"

    def start(self) -> ServerProcess:
        """Returns once /ready answers 200; raises with the server's own log if it does not within READY_S."""
        command = [sys.executable, "-m", "antiphon", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--data", str(self.folder / "data"), "--config", str(self._config), "--workers", str(self._workers)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + READY_S
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server did not get ready:\n{self.log()}")
            self._pause()
        return self

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        mine = {"PYTHONPATH": paths, "ANTIPHON_BOOTSTRAP_KEY": KEY, "UPSTREAM_KEY": UPSTREAM_KEY}
        return kept | mine | self._env

    def _pause(self) -> None:
        # The only wait in the suites that polls: another process has no event to wait on.
        try:
            self.process.wait(0.03)
        except subprocess.TimeoutExpired:
            return

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.origin}/ready", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def log(self) -> str:
        """What the server printed so far."""
        return self.log_path.read_text(errors="replace")

    def terminate(self) -> None:
        """SIGTERM to the main process only, as an init system does; returns at once."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code, once it has ended by itself."""
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL to the whole group, workers too."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_S)

    def stop(self) -> None:
        """End it politely, then by force."""
        if self._process is None:
            return
        self.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def command(self, *arguments: str) -> str:
        """Run another `antiphon` command over this server's data; returns what it printed."""
        command = [sys.executable, "-m", "antiphon", *arguments]
        settings = {"ANTIPHON_DATA": str(self.folder / "data"), "ANTIPHON_CONFIG": str(self._config)}
        done = subprocess.run(
            command, env=self._environment() | settings, cwd=self.folder, capture_output=True, timeout=30, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout.decode()
