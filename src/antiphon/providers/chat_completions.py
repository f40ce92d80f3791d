"""The dialect that most servers speak: `POST {base_url}/chat/completions`, always streamed.

Encoding is four steps, each a module: tools to wire names (`tool_names`), tools and their choice (`..._tools`), the
conversation (`..._messages`), the settings (`..._settings`). Decoding is `..._decode`. Nothing here does I/O, and
nothing is chosen by a vendor's name: `ChatQuirks` says what differs.
Source: OpenAI "Chat Completions"; reference of provider wires, §1.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import msgspec

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import UpstreamFault

from .base import Decoder, DialectName, HttpRequest, Target, Turn, Vendor, call_headers
from .capabilities import Media
from .chat_completions_decode import ChatDecoder
from .chat_completions_messages import Conversation
from .chat_completions_settings import Settings
from .chat_completions_tools import wire_tools
from .faults import classify
from .side_calls import no_such_call
from .tool_names import declarations, lower_tools
from .writing import write

_encode: Final = msgspec.json.Encoder().encode


class ChatCompletions:
    """Implements `Dialect`."""

    name: DialectName = "chat_completions"

    def encode(self, turn: Turn, target: Target) -> HttpRequest:
        """See `Dialect.encode`. Equal turns give equal bytes."""
        quirks = target.vendor.quirks.chat_completions
        request = turn.request
        lowered = lower_tools(request.tools, declarations(turn), has_custom_tools=quirks.custom_tools == "native")
        tools = wire_tools(request, lowered, quirks)
        conversation = write(Conversation(target), turn, target)
        settings = Settings(request, quirks, has_tools=tools.tools is not None, is_forced=tools.is_forced)
        body: dict[str, object] = {"model": target.model, "messages": conversation.messages()}
        if tools.tools is not None:
            body["tools"] = tools.tools
        if tools.choice is not None:
            body["tool_choice"] = tools.choice
        body |= settings.fields
        body |= quirks.extra_body
        return HttpRequest(
            "POST",
            _url(target.vendor, _path(quirks.path, target.model)),
            call_headers(target.vendor),
            _encode(body),
            dropped=(*tools.dropped, *settings.dropped),
            removed=tuple(conversation.removed),
            tool_names=lowered.names,
            credential=target.vendor.credential,
        )

    def decoder(self, target: Target, request: HttpRequest) -> Decoder:
        """See `Dialect.decoder`."""
        return ChatDecoder(target, request)

    def reads_urls(self, target: Target) -> frozenset[Media]:
        """See `Dialect.reads_urls`."""
        return frozenset() if target.vendor.is_local else _read_by(target.vendor.quirks.chat_completions.inputs)

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        """See `Dialect.fault`."""
        return classify(status, headers, body)

    def count_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.count_request`: there is none."""
        del turn, target
        return None

    def read_count(self, body: bytes) -> int:
        """See `Dialect.read_count`."""
        raise no_such_call(body)

    def compact_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """See `Dialect.compact_request`: there is none."""
        del turn, target
        return None

    def read_compaction(self, body: bytes) -> tuple[msgspec.Raw, Usage]:
        """See `Dialect.read_compaction`."""
        raise no_such_call(body)

    def models_request(self, target_vendor: Vendor) -> HttpRequest | None:
        """See `Dialect.models_request`."""
        path = target_vendor.quirks.chat_completions.models_path
        if not path:
            return None
        return HttpRequest(
            "GET", _url(target_vendor, path), call_headers(target_vendor), b"", credential=target_vendor.credential
        )


@lru_cache(maxsize=1024)
def _path(path: str, model: str) -> str:
    return path.replace("{model}", quote(model, safe=""))


@lru_cache(maxsize=64)
def _read_by(taken: frozenset[str]) -> frozenset[Media]:
    kinds: dict[Media, bool] = {"image": "image_url" in taken, "file": "file_url" in taken, "video": True}
    return frozenset(kind for kind, reads in kinds.items() if reads)


def _url(vendor: Vendor, path: str) -> str:
    query = vendor.quirks.chat_completions.query
    return f"{vendor.base_url}{path}?{query}" if query else vendor.base_url + path
