"""What a provider's error body says, whatever its shape: codes, messages, and nothing that must stay secret.

Bodies are OpenAI's envelope, Anthropic's `{type: error, error: {}}`, Google's `{error: {code, status,
details}}`, FastAPI's `detail`, OpenRouter's envelope with the real provider's body as text inside, plain
text, HTML or nothing. They are walked, not decoded into types, because gateways nest one shape in another.
This module never decides what an error means (`faults` does) and never lets a credential through.
Source: reference of provider error classes; recorded shapes in tests/unit/providers/test_faults_report.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_MESSAGE_LENGTH: Final = 2000
_MAX_BODY_BYTES: Final = 256 * 1024
_MAX_DEPTH: Final = 10
_MAX_MESSAGES: Final = 3

_CODE_KEYS: Final = frozenset(
    {"code", "type", "status", "reason", "error_code", "errorCode", "error_type", "__type", "quotaId"}
)
_MESSAGE_KEYS: Final = frozenset({"message", "msg", "detail", "error", "Message", "error_description", "error_message"})
# pydantic's validation errors quote the request back under these keys: a prompt is no diagnosis.
_ECHO_KEYS: Final = frozenset({"input", "ctx", "body", "request", "messages", "prompt"})
# OpenRouter puts the provider's own body, as text, under `raw`; its outer message then says nothing.
_NESTED_KEY: Final = "raw"
_EMPTY_MESSAGES: Final = frozenset({"provider returned error", "error", "bad request", "upstream error"})

_HTML: Final = re.compile(r"^\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)
_TITLE: Final = re.compile(r"<title[^>]*>([^<]{1,200})</title>", re.IGNORECASE)

# Credentials known by their issuer's prefix; _NAMED_SECRET has those known only by what stands before.
_SECRET: Final = re.compile(
    r"""
      \b(?:sk|pk|rk|xai|gsk|hf|nvapi|r8|fw|pplx|csk|tgp|dapi|glpat|fal|jina|voyage|lin_api|github_pat|gh[pousr])
        [-_][A-Za-z0-9*._\-]{6,}
    | \bAIza[A-Za-z0-9_\-*]{10,}
    | \b(?:AKIA|ASIA)[A-Z0-9*]{12,}
    | \bya29\.[A-Za-z0-9._\-]{6,}
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]*)?
    """,
    re.VERBOSE,
)
_NAMED_SECRET: Final = re.compile(
    r"""(?P<name>\b(?:bearer|basic)\s+
        | \b(?:x-)?api[-_ ]?key(?:\ provided)?["']?\s*[:=]\s*["']?
        | \b(?:access|auth|secret)[-_ ]?(?:token|key)["']?\s*[:=]\s*["']?
        | \b(?:token|password|secret|authorization|signature)["']?\s*[:=]\s*["']?(?:bearer\s|basic\s)?
        | [?&](?:key|token|sig|signature|code)=)
        (?P<secret>(?!\d+\b)[^\s"'&,;<>]{6,})""",
    re.VERBOSE | re.IGNORECASE,
)


class Report(msgspec.Struct, frozen=True):
    """A body that was read.

    `codes` are lower case and without AWS namespaces; `retry_delay` is Google's `"14s"` as written; `param`
    is OpenAI's field path; `request_id` is Anthropic's.
    """

    codes: frozenset[str] = frozenset()
    message: str = ""
    param: str | None = None
    retry_delay: str | None = None
    request_id: str | None = None
    was_flagged: bool = False


def read(body: bytes) -> Report:
    """The report in a body of any shape. Never raises."""
    text = body[:_MAX_BODY_BYTES].decode("utf-8", "replace").strip()
    document = _parsed(text)
    if isinstance(document, dict | list):
        return _Walk().report_of(document)
    return Report(message=scrub(_plain(document if isinstance(document, str) else text)))


def normal_code(code: str) -> str:
    """A code as the tables spell it: `com.amazon#ThrottlingException:http://x` is `throttlingexception`."""
    return code.rsplit("#", 1)[-1].split(":", 1)[0].strip().lower()


def scrub(text: str) -> str:
    """The text without credentials, in one line of at most MAX_MESSAGE_LENGTH characters."""
    cleaned = _NAMED_SECRET.sub(r"\g<name>[redacted]", _SECRET.sub("[redacted]", text))
    flat = " ".join(cleaned.split())
    return flat if len(flat) <= MAX_MESSAGE_LENGTH else flat[: MAX_MESSAGE_LENGTH - 1] + "…"


def _parsed(text: str) -> Json:
    try:
        document: Json = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return document


def _plain(text: str) -> str:
    """Plain text as it is; of a web page (a proxy's, mostly) its title alone."""
    if not _HTML.match(text):
        return text
    title = _TITLE.search(text)
    return title.group(1) if title else ""


class _Walk:
    """One pass over a JSON error body, outermost values first."""

    def __init__(self) -> None:
        self._codes: set[str] = set()
        self._messages: list[str] = []
        self._firsts: dict[str, str] = {}
        self._was_flagged = False

    def report_of(self, document: Json) -> Report:
        level: list[Json] = [document]
        for _ in range(_MAX_DEPTH):
            level = [inner for value in level for inner in self._visit(value)]
            if not level:
                break
        return Report(
            frozenset(self._codes),
            scrub(self._message()),
            self._firsts.get("param"),
            self._firsts.get("retryDelay"),
            self._firsts.get("request_id"),
            self._was_flagged,
        )

    def _message(self) -> str:
        telling = [text for text in self._messages if text.lower().strip(" .") not in _EMPTY_MESSAGES]
        distinct = list(dict.fromkeys(telling or self._messages))
        return "; ".join(distinct[:_MAX_MESSAGES])

    def _visit(self, value: Json) -> Iterator[Json]:
        if isinstance(value, list):
            yield from value
        elif isinstance(value, dict):
            for key, inner in value.items():
                if key in _ECHO_KEYS:
                    continue
                if isinstance(inner, dict | list):
                    yield inner
                elif isinstance(inner, str) and key == _NESTED_KEY:
                    yield from self._nested(inner)
                else:
                    self._note(key, inner)
            self._was_flagged |= "flagged_input" in value

    def _nested(self, text: str) -> Iterator[Json]:
        document = _parsed(text.strip())
        if isinstance(document, dict | list):
            yield document
        elif text.strip():
            self._messages.append(_plain(text))

    def _note(self, key: str, value: Json) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            return
        if key in _CODE_KEYS:
            self._codes.add(normal_code(str(value)))
        elif key in _MESSAGE_KEYS and isinstance(value, str):
            self._messages.append(value)
        elif key in ("param", "retryDelay", "request_id") and isinstance(value, str):
            self._firsts.setdefault(key, value)
