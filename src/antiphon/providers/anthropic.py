"""The `anthropic` dialect: `POST {base_url}/v1/messages`, always streamed.

Encoding is three parts: the conversation (`..._messages`), tools and their choice (`..._tools`), the settings
(`..._settings`), each asked of what the model can do (`..._models`). Decoding is `..._decode`.
Source: Anthropic Messages API, versions 2026-10-21 and 2023-06-01; reference of provider wires, §1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import UpstreamFault

from . import faults
from .anthropic_blocks import Block, text_block, without_old_cache_controls
from .anthropic_decode import AnthropicDecoder
from .anthropic_messages import Conversation
from .anthropic_settings import NEW_VERSION, wire_settings
from .anthropic_tools import WireTools, declared_by_history, wire_tools
from .base import Decoder, DialectName, HttpRequest, Target, Turn, Vendor, call_headers
from .capabilities import Media
from .side_calls import no_such_call, read_count, side_call
from .tool_names import declarations, lower_tools
from .writing import write

MAX_CACHE_CONTROLS: Final = 4
_COUNTED: Final = frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking"})
_encode: Final = msgspec.json.Encoder().encode


class Anthropic:
    """Implements `Dialect`."""

    name: DialectName = "anthropic"

    def encode(self, turn: Turn, target: Target) -> HttpRequest:
        """See `Dialect.encode`. Equal turns give equal bytes."""
        quirks = target.vendor.quirks.anthropic
        able = target.able
        lowered = lower_tools(turn.request.tools, declarations(turn))
        conversation = write(Conversation(target, able), turn, target)
        conversation.finish()
        system = conversation.system()
        settings = wire_settings(turn.request, able, quirks, replays_thinking=conversation.replays_thinking)
        thinking = settings.fields.get("thinking")
        budgeted = isinstance(thinking, dict) and "budget_tokens" in thinking
        can_force = able.has_forced_choice and not budgeted
        tools = wire_tools(turn.request, lowered, can_force=can_force, served=quirks.native_tools)
        for sentence in (settings.instruction, tools.instruction):
            if sentence:
                system.append(text_block(sentence))
        body: Block = _naming(target, settings.version)
        if system:
            body["system"] = system
        body["messages"] = conversation.messages()
        body |= _tool_fields(tools, conversation) | settings.fields
        automatic = 1 if "cache_control" in settings.fields else 0
        contents = [system, *(message.content for message in conversation.begun)]
        without_old_cache_controls(contents, MAX_CACHE_CONTROLS - automatic)
        return HttpRequest(
            "POST",
            _answer_url(target),
            _headers(target.vendor, settings.version, settings.betas),
            _encode(body),
            dropped=(*tools.dropped, *settings.dropped),
            removed=tuple(conversation.removed),
            tool_names=lowered.names,
            credential=target.vendor.credential,
            include=turn.request.include,
        )

    def decoder(self, target: Target, request: HttpRequest) -> Decoder:
        """See `Dialect.decoder`."""
        del target
        return AnthropicDecoder(request.tool_names, request.include)

    def reads_urls(self, target: Target) -> frozenset[Media]:
        """See `Dialect.reads_urls`."""
        del target
        return frozenset({"image", "file"})

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        """See `Dialect.fault`."""
        return faults.classify(status, headers, body)

    def count_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.count_request`."""
        if not target.vendor.quirks.anthropic.counts_tokens:
            return None
        request = self.encode(turn, target)
        if target.vendor.quirks.anthropic.transport == "messages":
            return side_call(request, _url(target.vendor, "/messages/count_tokens"), _COUNTED)
        url = f"{target.vendor.base_url}/publishers/anthropic/models/count-tokens:rawPredict"
        return side_call(request, url, _COUNTED | {"anthropic_version"}, {"model": target.model})

    def read_count(self, body: bytes) -> int:
        """See `Dialect.read_count`."""
        return read_count(body)

    def compact_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.compact_request`: the provider compacts inside of answers only."""
        del turn, target
        return None

    def read_compaction(self, body: bytes) -> tuple[msgspec.Raw, Usage]:
        """See `Dialect.read_compaction`."""
        raise no_such_call(body)

    def models_request(self, target_vendor: Vendor) -> HttpRequest | None:
        """See `Dialect.models_request`. The list comes in pages of 20 unless more are asked for."""
        if target_vendor.quirks.anthropic.transport != "messages":
            return None
        headers = _headers(target_vendor, NEW_VERSION, ())
        url = _url(target_vendor, "/models?limit=1000")
        return HttpRequest("GET", url, headers, b"", credential=target_vendor.credential)


def _tool_fields(tools: WireTools, conversation: Conversation) -> Block:
    """A history with calls needs tools declared, also when this turn has none (lessons, 48)."""
    fields: Block = {}
    if tools.tools:
        fields["tools"] = tools.tools
        if tools.choice is not None:
            fields["tool_choice"] = tools.choice
    elif conversation.called:
        fields["tools"] = declared_by_history(conversation.called)
        fields["tool_choice"] = {"type": "none"}
    return fields


def _naming(target: Target, version: str) -> Block:
    """What the body says of model and version: on Vertex AI the path names the model, and the body the version."""
    if target.vendor.quirks.anthropic.transport == "vertex":
        return {"anthropic_version": version}
    return {"model": target.model}


def _answer_url(target: Target) -> str:
    if target.vendor.quirks.anthropic.transport == "vertex":
        model = quote(target.model, safe="@")
        return f"{target.vendor.base_url}/publishers/anthropic/models/{model}:streamRawPredict"
    return _url(target.vendor, "/messages")


def _url(vendor: Vendor, path: str) -> str:
    """`base_url` is written with and without its `/v1`, both are common."""
    return vendor.base_url.removesuffix("/v1") + "/v1" + path


def _headers(vendor: Vendor, version: str, betas: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    own = (("anthropic-version", version), *((("anthropic-beta", ",".join(betas)),) if betas else ()))
    said = dict(call_headers(vendor))
    return tuple((dict(own) | said).items())
