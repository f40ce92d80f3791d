"""uvicorn's WebSocket, but for its end: when the server stops, the application closes it after its responses."""

from __future__ import annotations

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class DrainingSocket(WebSocketsSansIOProtocol):
    """Leaves an open connection to the application, which hears of the drain by itself and is bounded by it."""

    async def send(self, message: ASGISendEvent) -> None:
        """Also: an upgrade that was refused with a whole HTTP answer is over, and no fault of the application.

        Nor is it one that uvicorn has closed the connection, for bytes that are no WebSocket's or pings that nobody
        answered, before the application has heard of it. Raises ClientDisconnected, an OSError.
        """
        if self.handshake_complete and self.close_sent:
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def shutdown(self) -> None:
        """Called by uvicorn when the server stops."""
        if self.handshake_complete and not self.close_sent:
            self.stop_keepalive()
            return
        super().shutdown()
