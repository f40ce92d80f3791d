"""The parts of entries that clients have put there, and which of them are media."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from antiphon.protocol.items import CALL_OUTPUTS, ContentPart, InputFile, InputImage, InputVideo, Message
from antiphon.providers.base import Entry

_CLIENTS: Final = frozenset[type]((Message, *CALL_OUTPUTS))
_MEDIA: Final = frozenset({InputImage, InputFile, InputVideo})


def parts_of(entry: Entry) -> tuple[ContentPart, ...]:
    """What a client has said or returned; a model's own turns show nothing."""
    if type(entry) is Message:
        content = entry.content
    elif isinstance(entry, CALL_OUTPUTS):
        content = entry.output
    else:
        return ()
    return () if isinstance(content, str) else content


def showing(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with an image, a file or a video among their parts."""
    return [
        entry
        for entry in entries
        if type(entry) in _CLIENTS and (parts := parts_of(entry)) and not _MEDIA.isdisjoint(map(type, parts))
    ]
