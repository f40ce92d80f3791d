"""A folder of recorded bytes, read as a test case. The files and their fields: README.md beside this file."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from tests.harness.spread import spread

from antiphon.protocol.deltas import CallArguments, Delta, Failed, Finished, Refusal, Summary, Text, Thought
from antiphon.protocol.errors import InvalidRequest, UpstreamFault
from antiphon.protocol.items import Reasoning
from antiphon.protocol.parsing import parse_request
from antiphon.providers.base import (
    Dialect,
    Entry,
    HttpRequest,
    ModelTurn,
    ReplayedReasoning,
    ReplayRecord,
    Target,
    Turn,
    Vendor,
)
from antiphon.providers.quirks import Quirks

HERE = Path(__file__).parent
DIALECTS = {
    "chat_completions": "ChatCompletions",
    "responses": "Responses",
    "anthropic": "Anthropic",
    "gemini": "Gemini",
    "bedrock": "Bedrock",
    "cohere": "Cohere",
    "sim": "Simulator",
}
MODULES = {"sim": "simulator"}
"""Dialects whose module is not named as they are."""
FINISH_MARKERS = {
    "chat_completions": rb'"finish_reason":\s*"',
    "responses": rb'"type":\s*"response\.(completed|incomplete|done)"',
    "anthropic": rb'"stop_reason":\s*"',
    "gemini": rb'"finishReason":\s*"',
    "bedrock": rb'"stopReason":\s*"',
    "cohere": rb'"type":\s*"message-end"',
    "sim": rb'"type":"stop"[^\n]*\n',
}
"""What must have been read before an answer may count as finished."""
SECRETS = {"authorization", "x-api-key", "api-key", "x-goog-api-key"}


class TargetFile(msgspec.Struct, forbid_unknown_fields=True):
    """`target.toml`: where the turn goes. Every field may be left out."""

    vendor: str = "vendor"
    model: str = ""
    base_url: str = "https://upstream.example/v1"
    auth: str = "bearer"
    api_key: str = "key"
    scope: str = "account"
    is_local: bool = False
    headers: dict[str, str] = {}
    quirks: Quirks = Quirks()
    finish_marker: str = ""
    """A regular expression of bytes in place of the dialect's own FINISH_MARKERS."""


class ContextFile(msgspec.Struct, forbid_unknown_fields=True):
    """`turn.json` in its long form; `pending` are records of paused calls of this very turn."""

    request: dict[str, Any]
    context: list[dict[str, Any]] = []
    pending: list[dict[str, Any]] = []


@dataclass(frozen=True)
class Recording:
    """One case folder."""

    path: Path

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    @cached_property
    def dialect(self) -> Dialect:
        name = self.path.parent.name
        module = importlib.import_module(f"antiphon.providers.{MODULES.get(name, name)}")
        return getattr(module, DIALECTS[name])()

    @cached_property
    def target_file(self) -> TargetFile:
        path = self.path / "target.toml"
        return msgspec.toml.decode(path.read_bytes(), type=TargetFile) if path.exists() else TargetFile()

    @cached_property
    def target(self) -> Target:
        said = self.target_file
        vendor = Vendor(
            name=said.vendor,
            dialect=self.path.parent.name,  # type: ignore[arg-type]
            base_url=said.base_url,
            auth=said.auth,  # type: ignore[arg-type]
            api_key=said.api_key,
            headers=said.headers,
            quirks=said.quirks,
            scope=said.scope,
            is_local=said.is_local,
        )
        return Target(vendor, said.model or self.turn.request.model)

    @cached_property
    def turn(self) -> Turn:
        body = (self.path / "turn.json").read_bytes()
        document = msgspec.json.decode(body)
        if "request" not in document:
            request = parse_request(body)
            return Turn(request, tuple(entry.item for entry in request.input))
        file = msgspec.convert(document, ContextFile)
        request = parse_request(msgspec.json.encode(file.request))
        past = tuple(_entry(written) for written in file.context)
        pending = tuple(msgspec.convert(_raw_blocks(record), ReplayRecord) for record in file.pending)
        return Turn(request, past + tuple(entry.item for entry in request.input), pending)

    @cached_property
    def http_request(self) -> HttpRequest:
        return self.dialect.encode(self.turn, self.target)

    @cached_property
    def response(self) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and raw body; None where the turn is refused before anything is sent."""
        path = self.path / "response.http"
        if not path.exists():
            return None
        head, _, body = path.read_bytes().partition(b"\n\n")
        status_line, *lines = head.decode().splitlines()
        pairs = (line.split(":", 1) for line in lines)
        return int(status_line.split()[1]), {name.lower(): value.strip() for name, value in pairs}, body

    @property
    def body(self) -> bytes:
        assert self.response is not None
        return self.response[2]

    @property
    def finish_marker(self) -> re.Pattern[bytes]:
        own = self.target_file.finish_marker
        return re.compile(own.encode() if own else FINISH_MARKERS[self.path.parent.name])

    def decode(self, *chunks: bytes) -> list[Delta]:
        """The deltas of an answer that came in these chunks. Raises TruncatedStream."""
        decoder = self.dialect.decoder(self.target, self.http_request)
        deltas = [delta for chunk in chunks for delta in decoder.feed(chunk)]
        return deltas + decoder.close()

    def encoded(self) -> dict[str, Any]:
        """What request.json says: the call, or the refusal."""
        try:
            request = self.http_request
        except InvalidRequest as error:
            return {"error": {"message": error.message, "param": error.param, "code": error.code}}
        headers = {name: value for name, value in request.headers if name not in SECRETS}
        return {
            "method": request.method,
            "url": request.url,
            "headers": headers,
            "body": msgspec.json.decode(request.body),
            "dropped": list(request.dropped),
            "removed": [list(pair) for pair in request.removed],
        }


def recordings() -> list[Recording]:
    """Every case folder of every dialect."""
    return [Recording(path.parent) for path in sorted(HERE.glob("*/*/turn.json"))]


def _entry(written: dict[str, Any]) -> Entry:
    """One entry of a long turn.json: an item, a model turn, or a reasoning item with its record."""
    if "items" in written:
        record = written.get("record")
        items = _items(written["items"])
        return ModelTurn(items, msgspec.convert(_raw_blocks(record), ReplayRecord) if record else None)
    if "reasoning" in written:
        (item,) = _items([written["reasoning"]])
        assert isinstance(item, Reasoning)
        return ReplayedReasoning(item, msgspec.convert(_raw_blocks(written["record"]), ReplayRecord))
    (item,) = _items([written])
    return item


def _items(written: list[dict[str, Any]]) -> tuple[Any, ...]:
    body = msgspec.json.encode({"model": "m", "input": written})
    return tuple(entry.item for entry in parse_request(body).input)


def _raw_blocks(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"blocks": msgspec.Raw(msgspec.json.encode(record["blocks"]))}


def written(deltas: list[Delta]) -> list[dict[str, Any]]:
    """Deltas as deltas.json holds them: the class under `delta`, then its fields, defaults left out."""
    return [_written(delta) for delta in joined(deltas)]


def _written(delta: Delta) -> dict[str, Any]:
    if isinstance(delta, Failed):
        return {"delta": "Failed", "error": written_fault(delta.error)}
    fields = {name: getattr(delta, name) for name in delta.__struct_fields__}
    named = dict(zip(delta.__struct_fields__[::-1], delta.__struct_defaults__[::-1], strict=False))
    kept = {
        name: value
        for name, value in fields.items()
        if name not in named or named[name] is msgspec.NODEFAULT or value != named[name]
    }
    return {"delta": type(delta).__name__, **msgspec.json.decode(msgspec.json.encode(kept))}


def written_fault(fault: UpstreamFault) -> dict[str, Any]:
    return {"kind": fault.kind, "message": fault.message, "status": fault.status}


def joined(deltas: list[Delta]) -> list[Delta]:
    """The same answer in as few pieces as can be: neighbours that only continue one another are one."""
    joint: list[Delta] = []
    for delta in spread(deltas):
        last = joint[-1] if joint else None
        if isinstance(delta, Text | Refusal | Summary | Thought | CallArguments) and type(last) is type(delta):
            whole = msgspec.structs.replace(last, text=last.text + delta.text)
            if whole == msgspec.structs.replace(delta, text=whole.text) and _has_no_logprobs(delta):
                joint[-1] = whole
                continue
        joint.append(delta)
    return joint


def _has_no_logprobs(delta: Delta) -> bool:
    return not isinstance(delta, Text) or delta.logprobs is None


def is_finished(deltas: list[Delta]) -> bool:
    return any(isinstance(delta, Finished) for delta in deltas)
