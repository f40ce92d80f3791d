"""uvicorn's HTTP, with an end to what anybody may begin: how large a head may be, how long a request may be silent, and
how long an answer may wait to be read.

Until its head is whole nobody knows whose a request is: these bounds are the same for all. A request that comes in one
piece, as nearly all do, costs no timer. What waits to be read counts as bodies do.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from antiphon.protocol.errors import ApiError, HeadTooLarge, InvalidRequest, RequestTimeout, envelope_of, wire_of

from .patience import Patient
from .sending import Sending

MAX_HEAD_BYTES: Final = 64 << 10
MAX_PIPELINED: Final = 16
_LINGER_S: Final = 1.0
_LINGER_BYTES: Final = 1 << 20


class GuardedHttp(Patient, HttpToolsProtocol):
    """One connection."""

    unread_s: ClassVar[float] = 120.0
    # Beside uvicorn's own attributes, which are as many as instances of one class can share the names of.
    __slots__ = ("_heard_at", "_held_bytes", "_is_over", "_loose_bytes", "_unanswered", "_unread", "_watch")

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Called by the loop."""
        super().connection_made(transport)
        self._unanswered: tuple[RequestResponseCycle, ...] = ()
        self._loose_bytes = 0  # since the last head, or piece of a body, was whole
        self._is_over = False
        self._watch: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._held_bytes = 0
        self._expect_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._expect_nothing()
        self._leave_reader()
        self._tell_departure()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called by the loop: much waits to be read by the client."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._leave_reader()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Called where no other request has come: the connection ends with what was sent over it, if that is read."""
        super().timeout_keep_alive_handler()
        if self._unread is None:
            self._await_reader()

    def _await_reader(self) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        self._hold(unsent_bytes)
        self._unread = self.loop.call_later(self.unread_s, self._look_at_reader, unsent_bytes)

    def _look_at_reader(self, before_bytes: int) -> None:
        """For a client that has read nothing meanwhile, nothing is kept any longer."""
        if self.transport.get_write_buffer_size() < before_bytes:
            self._await_reader()
        else:
            self.transport.abort()

    def _leave_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
            self._hold(0)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._loose_bytes += len(data)
        if not self._is_over:
            super().data_received(data)
        if self._is_over:
            self._linger()
        elif self._loose_bytes > MAX_HEAD_BYTES:
            self._refuse(
                HeadTooLarge(f"The request's head is larger than {MAX_HEAD_BYTES:,} bytes. Send less in its headers.")
            )
        elif self._is_owed_more():
            self._expect_more()
        else:
            self._expect_nothing()

    def on_headers_complete(self) -> None:
        """Called by the parser. What it raises is answered as an invalid request."""
        self._loose_bytes = 0
        is_ahead = bool(self.cycle) and not self.cycle.response_complete
        if is_ahead:
            self._note_unanswered()
        super().on_headers_complete()
        if is_ahead:  # uvicorn would read no further now, and not hear of the client's leaving
            self.flow.resume_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        answering: Any = Sending(app, cycle)  # uvicorn has a type for each kind of scope and message
        super()._start_asgi_task(cycle, answering)

    def _note_unanswered(self) -> None:
        """A request comes before the last one was answered: of that one uvicorn knows no more."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests before the first answer")
        self._unanswered = (*(cycle for cycle in self._unanswered if not cycle.response_complete), self.cycle)

    def on_body(self, body: bytes) -> None:
        """Called by the parser. What it raises is answered as an invalid request."""
        self._loose_bytes = 0
        super().on_body(body)
        if self.pipeline and self.flow.read_paused:  # and a client that leaves would not be heard
            raise ValueError("too much of a request before the answer to an earlier one")

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._loose_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called where the bytes are no HTTP."""
        self._refuse(InvalidRequest(msg))

    def _is_owed_more(self) -> bool:
        return self._loose_bytes > 0 or (bool(self.cycle) and self.cycle.more_body)

    def _awaits_client(self) -> bool:
        return not (self.flow.read_paused or self._owes_answer())

    def _end_silence(self) -> None:
        if self._is_owed_more():
            self._refuse(
                RequestTimeout(f"The request was not sent to its end: {self.silence_s:g} seconds without a byte.")
            )
        else:
            self.transport.close()

    def _owes_answer(self) -> bool:
        if self.pipeline:
            return True
        if not self.cycle or self.cycle.response_complete:
            return False
        return self.cycle.response_started or not self.cycle.more_body

    def _refuse(self, error: ApiError) -> None:
        """The last answer of this connection; none where an earlier one is on its way."""
        self._expect_nothing()
        if self._owes_answer():
            self.transport.close()
            return
        self._is_over = True
        self._tell_departure()
        self.transport.write(_whole(error))
        self.transport.write_eof()
        self._watch = self.loop.call_later(_LINGER_S, self.transport.close)

    def _tell_departure(self) -> None:
        """To every request of this connection that is being answered or waits for it."""
        for cycle in (*self._unanswered, self.cycle):
            if cycle and not cycle.response_complete:
                cycle.disconnected = True
                cycle.waiting_for_100_continue = False
                cycle.message_event.set()

    def _linger(self) -> None:
        """What the client still sends is read for a moment: on a reset it would never read why (RFC 9112, 9.6)."""
        if self._loose_bytes > _LINGER_BYTES:
            self.transport.close()


def _whole(error: ApiError) -> bytes:
    status = HTTPStatus(wire_of(error).status)
    body = msgspec.json.encode(envelope_of(error))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body
