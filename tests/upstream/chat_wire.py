"""The chat completions wire as OpenAI speaks it: what it refuses, and the frames of its stream.

Source: OpenAI API reference, "Create chat completion"; error texts as the live API words them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
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

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MESSAGE_FIELDS = {
    *("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio"),
    *("reasoning_content", "reasoning", "reasoning_details"),
}


class ChatWire:
    """One instance per upstream; it numbers its answers."""

    name = "chat_completions"
    is_binary = False

    def __init__(self, key: str) -> None:
        self._key = key
        self._answers = 0

    def check(self, headers: dict[str, str], body: Json) -> None:
        """Raises RefusedError where OpenAI answers 4xx."""
        if headers.get("authorization") != f"Bearer {self._key}":
            raise RefusedError("Incorrect API key provided.", status=401, code="invalid_api_key")
        unknown = sorted(set(body) - known_fields(self.name))
        require(not unknown, f"Unrecognized request argument supplied: {', '.join(unknown)}")
        require(isinstance(body.get("model"), str) and body["model"] != "", "you must provide a model parameter")
        require("stream_options" not in body or body.get("stream") is True, "stream_options needs stream")
        _check_tools(body)
        _check_messages(body.get("messages"))

    def asked(self, body: Json) -> Asked:
        """The request in neutral words."""
        messages = body["messages"]
        users = [index for index, message in enumerate(messages) if message["role"] == "user"]
        since = messages[users[-1] + 1 :] if users else messages
        choice = body.get("tool_choice", "auto")
        form = body.get("response_format") or {}
        named = choice.get(choice.get("type")) if isinstance(choice, dict) else None
        return Asked(
            model=body["model"],
            user_texts=tuple(_text(messages[index]["content"]) for index in users),
            outputs=tuple(_text(message["content"]) for message in since if message["role"] == "tool"),
            tools=tuple(_view(tool) for tool in body.get("tools", ())),
            may_call=choice != "none",
            forced="" if choice == "required" else (named or {}).get("name"),
            schema=form["json_schema"]["schema"] if form.get("type") == "json_schema" else None,
            reasons=body.get("reasoning_effort") not in (None, "none") or "reason" in body["model"],
            calls_since_user=sum(len(message.get("tool_calls") or ()) for message in since),
        )

    def frames(self, script: Script, body: Json) -> list[bytes]:
        """The stream, one SSE event each, without line ends' variation."""
        self._answers += 1
        answer = f"chatcmpl-{self._answers:06}"
        frames: list[bytes] = []

        def chunk(delta: Json | None, finish: str | None = None, usage: Counts | None = None) -> None:
            choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
            frame: Json = {"id": answer, "object": "chat.completion.chunk", "created": 1700000000}
            frame |= {"model": body["model"], "service_tier": "default", "choices": choices}
            if usage is not None:
                frame["usage"] = usage_of(usage)
            frames.append(b"data: " + msgspec.json.encode(frame))

        chunk({"role": "assistant", "content": ""})
        calls = 0
        for step in script.steps:
            for delta in self._deltas(step, calls):
                chunk(delta)
            calls += isinstance(step, Call)
        finish = "tool_calls" if calls and script.finish == "stop" else script.finish
        chunk({}, finish)
        for _ in range(2 if script.usage_twice else 1):
            chunk(None, usage=script.counts)
        return [*frames, b"data: [DONE]"]

    def _deltas(self, step: Step, calls: int) -> list[Json]:
        match step:
            case Think(text):
                return [{"reasoning_content": piece} for piece in pieces(text, 9)]
            case Say(text, size):
                return [{"content": piece} for piece in pieces(text, size)]
            case Decline(text):
                return [{"refusal": piece} for piece in pieces(text, 9)]
            case Call():
                return self._call_deltas(step, calls)
            case Redacted():
                return []

    def _call_deltas(self, call: Call, index: int) -> list[Json]:
        identity = f"call_{self._answers:04}{index:04}" if call.call_id is None else call.call_id
        kind = call.kind
        field = "arguments" if kind == "function" else "input"
        head = {"index": index, "id": identity, "type": kind, kind: {"name": call.name, field: ""}}
        rest = [{"index": index, kind: {field: piece}} for piece in pieces(call.arguments, 5)]
        return [{"tool_calls": [part]} for part in (head, *rest)]

    def error_event(self, failure: Failure) -> bytes:
        return b"data: " + self.error_body(failure)

    def error_body(self, failure: Failure) -> bytes:
        error = {"message": failure.message, "type": failure.type, "param": None, "code": failure.code}
        return msgspec.json.encode({"error": error})


def pieces(text: str, size: int) -> list[str]:
    """`text` cut every `size` characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def usage_of(counts: Counts) -> Json:
    return {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.cached, "cache_write_tokens": counts.cache_write},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning},
    }


def _view(tool: Json) -> ToolView:
    inner = tool[tool["type"]]
    kind = "custom" if tool["type"] == "custom" else "function"
    return ToolView(inner["name"], inner.get("parameters") or {}, kind)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def _check_tools(body: Json) -> None:
    tools = body.get("tools")
    if tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            require(name not in body, f"'{name}' is only allowed when 'tools' are specified.", param=name)
        return
    require(len(tools) > 0, "[] is too short - 'tools'", param="tools", code="empty_array")
    names = [tool[tool["type"]]["name"] for tool in tools]
    for name in names:
        require(NAME.fullmatch(name) is not None, f"Invalid 'tools[].function.name': {name!r}", param="tools")
    require(len(set(names)) == len(names), "Tool names must be unique.", param="tools")


def _check_messages(messages: Any) -> None:
    require(isinstance(messages, list) and len(messages) > 0, "[] is too short - 'messages'", param="messages")
    awaited: list[str] = []
    for index, message in enumerate(messages):
        place = f"messages.[{index}]"
        unknown = sorted(set(message) - MESSAGE_FIELDS)
        require(not unknown, f"Additional properties are not allowed: {unknown} - '{place}'")
        if message["role"] == "tool":
            identity = message.get("tool_call_id")
            rule = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            require(identity in awaited, f"Invalid parameter: {rule}", param=f"{place}.role")
            awaited.remove(identity)
            continue
        rule = "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
        require(not awaited, f"{rule} 'tool_call_id'. Missing: {', '.join(awaited)}", param=place)
        awaited = _check_message(message, place)
    require(not awaited, f"No tool output for: {', '.join(awaited)}", param="messages")


def _check_message(message: Json, place: str) -> list[str]:
    """The call ids this message opens."""
    role, content = message["role"], message.get("content")
    require(
        role in ("system", "developer", "user", "assistant"),
        f"Invalid value: {role!r}",
        param=f"{place}.role",
    )
    calls = message.get("tool_calls")
    require(calls is None or (role == "assistant" and len(calls) > 0), f"[] is too short - '{place}.tool_calls'")
    if role != "assistant":
        require(content not in (None, "", []), f"Invalid value for 'content': {place}", param=f"{place}.content")
    has_text = content not in (None, "") or bool(message.get("refusal"))
    require(has_text or calls is not None, f"{place}: content or tool_calls is required", param=place)
    for call in calls or ():
        _check_call(call, place)
    return [call["id"] for call in calls or ()]


def _check_call(call: Json, place: str) -> None:
    require(set(call) == {"id", "type", call["type"]}, f"{place}.tool_calls: unknown or missing fields {call}")
    require(0 < len(call["id"]) <= 64, f"{place}.tool_calls: id is empty or longer than 64")
    require(NAME.fullmatch(call[call["type"]]["name"]) is not None, f"{place}.tool_calls: bad name")
    if call["type"] == "function":
        try:
            msgspec.json.decode(call["function"]["arguments"])
        except msgspec.DecodeError as error:
            raise RefusedError(f"{place}.tool_calls: arguments are not JSON") from error
