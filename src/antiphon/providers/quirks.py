"""What a vendor does differently from its dialect's norm, as data: one Struct per dialect.

Each field is read in exactly one place, in that dialect's module; catalog rows set them as `quirks.<dialect>.<field>`.
"""

from __future__ import annotations

import msgspec


class ChatQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of a chat_completions vendor."""


class ResponsesQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of a responses vendor."""


class AnthropicQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deviations of an anthropic vendor."""


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them; a vendor uses the section of its dialect."""

    chat_completions: ChatQuirks = ChatQuirks()
    responses: ResponsesQuirks = ResponsesQuirks()
    anthropic: AnthropicQuirks = AnthropicQuirks()
