"""Cursor pages: `{object: "list", data, first_id, last_id, has_more}`, as every list endpoint answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.queries import ListQuery
from antiphon.store.conversations import PAGE_BYTES

_encode: Final = msgspec.json.Encoder().encode


class _Identified(msgspec.Struct, frozen=True):
    id: str


class Page(msgspec.Struct, frozen=True):
    """One page; the next begins `after` its `last_id` while `has_more`."""

    object: Literal["list"]
    data: Sequence[msgspec.Raw]
    first_id: str | None
    last_id: str | None
    has_more: bool


_decode_id: Final = msgspec.json.Decoder(_Identified).decode


def page_of(rows: Sequence[msgspec.Raw], *, has_more: bool) -> bytes:
    """A page of these rows."""
    first = _decode_id(rows[0]).id if rows else None
    last = _decode_id(rows[-1]).id if rows else None
    return _encode(Page("list", rows, first, last, has_more))


def page_from(items: Sequence[msgspec.Raw], query: ListQuery) -> bytes:
    """The page that `query` asks of a whole list, which is oldest first. Raises InvalidRequest for a bad cursor."""
    ordered = list(items) if query.order == "asc" else list(reversed(items))
    if query.after is not None:
        ids = [_decode_id(item).id for item in ordered]
        if query.after not in ids:
            raise no_such_cursor(query.after)
        ordered = ordered[ids.index(query.after) + 1 :]
    shown = _fitting(ordered[: query.limit])
    return page_of(shown, has_more=len(ordered) > len(shown))


def _fitting(items: Sequence[msgspec.Raw]) -> Sequence[msgspec.Raw]:
    """The first items, up to the one with which a page is large enough."""
    size_bytes = 0
    for count, item in enumerate(items, 1):
        size_bytes += memoryview(item).nbytes
        if size_bytes >= PAGE_BYTES:
            return items[:count]
    return items


def no_such_cursor(after: str) -> InvalidRequest:
    return InvalidRequest(f"No item with id '{after}' in this list.", param="after", code="invalid_value")
