"""Reading error bodies of any shape, and keeping credentials out of what is read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.providers.faults_report import MAX_MESSAGE_LENGTH, normal_code, read, scrub

MESSAGES: list[tuple[bytes, str]] = [
    (b'{"error":{"message":"a","type":"t","param":null,"code":null}}', "a"),
    (b'{"type":"error","error":{"type":"api_error","message":"b"},"request_id":null}', "b"),
    (b'[{"error":{"code":400,"message":"c","status":"INVALID_ARGUMENT","details":[]}}]', "c"),
    (b'{"detail":"d"}', "d"),
    (b'{"detail":[{"loc":["body"],"msg":"e","input":{"msg":"secret prompt"}},{"msg":"f"}]}', "e; f"),
    (b'{"error":"g"}', "g"),
    (b'{"message":"h"}', "h"),
    (
        b'{"error":{"message":"Provider returned error","metadata":{"raw":"{\\"error\\":\\"i\\"}"}}}',
        "i",
    ),
    (b'{"error":{"message":"Provider returned error","metadata":{"raw":"plain j"}}}', "plain j"),
    (b'{"error":{"message":"Provider returned error","metadata":{"raw":" "}}}', "Provider returned error"),
    (b'{"error":{"message":null,"code":null}}', ""),
    (b'"k"', "k"),
    (b"plain  text\n of l", "plain text of l"),
    (b"<html><head><title>502 Bad Gateway</title></head><body>x</body></html>", "502 Bad Gateway"),
    (b"<!DOCTYPE html><body>no title</body>", ""),
    (b"", ""),
    (b"\xff\xfe", "\ufffd\ufffd"),
]


@pytest.mark.parametrize(("body", "message"), MESSAGES)
def test_message_is_found_in_every_shape(body: bytes, message: str) -> None:
    assert read(body).message == message


SECRETS = [
    "sk-proj-abc123DEF456ghi789",
    "sk-ant-api03-AbCdEf_123-456",
    "sk-abcd****************wxyz",
    "xai-AbCdEf0123456789",
    "gsk_AbCdEf0123456789",
    "hf_AbCdEf0123456789",
    "nvapi-AbCdEf0123456789",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AKIAIOSFODNN7EXAMPLE",
    "ya29.a0AfH6SMBxxxxxxxx",
    "ghp_abcdefghijklmnop",
    "github_pat_11ABCDEFG0",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_credential_known_by_its_prefix_is_redacted(secret: str) -> None:
    message = scrub(f"Incorrect key {secret}, see the docs.")
    assert secret not in message
    assert message == "Incorrect key [redacted], see the docs."


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer 0123456789abcdef",
        "got header api-key: 0123456789abcdef",
        "Incorrect API key provided: 0123456789abcdef",
        '{"x-api-key":"0123456789abcdef"}',
        "https://example.com/v1?key=0123456789abcdef&alt=sse",
        "access_token = '0123456789abcdef'",
    ],
)
def test_credential_known_by_its_name_is_redacted(text: str) -> None:
    assert "0123456789abcdef" not in scrub(text)


def test_ordinary_words_are_left_alone() -> None:
    text = "The risk-based model gpt-5.5 asked for max_tokens: 4096; the task-list is too long."
    assert scrub(text) == text


def test_long_message_is_cut_to_the_limit() -> None:
    assert len(scrub("x " * MAX_MESSAGE_LENGTH)) == MAX_MESSAGE_LENGTH


def test_nesting_beyond_any_sense_is_not_followed_and_does_not_raise() -> None:
    assert read(b'{"error":' * 20 + b'{"code":"deep"}' + b"}" * 20).codes == frozenset()
    assert read(b'{"error":' * 5000 + b"1" + b"}" * 5000).codes == frozenset()


@pytest.mark.parametrize(
    ("code", "normal"),
    [
        ("com.amazon.coral#ThrottlingException:http://x", "throttlingexception"),
        ("RESOURCE_EXHAUSTED", "resource_exhausted"),
    ],
)
def test_code_is_normalised(code: str, normal: str) -> None:
    assert normal_code(code) == normal


def test_booleans_are_not_codes() -> None:
    assert read(b'{"error":{"code":true,"type":"","status":null}}').codes == frozenset()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "detail", "metadata", "raw"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=64) | JSON.map(msgspec.json.encode))
def test_no_body_makes_it_raise(body: bytes) -> None:
    read(body)
