"""Short ways to say a turn, a target and an answer in the tests of the chat_completions dialect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from tests.harness.spread import spread

from antiphon.protocol.deltas import CallArguments, CallStarted, Delta, Finished, Kept, Text, Thought
from antiphon.protocol.request import CreateResponse
from antiphon.providers.base import Entry, HttpRequest, ReplayRecord, Target, Turn, Vendor
from antiphon.providers.chat_completions import ChatCompletions
from antiphon.providers.quirks import ChatQuirks, Quirks

DIALECT = ChatCompletions()
OPENAI = ChatQuirks(
    system_role="developer",
    max_tokens_field="max_completion_tokens",
    tuning=frozenset(
        {
            "temperature",
            "top_p",
            "presence_penalty",
            "frequency_penalty",
            "logprobs",
            "parallel_tool_calls",
            "verbosity",
            "user",
            "metadata",
            "safety_identifier",
            "service_tier",
            "prompt_cache_key",
            "prompt_cache_retention",
            "prompt_cache_options",
            "store",
        }
    ),
    effort_map={},
    inputs=frozenset({"image", "image_url", "audio", "file"}),
    has_original_detail=True,
    prompt_cache_breakpoint="native",
    custom_tools="native",
    tool_choices=frozenset({"none", "required", "function", "allowed_tools"}),
    has_refusal_field=True,
)


def target(quirks: ChatQuirks | None = None, *, scope: str = "account", model: str = "m") -> Target:
    vendor = Vendor(
        "vendor",
        "chat_completions",
        "https://upstream.example/v1",
        api_key="key",
        scope=scope,
        quirks=Quirks(chat_completions=quirks or ChatQuirks()),
    )
    return Target(vendor, model)


def encode(*context: Entry, quirks: ChatQuirks | None = None, **fields: Any) -> HttpRequest:
    request = CreateResponse(model="m", **fields)
    return DIALECT.encode(Turn(request, context), target(quirks))


def body(*context: Entry, quirks: ChatQuirks | None = None, **fields: Any) -> dict[str, Any]:
    return msgspec.json.decode(encode(*context, quirks=quirks, **fields).body)


def messages(*context: Entry, quirks: ChatQuirks | None = None, **fields: Any) -> list[dict[str, Any]]:
    return body(*context, quirks=quirks, **fields)["messages"]


def sse(*chunks: Any, is_done: bool = True) -> bytes:
    """Chunks as events; a bytes chunk is written as it is."""
    frames = [chunk if isinstance(chunk, bytes) else msgspec.json.encode(chunk) for chunk in chunks]
    ends = [b"[DONE]"] if is_done else []
    return b"".join(b"data: " + frame + b"\n\n" for frame in [*frames, *ends])


def said(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """One chunk with one choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "model": "m-1", "choices": [choice]}


STOP = said("stop")
CALLED = said("tool_calls")


def piece(index: int | None = None, call_id: str | None = None, name: str | None = None, args: Any = None) -> Any:
    """One chunk with a piece of one tool call; what is None is absent."""
    function = {key: value for key, value in (("name", name), ("arguments", args)) if value is not None}
    call = {key: value for key, value in (("index", index), ("id", call_id)) if value is not None}
    return said(tool_calls=[{**call, "function": function}])


def decode(
    *chunks: Any, quirks: ChatQuirks | None = None, request: HttpRequest | None = None, **options: Any
) -> list[Delta]:
    """The deltas of a stream of chunks. Raises what the decoder raises."""
    is_done = options.pop("is_done", True)
    return decode_bytes(sse(*chunks, is_done=is_done), quirks=quirks, request=request, **options)


def decode_bytes(
    raw: bytes, *, quirks: ChatQuirks | None = None, request: HttpRequest | None = None, model: str = "m"
) -> list[Delta]:
    sent = request or encode(quirks=quirks)
    decoder = DIALECT.decoder(target(quirks, model=model), sent)
    return decoder.feed(raw) + decoder.close()


def text(deltas: Iterable[Delta]) -> str:
    return "".join(delta.text for delta in spread(deltas) if isinstance(delta, Text))


def thought(deltas: Iterable[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Thought))


def calls(deltas: Iterable[Delta]) -> list[tuple[str, str, str]]:
    """(call_id, name, arguments) of each call, in order."""
    started = [delta for delta in deltas if isinstance(delta, CallStarted)]
    pieces = [delta for delta in deltas if isinstance(delta, CallArguments)]
    return [(call.call_id, call.name, "".join(p.text for p in pieces if p.key == call.key)) for call in started]


def kept(deltas: Iterable[Delta]) -> bytes:
    (found,) = [delta for delta in deltas if isinstance(delta, Kept)]
    return bytes(found.blocks)


def finished(deltas: Iterable[Delta]) -> Finished:
    (found,) = [delta for delta in deltas if isinstance(delta, Finished)]
    return found


def record(blocks: bytes, *, scope: str = "account", family: str = "chat_completions", **ids: str) -> ReplayRecord:
    return ReplayRecord(family, scope, "m", msgspec.Raw(blocks), call_ids=ids)
