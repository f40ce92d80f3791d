"""The Responses wire as OpenAI speaks it to a stateless caller: what it refuses, and its stream's events.

Reasoning is sealed with an HMAC over its summary; sealed text must come back byte for byte, followed by an
item of its own turn. Nothing is kept here: ids that were never issued, references and `previous_response_id`
are refused.
Source: OpenAI OpenAPI `CreateResponse`; error texts as the live API words them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from tests.upstream.chat_wire import pieces
from tests.upstream.claude_wire import signed
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
CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}


class NativeWire:
    """One instance per upstream; it numbers its answers and knows the ids it issued."""

    name = "responses"
    is_binary = False

    def __init__(self, key: str) -> None:
        self._key = key
        self._answers = 0
        self._issued: set[str] = set()

    def check(self, headers: dict[str, str], body: Json) -> None:
        """Raises RefusedError where OpenAI answers 4xx."""
        if headers.get("authorization") != f"Bearer {self._key}":
            raise RefusedError("Incorrect API key provided.", status=401, code="invalid_api_key")
        for name in sorted(set(body) - known_fields(self.name)):
            raise RefusedError(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
        require(body.get("store") is False, "this upstream keeps no state: store must be false", param="store")
        for name in ("previous_response_id", "conversation"):
            rule = f"Previous response with id {body.get(name)!r} not found."
            require(body.get(name) is None, rule, code="previous_response_not_found", param=name)
        _check_tools(body)
        items = body["input"]
        if isinstance(items, str):
            require(items != "", "input must not be empty", param="input")
            return
        require(len(items) > 0, "input must not be empty", param="input")
        for index, item in enumerate(items):
            self._check_item(item, f"input[{index}]")
        _check_pairs(items)
        _check_followers(items)

    def _check_item(self, item: Json, place: str) -> None:
        kind = item.get("type", "message")
        require(kind != "item_reference", f"Item with id {item.get('id')!r} not found.", status=404, param="input")
        identity = item.get("id")
        prefix = PREFIXES.get(kind, "")
        if identity is not None:
            rule = f"Invalid '{place}.id': '{identity}'. Expected an ID that begins with '{prefix}'."
            require(identity.startswith(prefix), rule, code="invalid_value", param=f"{place}.id")
            gone = "Items are not persisted when `store` is set to false."
            is_sealed = kind == "reasoning" and bool(item.get("encrypted_content"))
            is_known = identity in self._issued and (kind != "reasoning" or is_sealed)
            require(is_known, f"Item with id '{identity}' not found. {gone}", status=404, param="input")
        require("status" not in item or item["status"] is not None, f"Invalid '{place}.status': null", param=place)
        if kind == "reasoning":
            require("summary" in item, f"Missing required parameter: '{place}.summary'.", param=f"{place}.summary")
            text = "".join(part["text"] for part in item["summary"])
            sealed = item.get("encrypted_content")
            require(sealed == "sealed." + signed(text), f"{place}: encrypted content could not be verified.")

    def asked(self, body: Json) -> Asked:
        """The request in neutral words."""
        items = body["input"]
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        users = [index for index, item in enumerate(items) if item.get("role") == "user"]
        since = items[users[-1] + 1 :] if users else items
        choice = body.get("tool_choice") or "auto"
        form = (body.get("text") or {}).get("format") or {}
        tools = [tool for tool in body.get("tools") or () if tool["type"] in ("function", "custom")]
        return Asked(
            model=body["model"],
            user_texts=tuple(_text(items[index]["content"]) for index in users),
            outputs=tuple(_text(item["output"]) for item in since if item.get("type") in CALLS.values()),
            tools=tuple(ToolView(tool["name"], tool.get("parameters") or {}, tool["type"]) for tool in tools),
            may_call=choice != "none",
            forced="" if choice == "required" else choice.get("name") if isinstance(choice, dict) else None,
            schema=form.get("schema") if form.get("type") == "json_schema" else None,
            reasons=(body.get("reasoning") or {}).get("effort") not in (None, "none"),
            calls_since_user=sum(item.get("type") in CALLS for item in since),
        )

    def frames(self, script: Script, body: Json) -> list[bytes]:
        """The stream, one SSE event each."""
        self._answers += 1
        stream = _Stream(f"resp_up{self._answers:06}", body)
        for step in script.steps:
            self._issued.add(stream.add(step))
        return stream.end(script)

    def error_event(self, failure: Failure) -> bytes:
        error: Json = {"type": failure.type, "code": failure.code, "message": failure.message, "param": None}
        event = {"type": "error", "sequence_number": 99, "error": error} | error | {"type": "error"}
        return b"event: error\ndata: " + msgspec.json.encode(event)

    def error_body(self, failure: Failure) -> bytes:
        error = {"message": failure.message, "type": failure.type, "param": None, "code": failure.code}
        return msgspec.json.encode({"error": error})


class _Stream:
    """Builds the events of one answer."""

    def __init__(self, identity: str, body: Json) -> None:
        self._response: Json = {"id": identity, "object": "response", "created_at": 1700000000}
        self._response |= {"status": "in_progress", "model": body["model"], "output": [], "usage": None}
        self._response |= {
            "error": None,
            "incomplete_details": None,
            "parallel_tool_calls": True,
            "tools": [],
        }
        self._response |= {"tool_choice": "auto", "metadata": {}, "service_tier": "default", "store": False}
        self._body = body
        self._frames: list[bytes] = []
        self._output: list[Json] = []
        self._emit("response.created", response=self._response)
        self._emit("response.in_progress", response=self._response)

    def _emit(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": len(self._frames)} | fields
        self._frames.append(f"event: {kind}\ndata: ".encode() + msgspec.json.encode(event))

    def add(self, step: Step) -> str:
        """One output item; returns its id."""
        index = len(self._output)
        stem = f"{self._response['id'][5:]}{index:02}"
        match step:
            case Think(text) | Say(text) | Decline(text):
                item = self._text_item(step, text, stem, index)
            case Redacted():
                item = self._text_item(Think(""), "", stem, index)
            case Call():
                item = self._call_item(step, stem, index)
        self._emit("response.output_item.done", output_index=index, item=item)
        self._output.append(item)
        return item["id"]

    def _text_item(self, step: Step, text: str, stem: str, index: int) -> Json:
        if isinstance(step, Think):
            item: Json = {"id": f"rs_{stem}", "type": "reasoning", "summary": []}
            self._emit("response.output_item.added", output_index=index, item=item)
            place: Json = {"item_id": item["id"], "output_index": index, "summary_index": 0}
            part: Json = {"type": "summary_text", "text": text}
            if text:
                self._emit("response.reasoning_summary_part.added", part=part | {"text": ""}, **place)
                for piece in pieces(text, 9):
                    self._emit("response.reasoning_summary_text.delta", delta=piece, **place)
                self._emit("response.reasoning_summary_text.done", text=text, **place)
                self._emit("response.reasoning_summary_part.done", part=part, **place)
            wants = "reasoning.encrypted_content" in (self._body.get("include") or ())
            sealed = {"encrypted_content": "sealed." + signed(text)} if wants else {}
            return item | {"summary": [part] if text else []} | sealed
        item = {
            "id": f"msg_{stem}",
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        self._emit("response.output_item.added", output_index=index, item=item)
        is_refusal = isinstance(step, Decline)
        field, kind = ("refusal", "refusal") if is_refusal else ("text", "output_text")
        extra: Json = {} if is_refusal else {"annotations": [], "logprobs": []}
        part = {"type": kind, field: text} | extra
        place = {"item_id": item["id"], "output_index": index, "content_index": 0}
        logprobs: Json = {} if is_refusal else {"logprobs": []}
        self._emit("response.content_part.added", part=part | {field: ""}, **place)
        for piece in pieces(text, 7):
            self._emit(f"response.{kind}.delta", delta=piece, **logprobs, **place)
        self._emit(f"response.{kind}.done", **{field: text}, **logprobs, **place)
        self._emit("response.content_part.done", part=part, **place)
        return item | {"status": "completed", "content": [part]}

    def _call_item(self, call: Call, stem: str, index: int) -> Json:
        is_function = call.kind == "function"
        field = "arguments" if is_function else "input"
        kind = "function_call_arguments" if is_function else "custom_tool_call_input"
        item: Json = {
            "id": f"{'fc' if is_function else 'ctc'}_{stem}",
            "call_id": f"call_{stem}",
            "name": call.name,
        }
        item |= {
            "type": "function_call" if is_function else "custom_tool_call",
            "status": "in_progress",
            field: "",
        }
        if call.namespace is not None:
            item["namespace"] = call.namespace
        self._emit("response.output_item.added", output_index=index, item=item)
        place = {"item_id": item["id"], "output_index": index}
        for piece in pieces(call.arguments, 5):
            self._emit(f"response.{kind}.delta", delta=piece, **place)
        self._emit(f"response.{kind}.done", **{field: call.arguments}, **place)
        return item | {"status": "completed", field: call.arguments}

    def end(self, script: Script) -> list[bytes]:
        """The terminal event, and all frames."""
        status = {"stop": "completed"}.get(script.finish, "incomplete")
        response = self._response | {
            "status": status,
            "output": self._output,
            "usage": usage_of(script.counts),
        }
        if status == "incomplete":
            reason = "max_output_tokens" if script.finish == "length" else script.finish
            response["incomplete_details"] = {"reason": reason}
        self._emit(f"response.{status}", response=response)
        return self._frames


def usage_of(counts: Counts) -> Json:
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cached_tokens": counts.cached, "cache_write_tokens": counts.cache_write},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.input + counts.output,
    }


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _check_tools(body: Json) -> None:
    tools = body.get("tools") or []
    names = [tool["name"] for tool in tools if tool["type"] in ("function", "custom", "namespace")]
    require(len(set(names)) == len(names), "Tool names must be unique.", param="tools")
    for name in names:
        require(NAME.fullmatch(name) is not None, f"Invalid 'tools[].name': {name!r}", param="tools")
    if isinstance(body.get("tool_choice"), dict):
        require(bool(tools), "Tool choice was given without tools.", param="tool_choice")


def _check_pairs(items: list[Json]) -> None:
    opened = {item["call_id"] for item in items if item.get("type") in CALLS}
    closed = {item["call_id"] for item in items if item.get("type") in CALLS.values()}
    for orphan in sorted(closed - opened):
        raise RefusedError(f"No tool call found for function call output with call_id {orphan}.", param="input")
    for orphan in sorted(opened - closed):
        raise RefusedError(f"No tool output found for function call {orphan}.", param="input")


def _check_followers(items: list[Json]) -> None:
    for index, item in enumerate(items):
        if item.get("type") != "reasoning":
            continue
        after = items[index + 1] if index + 1 < len(items) else {}
        is_followed = after.get("type") in (*CALLS, "reasoning") or after.get("role") == "assistant"
        rule = "of type 'reasoning' was provided without its required following item."
        require(is_followed, f"Item '{item.get('id')}' {rule}", param="input")
