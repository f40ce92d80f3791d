"""The `bedrock` dialect: `POST {base_url}/model/{model}/converse-stream`, answered by a binary event stream.

For the models that Amazon serves by no better wire: Claude and GPT have surfaces of their own there (catalog.toml).
Source: Amazon Bedrock runtime API, ConverseStream and CountTokens; reference of provider wires, §1.6.
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
from .bedrock_blocks import Fields, text_block
from .bedrock_decode import BedrockDecoder
from .bedrock_messages import Messages
from .bedrock_settings import WireSettings
from .capabilities import Media
from .side_calls import as_json_call, no_such_call
from .tool_names import declarations, lower_tools
from .writing import write

_COUNTED: Final = ("messages", "system", "toolConfig", "additionalModelRequestFields")
_encode: Final = msgspec.json.Encoder().encode
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Count(msgspec.Struct, frozen=True, rename="camel"):
    input_tokens: int


class Bedrock:
    """Implements `Dialect`."""

    name: DialectName = "bedrock"

    def encode(self, turn: Turn, target: Target) -> HttpRequest:
        """See `Dialect.encode`. Equal turns give equal bytes."""
        lowered = lower_tools(turn.request.tools, declarations(turn))
        messages = write(Messages(target), turn, target)
        written = messages.finish()
        settings = WireSettings(turn.request, lowered, target, messages.called)
        system = [*messages.system, *(text_block(sentence) for sentence in settings.sentences)]
        body: Fields = {"system": system} if system else {}
        body["messages"] = written
        body |= settings.fields
        return HttpRequest(
            "POST",
            _url(target, "converse-stream"),
            _headers(target.vendor),
            _encode(body),
            dropped=tuple(settings.dropped),
            removed=tuple(messages.removed),
            tool_names=lowered.names,
            credential=target.vendor.credential,
        )

    def decoder(self, target: Target, request: HttpRequest) -> Decoder:
        """See `Dialect.decoder`."""
        del target
        return BedrockDecoder(request.tool_names)

    def reads_urls(self, target: Target) -> frozenset[Media]:
        """See `Dialect.reads_urls`."""
        del target
        return frozenset()

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        """See `Dialect.fault`."""
        return faults.classify(status, headers, body)

    def count_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.count_request`."""
        if not target.vendor.quirks.bedrock.counts_tokens:
            return None
        request = self.encode(turn, target)
        kept = {name: value for name, value in _fields(request.body).items() if name in _COUNTED}
        return as_json_call(request, _url(target, "count-tokens"), _encode({"input": {"converse": kept}}))

    def read_count(self, body: bytes) -> int:
        """See `Dialect.read_count`."""
        try:
            return msgspec.json.decode(body, type=_Count).input_tokens
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
        """See `Dialect.models_request`: models are listed by another service."""
        del target_vendor
        return None


def _url(target: Target, method: str) -> str:
    """A model may be an ARN, whose slashes and colons are escaped."""
    return f"{target.vendor.base_url}/model/{quote(target.model, safe='')}/{method}"


def _headers(vendor: Vendor) -> tuple[tuple[str, str], ...]:
    stream = "application/vnd.amazon.eventstream"
    return tuple((name, stream if name == "accept" else value) for name, value in call_headers(vendor))
