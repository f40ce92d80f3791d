"""/docs: the OpenAPI document as a page that needs nothing but itself, and JavaScript only to filter."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

import msgspec

Json = Mapping[str, Any]  # Any: a JSON document

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6470;--line:#d9dee5;--paper:#fff;--card:#f6f8fa;--accent:#1f5fbf}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa4b2;--line:#2d343e;--paper:#12161c;--card:#1a2028;
--accent:#7fb0ff}}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
main{max-width:62rem;margin:0 auto;padding:2rem 1.25rem 5rem}h1{font-size:2rem;margin:.2rem 0}
h2{margin:2.6rem 0 .6rem;font-size:1.25rem;text-transform:capitalize;border-bottom:1px solid var(--line)}
p.about{color:var(--soft);max-width:46rem}code,pre{font:13px/1.5 ui-monospace,Menlo,Consolas,monospace}
input{width:100%;padding:.6rem .8rem;font:inherit;border:1px solid var(--line);border-radius:.5rem;
background:var(--card);color:inherit}
details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0;background:var(--card)}
summary{cursor:pointer;padding:.55rem .8rem;display:flex;gap:.8rem;align-items:baseline;flex-wrap:wrap}
summary::-webkit-details-marker{display:none}summary span.what{color:var(--soft)}
.method{font-weight:600;min-width:4.2rem;color:var(--accent)}.method.DELETE{color:#c2413b}.method.POST{color:#2b8a3e}
.inside{padding:.2rem .9rem .9rem;border-top:1px solid var(--line)}h3{font-size:.95rem;margin:1rem 0 .3rem}
table{border-collapse:collapse;width:100%}td{padding:.25rem .6rem .25rem 0;vertical-align:top;
border-bottom:1px solid var(--line)}td:first-child{white-space:nowrap}
pre{background:var(--paper);border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;overflow-x:auto}
.type{color:var(--soft)}
"""
_SCRIPT: Final = """
const box=document.getElementById('filter');box.hidden=false;box.addEventListener('input',()=>{
const words=box.value.toLowerCase().split(/\\s+/);
document.querySelectorAll('details').forEach(one=>{
one.hidden=!words.every(word=>one.dataset.text.includes(word))});
document.querySelectorAll('section').forEach(one=>{
one.hidden=![...one.querySelectorAll('details')].some(two=>!two.hidden)})});
"""


def page(document: Json) -> str:
    """The whole page."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation, document))
    order = sorted(by_tag, key=lambda tag: (tag == "server", tag != "responses", tag))
    sections = "".join(f"<section><h2>{_title(tag)}</h2>{''.join(by_tag[tag])}</section>" for tag in order)
    info = document["info"]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style><main>"
        f"<h1>{escape(info['title'])} API <span class=type>{escape(info['version'])}</span></h1>"
        f"<p class=about>{_prose(info['description'])}</p>"
        "<p class=about>The machine-readable form is <a href=/openapi.json>/openapi.json</a>.</p>"
        "<input id=filter type=search placeholder='Filter, such as: conversations items' aria-label=Filter hidden>"
        f"{sections}</main><script>{_SCRIPT}</script></html>"
    )


def _title(tag: str) -> str:
    return escape(tag.replace("_", " "))


def _prose(text: str) -> str:
    """Escaped text with `code` marked."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _operation(method: str, path: str, operation: Json, document: Json) -> str:
    inside = [_parameters(operation.get("parameters", ()))]
    body = operation.get("requestBody")
    schema: Json = {} if body is None else body["content"]["application/json"]["schema"]
    if body is not None:
        inside.append(f"<h3>Body</h3>{_fields(schema, document)}")
    answer = operation["responses"]["200"]["content"]
    inside += [f"<h3>Answer <span class=type>{escape(kind)}</span></h3>" for kind in answer]
    inside.append(_fields(answer.get("application/json", {}).get("schema", {}), document))
    inside.append(f"<h3>Example</h3><pre>{escape(_curl(method, path, schema, document, operation))}</pre>")
    text = escape(f"{method} {path} {operation['summary']}".lower(), quote=True)
    return (
        f'<details id="{escape(operation["operationId"])}" data-text="{text}"><summary>'
        f"<span class='method {method}'>{method}</span><code>{escape(path)}</code>"
        f"<span class=what>{_prose(operation['summary'])}</span></summary>"
        f"<div class=inside>{''.join(inside)}</div></details>"
    )


def _parameters(parameters: Any) -> str:  # Any: a JSON array
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(row['name'])}</code></td><td class=type>{escape(row['in'])}, "
        f"{escape(_type_of(row['schema']))}</td><td>{_prose(row.get('description', ''))}</td></tr>"
        for row in parameters
    )
    return f"<h3>Parameters</h3><table>{rows}</table>"


def _resolved(schema: Json, document: Json) -> Json:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _fields(schema: Json, document: Json) -> str:
    resolved = _resolved(schema, document)
    required = set(resolved.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td class=type>{escape(_type_of(one))}"
        f"{', required' if name in required else ''}</td><td>{_prose(one.get('description', ''))}</td></tr>"
        for name, one in resolved.get("properties", {}).items()
    )
    about = escape(resolved.get("description", ""))
    return (f"<p class=about>{about}</p>" if about else "") + (f"<table>{rows}</table>" if rows else "")


def _type_of(schema: Json) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"] if value is not None)
    if "const" in schema:
        return str(schema["const"])
    kinds = schema.get("anyOf")
    if kinds:
        return " | ".join(_type_of(one) for one in kinds if one.get("type") != "null")
    if schema.get("type") == "array":
        return f"list of {_type_of(schema.get('items') or {})}"
    return str(schema.get("type", "any"))


def _curl(method: str, path: str, schema: Json, document: Json, operation: Json) -> str:
    lines = ["curl" + ("" if method == "GET" else f" -X {method}") + f" $BASE{path}"]
    if operation.get("security") != []:
        lines.append('-H "Authorization: Bearer $KEY"')
    if schema:
        resolved = _resolved(schema, document)
        names = resolved.get("required") or [name for name in ("model", "input") if name in resolved["properties"]]
        example = {name: _EXAMPLES.get(name, "...") for name in names}
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d '{msgspec.json.encode(example).decode()}'")
    return " \\\n  ".join(lines)


_EXAMPLES: Final[Mapping[str, object]] = {
    "model": "sim/standard",
    "input": "Hello",
    "items": [{"role": "user", "content": "Hello"}],
    "name": "greeting",
    "template": {"model": "sim/standard", "input": "Hello {{name}}"},
    "url": "https://example.com/hook",
    "event_types": ["response.completed"],
    "event_type": "response.completed",
    "metadata": {"topic": "greetings"},
}
