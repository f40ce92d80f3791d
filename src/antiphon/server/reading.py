"""A request's body to a request: other spellings taken where they are allowed, a prompt laid under it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.parsing import Recall, parse_request
from antiphon.protocol.request import CreateResponse
from antiphon.protocol.resent import Histories
from antiphon.protocol.spellings import Spellings, respell

from .prompts import Prompts

_LARGE_BYTES: Final = 1 << 20


class RequestReader:
    """The one way from bytes to a request, over HTTP and WebSocket."""

    def __init__(self, prompts: Prompts, spellings: Spellings, histories: Histories) -> None:
        self._prompts = prompts
        self._spellings = spellings
        self._histories = histories

    async def read(self, body: bytes, project: str) -> tuple[CreateResponse, bytes]:
        """The request, and its body as it may be read again without prompts and spellings. Raises ApiError."""
        recall = partial(self._histories.read, project)
        # Decoding is quick; tens of megabytes of it would still hold up every other stream.
        if len(body) < _LARGE_BYTES:
            request, body = self._parse(body, recall)
        else:
            request, body = await asyncio.to_thread(self._parse, body, recall)
        if request.prompt is None:
            return request, body
        body = await self._prompts.apply(project, request.prompt, body)
        return parse_request(body, recall), body

    def _parse(self, body: bytes, recall: Recall) -> tuple[CreateResponse, bytes]:
        try:
            return parse_request(body, recall), body
        except InvalidRequest:
            respelled = respell(body, self._spellings)
            if respelled is None:
                raise
            return parse_request(respelled, recall), respelled
