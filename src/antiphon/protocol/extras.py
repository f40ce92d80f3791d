"""Keys that real clients send although no schema has them. They are taken and left out; anything else is refused.

| key | where | who sends it |
|---|---|---|
| client_metadata | request | Codex CLI (object of strings) |
| parsed | output_text part | openai SDKs: `parse()` results dumped and sent back |
| parsed_arguments | function_call | openai SDKs: the same |
| created_by | any item | items as the API itself returns them |
| prompt_cache_breakpoint | output_text part | caching clients that mark every part |
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

ITEM_EXTRAS: Final = frozenset({"parsed", "parsed_arguments", "created_by", "prompt_cache_breakpoint"})
_UNKNOWN_AT: Final = re.compile(r"Object contains unknown field `([^`]+)`(?: - at `\$([^`]*)`)?$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
Json = dict[str, "Json"] | list["Json"] | str | float | bool | None
_MOST: Final = 1_000
T = TypeVar("T")


def without_extra(raw: bytes, error: msgspec.ValidationError) -> bytes | None:
    """The document without the tolerated key that `error` complains of, or None if it complains of anything else."""
    found = _UNKNOWN_AT.match(str(error))
    if found is None or found[1] not in ITEM_EXTRAS:
        return None
    document: Json = msgspec.json.decode(raw)
    place: Json = document
    for name, index in _STEP.findall(found[2] or ""):
        if isinstance(place, dict):
            place = place.get(name)
        elif isinstance(place, list):
            place = place[int(index)]
    if not isinstance(place, dict):
        return None
    del place[found[1]]
    return msgspec.json.encode(document)


def decode_tolerantly(raw: msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> tuple[T, msgspec.Raw]:
    """Decode, leaving tolerated extras out; also the JSON that remained. Raises msgspec.ValidationError.

    JSON without extras is not copied: it may hold megabytes of an image.
    """
    for _ in range(_MOST):
        try:
            return decoder.decode(raw), raw
        except msgspec.ValidationError as error:
            stripped = without_extra(bytes(raw), error)
            if stripped is None:
                raise
            raw = msgspec.Raw(stripped)
    return decoder.decode(raw), raw
