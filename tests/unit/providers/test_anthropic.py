"""The anthropic dialect as a whole: where it calls, what it refuses, and bodies of the SDK's own types."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.providers import anthropic_kit as kit
from tests.upstream.types_check import check_types
from tests.wire.recording import Recording, recordings

from antiphon.protocol.errors import InvalidRequest
from antiphon.providers.base import Vendor

RECORDED = [case for case in recordings() if case.path.parent.name == "anthropic" and case.response is not None]
BETA_ONLY = "block_binding"


@pytest.mark.parametrize("base_url", ["https://e.org", "https://e.org/v1"])
def test_the_version_stands_once_in_the_path(base_url: str) -> None:
    request = kit.DIALECT.models_request(Vendor("v", "anthropic", base_url, auth="x-api-key", api_key="key"))
    assert request is not None
    assert (request.method, request.url) == ("GET", "https://e.org/v1/models?limit=1000")
    assert dict(request.headers)["x-api-key"] == "key"
    assert dict(request.headers)["anthropic-version"] == "2026-10-21"


def test_a_call_is_streamed_and_the_operators_headers_win() -> None:
    sent = kit.encode()
    assert (sent.method, sent.url) == ("POST", "https://api.anthropic.com/v1/messages")
    assert msgspec.json.decode(sent.body)["stream"] is True
    vendor = Vendor("v", "anthropic", "https://e.org", headers={"Anthropic-Version": "2023-06-01"})
    listed = kit.DIALECT.models_request(vendor)
    assert listed is not None
    assert dict(listed.headers)["anthropic-version"] == "2023-06-01"


def test_a_refused_call_is_classified() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert kit.DIALECT.fault(529, {}, body).kind == "overloaded"


@pytest.mark.slow
@pytest.mark.parametrize("case", RECORDED, ids=[case.name for case in RECORDED])
def test_pitfall_012_every_recorded_body_is_of_the_sdks_types(case: Recording) -> None:
    body: dict[str, Any] = msgspec.json.decode(case.http_request.body)
    if BETA_ONLY in (body.get("thinking") or {}):
        from anthropic.types.beta.message_create_params import MessageCreateParamsStreaming
        from pydantic import TypeAdapter

        TypeAdapter(MessageCreateParamsStreaming).validate_python(body)
    else:
        # Vertex AI names the model in the path and the version in the body.
        body.pop("anthropic_version", None)
        check_types("anthropic", {"model": "m"} | body)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}, "input[0].content[0]"),
        ({"type": "input_image", "image_url": "data:image/tiff;base64,AAAA"}, "input[0].content[0]"),
        ({"type": "input_image", "file_id": "file_1"}, "input[0].content[0].file_id"),
        ({"type": "input_file", "file_id": "file_1"}, "input[0].content[0].file_id"),
        ({"type": "input_file", "filename": "a.zip", "file_data": "UEsDBAD/"}, "input[0].content[0]"),
    ],
)
def test_pitfall_032_media_that_cannot_be_sent_is_refused_by_its_place(part: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        kit.encode(input=[{"role": "user", "content": [part]}])
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("part", "source"),
    [
        (
            {"type": "input_image", "image_url": "data:image/webp;base64,AAAA"},
            {"type": "base64", "media_type": "image/webp", "data": "AAAA"},
        ),
        (
            {"type": "input_image", "image_url": "https://e.org/a.png"},
            {"type": "url", "url": "https://e.org/a.png"},
        ),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
            {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        ),
        (
            {"type": "input_file", "filename": "a.md", "file_data": "data:text/markdown;base64,IyBoaQ=="},
            {"type": "text", "media_type": "text/plain", "data": "# hi"},
        ),
        ({"type": "input_file", "file_url": "https://e.org/a.pdf"}, {"type": "url", "url": "https://e.org/a.pdf"}),
    ],
)
def test_images_and_documents_are_sent_in_their_own_form(part: dict[str, Any], source: dict[str, Any]) -> None:
    (block,) = kit.messages(input=[{"role": "user", "content": [part]}])[0][1]
    assert block["source"] == source
    assert block.get("title") == part.get("filename")
