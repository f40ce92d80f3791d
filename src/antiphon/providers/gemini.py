"""The `gemini` dialect: `POST {base_url}/models/{model}:streamGenerateContent?alt=sse`, and Vertex AI's form of it.

Encoding is the conversation (`..._contents`), tools and settings (`..._settings`); decoding is `..._decode`.
Source: Gemini API reference (v1beta); Vertex AI inference API (v1); reference of provider wires, §1.4 and §1.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import UpstreamFault

from . import faults
from .base import Decoder, DialectName, HttpRequest, Target, Turn, Vendor, call_headers
from .capabilities import ALL_MEDIA, Media
from .gemini_contents import Contents
from .gemini_decode import GeminiDecoder
from .gemini_parts import CONTINUATION, Fields, text_part
from .gemini_settings import wire_config, wire_tools
from .side_calls import as_json_call, no_such_call
from .tool_names import declarations, lower_tools
from .writing import write

_COUNTED: Final = ("contents", "systemInstruction", "tools", "generationConfig")
_encode: Final = msgspec.json.Encoder().encode
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Count(msgspec.Struct, frozen=True, rename="camel"):
    total_tokens: int


class Gemini:
    """Implements `Dialect`."""

    name: DialectName = "gemini"

    def encode(self, turn: Turn, target: Target) -> HttpRequest:
        """See `Dialect.encode`. Equal turns give equal bytes."""
        request = turn.request
        lowered = lower_tools(request.tools, declarations(turn))
        contents = write(Contents(target), turn, target)
        written = contents.finish()
        tools = wire_tools(request, lowered, target)
        config = wire_config(request, target.able, has_functions=bool(lowered.tools))
        system = [*contents.system, *([tools.instruction] if tools.instruction else [])]
        body: Fields = {}
        if system:
            body["systemInstruction"] = {"parts": [text_part(text) for text in system]}
        body["contents"] = written
        if tools.tools:
            body["tools"] = tools.tools
        if tools.config:
            body["toolConfig"] = tools.config
        if config.config:
            body["generationConfig"] = config.config
        body |= config.beside
        if contents.continuation is not None:
            body[CONTINUATION] = contents.continuation
        return HttpRequest(
            "POST",
            _url(target, "streamGenerateContent") + "?alt=sse",
            call_headers(target.vendor),
            _encode(body),
            dropped=(*tools.dropped, *config.dropped),
            removed=tuple(contents.removed),
            tool_names=lowered.names,
            credential=target.vendor.credential,
            include=request.include,
        )

    def decoder(self, target: Target, request: HttpRequest) -> Decoder:
        """See `Dialect.decoder`."""
        del target
        return GeminiDecoder(request.tool_names, request.include)

    def reads_urls(self, target: Target) -> frozenset[Media]:
        """See `Dialect.reads_urls`."""
        return ALL_MEDIA if target.vendor.quirks.gemini.transport == "vertex" else frozenset()

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        """See `Dialect.fault`."""
        return faults.classify(status, headers, body)

    def count_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.count_request`. The Gemini API wants the whole request wrapped, Vertex AI its parts."""
        if not target.vendor.quirks.gemini.counts_tokens:
            return None
        request = self.encode(turn, target)
        body: Fields = dict(_fields(request.body))
        if target.vendor.quirks.gemini.transport == "api":
            body = {"generateContentRequest": {"model": f"models/{target.model.removeprefix('models/')}"} | body}
        else:
            body = {name: value for name, value in body.items() if name in _COUNTED}
        return as_json_call(request, _url(target, "countTokens"), _encode(body))

    def read_count(self, body: bytes) -> int:
        """See `Dialect.read_count`."""
        try:
            return msgspec.json.decode(body, type=_Count).total_tokens
        except msgspec.MsgspecError as error:
            raise UpstreamFault("server", "The model provider's token count could not be read.") from error

    def compact_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.compact_request`: there is none."""
        del turn, target
        return None

    def read_compaction(self, body: bytes) -> tuple[msgspec.Raw, Usage]:
        """See `Dialect.read_compaction`."""
        raise no_such_call(body)

    def models_request(self, target_vendor: Vendor) -> HttpRequest | None:
        """See `Dialect.models_request`. The list comes in pages of 50 unless more are asked for."""
        if not target_vendor.quirks.gemini.has_models_list:
            return None
        url = f"{target_vendor.base_url}/models?pageSize=1000"
        return HttpRequest("GET", url, call_headers(target_vendor), b"", credential=target_vendor.credential)


def _url(target: Target, method: str) -> str:
    """Where a model's method is; tuned models stand beside the others under their own collection."""
    base, model = target.vendor.base_url, quote(target.model.removeprefix("models/"), safe="/@")
    if target.vendor.quirks.gemini.transport == "vertex":
        return f"{base}/publishers/google/models/{model}:{method}"
    return f"{base}/{model}:{method}" if model.startswith("tunedModels/") else f"{base}/models/{model}:{method}"
