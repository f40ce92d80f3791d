"""Inline media taken apart and put together."""

from __future__ import annotations

import pytest

from antiphon.providers.media import InlineData, file_data, is_data_url, split_data_url, text_of


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:image/png;base64,AAAA", InlineData("image/png", "AAAA")),
        ("DATA:Image/PNG;charset=x;BASE64, AAAA ", InlineData("image/png", "AAAA")),
        ("data:,a%20b", InlineData("text/plain", "YSBi")),
        ("https://a.example/i.png", None),
        ("data:image/png;base64", None),
    ],
)
def test_a_data_url_is_split_or_is_none(url: str, expected: InlineData | None) -> None:
    assert split_data_url(url) == expected


def test_a_data_url_is_told_by_its_scheme_in_any_case() -> None:
    assert is_data_url("Data:x")
    assert not is_data_url("http://data:")


def test_split_and_joined_a_data_url_is_itself() -> None:
    url = "data:application/pdf;base64,AAAA"
    assert (split_data_url(url) or InlineData("", "")).url == url


def test_the_type_of_bare_base64_is_told_by_the_files_name() -> None:
    assert file_data("AAAA", "a.pdf") == InlineData("application/pdf", "AAAA")
    assert file_data("AAAA", None).media_type == "application/octet-stream"
    assert file_data("data:application/octet-stream;base64,AAAA", "a.txt") == InlineData("text/plain", "AAAA")


@pytest.mark.parametrize(
    ("inline", "expected"),
    [
        (InlineData("text/csv", "aGk="), "hi"),
        (InlineData("application/json", "77u/e30="), "{}"),
        (InlineData("application/pdf", "aGk="), None),
        (InlineData("text/plain", "/w=="), None),
        (InlineData("text/plain", "aGk"), None),
    ],
)
def test_text_is_text_only_where_it_is_whole_utf_8(inline: InlineData, expected: str | None) -> None:
    assert text_of(inline) == expected
