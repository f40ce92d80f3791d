"""The Anthropic Messages wire: what it refuses, its signed thinking, and the frames of its stream.

Thinking is signed with an HMAC over its text; what comes back must be byte for byte what was issued. A model
whose name contains "bound" also binds a block to everything before it (system, tools, earlier messages), as
current models do.
Source: Messages API reference, "Streaming messages", "Extended thinking", "Tool use", version 2026-10-21.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

import msgspec
from tests.upstream.chat_wire import pieces
from tests.upstream.script import (
    Asked,
    Call,
    Counts,
    Decline,
    Failure,
    Json,
    Redacted,
    RefusedError,
    Say,
    Script,
    Step,
    Think,
    ToolView,
    require,
)
from tests.upstream.types_check import known_fields

SECRET = b"the scripted upstream's own"
NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
SAMPLING = {"temperature", "top_p", "top_k"}
VERSIONS = ("2023-06-01", "2026-10-21")
BLOCK_FIELDS = {
    "text": {"type", "text", "cache_control", "citations"},
    "image": {"type", "source", "cache_control"},
    "document": {"type", "source", "title", "context", "citations", "cache_control"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input", "cache_control", "caller"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
}


def signed(text: str, prefix: str = "") -> str:
    return hmac.new(SECRET, f"{prefix}\x00{text}".encode(), hashlib.sha256).hexdigest()


def prefix_of(body: Json, count: int) -> str:
    """What a bound block is bound to: the request without what came after the first `count` messages."""
    if "bound" not in body["model"]:
        return ""
    bound = [body.get("system"), body.get("tools"), body["messages"][:count]]
    return hashlib.sha256(msgspec.json.encode(bound)).hexdigest()


class AnthropicWire:
    """One instance per upstream; it numbers its answers and remembers which calls followed thinking."""

    name = "anthropic"
    is_binary = False

    def __init__(self, key: str) -> None:
        self._key = key
        self._answers = 0
        self._thoughtful_calls: set[str] = set()

    def check(self, headers: dict[str, str], body: Json) -> None:
        """Raises RefusedError where Anthropic answers 4xx."""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if headers.get("x-api-key", bearer) != self._key:
            raise RefusedError("invalid x-api-key", status=401, type="authentication_error")
        version = headers.get("anthropic-version", "")
        require(version in VERSIONS, f"anthropic-version: {version!r} is not a valid version")
        unknown = sorted(set(body) - known_fields(self.name) - SAMPLING)
        require(not unknown, f"{', '.join(unknown)}: Extra inputs are not permitted")
        require(isinstance(body.get("max_tokens"), int), "max_tokens: Field required")
        if version == "2026-10-21":
            for name in sorted(SAMPLING):
                require(name not in body, f"{name}: not supported in API version 2026-10-21")
        _check_thinking_config(body)
        _check_tools(body)
        self._check_messages(body)

    def _check_messages(self, body: Json) -> None:
        messages = body.get("messages")
        require(isinstance(messages, list) and len(messages) > 0, "messages: at least one message is required")
        require(messages[0]["role"] == "user", 'messages: first message must use the "user" role')
        require(messages[-1]["role"] != "assistant", "This model does not support assistant message prefill.")
        awaited: list[str] = []
        role_before = "assistant"
        for index, message in enumerate(messages):
            place, role = f"messages.{index}", message["role"]
            require(set(message) == {"role", "content"}, f"{place}: Extra inputs are not permitted")
            require(role in ("user", "assistant", "system"), f"{place}.role: {role!r}")
            if role == "system":
                require(role_before == "user", f"{place}: system messages must follow a user message")
                continue
            require(role != role_before, f'{place}: roles must alternate between "user" and "assistant"')
            role_before = role
            blocks = _blocks(message["content"], place)
            _check_results(blocks, awaited, index)
            awaited = [block["id"] for block in blocks if block["type"] == "tool_use"]
            for position, block in enumerate(blocks):
                _check_block(block, role, f"{place}.content.{position}")
            if role == "assistant":
                self._check_thoughts(blocks, prefix_of(body, index), place)
        require(not awaited, f"`tool_use` ids were found without `tool_result` blocks: {', '.join(awaited)}")

    def _check_thoughts(self, blocks: list[Json], prefix: str, place: str) -> None:
        for position, block in enumerate(blocks):
            where = f"{place}.content.{position}"
            if block["type"] == "thinking":
                rule = "The block is bound to a different conversation" if prefix else "Invalid `signature`"
                require(block["signature"] == signed(block["thinking"], prefix), f"{where}: {rule}")
            elif block["type"] == "redacted_thinking":
                is_ours = block["data"].endswith(signed("redacted"))
                require(is_ours, f"{where}: Invalid `data` in `redacted_thinking` block")
        is_cut = blocks[-1]["type"] in ("thinking", "redacted_thinking")
        require(not is_cut, f"{place}: The final block in an assistant message cannot be `thinking`.")
        needs = [block["id"] for block in blocks if block.get("id") in self._thoughtful_calls]
        found = blocks[0]["type"]
        has = found in ("thinking", "redacted_thinking")
        rule = "Expected `thinking` or `redacted_thinking`, but found"
        require(not needs or has, f"{place}.content.0.type: {rule} `{found}`")

    def asked(self, body: Json) -> Asked:
        """The request in neutral words."""
        texts: list[str] = []
        outputs: list[str] = []
        calls = 0
        for message in body["messages"]:
            blocks = _blocks(message["content"], "messages")
            said = [block["text"] for block in blocks if block["type"] == "text"]
            if message["role"] == "user" and said:
                texts.append(said[-1])
                outputs, calls = [], 0
            calls += sum(block["type"] == "tool_use" for block in blocks)
            outputs += [_result_text(block) for block in blocks if block["type"] == "tool_result"]
        choice = body.get("tool_choice") or {"type": "auto"}
        form = (body.get("output_config") or {}).get("format") or {}
        return Asked(
            model=body["model"],
            user_texts=tuple(texts),
            outputs=tuple(outputs),
            tools=tuple(ToolView(tool["name"], tool["input_schema"]) for tool in body.get("tools", ())),
            may_call=choice["type"] != "none",
            forced={"any": "", "tool": choice.get("name")}.get(choice["type"]),
            schema=form.get("schema"),
            reasons=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
            calls_since_user=calls,
        )

    def frames(self, script: Script, body: Json) -> list[bytes]:
        """The stream, one SSE event each."""
        self._answers += 1
        prefix = prefix_of(body, len(body["messages"]))
        message: Json = {
            "id": f"msg_up{self._answers:06}",
            "type": "message",
            "role": "assistant",
            "content": [],
        }
        message |= {"model": body["model"], "stop_reason": None, "stop_sequence": None}
        message["usage"] = usage_of(script.counts) | {"output_tokens": 1}
        frames = [_event("message_start", message=message), _event("ping")]
        thoughtful = any(isinstance(step, Think | Redacted) for step in script.steps)
        for index, step in enumerate(script.steps):
            start, deltas = self._block(step, index, prefix, is_thoughtful=thoughtful)
            frames.append(_event("content_block_start", index=index, content_block=start))
            frames += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
            frames.append(_event("content_block_stop", index=index))
        delta = {"stop_reason": _stop_reason(script), "stop_sequence": None, "stop_details": None}
        for _ in range(2 if script.usage_twice else 1):
            frames.append(_event("message_delta", delta=delta, usage=usage_of(script.counts)))
        return [*frames, _event("message_stop")]

    def _block(self, step: Step, index: int, prefix: str, *, is_thoughtful: bool) -> tuple[Json, list[Json]]:
        match step:
            case Think(text):
                deltas: list[Json] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(text, 9)]
                deltas.append({"type": "signature_delta", "signature": signed(text, prefix)})
                return {"type": "thinking", "thinking": "", "signature": ""}, deltas
            case Redacted():
                return {"type": "redacted_thinking", "data": f"hidden{index}." + signed("redacted")}, []
            case Say(text, size):
                return {"type": "text", "text": ""}, [
                    {"type": "text_delta", "text": piece} for piece in pieces(text, size)
                ]
            case Decline(text):
                return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text}]
            case Call():
                identity = f"toolu_{self._answers:04}{index:04}"
                if is_thoughtful:
                    self._thoughtful_calls.add(identity)
                start = {"type": "tool_use", "id": identity, "name": step.name, "input": {}}
                parts = ["", *pieces(step.arguments, 5)] if step.arguments != "{}" else []
                return start, [{"type": "input_json_delta", "partial_json": part} for part in parts]

    def error_event(self, failure: Failure) -> bytes:
        return b"event: error\ndata: " + self.error_body(failure)

    def error_body(self, failure: Failure) -> bytes:
        error = {"type": failure.type, "message": failure.message}
        return msgspec.json.encode({"type": "error", "error": error, "request_id": "req_up"})


def usage_of(counts: Counts) -> Json:
    return {
        "input_tokens": counts.input - counts.cached - counts.cache_write,
        "cache_read_input_tokens": counts.cached,
        "cache_creation_input_tokens": counts.cache_write,
        "output_tokens": counts.output,
        "output_tokens_details": {"thinking_tokens": counts.reasoning},
    }


def _stop_reason(script: Script) -> str:
    if any(isinstance(step, Decline) for step in script.steps) or script.finish == "content_filter":
        return "refusal"
    if script.finish == "length":
        return "max_tokens"
    return "tool_use" if any(isinstance(step, Call) for step in script.steps) else "end_turn"


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind} | fields)


def _blocks(content: Any, place: str) -> list[Json]:
    if isinstance(content, str):
        require(content != "", f"{place}: text content blocks must be non-empty")
        return [{"type": "text", "text": content}]
    require(len(content) > 0, f"{place}: content must be non-empty")
    return list(content)


def _result_text(block: Json) -> str:
    content = block.get("content", "")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _check_block(block: Json, role: str, place: str) -> None:
    kind = block["type"]
    known = BLOCK_FIELDS.get(kind)
    require(known is not None, f"{place}.type: Input tag {kind!r} found using 'type' is not expected")
    unknown = sorted(set(block) - (known or set()))
    require(not unknown, f"{place}.{kind}: Extra inputs are not permitted: {unknown}")
    ours = {"assistant": {"text", "thinking", "redacted_thinking", "tool_use"}, "user": set(BLOCK_FIELDS)}[role]
    require(kind in ours and (role, kind) != ("user", "tool_use"), f"{place}: {kind} is not allowed from {role}")
    if kind == "text":
        require(block["text"].strip() != "", f"{place}: text content blocks must contain non-whitespace text")
        require(role == "assistant" or not block.get("citations"), f"{place}.citations: not allowed from user")
    if kind == "tool_use":
        require(re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]) is not None, f"{place}.id: {block['id']!r}")
        require(NAME.fullmatch(block["name"]) is not None, f"{place}.name: {block['name']!r}")
        require(isinstance(block["input"], dict), f"{place}.input: Input should be a valid dictionary")


def _check_results(blocks: list[Json], awaited: list[str], index: int) -> None:
    answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    missing = [identity for identity in awaited if identity not in answered]
    rule = "`tool_use` ids were found without `tool_result` blocks immediately after"
    require(not missing, f"messages.{index}: {rule}: {', '.join(missing)}")
    orphans = [identity for identity in answered if identity not in awaited]
    require(not orphans, f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {orphans}")
    require(len(set(answered)) == len(answered), f"messages.{index}: each tool_use must have a single result")
    kinds = [block["type"] for block in blocks]
    first = kinds[: len(answered)]
    require(set(first) <= {"tool_result"}, f"messages.{index}: `tool_result` blocks must come first")


def _check_tools(body: Json) -> None:
    tools = body.get("tools") or []
    used = [
        block["type"]
        for message in body.get("messages", ())
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] in ("tool_use", "tool_result")
    ]
    require(not used or bool(tools), "Requests which have `tool_use` or `tool_result` blocks must define tools")
    require("tool_choice" not in body or bool(tools), "tool_choice may only be specified while providing tools")
    names = [tool["name"] for tool in tools]
    require(len(set(names)) == len(names), "tools: Tool names must be unique.")
    for tool in tools:
        require(NAME.fullmatch(tool["name"]) is not None, f"tools.name: {tool['name']!r}")
        require(tool["input_schema"].get("type") == "object", "tools.input_schema.type: Field required")


def _check_thinking_config(body: Json) -> None:
    thinking = body.get("thinking") or {"type": "disabled"}
    kind = thinking["type"]
    require(kind in ("enabled", "adaptive", "disabled", "between_tools"), f"thinking.type: {kind!r}")
    if kind == "enabled":
        budget = thinking["budget_tokens"]
        require(budget >= 1024, "thinking.budget_tokens: Input should be greater than or equal to 1024")
        require(budget < body["max_tokens"], "`max_tokens` must be greater than `thinking.budget_tokens`")
        forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
        require(not forced, "Thinking may not be enabled when tool_choice forces tool use.")
