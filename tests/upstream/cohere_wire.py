"""Cohere's v2 chat wire: what it refuses, and the frames of its stream.

Source: Cohere API v2, "Chat with streaming", as its SDK's types have it.
"""

from __future__ import annotations

from functools import cache
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

FIELDS = {
    *("model", "messages", "stream", "tools", "strict_tools", "documents", "citation_options", "response_format"),
    *("safety_mode", "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty", "presence_penalty"),
    *("k", "p", "logprobs", "tool_choice", "thinking", "priority"),
}


class CohereWire:
    """One instance per upstream; it numbers its answers."""

    name = "cohere"
    is_binary = False

    def __init__(self, key: str) -> None:
        self._key = key
        self._answers = 0

    def check(self, headers: dict[str, str], body: Json) -> None:
        """Raises RefusedError where Cohere answers 4xx."""
        if headers.get("authorization") != f"Bearer {self._key}":
            raise RefusedError("invalid api token", status=401)
        unknown = sorted(set(body) - FIELDS)
        require(not unknown, f"invalid request: unknown field {', '.join(unknown)}")
        _check_types(body)
        tools = body.get("tools")
        require(tools is None or len(tools) > 0, "tools must not be empty")
        require("tool_choice" not in body or bool(tools), "tool_choice needs tools")
        require(body.get("tool_choice") in (None, "REQUIRED", "NONE"), "invalid tool_choice")
        require(not tools or "response_format" not in body, "response_format is not supported with tools")
        require(0 <= (body.get("frequency_penalty") or 0) <= 1, "frequency_penalty must be between 0 and 1")
        _check_messages(body["messages"])

    def asked(self, body: Json) -> Asked:
        """The request in neutral words."""
        texts: list[str] = []
        outputs: list[str] = []
        calls = 0
        for message in body["messages"]:
            if message["role"] == "user":
                texts.append(_text(message["content"]))
                outputs, calls = [], 0
            calls += len(message.get("tool_calls") or ())
            if message["role"] == "tool":
                outputs.append(_text(message["content"]))
        views = [ToolView(tool["function"]["name"], tool["function"]["parameters"]) for tool in body.get("tools", ())]
        form = body.get("response_format") or {}
        return Asked(
            model=body["model"],
            user_texts=tuple(texts),
            outputs=tuple(outputs),
            tools=tuple(views),
            may_call=body.get("tool_choice") != "NONE",
            forced="" if body.get("tool_choice") == "REQUIRED" else None,
            schema=form.get("json_schema"),
            reasons=(body.get("thinking") or {}).get("type") == "enabled",
            calls_since_user=calls,
        )

    def frames(self, script: Script, body: Json) -> list[bytes]:
        """The stream, one SSE event each."""
        self._answers += 1
        frames = [_event("message-start", id=f"up{self._answers:06}", delta={"message": {"role": "assistant"}})]
        for index, step in enumerate(script.steps):
            frames += self._block(index, step)
        delta = {"finish_reason": _finish_reason(script), "usage": usage_of(script.counts)}
        return [*frames, _event("message-end", delta=delta)]

    def _block(self, index: int, step: Step) -> list[bytes]:
        match step:
            case Think(text):
                return _content(index, "thinking", pieces(text, 9))
            case Redacted():
                return []
            case Say(text, size):
                return _content(index, "text", pieces(text, size))
            case Decline(text):
                return _content(index, "text", [text])
            case Call():
                identity = step.call_id or f"{step.name}_{self._answers:04}{index:04}"
                function = {"name": step.name, "arguments": ""}
                call = {"id": identity, "type": "function", "function": function}
                frames = [_event("tool-call-start", index=index, delta={"message": {"tool_calls": call}})]
                for piece in pieces(step.arguments, 5) if step.arguments != "{}" else []:
                    said = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
                    frames.append(_event("tool-call-delta", index=index, delta=said))
                return [*frames, _event("tool-call-end", index=index)]

    def error_event(self, failure: Failure) -> bytes:
        delta = {"finish_reason": "ERROR", "error": failure.message, "usage": {}}
        return _event("message-end", delta=delta)

    def error_body(self, failure: Failure) -> bytes:
        return msgspec.json.encode({"id": "err_up", "message": failure.message})


def usage_of(counts: Counts) -> Json:
    tokens = {"input_tokens": float(counts.input), "output_tokens": float(counts.output)}
    return {"billed_units": tokens, "tokens": tokens, "cached_tokens": float(counts.cached)}


def _finish_reason(script: Script) -> str:
    if script.finish == "length":
        return "MAX_TOKENS"
    return "TOOL_CALL" if any(isinstance(step, Call) for step in script.steps) else "COMPLETE"


def _content(index: int, kind: str, texts: list[str]) -> list[bytes]:
    opened = {"message": {"content": {"type": kind, kind: ""}}}
    said = [_event("content-delta", index=index, delta={"message": {"content": {kind: text}}}) for text in texts]
    return [_event("content-start", index=index, delta=opened), *said, _event("content-end", index=index)]


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + msgspec.json.encode({"type": kind} | fields)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@cache
def _adapter() -> Any:
    from cohere.types.chat_message_v2 import ChatMessageV2
    from pydantic import TypeAdapter

    return TypeAdapter(list[ChatMessageV2])


def _check_types(body: Json) -> None:
    from pydantic import ValidationError

    try:
        _adapter().validate_python(body["messages"])
    except (ValidationError, KeyError) as error:
        raise RefusedError(f"not of the SDK's type: {error}") from error


def _check_messages(messages: list[Json]) -> None:
    require(len(messages) > 0, "messages must not be empty")
    require(messages[-1]["role"] in ("user", "tool"), "the last message must be from the user or a tool")
    awaited: list[str] = []
    for index, message in enumerate(messages):
        place, role = f"messages[{index}]", message["role"]
        if role == "tool":
            require(message["tool_call_id"] in awaited, f"{place}: tool call id not found in previous tool calls")
            awaited.remove(message["tool_call_id"])
            continue
        require(not awaited, f"{place}: tool calls without results: {awaited}")
        if role == "assistant":
            calls = message.get("tool_calls") or []
            awaited = [call["id"] for call in calls]
            require(bool(calls or message.get("content")), f"{place}: an assistant message must not be empty")
            for call in calls:
                msgspec.json.decode(call["function"]["arguments"], type=dict[str, Any])
        else:
            require(_text(message["content"]) != "" or not isinstance(message["content"], str), f"{place}: is empty")
    require(not awaited, f"tool calls without results: {awaited}")
