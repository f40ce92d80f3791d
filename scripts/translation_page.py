"""Write docs/translation.md: what becomes of each feature of a request on each dialect.

Nothing here is a list of claims: every cell is what the dialect's own encoder does with a request that has the feature,
told by comparing its body with that of a plain request.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from antiphon.app import dialects
from antiphon.config import Settings
from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.parsing import parse_request
from antiphon.providers.base import HttpRequest, Target, Turn, Vendor
from antiphon.providers.catalog import load_vendors

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "translation.md"
Json = dict[str, Any]
_HEAD: Final = """\
# Translation

Written by `make docs`: each cell is what the encoder of that dialect does with a request that has the feature.

- **native**: the provider has it, and is asked for it.
- **emulated**: it is asked for in other words, such as a sentence for the model or a function in place of another tool.
- **inlined**: Antiphon fetches the URL, and sends the bytes.
- **dropped**: left out, and named in the response header `antiphon-dropped`; 400 in a project that is
  [strict](configuration.md#projects).
- **refused**: 400, naming the parameter.

Single vendors and models differ, as rows of `catalog.toml` and `models.toml` say; each column stands for one:

"""
_PNG: Final = "data:image/png;base64,iVBORw0KGgo="
_PDF: Final = "data:application/pdf;base64,JVBERi0="
_SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
_LOOK: Final = {"type": "function", "name": "look", "parameters": _SCHEMA, "strict": False}
_SAID_IN: Final = {"system", "systemInstruction", "messages", "contents"}


def _part(**part: Any) -> Json:
    return {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}, part]}]}


def _tool(**tool: Any) -> Json:
    return {"tools": [tool]}


def _choice(choice: Any) -> Json:
    return {"tools": [_LOOK, _LOOK | {"name": "other"}], "tool_choice": choice}


_ALLOWED: Final = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]}
_CUSTOM: Final = {"type": "custom", "name": "patch", "description": "Edits."}
_NAMESPACE: Final = {"type": "namespace", "name": "fs", "description": "Files.", "tools": [_LOOK]}
_CODE: Final = {"type": "code_interpreter", "container": {"type": "auto"}}
_MCP: Final = {"type": "mcp", "server_label": "a", "server_url": "https://a.example"}
_JSON: Final = {"type": "json_schema", "name": "a", "schema": _SCHEMA}
_LATE: Final = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "developer", "content": "In French."},
    {"role": "user", "content": "Go on"},
]
FEATURES: Final[tuple[tuple[str, Json], ...]] = (
    ("`instructions`", {"instructions": "Be brief."}),
    ("developer message in the middle", {"input": _LATE}),
    ("image, inline", _part(type="input_image", image_url=_PNG)),
    ("image by URL", _part(type="input_image", image_url="https://a.example/a.png")),
    ("PDF, inline", _part(type="input_file", filename="a.pdf", file_data=_PDF)),
    ("PDF by URL", _part(type="input_file", file_url="https://a.example/a.pdf")),
    ("text file", _part(type="input_file", filename="a.txt", file_data="data:text/plain;base64,SGk=")),
    ("audio", _part(type="input_audio", input_audio={"data": "UklGRg==", "format": "wav"})),
    ("function tools", _tool(**_LOOK)),
    (
        "function tools, `strict`",
        _tool(**_LOOK | {"strict": True, "parameters": _SCHEMA | {"additionalProperties": False}}),
    ),
    ("custom tools", _tool(**_CUSTOM)),
    ("tool namespaces", _tool(**_NAMESPACE)),
    ("`web_search`", _tool(type="web_search")),
    ("`code_interpreter`", _tool(**_CODE)),
    ("`file_search`", _tool(type="file_search", vector_store_ids=["vs_1"])),
    ("`mcp`", _tool(**_MCP)),
    ("`image_generation`", _tool(type="image_generation")),
    ("`tool_choice: none`", _choice("none")),
    ("`tool_choice: required`", _choice("required")),
    ("`tool_choice`: one function", _choice({"type": "function", "name": "look"})),
    ("`tool_choice`: allowed tools", _choice(_ALLOWED)),
    ("`parallel_tool_calls: false`", {"tools": [_LOOK], "parallel_tool_calls": False}),
    ("`text.format: json_object`", {"text": {"format": {"type": "json_object"}}}),
    ("`text.format: json_schema`", {"text": {"format": _JSON}}),
    ("... beside tools", {"text": {"format": _JSON}, "tools": [_LOOK]}),
    ("`text.verbosity`", {"text": {"verbosity": "low"}}),
    ("`reasoning.effort`", {"reasoning": {"effort": "high"}}),
    ("`reasoning.effort: none`", {"reasoning": {"effort": "none"}}),
    ("`reasoning.summary`", {"reasoning": {"summary": "auto"}}),
    ("`temperature`", {"temperature": 0.5}),
    ("`top_p`", {"top_p": 0.5}),
    ("`presence_penalty`", {"presence_penalty": 0.5}),
    ("`top_logprobs`", {"top_logprobs": 2}),
    ("`max_output_tokens`", {"max_output_tokens": 100}),
    ("`service_tier: flex`", {"service_tier": "flex"}),
    ("`prompt_cache_key`", {"prompt_cache_key": "k"}),
    ("`safety_identifier`", {"safety_identifier": "u"}),
)
COLUMNS: Final = (
    ("responses", "openai", "gpt-5.4"),
    ("chat_completions", "lab", "some-model"),
    ("anthropic", "anthropic", "claude-opus-4-6"),
    ("gemini", "google", "gemini-3.7-flash"),
    ("bedrock", "bedrock", "us.amazon.nova-pro-v1:0"),
    ("cohere", "cohere", "command-a-03-2025"),
)


def _targets() -> list[Target]:
    names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK", "COHERE_API_KEY")
    vendors = {vendor.name: vendor for vendor in load_vendors(Settings(), dict.fromkeys(names, "k"))}
    lab = Vendor("lab", "chat_completions", "https://lab.example/v1")
    return [Target(vendors.get(name, lab), model) for _, name, model in COLUMNS]


def _encoded(target: Target, more: Json) -> HttpRequest:
    body = {"model": target.model, "input": "Hi"} | more
    request = parse_request(msgspec.json.encode(body))
    turn = Turn(request, tuple(entry.item for entry in request.input))
    return dialects()[target.vendor.dialect].encode(turn, target)


def cell(target: Target, feature: Json) -> str:
    """What becomes of a feature on a target, in one word."""
    kind = _fetched_kind(feature)
    reads = dialects()[target.vendor.dialect].reads_urls(target)
    if kind and kind not in reads:
        return "inlined" if cell(target, _inline(feature)) != "refused" else "refused"
    try:
        sent = _encoded(target, feature)
    except InvalidRequest:
        return "refused"
    if sent.dropped:
        return "dropped"
    plain = _encoded(target, _without(feature))
    if sent.body == plain.body:
        return "native"  # what is asked for is what the provider does anyway
    return "emulated" if _is_emulated(sent, plain, feature) else "native"


def _fetched_kind(feature: Json) -> str:
    text = msgspec.json.encode(feature).decode()
    return "image" if "a.example/a.png" in text else "file" if "a.example/a.pdf" in text else ""


def _inline(feature: Json) -> Json:
    text = msgspec.json.encode(feature).decode().replace("https://a.example/a.png", _PNG)
    return msgspec.json.decode(text.replace('"file_url":"https://a.example/a.pdf"', f'"file_data":"{_PDF}"'))


def _without(feature: Json) -> Json:
    """The same request but for what the feature is about."""
    return {"tools": feature["tools"]} if "tool_choice" in feature or "parallel_tool_calls" in feature else {}


def _is_emulated(sent: HttpRequest, plain: HttpRequest, feature: Json) -> bool:
    """A sentence in place of a field, a function in place of another tool, text in place of a file."""
    ours, theirs = msgspec.json.decode(sent.body), msgspec.json.decode(plain.body)
    changed = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
    text = sent.body.decode()
    if "tool_choice" in feature or "parallel_tool_calls" in feature:
        is_filtered = '"other"' in plain.body.decode() and '"other"' not in text
        return is_filtered or changed <= _SAID_IN
    if "tools" in feature and feature["tools"][0]["type"] in ("custom", "namespace"):
        return f'"{feature["tools"][0]["type"]}"' not in text
    if "text" in feature:
        return changed <= _SAID_IN
    if feature.get("input") == _LATE:
        return "<system>" in text
    return "SGk=" in msgspec.json.encode(feature).decode() and "SGk=" not in text and '"document"' not in text


def page() -> str:
    """The whole page."""
    targets = _targets()
    columns = "".join(f"| `{dialect}` | `{name}/{model}` |\n" for dialect, name, model in COLUMNS)
    head = _HEAD + "| dialect | |\n| --- | --- |\n" + columns + "\n"
    names = " | ".join(f"`{dialect}`" for dialect, _, _ in COLUMNS)
    rule = "| --- " * (len(COLUMNS) + 1) + "|\n"
    rows = [
        f"| {name} | " + " | ".join(cell(target, feature) for target in targets) + " |" for name, feature in FEATURES
    ]
    return head + f"| | {names} |\n" + rule + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
