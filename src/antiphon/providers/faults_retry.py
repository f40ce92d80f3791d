"""When to come back: every place where a provider hints at it, in the order in which the hints are trusted.

    1 retry-after-ms                    milliseconds
    2 retry-after                       seconds or an HTTP date
    3 Google details[].retryDelay       "14s"
    4 x-ratelimit-reset*                "1s", "6m0s", "120ms", seconds, or epoch; only for a rate limit
    5 anthropic-ratelimit-*-reset       RFC 3339; only for a rate limit
    6 the message                       "Please try again in 11.05s", the only hint inside a stream

An instant is measured against the answer's own `date` header, so a wrong clock on either side does no harm.
Source: reference of provider error classes, "Retry-after sources".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

# A longer hint is kept as this: a day is more than any caller waits, and it bounds the numbers we pass on.
MAX_HINT_S: Final = 86_400.0
_EPOCH_FLOOR_S: Final = 1e9
_EPOCH_FLOOR_MS: Final = 1e12

_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_IN_MESSAGE: Final = re.compile(
    r"(?:try again|retry|wait)(?: in| after| for)? "
    r"((?:\d+(?:\.\d+)?(?:ms|s|m|h)(?![a-z]))+|\d+(?:\.\d+)? ?seconds?)",
    re.IGNORECASE,
)


def retry_after_s(headers: Mapping[str, str], retry_delay: str | None, is_rate_limit: bool) -> float | None:
    """Seconds to wait, or None where the provider gave no usable hint. Header names are lower case."""
    for seconds in _hints(headers, retry_delay, is_rate_limit):
        if seconds is not None and math.isfinite(seconds):
            return min(max(seconds, 0.0), MAX_HINT_S)
    return None


def retry_after_in(message: str) -> float | None:
    """The wait a message asks for in words, in seconds."""
    found = _IN_MESSAGE.search(message)
    if found is None:
        return None
    words = found.group(1).lower()
    seconds = _number(words.split("second")[0].strip()) if "second" in words else duration_s(words)
    return None if seconds is None else min(seconds, MAX_HINT_S)


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """The provider's explicit word (`x-should-retry`), or None."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def duration_s(text: str) -> float | None:
    """Seconds of `"14s"`, `"6m0s"`, `"120ms"`; None for anything else."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))


def _hints(headers: Mapping[str, str], retry_delay: str | None, is_rate_limit: bool) -> Iterator[float | None]:
    now = _now(headers)
    milliseconds = _number(headers.get("retry-after-ms", ""))
    yield None if milliseconds is None else milliseconds / 1000
    yield _instant_or_seconds(headers.get("retry-after", ""), now)
    yield duration_s(retry_delay or "")
    if is_rate_limit:
        yield _reset_s(headers, "x-ratelimit-", now)
        yield _reset_s(headers, "anthropic-ratelimit-", now)


def _reset_s(headers: Mapping[str, str], prefix: str, now: datetime) -> float | None:
    """The longest wait among the limits that are used up, or among all where none says that it is."""
    waits: dict[str, float] = {}
    for name, value in headers.items():
        if name.startswith(prefix) and "reset" in name:
            seconds = _instant_or_seconds(value, now)
            if seconds is not None:
                waits[name] = seconds
    spent = [wait for name, wait in waits.items() if _is_spent(headers.get(name.replace("reset", "remaining"), ""))]
    return max(spent or waits.values(), default=None)


def _is_spent(remaining: str) -> bool:
    number = _number(remaining)
    return number is not None and number <= 0


def _instant_or_seconds(value: str, now: datetime) -> float | None:
    text = value.strip()
    number = _number(text)
    if number is None:
        number = duration_s(text)
    if number is None:
        instant = _instant(text)
        return None if instant is None else (instant - now).total_seconds()
    if number >= _EPOCH_FLOOR_MS:
        return number / 1000 - now.timestamp()
    return number - now.timestamp() if number >= _EPOCH_FLOOR_S else number


def _instant(text: str) -> datetime | None:
    """An RFC 3339 or HTTP date, aware; None for anything else."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            instant = parse(text)
        except ValueError:
            continue
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _now(headers: Mapping[str, str]) -> datetime:
    return _instant(headers.get("date", "")) or datetime.now(UTC)
