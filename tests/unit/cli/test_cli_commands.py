"""The commands as a person runs them, in processes of their own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.harness.process import KEY, ROOT, ServerProcess

from antiphon import __version__

pytestmark = pytest.mark.slow

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("cli"), UNREACHABLE)
    try:
        yield running.start()
    finally:
        running.stop()


def run(folder: Path, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, **environ}
    command = [sys.executable, "-m", "antiphon", *arguments]
    return subprocess.run(
        command, env=kept, cwd=folder, capture_output=True, text=True, input=stdin, timeout=30, check=False
    )


def ask(server: ServerProcess, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return run(server.folder, "ask", "--base-url", server.url, "--key", KEY, *arguments, stdin=stdin)


@pytest.mark.parametrize("words", ["", "serve", "ask", "models", "doctor", "version", "key create", "config check"])
def test_every_command_has_help(tmp_path: Path, words: str) -> None:
    done = run(tmp_path, *words.split(), "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_the_version_is_told_by_either_name(tmp_path: Path) -> None:
    said = {run(tmp_path, name).stdout for name in ("version", "--version")}
    assert said == {f"antiphon {__version__}\n"}


def test_a_wrong_option_is_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path, "serve", "--nope").returncode == 2


def test_config_check_shows_what_holds_and_no_key(tmp_path: Path) -> None:
    done = run(tmp_path, "config", "check", "--json", OPENAI_API_KEY="sk-secret-value")
    found = msgspec.json.decode(done.stdout)
    assert found["settings"]["port"] == 8484
    assert "openai" in found["vendors"]
    assert "sk-secret-value" not in done.stdout


def test_a_wrong_configuration_is_one_line_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "antiphon.toml").write_text("[server]\nprot = 1\n")
    for words in (["config", "check"], ["serve"], ["key", "list"], ["ask", "hi"]):
        done = run(tmp_path, *words)
        assert done.returncode == 1, words
        assert "did you mean 'port'" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_taken_port_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(tmp_path, "serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "choose another with --port" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_host_that_is_not_ours_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--host", "no.such.host.invalid", "--port", "0")
    assert done.returncode == 1
    assert "no.such.host.invalid" in done.stderr


def test_keys_are_made_listed_and_revoked_on_a_running_servers_data(server: ServerProcess) -> None:
    made = msgspec.json.decode(server.command("key", "create", "--project", "team", "--json"))
    listed = msgspec.json.decode(server.command("key", "list", "--json"))
    row = next(row for row in listed if row["id"] == made["id"])
    assert (row["project"], row["revoked_at"]) == ("team", None)
    assert made["key"] not in str(listed)
    server.command("key", "revoke", made["id"])
    listed = msgspec.json.decode(server.command("key", "list", "--json"))
    assert next(row for row in listed if row["id"] == made["id"])["revoked_at"] is not None


def test_key_create_prints_the_key_alone(server: ServerProcess) -> None:
    assert re.fullmatch(r"\S+\n", server.command("key", "create", "--project", "team"))


def test_revoking_an_unknown_key_fails_by_name(server: ServerProcess) -> None:
    done = run(server.folder, "key", "revoke", "key_none", "--data", str(server.folder / "data"))
    assert done.returncode == 1
    assert "key_none" in done.stderr


def test_keys_are_not_made_in_a_folder_that_nobody_named(tmp_path: Path) -> None:
    done = run(tmp_path, "key", "create", "--project", "team")
    assert done.returncode == 1
    assert "--data" in done.stderr
    assert not (tmp_path / "data").exists()


def test_ask_prints_the_answer_alone_on_stdout(server: ServerProcess) -> None:
    done = ask(server, "-", "--model", "sim/echo", stdin="good morning")
    assert done.returncode == 0, done.stderr
    assert "good morning" in done.stdout
    assert "resp_" in done.stderr
    assert "resp_" not in done.stdout


def test_ask_continues_a_response(server: ServerProcess) -> None:
    first = ask(server, "one", "--model", "sim/standard")
    response_id = re.search(r"resp_\w+", first.stderr)
    assert response_id is not None
    assert ask(server, "two", "--model", "sim/echo", "--previous", response_id[0]).returncode == 0


def test_ask_tells_an_unknown_model_in_one_line(server: ServerProcess) -> None:
    done = ask(server, "hi", "--model", "nobody/has-it")
    assert done.returncode == 1
    assert "nobody/has-it" in done.stderr
    assert "Traceback" not in done.stderr


def test_ask_tells_a_wrong_key_and_an_unreachable_server(server: ServerProcess) -> None:
    wrong = run(server.folder, "ask", "hi", "--base-url", server.url, "--key", "sk-wrong", "--model", "sim/echo")
    absent = run(server.folder, "ask", "hi", "--base-url", UNREACHABLE, "--key", "k", "--model", "sim/echo")
    assert (wrong.returncode, absent.returncode) == (1, 1)
    assert "cannot be reached" in absent.stderr
    assert "Traceback" not in wrong.stderr + absent.stderr


def test_ask_starts_a_server_of_its_own_where_none_runs(tmp_path: Path) -> None:
    (tmp_path / "antiphon.toml").write_text("[server]\nport = 9\n")
    done = run(tmp_path, "ask", "good morning", "--model", "sim/echo")
    assert done.returncode == 0, done.stderr
    assert "good morning" in done.stdout
    assert (tmp_path / "data" / "cli.key").stat().st_mode & 0o077 == 0
    again = run(tmp_path, "ask", "good evening", "--model", "sim/echo")
    assert "First start" in done.stderr
    assert "First start" not in again.stderr


def test_doctor_is_content_with_a_new_installation(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", "--json", "--data", str(tmp_path / "data"))
    outcomes = {row["check"]: row["outcome"] for row in msgspec.json.decode(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert {outcomes[name] for name in ("antiphon", "configuration", "data folder", "secret", "store")} == {"ok"}


def test_doctor_fails_for_a_vendor_that_does_not_answer(tmp_path: Path) -> None:
    row = f'[[vendor]]\nname = "lab"\ndialect = "chat_completions"\nbase_url = "{UNREACHABLE}"\n'
    (tmp_path / "antiphon.toml").write_text(row)
    done = run(tmp_path, "doctor")
    assert done.returncode == 1
    assert re.search(r"FAILED +lab .*no answer", done.stdout), done.stdout


def test_models_lists_the_simulator_and_aliases(tmp_path: Path) -> None:
    (tmp_path / "antiphon.toml").write_text('[[model]]\nname = "fast"\ntargets = ["sim/echo"]\n')
    listed = run(tmp_path, "models").stdout.split()
    assert listed[0] == "fast"
    assert "sim/standard" in listed


def test_the_banner_is_on_stdout_and_later_starts_show_no_key(server: ServerProcess) -> None:
    shown = server.log()
    assert f"{server.url}\n" in shown
    assert KEY not in shown
