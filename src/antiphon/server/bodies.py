"""JSON bodies of the endpoints beside /v1/responses, and the rules they share."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)]
MAX_ITEMS: Final = 20


class Deleted(msgspec.Struct, frozen=True):
    """What a deletion answers."""

    id: str
    object: str
    deleted: bool
