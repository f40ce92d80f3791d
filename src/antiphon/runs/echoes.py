"""What of a response is stored apart from it, for others of its project echo the same: decision 0030."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

import msgspec

from antiphon.protocol.memory import Kept, exact
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.response import Response
from antiphon.protocol.tools import Tools
from antiphon.store.base import Echo

_LONG: Final = 1024
"""From so many bytes of JSON on an echo is worth a row of its own, where it comes again."""
_MAX_KEPT: Final = 64 << 10
_MAX_KEPT_ALL: Final = 4 << 20
_HASH_BYTES: Final = 16
_encode: Final = msgspec.json.Encoder().encode


class Echoes(NamedTuple):
    """The long echoes of one response."""

    instructions: Echo | None = None
    tools: Echo | None = None

    def body_without(self, response: Response) -> bytes:
        """The response as JSON, without these echoes."""
        instructions = response.instructions if self.instructions is None else None
        tools = response.tools if self.tools is None else ()
        return _encode(msgspec.structs.replace(response, instructions=instructions, tools=tools))


def long_echoes(response: Response, request: CreateResponse, came_before: Callable[[Hashable], bool]) -> Echoes:
    """What the response to this request echoes at length, of what `came_before`, which is told a mark of it."""
    said = response.instructions
    instructions = _instructions(said, came_before) if said is not None and len(said) >= _LONG else None
    tools = _tools(response, request) if response.tools else None
    return Echoes(instructions, tools if tools is not None and came_before(tools.hash) else None)


def _instructions(said: str, came_before: Callable[[Hashable], bool]) -> Echo | None:
    if not came_before(hash(said)):
        return None
    return _kept.of(said) if len(said) <= _MAX_KEPT else _said(said)


def _said(said: str) -> Echo | None:
    return _echo(_encode(said))


_kept: Final = Kept(_said, _MAX_KEPT_ALL)


def _tools(response: Response, request: CreateResponse) -> Echo | None:
    shown = response.tools
    if isinstance(request.tools, Tools) and shown is request.tools_raw:  # as they were with the agent's last request
        return request.tools.memory.once(shown, lambda: _echo(_encode(shown)))
    return _echo(_encode(shown))


def _echo(body: bytes) -> Echo | None:
    return None if len(body) < _LONG else Echo(hashlib.sha256(body).digest()[:_HASH_BYTES], exact(body))
