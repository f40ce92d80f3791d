"""Provider errors to our classes, for HTTP answers and for errors inside streams.

Source: reference of provider error classes ("Errors to OpenAI envelope, retry class").
"""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.protocol.errors import UpstreamFault


def classify(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
    """The fault behind a non-2xx answer. Header names are lower case; `body` may be anything."""
    raise NotImplementedError


def classify_event(code: str | None, kind: str | None, message: str) -> UpstreamFault:
    """The fault behind an error reported inside a 200 stream: its code, its type, its message."""
    raise NotImplementedError
