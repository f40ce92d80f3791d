"""What is measured: the mock, nginx and a relay before it, and Antiphon in its configurations; each a process tree."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KEY = "sk-antiphon-bench-0123456789abcdef"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
START_S = 60.0
_IS_PINNED = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
# What is measured has one core for itself, everything else the others: no one wanders, and "one core" is one core.
MEASURED = ["taskset", "-c", "0"] if _IS_PINNED else []
BESIDE = ["taskset", "-c", f"1-{(os.cpu_count() or 2) - 1}"] if _IS_PINNED else []
NGINX = """\
worker_processes 1;
daemon off;
master_process on;
error_log {folder}/error.log;
pid {folder}/pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_max_body_size 64m;
  client_body_buffer_size 4m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000;
  upstream mock {{ server 127.0.0.1:{mock}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
    }}
  }}
}}
"""
CONFIG = """\
[[vendor]]
name = "chat"
dialect = "chat_completions"
base_url = "http://127.0.0.1:{mock}/v1"
auth = "none"

[[vendor]]
name = "native"
dialect = "responses"
base_url = "http://127.0.0.1:{mock}/v1"
auth = "none"

[[vendor]]
name = "messages"
dialect = "anthropic"
base_url = "http://127.0.0.1:{mock}/v1"
auth = "none"

[[project]]
name = "default"
requests_per_minute = 100_000_000
tokens_per_minute = 100_000_000_000
"""
"""The limits are there to be counted, and never reached."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Target:
    """A server that answers, as a process and those it started. `started_s` is CPU seconds until it first answered.

    `started_mb` is what it held before it was asked anything else.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes]
    started_s: float = 0.0
    started_mb: float = 0.0

    def __post_init__(self) -> None:
        atexit.register(self.stop)  # a bench that is broken off leaves nothing running

    def tree(self) -> list[int]:
        """Its process ids."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            children = Path(f"/proc/{pid}/task/{pid}/children")
            if children.exists():
                queue += [int(child) for child in children.read_text().split()]
        return found

    def cpu_s(self) -> float:
        """User and system time so far, of children that have ended too (these in ticks of 10 ms)."""
        total = 0.0
        for pid in self.tree():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += time.clock_gettime(_clock_of(pid)) + sum(int(value) for value in fields[13:15]) / TICKS
        return total

    def rss_mb(self) -> float:
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.tree()) * PAGE_KB / 1024

    def stop(self) -> None:
        atexit.unregister(self.stop)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _clock_of(pid: int) -> int:
    """The clock of a process's CPU time, as clock_getcpuclockid(3) names it."""
    return (~pid << 3) | 2


def answering(target: Target, path: str) -> Target:
    """The target, once it answers anything at all; its CPU until then is its start."""
    ends_at = time.monotonic() + START_S
    while time.monotonic() < ends_at:
        if target.process.poll() is not None:
            raise RuntimeError(f"{target.name} ended with {target.process.returncode} at start")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{target.port}{path}", timeout=1):
                break
        except urllib.error.HTTPError:
            break
        except (urllib.error.URLError, OSError):
            threading.Event().wait(0.02)
    else:
        raise TimeoutError(f"{target.name} does not answer")
    target.started_s = target.cpu_s()
    return target


def build(folder: Path) -> None:
    """The two C programs."""
    for name in ("mock", "load"):
        source, program = Path(__file__).parent / f"{name}.c", folder / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)


def start_mock(folder: Path) -> Target:
    port = free_port()
    return answering(Target("direct", port, subprocess.Popen([*BESIDE, str(folder / "mock"), str(port)])), "/v1/models")


def start_nginx(folder: Path, mock: int) -> Target | None:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        return None
    port, where = free_port(), folder / "nginx"
    where.mkdir(exist_ok=True)
    (where / "nginx.conf").write_text(NGINX.format(folder=where, mock=mock, port=port))
    command = [*MEASURED, program, "-p", str(where), "-c", str(where / "nginx.conf"), "-e", str(where / "error.log")]
    return answering(Target("nginx", port, subprocess.Popen(command)), "/v1/models")


def start_relay(mock: int) -> Target:
    """Antiphon's server and upstream wire alone: relay.py."""
    port = free_port()
    command = [*MEASURED, sys.executable, str(Path(__file__).parent / "relay.py"), str(port), str(mock)]
    return answering(Target("relay", port, subprocess.Popen(command)), "/v1/models")


def install_mb(root: Path) -> float:
    """What pip fetches for Antiphon and what it needs."""
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as folder:
        pip = [sys.executable, "-m", "pip"]
        needed = ["--require-hashes", "--requirement", str(root / "requirements" / "base.txt")]
        subprocess.run([*pip, "download", "--quiet", "--only-binary=:all:", "--dest", folder, *needed], check=True)
        subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(root)], check=True)
        return sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6


def start_antiphon(
    name: str,
    folder: Path,
    mock: int,
    store: str = "",
    *,
    is_fresh: bool = True,
    command: Sequence[str] = MEASURED,
) -> Target:
    """One worker with everything on: keys, ledger, store. A store of its own, in `folder`; an old one if not fresh.

    It runs under `command`.
    """
    port, where = free_port(), folder / name
    if is_fresh:
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
    (where / "antiphon.toml").write_text(CONFIG.format(mock=mock))
    env = {**os.environ, "ANTIPHON_BOOTSTRAP_KEY": KEY, "ANTIPHON_LOG_LEVEL": "warning"}
    if store:
        env["ANTIPHON_STORE"] = store
    serve = [*command, sys.executable, "-m", "antiphon", "serve", "--port", str(port), "--data", str(where / "data")]
    log = (where / "log").open("wb")
    process = subprocess.Popen([*serve, "--config", str(where / "antiphon.toml")], env=env, stdout=log, stderr=log)
    return answering(Target(name, port, process), "/health")


class PostgreSQL:
    """A cluster of its own with its defaults: fsync on, as in earnest."""

    def __init__(self) -> None:
        # Not in the repository's folder: the server's user may have no way there.
        self._data = Path(tempfile.mkdtemp(prefix="antiphon-bench-")) / "data"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str | None:
        """The store's URL, or None where PostgreSQL is not installed."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) if Path("/usr/lib/postgresql").exists() else []
        if not found:
            return None
        programs, user = found[-1].parent, "postgres"
        self._data.mkdir(parents=True)
        if os.geteuid() == 0:
            for folder in (self._data.parent, self._data):
                shutil.chown(folder, user)
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if os.geteuid() == 0 else []
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(
            [*as_user, programs / "initdb", "-D", self._data, "-A", "trust", "-U", "postgres"], check=True, **quiet
        )
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(self._port), "-c", "unix_socket_directories="]
        self._process = subprocess.Popen(
            [*BESIDE, *as_user, programs / "postgres", "-D", self._data, *options], **quiet
        )
        ends_at = time.monotonic() + START_S
        while time.monotonic() < ends_at:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    threading.Event().wait(0.5)
                    return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
            threading.Event().wait(0.1)
        raise TimeoutError("PostgreSQL does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
        shutil.rmtree(self._data.parent, ignore_errors=True)
