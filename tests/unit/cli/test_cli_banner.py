"""What a start says."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import msgspec

from antiphon.cli.banner import Found, banner

KEY = "sk-antiphon-0123456789abcdef"


def text(key: str | None = KEY, *, vendors: tuple[str, ...] = (), is_sim_enabled: bool = True) -> str:
    engines = (("ollama", 3),)
    return banner(Found("http://127.0.0.1:9/v1", Path("/data"), None, key, vendors, engines, is_sim_enabled))


def curl_of(shown: str) -> list[str]:
    start = shown.index("curl http")
    return shlex.split(shown[start : shown.index("or with Python")].replace("\\\n", " "))


def python_of(shown: str) -> str:
    return shown[shown.index("pip install openai") :].partition("\n\n")[2].partition("\n\nStop")[0]


def test_the_curl_snippet_is_one_command_with_valid_json() -> None:
    words = curl_of(text())
    assert words[:2] == ["curl", "http://127.0.0.1:9/v1/responses"]
    assert f"Authorization: Bearer {KEY}" in words
    assert msgspec.json.decode(words[-1])["model"] == "sim/standard"


def test_the_python_snippet_compiles_and_holds_the_key() -> None:
    snippet = python_of(text())
    ast.parse(snippet)
    assert KEY in snippet


def test_later_starts_show_no_key_and_read_it_from_a_variable() -> None:
    shown = text(None)
    assert "API key" not in shown
    assert "$ANTIPHON_API_KEY" in shown
    ast.parse(python_of(shown))
    assert "import os" in python_of(shown)


def test_vendors_and_engines_are_named_and_their_absence_says_what_to_do() -> None:
    assert "openai, groq" in text(vendors=("openai", "groq"))
    assert "OPENAI_API_KEY" in text()
    assert "ollama (3 models)" in text()


def test_without_the_simulator_the_snippets_ask_for_a_model() -> None:
    assert "sim/" not in text(is_sim_enabled=False)
