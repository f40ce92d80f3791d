"""What a client that keeps its conversation has sent before, as a context that goes on: as a chain does, by bytes.

A turn costs what it adds, whoever keeps the conversation. What only the store can tell, now or later, is looked for
with every request, and with it all that was sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from antiphon.protocol.items import ItemReference, Message
from antiphon.protocol.resent import Resent

from .growing import Growing, Known
from .history import Opener, grown, in_parts


@dataclass(slots=True, eq=False)
class _Said:
    """The first `length` items of a history; None where they cannot be known."""

    growing: Growing | None = field(default_factory=Growing)
    length: int = 0


_SAID: Final = object()


def known_again(sent: Resent, opener: Opener) -> Known | None:
    """What was sent before; None if it is nothing, or later turns may say it otherwise. Raises as `grown`.

    `opener` is the project's that has sent it.
    """
    if not sent.known:
        return None
    said = sent.history.memory.once(_SAID, _Said)
    growing, said.growing = said.growing, None
    if growing is None:
        return None
    if said.length > sent.known:  # another request went on from there
        said.growing = growing
        return None
    items = [one.item for one in sent[said.length : sent.known]]
    if ItemReference in map(type, items):
        return None
    entries = [in_parts(item) if isinstance(item, Message) else item for item in items]
    said.growing = grown(growing, entries, opener)
    said.length = sent.known
    return said.growing and said.growing.known()
