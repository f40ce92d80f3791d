"""`Idempotency-Key`: a request that is sent again under its key gets its first answer, and is not carried out again.

    new key            carried out; the answer is kept for 24 h
    same body, done    the kept answer, with `idempotent-replayed: true`
    same body, running 409 idempotency_key_in_use
    other body         409 idempotency_key_reused

A run keeps its answer in the transaction that stores the response; every other POST keeps it before it is sent. What
was refused, or cut because the client left, leaves the key free.
"""

from __future__ import annotations

from hashlib import sha256
from types import TracebackType
from typing import Final

import msgspec

from antiphon.protocol.errors import Conflict, InvalidRequest
from antiphon.protocol.ids import new_id
from antiphon.protocol.sse import DONE
from antiphon.runs.stored_log import frame_of
from antiphon.store.base import IdempotentAnswer
from antiphon.store.store import Store

from .routes import Call, Handler
from .stream import EVENT_STREAM, STREAM_HEADERS

HEADER: Final = b"idempotency-key"
KEPT_S: Final = 86_400
_MAX_KEY: Final = 255
_MAX_KEPT_BYTES: Final = 64 << 20
_REPLAYED: Final = (("idempotent-replayed", "true"),)


class _Options(msgspec.Struct, frozen=True):
    include_obfuscation: bool | None = None


class _Asked(msgspec.Struct, frozen=True):
    stream: bool | None = None
    stream_options: _Options | None = None


class Ticket:
    """One request's claim on its key; without a key it claims nothing. Leaving its block gives back what is unused."""

    headers = _REPLAYED

    def __init__(self, store: Store, project: str, key: str | None, body: bytes) -> None:
        self.key = key
        self.holder: str | None = None if key is None else new_id("resp")
        self.answer: IdempotentAnswer | None = None
        self.is_passed_on = False
        """Whether the run that this request began looks after the key from now on."""
        self._store = store
        self._project = project
        self._body = body

    def forget_body(self) -> None:
        """There is no kept answer to send again: the body may be large, and the answer may take long."""
        self._body = b""

    @property
    def is_stream(self) -> bool:
        return msgspec.json.decode(self._body, type=_Asked).stream is True

    async def __aenter__(self) -> Ticket:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.key is not None and self.holder is not None and self.answer is None and not self.is_passed_on:
            await self._store.free_key(self._project, self.key, self.holder)

    async def keep(self, status: int, body: bytes) -> None:
        """Keep a JSON answer that is about to be sent."""
        if self.key is not None and self.holder is not None and 200 <= status < 300 and len(body) < _MAX_KEPT_BYTES:
            await self._store.answer_key(self._project, self.key, self.holder, IdempotentAnswer("", "json", body))
            self.is_passed_on = True

    async def replay(self, call: Call) -> None:
        """Send the kept answer: JSON, or the same events as the first time."""
        assert self.answer is not None, "asked only where an answer is kept"
        if self.answer.kind == "json":
            await call.exchange.answer(200, self.answer.answer, self.headers)
            return
        options = msgspec.json.decode(self._body, type=_Asked).stream_options
        is_padded = options is None or options.include_obfuscation is not False
        frames = b"".join(frame_of(line, is_padded=is_padded) for line in self.answer.answer.split(b"\n"))
        await call.exchange.start(200, EVENT_STREAM, (*STREAM_HEADERS, *self.headers))
        await call.exchange.write(frames + DONE, is_last=True)


class Idempotency:
    """Claims keys in the store."""

    def __init__(self, store: Store, *, lease_s: float, max_body_bytes: int) -> None:
        self._store = store
        self._lease_s = lease_s * 4
        self._max_body_bytes = max_body_bytes

    async def ticket(self, call: Call, body: bytes) -> Ticket:
        """The claim of this request. Raises Conflict, and InvalidRequest for a key that is none."""
        given = call.exchange.headers.get(HEADER)
        key = None if given is None else given.decode("latin-1")
        ticket = Ticket(self._store, call.project, key, body)
        if key is None or ticket.holder is None:
            return ticket
        if not 1 <= len(key) <= _MAX_KEY or not key.isascii() or not key.isprintable():
            raise InvalidRequest(
                f"Idempotency-Key must be 1 to {_MAX_KEY} printable ASCII characters; a random UUID is a good one."
            )
        exchange = call.exchange
        fingerprint = sha256(f"{exchange.method} {exchange.path}\n".encode() + body).hexdigest()
        expires_at = exchange.now() + KEPT_S
        claim = await self._store.claim_key(call.project, key, ticket.holder, fingerprint, self._lease_s, expires_at)
        if claim.is_mine:
            return ticket
        if claim.fingerprint != fingerprint:
            raise Conflict(
                "This Idempotency-Key was used with a different request. Use a new key for a new request.",
                code="idempotency_key_reused",
                should_retry=False,
            )
        if claim.answer is None:
            raise Conflict(
                "The first request with this Idempotency-Key is still being carried out. Try again in a moment.",
                code="idempotency_key_in_use",
                should_retry=True,
            )
        ticket.answer = claim.answer
        return ticket

    async def around(self, handler: Handler, call: Call) -> None:
        """Carry out a POST that answers with JSON, once for its key."""
        body = await call.exchange.body(self._max_body_bytes)
        if call.exchange.is_gone:
            return
        async with await self.ticket(call, body) as ticket:
            if ticket.answer is not None:
                await ticket.replay(call)
                return
            call.exchange.before_answer = ticket.keep
            await handler(call)
