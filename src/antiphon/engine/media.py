"""Images and files that a client names by URL, fetched here where the target does not fetch them itself.

What was fetched stands in the turn as a data: URL, so dialects see no difference. The same URL gives the same bytes for
as long as they are kept, and a conversation that is rendered again gives the same request.
Source: OpenAI "Images and vision", "File inputs"; reference of provider wires, §2.7.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from antiphon.protocol.errors import InvalidRequest, first_of
from antiphon.protocol.items import (
    CALL_OUTPUTS,
    ContentPart,
    InputFile,
    InputImage,
    InputVideo,
    Item,
    Message,
)
from antiphon.protocol.request import InputItem
from antiphon.providers.base import Entry, Turn
from antiphon.providers.capabilities import Media

from .holding import Holding
from .ports import Fetch
from .shown import parts_of, showing

_MOST_URLS: Final = 100


async def with_media(turn: Turn, reads: frozenset[Media], fetch: Fetch, holding: Holding) -> Turn:
    """The turn with every http(s) URL of a kind that the target does not read itself as a data: URL.

    Raises InvalidRequest for what cannot be fetched, by the path of its part, and Overloaded for want of room.
    """
    is_past_shown = turn.past is not None and turn.past.shows_media
    shown = showing(turn.context if is_past_shown else turn.latest)
    wanted = dict(_wanted(shown, turn.request.input, reads)) if shown else {}
    if not wanted:
        return turn
    if len(wanted) > _MOST_URLS:
        raise InvalidRequest(f"A request may name at most {_MOST_URLS} URLs for this model.", param="input")
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {url: group.create_task(_fetched(fetch, url, path, holding)) for url, path in wanted.items()}
    except ExceptionGroup as failures:  # not `except*`: Python before 3.11.4 makes what is raised there a group
        raise first_of(failures.subgroup(InvalidRequest) or failures) from None
    fetched = {url: task.result() for url, task in tasks.items()}
    return _replaced(turn, reads, fetched)


async def _fetched(fetch: Fetch, url: str, path: str, holding: Holding) -> str:
    return await fetch(url, path, holding.once(url))


def _is_fetchable(url: object) -> bool:
    return isinstance(url, str) and url[:8].lower().startswith(("http://", "https://"))


def url_of(part: ContentPart, reads: frozenset[Media]) -> str | None:
    """The URL that has to be fetched for a part, or None."""
    kind, url = "", None
    match part:
        case InputImage():
            kind, url = "image", part.image_url
        case InputFile():
            kind, url = "file", part.file_url
        case InputVideo():
            kind, url = "video", part.video_url
        case _:
            return None
    return url if isinstance(url, str) and kind not in reads and _is_fetchable(url) else None


def _wanted(entries: Sequence[Entry], own: Sequence[InputItem], reads: frozenset[Media]) -> Iterator[tuple[str, str]]:
    """Every URL with the path of its part; the path in the request itself wins over that of an earlier turn."""
    paths = {id(entry.item): f"input[{index}]" for index, entry in enumerate(own)}
    for item in sorted(entries, key=lambda item: id(item) in paths):
        name = "content" if isinstance(item, Message) else "output"
        for index, part in enumerate(parts_of(item)):
            url = url_of(part, reads)
            if url is not None:
                where = paths.get(id(item))
                yield url, f"{where}.{name}[{index}]" if where else "input"


def _replaced(turn: Turn, reads: frozenset[Media], fetched: dict[str, str]) -> Turn:
    """Items of the request and of the context stay the same objects: dialects tell by that where an item stood."""
    changed: dict[int, Item] = {}
    for item in [entry for entry in turn.context if isinstance(entry, (Message, *CALL_OUTPUTS))]:
        parts = parts_of(item)
        new = tuple(_with_data(part, url_of(part, reads), fetched) for part in parts)
        if new != parts:
            field = "content" if isinstance(item, Message) else "output"
            changed[id(item)] = msgspec.structs.replace(item, **{field: new})
    context = tuple(changed.get(id(entry), entry) for entry in turn.context)
    own = tuple(InputItem(changed.get(id(entry.item), entry.item), entry.raw) for entry in turn.request.input)
    request = msgspec.structs.replace(turn.request, input=own)
    return replace(turn, context=context, request=request, past=None)


def _with_data(part: ContentPart, url: str | None, fetched: dict[str, str]) -> ContentPart:
    if url is None:
        return part
    match part:
        case InputImage():
            return msgspec.structs.replace(part, image_url=fetched[url])
        case InputFile():
            name = part.filename or url.partition("?")[0].rpartition("/")[2] or "file"
            return msgspec.structs.replace(part, file_url=None, file_data=fetched[url], filename=name)
        case InputVideo():
            return msgspec.structs.replace(part, video_url=fetched[url])
        case _:
            return part
