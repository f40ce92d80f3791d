"""A PostgreSQL of the tests' own: a cluster in a temporary folder, on a free port of loopback, ended with the session.

The server refuses to run as root: then it is started as the user `postgres`, whom Debian's package makes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.harness.process import free_port

USER = "antiphon"
PASSWORD = "antiphon-tests"
START_S = 30.0
OPTIONS = "-c fsync=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=64MB"


def _folder_of_programs() -> Path:
    """Where initdb and pg_ctl are: on the PATH, or in Debian's folder of the newest version."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if not folders:
        raise RuntimeError("PostgreSQL is not installed; on Debian and Ubuntu: apt install postgresql")
    return folders[-1]


class Postgres:
    """One cluster. `new_database` gives each server and each test its own."""

    def __init__(self) -> None:
        self._programs = _folder_of_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="antiphon-pg-"))
        self._data = self._folder / "data"
        self._port = free_port()
        self._count = 0

    def _run(self, *command: str) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        done = subprocess.run([*as_user, *command], cwd=self._folder, capture_output=True, timeout=START_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode()}")

    def start(self) -> Postgres:
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
        self._folder.chmod(0o755)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        self._run(
            str(self._programs / "initdb"), "-D", str(self._data), "-U", USER, "-A", "scram-sha-256",
            f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        options = (
            f"{OPTIONS} -c listen_addresses=127.0.0.1 -c port={self._port} -c unix_socket_directories={self._folder}"
        )
        self._run(
            str(self._programs / "pg_ctl"), "-D", str(self._data), "-l", str(self._folder / "log"),
            "-w", "-o", options, "start",
        )  # fmt: skip
        return self

    def stop(self) -> None:
        try:
            self._run(str(self._programs / "pg_ctl"), "-D", str(self._data), "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self._port}/{database}"

    async def new_database(self, **settings: str) -> str:
        """The URL of an empty database, whose sessions begin with these settings."""
        import asyncpg

        self._count += 1
        name = f"test{self._count}"
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(f"CREATE DATABASE {name}")
            for setting, value in settings.items():
                await connection.execute(f"ALTER DATABASE {name} SET {setting.replace('__', '.')} = {value}")
        finally:
            await connection.close()
        return self.url(name)

    def log(self) -> str:
        """What the cluster has logged."""
        return (self._folder / "log").read_text(errors="replace")
