"""The docs say everything that the program can be told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.harness.process import ROOT


@pytest.mark.slow
def test_settings_commands_error_codes_and_vendors_stand_in_the_docs() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "check_docs.py")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
