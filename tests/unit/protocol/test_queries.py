"""Query strings of the read endpoints."""

from __future__ import annotations

import pytest

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.queries import ListQuery, RetrieveQuery, parse_list_query, parse_retrieve_query


def test_the_defaults_are_those_of_the_documents() -> None:
    assert parse_list_query([]) == ListQuery(None, "desc", 20, frozenset())
    assert parse_retrieve_query([]) == RetrieveQuery(frozenset(), False, None, True)


def test_arrays_are_read_in_both_spellings() -> None:
    pairs = [("include[]", "reasoning.encrypted_content"), ("include", "message.output_text.logprobs")]
    assert parse_list_query(pairs).include == {"reasoning.encrypted_content", "message.output_text.logprobs"}


def test_a_page_and_a_cursor_are_read() -> None:
    assert parse_list_query([("limit", "100"), ("order", "asc"), ("after", "msg_1")]) == ListQuery("msg_1", "asc", 100)
    query = parse_retrieve_query([("stream", "true"), ("starting_after", "3"), ("include_obfuscation", "false")])
    assert query == RetrieveQuery(frozenset(), True, 3, False)


def test_what_sdk_helpers_add_is_tolerated() -> None:
    assert parse_retrieve_query([("beta", "true"), ("stream", "false")]) == RetrieveQuery()


@pytest.mark.parametrize(
    ("pairs", "code", "param"),
    [
        ([("limit", "0")], "integer_below_min_value", "limit"),
        ([("limit", "101")], "integer_above_max_value", "limit"),
        ([("limit", "ten")], "invalid_type", "limit"),
        ([("order", "up")], "invalid_value", "order"),
        ([("include[]", "nothing")], "invalid_value", "include[0]"),
        ([("limti", "1")], "unknown_parameter", "limti"),
    ],
)
def test_a_wrong_list_query_is_refused_by_name(pairs: list[tuple[str, str]], code: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_list_query(pairs)
    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize("pairs", [[("stream", "maybe")], [("starting_after", "x")], [("include_obfuscation", "1")]])
def test_a_wrong_retrieve_query_is_refused_by_name(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_retrieve_query(pairs)
    assert caught.value.param == pairs[0][0]
