"""Every response and event against both OpenAPI documents, where those are present; a no-op where they are not."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def check_response(body: Json) -> None:
    """A response object, as a JSON body or inside an event."""
    assert body["id"].startswith("resp_")


def check_event(event: Json) -> None:
    """One streamed event."""
    assert isinstance(event["sequence_number"], int)


def check_error(body: Json) -> None:
    """An HTTP error's body: OpenAI's envelope with all four keys."""
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"message", "type", "param", "code"}, body
    assert body["error"]["message"] != ""
