"""The Gemini API's generateContent wire: what it refuses, its signatures, and the chunks of its stream.

The first call of an answer and its last text bear a signature; what comes back must be one that was issued, or the
word that skips the check. The first call of each step of the current turn must bear one.
Source: Gemini API reference (v1beta), "Thought signatures", "Function calling".
"""

from __future__ import annotations

import base64
import hashlib
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

SKIP = "skip_thought_signature_validator"
BODY = {
    *("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "serviceTier"),
    *("store", "labels", "cachedContent", "continuationToken"),
}
PART_KINDS = {
    *("text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"),
    *("toolCall", "toolResponse"),
}


class GeminiWire:
    """One instance per upstream; it remembers the signatures it has issued."""

    name = "gemini"
    is_binary = False

    def __init__(self, key: str) -> None:
        self._key = key
        self._answers = 0
        self._issued: set[str] = set()
        self._tokens: dict[str, tuple[Any, ...]] = {}

    def check(self, headers: dict[str, str], body: Json) -> None:
        """Raises RefusedError where Google answers 4xx."""
        if headers.get("x-goog-api-key") != self._key:
            raise RefusedError("API key not valid.", status=400, type="INVALID_ARGUMENT", code="API_KEY_INVALID")
        body = {name: value for name, value in body.items() if name != "model"}
        unknown = sorted(set(body) - BODY)
        require(not unknown, f'Invalid JSON payload received. Unknown name "{", ".join(unknown)}"', type=BAD)
        _check_types(body)
        _check_tools(body)
        self._check_contents(body["contents"])
        token = body.get("continuationToken")
        require(token is None or token in self._tokens, "Invalid continuation token.", type=BAD)

    def _check_contents(self, contents: list[Json]) -> None:
        require(len(contents) > 0, "contents is not specified", type=BAD)
        require(contents[0]["role"] == "user", "Please ensure that the first content is from the user", type=BAD)
        awaited: list[Json] = []
        turn = max((i for i, one in enumerate(contents) if one["role"] == "user" and _texts(one)), default=0)
        for index, content in enumerate(contents):
            parts, place = content.get("parts") or [], f"contents[{index}]"
            require(content["role"] in ("user", "model"), "Please use a valid role: user, model.", type=BAD)
            require(len(parts) > 0, f"{place}.parts must not be empty.", type=BAD)
            answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
            if answers or awaited:
                rule = "the number of function response parts is equal to the number of function call parts"
                require(len(answers) == len(awaited) == len(parts), f"Please ensure that {rule}", type=BAD)
                for call, answer in zip(awaited, answers, strict=True):
                    require(answer["name"] == call["name"], f"{place}: function response names must match", type=BAD)
                    require(answer.get("id") == call.get("id"), f"{place}: function response ids must match", type=BAD)
                    require("$ref" not in answer["response"], f"{place}: $ref of media not found", type=BAD)
            awaited = [part["functionCall"] for part in parts if "functionCall" in part]
            require(not awaited or content["role"] == "model", f"{place}: function call from the user", type=BAD)
            self._check_signatures(parts, place, is_current=index > turn)
        require(not awaited, "Please ensure that function call turn comes with its responses", type=BAD)

    def _check_signatures(self, parts: list[Json], place: str, *, is_current: bool) -> None:
        for part in parts:
            signature = part.get("thoughtSignature")
            known = signature is None or signature in self._issued or signature == SKIP
            require(known, f"{place}: Corrupted thought signature.", type=BAD)
        first = next((part for part in parts if "functionCall" in part), None)
        signed = first is None or "thoughtSignature" in first or not is_current
        require(signed, f"{place}: Function call is missing a thought_signature", type=BAD)

    def asked(self, body: Json) -> Asked:
        """The request in neutral words."""
        texts: list[str] = []
        outputs: list[str] = []
        calls = 0
        for content in body["contents"]:
            if content["role"] == "user" and _texts(content):
                texts.append(_texts(content)[-1])
                outputs, calls = [], 0
            for part in content["parts"]:
                calls += "functionCall" in part
                if "functionResponse" in part:
                    said = part["functionResponse"]["response"]
                    outputs.append(str(said.get("output", said.get("error"))))
        calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        mode = calling.get("mode", "AUTO")
        config = body.get("generationConfig") or {}
        declared = [one for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]
        thinking = config.get("thinkingConfig") or {}
        return Asked(
            model=body["model"],
            user_texts=tuple(texts),
            outputs=tuple(outputs),
            tools=tuple(ToolView(one["name"], one["parametersJsonSchema"]) for one in declared),
            may_call=mode != "NONE",
            forced=(calling.get("allowedFunctionNames") or [""])[0] if mode == "ANY" else None,
            schema=config.get("responseJsonSchema"),
            reasons=bool(thinking.get("includeThoughts") or thinking.get("thinkingBudget")),
            calls_since_user=calls,
        )

    def frames(self, script: Script, body: Json) -> list[bytes]:
        """The stream, one chunk each."""
        self._answers += 1
        steps: tuple[Step, ...] = script.steps
        if "continuationToken" in body:
            steps, script = self._tokens.pop(body["continuationToken"])
        parts: list[Json] = []
        token = None
        for index, step in enumerate(steps):
            parts += self._parts(index, step, body, has_call=any("functionCall" in part for part in parts))
            if isinstance(step, Say) and step.text.endswith("[long]"):
                token = self._sign(body, f"token{index}")
                self._tokens[token] = (steps[index + 1 :], script)
                break
        if parts and "text" in parts[-1] and not parts[-1].get("thought"):
            parts.append({"text": "", "thoughtSignature": self._sign(body, "text")})
        chunks = [self._chunk(body, [part], script.counts) for part in parts]
        last = self._chunk(body, None, script.counts)
        last["candidates"][0] |= {"finishReason": "CONTINUATION" if token else _finish_reason(script)}
        if token:
            last["candidates"][0]["continuationToken"] = token
        return [b"data: " + msgspec.json.encode(chunk) for chunk in [*chunks, last]]

    def _parts(self, index: int, step: Step, body: Json, *, has_call: bool) -> list[Json]:
        match step:
            case Think(text):
                return [{"text": piece, "thought": True} for piece in pieces(text, 9)]
            case Redacted():
                return []
            case Say(text, size):
                return [{"text": piece} for piece in pieces(text, size)]
            case Decline(text):
                return [{"text": text}]
            case Call():
                call: Json = {"name": step.name, "args": msgspec.json.decode(step.arguments)}
                if step.call_id != "":
                    call["id"] = step.call_id or f"fc-{self._answers:04}-{index:04}"
                return [
                    {"functionCall": call} | ({} if has_call else {"thoughtSignature": self._sign(body, f"{index}")})
                ]

    def _sign(self, body: Json, what: str) -> str:
        digest = hashlib.sha256(f"{body['model']}/{self._answers}/{what}".encode()).digest()
        signature = base64.b64encode(digest).decode()
        self._issued.add(signature)
        return signature

    def _chunk(self, body: Json, parts: list[Json] | None, counts: Counts) -> Json:
        content = {} if parts is None else {"content": {"role": "model", "parts": parts}}
        return {
            "candidates": [content | {"index": 0}],
            "modelVersion": body["model"],
            "responseId": f"up{self._answers:06}",
            "usageMetadata": usage_of(counts),
        }

    def error_event(self, failure: Failure) -> bytes:
        return b"data: " + self.error_body(failure)

    def error_body(self, failure: Failure) -> bytes:
        details = (
            [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": failure.code}] if failure.code else []
        )
        status = STATUSES.get(failure.status, failure.type)
        error = {"code": failure.status, "message": failure.message, "status": status, "details": details}
        return msgspec.json.encode({"error": error})


BAD = "INVALID_ARGUMENT"
STATUSES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def usage_of(counts: Counts) -> Json:
    return {
        "promptTokenCount": counts.input,
        "cachedContentTokenCount": counts.cached,
        "candidatesTokenCount": counts.output - counts.reasoning,
        "thoughtsTokenCount": counts.reasoning,
        "totalTokenCount": counts.input + counts.output,
    }


def _finish_reason(script: Script) -> str:
    if any(isinstance(step, Decline) for step in script.steps) or script.finish == "content_filter":
        return "SAFETY"
    return "MAX_TOKENS" if script.finish == "length" else "STOP"


def _texts(content: Json) -> list[str]:
    return [part["text"] for part in content["parts"] if part.get("text") and not part.get("thought")]


def _check_types(body: Json) -> None:
    from google.genai import types
    from pydantic import ValidationError

    try:
        for content in body["contents"]:
            types.Content.model_validate(content)
            for part in content.get("parts", ()):
                kinds = set(part) & PART_KINDS
                require(len(kinds) == 1, f"a part has one kind of data, not {sorted(kinds)}", type=BAD)
        if "systemInstruction" in body:
            types.Content.model_validate(body["systemInstruction"])
        for tool in body.get("tools", ()):
            types.Tool.model_validate(tool)
        types.ToolConfig.model_validate(body.get("toolConfig", {}))
        types.GenerationConfig.model_validate(body.get("generationConfig", {}))
    except (ValidationError, KeyError) as error:
        raise RefusedError(f"not of the SDK's type: {error}", type=BAD) from error


def _check_tools(body: Json) -> None:
    declared = [one["name"] for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]
    require(len(set(declared)) == len(declared), "Duplicate function declaration found", type=BAD)
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig")
    rule = "Function calling config is set without function_declarations."
    require(calling is None or bool(declared), rule, type=BAD)
    allowed = (calling or {}).get("allowedFunctionNames") or []
    require(set(allowed) <= set(declared), "allowed_function_names must be declared", type=BAD)
    require(not allowed or calling["mode"] in ("ANY", "VALIDATED"), "allowed names need mode ANY", type=BAD)
    thinking = (body.get("generationConfig") or {}).get("thinkingConfig") or {}
    both = "thinkingLevel" in thinking and "thinkingBudget" in thinking
    require(not both, "You can only set only one of thinking budget and thinking level.", type=BAD)
