"""What `antiphon serve` says when it is ready: where it is, how to call it, what it found. Text only, no decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from antiphon import __version__

_DEMO_MODEL: Final = "sim/standard"
_WIDTH: Final = 12


@dataclass(frozen=True, slots=True)
class Found:
    """What a start found. `new_key` only when one was made; `engines` are (name, number of models)."""

    base_url: str
    data_dir: Path
    config_path: Path | None
    new_key: str | None
    vendors: Sequence[str]
    engines: Sequence[tuple[str, int]]
    is_sim_enabled: bool


def _row(label: str, value: str) -> str:
    return f"  {label:<{_WIDTH}}{value}"


def banner(found: Found) -> str:
    """The text for standard output; its snippets work as they stand when the key is in them."""
    engines = ", ".join(f"{name} ({count} models)" for name, count in found.engines)
    lines = [f"Antiphon {__version__}", "", _row("Base URL", found.base_url)]
    if found.new_key is not None:
        lines.append(_row("API key", f"{found.new_key}   (shown this once; `antiphon key create` makes more)"))
    lines += [
        _row(
            "Vendors", ", ".join(found.vendors) or "none yet: set e.g. OPENAI_API_KEY or ANTHROPIC_API_KEY and restart"
        ),
        _row("Engines", engines or "none found on this machine (Ollama, vLLM, SGLang, llama.cpp, LM Studio)"),
    ]
    if found.is_sim_enabled:
        lines.append(_row("Simulator", f"{_DEMO_MODEL} and others answer without any key or network"))
    lines.append(_row("Data", str(found.data_dir)))
    if found.config_path is not None:
        lines.append(_row("Config", str(found.config_path.absolute())))
    model = _DEMO_MODEL if found.is_sim_enabled else "VENDOR/MODEL"
    return "\n".join([*lines, "", *_snippets(found, model), "Stop with Ctrl-C.", ""])


def _snippets(found: Found, model: str) -> list[str]:
    lines: list[str] = []
    key = found.new_key
    if key is None:
        lines += ["Put your key in the variable first:  export ANTIPHON_API_KEY=...", ""]
        bearer, python_key = "$ANTIPHON_API_KEY", 'os.environ["ANTIPHON_API_KEY"]'
    else:
        bearer, python_key = key, f'"{key}"'
    return [
        *lines,
        "Try it with curl:",
        "",
        f"curl {found.base_url}/responses \\",
        f'  -H "Authorization: Bearer {bearer}" -H "Content-Type: application/json" \\',
        f"""  -d '{{"model": "{model}", "input": "Say hello"}}'""",
        "",
        "or with Python (pip install openai):",
        "",
        *(["import os"] if key is None else []),
        "from openai import OpenAI",
        f'client = OpenAI(base_url="{found.base_url}", api_key={python_key})',
        f'print(client.responses.create(model="{model}", input="Say hello").output_text)',
        "",
    ]
