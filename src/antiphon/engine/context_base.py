"""The context of a turn as a value: what `engine.context` builds and compaction changes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.providers.base import Entry, Past, Turn
from antiphon.store.base import ConversationRow

from .history import Link


class Origin(msgspec.Struct, frozen=True):
    """Whose context it is, and where it may come from beside the store.

    `conversation` is the one that the response holds; `local` are responses that only this connection remembers.
    """

    project: str
    conversation: ConversationRow | None = None
    local: Mapping[str, Link] = {}


class Context(msgspec.Struct, frozen=True):
    """The entries of the turn, oldest first; the request's own items with references resolved; call ids in use.

    `past`: as in Turn. `is_only_compaction`: the request asked for nothing but a compaction.
    """

    entries: tuple[Entry, ...]
    own_input: tuple[InputItem, ...]
    call_ids: set[str]
    past: Past | None = None
    is_only_compaction: bool = False

    def turn(self, request: CreateResponse) -> Turn:
        """What the model is to answer."""
        return Turn(request, self.entries, past=self.past)
