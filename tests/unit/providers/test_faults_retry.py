"""The order of the hints on when to come back, and what each is written like."""

from __future__ import annotations

import pytest

from antiphon.providers.faults_retry import MAX_HINT_S, retry_after_in, retry_after_s

DATE = {"date": "Fri, 20 Nov 2026 12:00:00 GMT"}

HINTS: list[tuple[dict[str, str], str | None, float | None]] = [
    ({"retry-after-ms": "1500", "retry-after": "9"}, None, 1.5),
    ({"retry-after": "9", "x-ratelimit-reset-requests": "1s"}, "14s", 9),
    ({"retry-after": "0.25"}, None, 0.25),
    ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT", **DATE}, None, 30),
    ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT", **DATE}, None, 0),
    ({}, "14s", 14),
    ({}, "0.5s", 0.5),
    ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, None, 360),
    ({"x-ratelimit-reset-requests": "120ms"}, None, 0.12),
    (
        {
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-tokens": "6m0s",
            "x-ratelimit-remaining-tokens": "70",
        },
        None,
        1,
    ),
    ({"x-ratelimit-reset": "1795176060", **DATE}, None, 60),
    ({"x-ratelimit-reset": "1795176060000", **DATE}, None, 60),
    ({"x-ratelimit-reset": "20"}, None, 20),
    (
        {
            "anthropic-ratelimit-tokens-reset": "2026-11-20T12:00:10Z",
            "anthropic-ratelimit-tokens-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2026-11-20T12:01:00Z",
            "anthropic-ratelimit-requests-remaining": "12",
            **DATE,
        },
        None,
        10,
    ),
    ({"retry-after": "soon"}, None, None),
    ({"retry-after": "nan"}, None, None),
    ({"retry-after": "inf"}, None, None),
    ({"retry-after": "-3"}, None, 0),
    ({"retry-after": "99999999"}, None, MAX_HINT_S),
    ({"x-ratelimit-reset-requests": "later"}, None, None),
    ({}, None, None),
]


@pytest.mark.parametrize(("headers", "retry_delay", "expected"), HINTS)
def test_first_usable_hint_wins(headers: dict[str, str], retry_delay: str | None, expected: float | None) -> None:
    assert retry_after_s(headers, retry_delay, is_rate_limit=True) == (
        None if expected is None else pytest.approx(expected)
    )


def test_reset_headers_say_nothing_about_other_failures() -> None:
    assert retry_after_s({"x-ratelimit-reset-requests": "1s"}, None, is_rate_limit=False) is None


def test_instant_without_a_date_header_is_measured_against_the_clock() -> None:
    assert retry_after_s({"retry-after": "Fri, 20 Nov 2015 12:00:00 GMT"}, None, is_rate_limit=False) == 0


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Please try again in 11.054s. Visit", 11.054),
        ("Please try again in 6m0s.", 360),
        ("try again in 20ms", 0.02),
        ("Please retry in 14.5s.", 14.5),
        ("retry after 30 seconds", 30),
        ("Try again in 1 second.", 1),
        ("Please try again later.", None),
        ("try again in 2 models", None),
    ],
)
def test_wait_is_read_from_words(message: str, expected: float | None) -> None:
    assert retry_after_in(message) == (None if expected is None else pytest.approx(expected))
