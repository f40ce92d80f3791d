"""What a scripted model says, in words no wire owns, and how its bytes are to travel.

A `Script` is a list of steps plus the way the answer ends and is sent. The wires (`chat_wire.py`, `claude_wire.py`,
`native_wire.py` beside this file) turn it into their own frames; `server.py` plays them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Json = dict[str, Any]


@dataclass(frozen=True)
class Think:
    """Reasoning. Empty text is the "display omitted" case: there is a signature and nothing to read."""

    text: str


@dataclass(frozen=True)
class Redacted:
    """Reasoning the provider hides (Anthropic `redacted_thinking`; nothing on the other wires)."""


@dataclass(frozen=True)
class Say:
    """Visible text, sent in pieces of `piece` characters."""

    text: str
    piece: int = 7


@dataclass(frozen=True)
class Decline:
    """A refusal in the wire's own form."""

    text: str = "I cannot help with that."


@dataclass(frozen=True)
class Call:
    """A call to a tool by its wire name. `arguments` is JSON text, or plain text for a custom tool.

    `call_id` is the provider's id (chat wire); None makes a unique one.
    """

    name: str
    arguments: str = "{}"
    kind: Literal["function", "custom"] = "function"
    namespace: str | None = None
    call_id: str | None = None


Step = Think | Redacted | Say | Decline | Call


@dataclass(frozen=True)
class Failure:
    """An error: as the HTTP answer (`Script.refuse`) or as an event in the stream (`Script.fail`)."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    message: str = "The scripted upstream failed."
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Counts:
    """Token counts, in OpenAI's sense: input includes the cached, output includes the reasoning."""

    input: int = 20
    cached: int = 4
    cache_write: int = 0
    output: int = 10
    reasoning: int = 0


@dataclass(frozen=True)
class Script:
    """One answer. All counts of frames are of SSE events from 1.

    refuse         answer with this HTTP error instead of a stream
    fail           after `fail_after` frames, the wire's own error event, and the end
    stall_after    after this many frames, send nothing until the reader leaves or the test releases it
    hang_up_after  after this many frames, cut the connection without an end
    end_after      after this many frames, end the answer as if it were whole
    document       answer with this JSON document instead of a stream
    drip_s         pause between writes
    chunk_bytes    write pieces of this size, whatever they split
    """

    steps: tuple[Step, ...] = (Say("Hello."),)
    finish: Literal["stop", "length", "content_filter"] = "stop"
    counts: Counts = Counts()
    usage_twice: bool = False
    refuse: Failure | None = None
    fail: Failure | None = None
    fail_after: int = 4
    stall_after: int | None = None
    hang_up_after: int | None = None
    end_after: int | None = None
    document: Json | None = None
    drip_s: float = 0.0
    chunk_bytes: int | None = None
    crlf: bool = False
    comments: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolView:
    """A declared tool as the default behaviour needs it."""

    name: str
    schema: Json
    kind: Literal["function", "custom"] = "function"


@dataclass(frozen=True)
class Asked:
    """One request in neutral words: what the default behaviour decides on.

    `outputs` are the tool outputs after the last user text; `calls_since_user` counts calls after it.
    `forced` names the tool that must be called ("" = any, None = none is forced).
    """

    model: str
    user_texts: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    tools: tuple[ToolView, ...] = ()
    may_call: bool = True
    forced: str | None = None
    schema: Json | None = None
    reasons: bool = False
    calls_since_user: int = 0


class RefusedError(Exception):
    """The provider would answer 4xx: status, type and message, code and param where its wire has them."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002 - the wire's own word
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.message = message


def require(holds: bool, message: str, **more: Any) -> None:
    """Raise RefusedError unless the request keeps the rule."""
    if not holds:
        raise RefusedError(message, **more)


def default_script(asked: Asked) -> Script:
    """Clever enough for an agent loop: think, call the first tool once, then answer with its output."""
    thought: tuple[Step, ...] = (Think("The user wants an answer. I will give one."),) if asked.reasons else ()
    counts = Counts(reasoning=5 if asked.reasons else 0)
    calls = _default_calls(asked)
    if calls:
        return Script(thought + calls, counts=counts)
    if asked.schema is not None:
        return Script((*thought, Say(instance_text(asked.schema))), counts=counts)
    if asked.outputs:
        return Script((*thought, Say("The tool said: " + " | ".join(asked.outputs))), counts=counts)
    last = asked.user_texts[-1] if asked.user_texts else ""
    return Script((*thought, Say(f"Turn {len(asked.user_texts)}. You said: {last}")), counts=counts)


def _default_calls(asked: Asked) -> tuple[Step, ...]:
    if not asked.tools or not asked.may_call or asked.calls_since_user:
        return ()
    chosen = [tool for tool in asked.tools if asked.forced in (None, "", tool.name)]
    wanted = 2 if asked.user_texts and "parallel" in asked.user_texts[-1] else 1
    if wanted == 2 and len(chosen) == 1:
        chosen = chosen * 2
    return tuple(
        Call(tool.name, instance_text(tool.schema) if tool.kind == "function" else "free text", tool.kind)
        for tool in chosen[:wanted]
    )


def instance_text(schema: Json) -> str:
    """JSON text that is valid for `schema`."""
    return msgspec.json.encode(instance(schema, schema)).decode()


def instance(schema: Json, root: Json) -> Any:
    """A small value that is valid for the subset of JSON Schema that clients use."""
    if "$ref" in schema:
        target: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return instance(target, root)
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return instance(schema[name][0], root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    return _instance_of_type(schema, root)


def _instance_of_type(schema: Json, root: Json) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {name: instance(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        count = max(1, schema.get("minItems", 1))
        return [instance(schema.get("items", {}), root) for _ in range(count)]
    number = max(schema.get("minimum", 7), min(7, schema.get("maximum", 7)))
    return {"boolean": True, "null": None, "integer": number, "number": number}.get(kind, "Paris")
