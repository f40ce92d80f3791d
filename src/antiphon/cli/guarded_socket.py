"""uvicorn's WebSocket, with an end to what anybody may begin, and no end of its own when the server stops.

A message is known to the application once it is whole. Until then it is bounded here: what has come of all messages
counts as bodies do, a piece costs no more than its bytes, and who begins a message ends it. Source: RFC 6455.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.protocol import State

from antiphon.protocol.errors import ApiError, RequestTimeout
from antiphon.protocol.socket_events import error_event
from antiphon.protocol.utf8 import check_utf8
from antiphon.runs.intake import Intake

from .patience import Patient

_SMALL_BYTES: Final = 64 << 10
"""A message that is begun may become as large where there is no room for more: its refusal need not end the rest."""
_LINGER_S: Final = 1.0


class GuardedSocket(Patient, WebSocketsSansIOProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        super().connection_made(transport)
        self._intake: Intake = self.app_state["intake"]
        self._held_bytes = 0
        self._queued_bytes = 0
        self._begun_bytes = 0
        self._pieces = bytearray()
        self._late_pong = b""
        self._watch: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._expect_nothing()
        self._begun_bytes = self._queued_bytes = 0
        self._hold(0)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        super().data_received(data)
        begun = len(self.conn.reader.buffer) + len(self._pieces) + sum(map(len, self.frames))
        size = begun + self._queued_bytes
        refusal = self._intake.refusal(size - self._held_bytes) if begun > _SMALL_BYTES else None
        if refusal is not None:
            self._refuse(refusal, CloseCode.TRY_AGAIN_LATER)
            return
        self._hold(size)
        if not begun:
            self._expect_nothing()
        elif begun != self._begun_bytes:
            self._expect_more()
        self._begun_bytes = begun

    async def receive(self) -> ASGIReceiveEvent:
        """The next message is the application's, which counts it from here on."""
        message = await super().receive()
        if self.queue.empty():
            self._queued_bytes = 0
            self._hold(self._begun_bytes)
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """Also: an upgrade that was refused with a whole HTTP answer is over, and no fault of the application.

        Nor is it one that the connection was closed here, for what its client sent or for pings that nobody answered,
        before the application has heard of it. Raises ClientDisconnected, an OSError.
        """
        if self.handshake_complete and self.close_sent:
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def shutdown(self) -> None:
        """Called when the server stops: the application hears of it by itself, and closes after its responses."""
        if self.handshake_complete and not self.close_sent:
            self.stop_keepalive()
            return
        super().shutdown()

    # -- frames

    def handle_cont(self, event: Frame) -> None:
        """A piece of a message: kept with those before it, as one."""
        if self.frames:
            self._pieces += self.frames.pop()
        self._pieces += event.data
        if event.fin:
            self.frames.append(bytes(self._pieces))
            self._pieces.clear()
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """A message is whole: text goes on as the bytes that it came as."""
        (data,) = self.frames
        if self.curr_msg_data_type == "text":
            try:
                check_utf8(data)
            except UnicodeDecodeError:
                self.conn.fail(CloseCode.INVALID_DATA, "The text is not UTF-8.")
                self.handle_parser_exception()
                return
            self.curr_msg_data_type = "bytes"
        self._queued_bytes += 0 if self.close_sent else len(data)
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """What came is no frame. It may come before the upgrade is answered, which uvicorn does not reckon with."""
        if self.conn.state is State.CONNECTING:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.PROTOCOL_ERROR})
            self.handshake_complete = self.close_sent = True
            self.transport.close()
        else:
            super().handle_parser_exception()

    def handle_ping(self) -> None:
        """Of pings that come while the client reads nothing, the latest are answered once it does (5.5.3)."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)
        elif pong:
            self._late_pong = pong

    def resume_writing(self) -> None:
        """Called by the loop."""
        super().resume_writing()
        pong, self._late_pong = self._late_pong, b""
        self.transport.write(pong)

    # -- bounds

    def _awaits_client(self) -> bool:
        return not self.read_paused

    def _end_silence(self) -> None:
        error = RequestTimeout(f"The message was not sent to its end: {self.silence_s:g} seconds without a byte.")
        self._refuse(error, CloseCode.POLICY_VIOLATION)

    def _refuse(self, error: ApiError, code: CloseCode) -> None:
        """The last that this connection says. What still comes of the message is read and forgotten for a moment:

        a connection that is closed over bytes that were not read is reset, and the client may never read why.
        """
        self._expect_nothing()
        if self.conn.state is not State.OPEN:
            self.transport.close()
            return
        self.conn.send_text(error_event(error, None))
        self.conn.fail(code)
        self.conn.receive_data(b"")
        self._pieces.clear()
        self.frames = []
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(_LINGER_S, self.transport.close)
