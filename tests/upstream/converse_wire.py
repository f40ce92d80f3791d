"""Amazon Bedrock's converse-stream wire: what it refuses, its signed reasoning, and its binary frames.

Source: Amazon Bedrock runtime API as botocore's service model describes it; "Event stream encoding".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from functools import cache
from struct import pack
from typing import Any
from urllib.parse import unquote

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

SECRET = b"the scripted upstream's own"
BAD = "ValidationException"
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")


class ConverseWire:
    """One instance per upstream; it numbers its answers."""

    name = "bedrock"
    is_binary = True

    def __init__(self, key: str) -> None:
        self._key = key
        self._answers = 0

    def check(self, headers: dict[str, str], body: Json) -> None:
        """Raises RefusedError where Bedrock answers 4xx."""
        if headers.get("authorization") != f"Bearer {self._key}":
            raise RefusedError("The security token is invalid.", status=403, type="UnrecognizedClientException")
        _check_shape({"modelId": unquote(body["model"])} | {k: v for k, v in body.items() if k != "model"})
        _check_messages(body)
        _check_tools(body)

    def asked(self, body: Json) -> Asked:
        """The request in neutral words."""
        texts: list[str] = []
        outputs: list[str] = []
        calls = 0
        for message in body["messages"]:
            said = [block["text"] for block in message["content"] if "text" in block]
            if message["role"] == "user" and said:
                texts.append(said[-1])
                outputs, calls = [], 0
            for block in message["content"]:
                calls += "toolUse" in block
                if "toolResult" in block:
                    outputs.append("".join(part.get("text", "") for part in block["toolResult"]["content"]))
        config = body.get("toolConfig") or {}
        choice = config.get("toolChoice") or (body.get("additionalModelRequestFields") or {}).get("tool_choice") or {}
        specs = [tool["toolSpec"] for tool in config.get("tools", ())]
        form = ((body.get("outputConfig") or {}).get("textFormat") or {}).get("structure") or {}
        system = " ".join(block["text"] for block in body.get("system", ()))
        schema = form.get("jsonSchema", {}).get("schema")
        extra = body.get("additionalModelRequestFields") or {}
        return Asked(
            model=body["model"],
            user_texts=tuple(texts),
            outputs=tuple(outputs),
            tools=tuple(ToolView(spec["name"], spec["inputSchema"]["json"]) for spec in specs),
            may_call="Do not call any tool" not in system,
            forced=_forced(choice),
            schema=msgspec.json.decode(schema) if schema else None,
            reasons="thinking" in extra,
            calls_since_user=calls,
        )

    def frames(self, script: Script, body: Json) -> list[bytes]:
        """The stream, one binary frame each."""
        self._answers += 1
        frames = [event("messageStart", {"role": "assistant"})]
        for index, step in enumerate(script.steps):
            frames += self._block(index, step)
        frames.append(event("messageStop", {"stopReason": _stop_reason(script)}))
        frames.append(event("metadata", {"usage": usage_of(script.counts), "metrics": {"latencyMs": 1}}))
        return frames

    def _block(self, index: int, step: Step) -> list[bytes]:
        at: Json = {"contentBlockIndex": index}
        frames: list[bytes] = []
        deltas: list[Json] = []
        match step:
            case Think(text):
                deltas = [{"reasoningContent": {"text": piece}} for piece in pieces(text, 9)]
                deltas.append({"reasoningContent": {"signature": signed(text)}})
            case Redacted():
                deltas = [{"reasoningContent": {"redactedContent": "aGlkZGVu"}}]
            case Say(text, size):
                deltas = [{"text": piece} for piece in pieces(text, size)]
            case Decline(text):
                deltas = [{"text": text}]
            case Call():
                identity = step.call_id or f"tooluse_{self._answers:04}{index:04}"
                start = {"toolUse": {"toolUseId": identity, "name": step.name}}
                frames.append(event("contentBlockStart", at | {"start": start}))
                parts = pieces(step.arguments, 5) if step.arguments != "{}" else []
                deltas = [{"toolUse": {"input": part}} for part in parts]
        frames += [event("contentBlockDelta", at | {"delta": delta, "p": "abcdef"}) for delta in deltas]
        return [*frames, event("contentBlockStop", at)]

    def error_event(self, failure: Failure) -> bytes:
        kinds = {429: "throttlingException", 503: "serviceUnavailableException", 400: "validationException"}
        kind = kinds.get(failure.status, "internalServerException")
        headers = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
        return frame(headers, msgspec.json.encode({"message": failure.message}))

    def error_body(self, failure: Failure) -> bytes:
        kinds = {429: "ThrottlingException", 503: "ServiceUnavailableException", 404: "ResourceNotFoundException"}
        kind = failure.code or kinds.get(failure.status, failure.type)
        return msgspec.json.encode({"__type": kind, "message": failure.message})


def event(kind: str, payload: Json) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, msgspec.json.encode(payload))


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One frame of an AWS event stream."""
    block = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = pack(">II", 16 + len(block) + len(payload), len(block))
    whole = prelude + pack(">I", zlib.crc32(prelude)) + block + payload
    return whole + pack(">I", zlib.crc32(whole))


def signed(text: str) -> str:
    return hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()


def usage_of(counts: Counts) -> Json:
    return {
        "inputTokens": counts.input - counts.cached - counts.cache_write,
        "cacheReadInputTokens": counts.cached,
        "cacheWriteInputTokens": counts.cache_write,
        "outputTokens": counts.output,
        "totalTokens": counts.input + counts.output,
    }


def _stop_reason(script: Script) -> str:
    if any(isinstance(step, Decline) for step in script.steps) or script.finish == "content_filter":
        return "content_filtered"
    if script.finish == "length":
        return "max_tokens"
    return "tool_use" if any(isinstance(step, Call) for step in script.steps) else "end_turn"


def _forced(choice: Json) -> str | None:
    if "any" in choice or choice.get("type") == "any":
        return ""
    named: Json = choice.get("tool") or (choice if choice.get("type") == "tool" else {})
    return named.get("name")


@cache
def _shape() -> Any:
    import botocore.session

    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    return model.operation_model("ConverseStream").input_shape


def _check_shape(body: Json) -> None:
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(body, _shape())
    require(not report.has_errors(), report.generate_report(), type=BAD)


def _check_messages(body: Json) -> None:
    messages = body["messages"]
    require(
        len(messages) > 0 and messages[0]["role"] == "user", "A conversation must start with a user message.", type=BAD
    )
    require(messages[-1]["role"] == "user", "The conversation must end with a user message.", type=BAD)
    awaited: list[str] = []
    role_before = ""
    for index, message in enumerate(messages):
        require(message["role"] != role_before, f"messages.{index}: roles must alternate", type=BAD)
        role_before = message["role"]
        blocks = message["content"]
        require(len(blocks) > 0, f"messages.{index}: content must not be empty", type=BAD)
        results = [block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block]
        require(
            sorted(results) == sorted(awaited), f"messages.{index}: toolResult blocks do not match toolUse", type=BAD
        )
        first = ["toolResult" in block for block in blocks[: len(results)]]
        require(all(first), f"messages.{index}: toolResult blocks must come first", type=BAD)
        awaited = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
        is_cut = message["role"] == "assistant" and "reasoningContent" in blocks[-1]
        require(not is_cut, f"messages.{index}: The final block cannot be `reasoningContent`.", type=BAD)
        for block in blocks:
            _check_block(block, message["role"], f"messages.{index}")


def _check_block(block: Json, role: str, place: str) -> None:
    kinds = [kind for kind in block if kind != "cachePoint"]
    require(len(block) == 1, f"{place}: a block has one kind, not {kinds}", type=BAD)
    if "text" in block:
        require(block["text"].strip() != "", f"{place}: The text field in the ContentBlock is blank", type=BAD)
    if "toolUse" in block:
        use = block["toolUse"]
        require(role == "assistant", f"{place}: toolUse from the user", type=BAD)
        require(CALL_ID.fullmatch(use["toolUseId"]) is not None, f"{place}: toolUseId {use['toolUseId']!r}", type=BAD)
        require(NAME.fullmatch(use["name"]) is not None, f"{place}: name {use['name']!r}", type=BAD)
    reasoning = block.get("reasoningContent", {}).get("reasoningText")
    if reasoning is not None:
        rule = "The signature of the reasoning block is invalid"
        require(reasoning.get("signature") == signed(reasoning["text"]), f"{place}: {rule}", type=BAD)


def _check_tools(body: Json) -> None:
    config = body.get("toolConfig")
    used = any("toolUse" in block for message in body["messages"] for block in message["content"])
    require(config is not None or not used, "The toolConfig field must be defined when using toolUse", type=BAD)
    if config is None:
        return
    specs = [tool["toolSpec"] for tool in config["tools"]]
    require(len(specs) > 0, "toolConfig.tools must not be empty", type=BAD)
    names = [spec["name"] for spec in specs]
    require(len(set(names)) == len(names), "The tool names must be unique", type=BAD)
    for spec in specs:
        require(bool(spec.get("description", "x")), "toolSpec.description must not be empty", type=BAD)
        require(spec["inputSchema"]["json"].get("type") == "object", "inputSchema must be of type object", type=BAD)
    extra = body.get("additionalModelRequestFields") or {}
    both = "toolChoice" in config and "tool_choice" in extra
    require(not both, "tool_choice is set twice", type=BAD)
