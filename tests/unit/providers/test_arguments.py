"""A call's arguments as the JSON object that providers take."""

from __future__ import annotations

import pytest

from antiphon.providers.arguments import as_object, is_object, raw_object


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (' {"a":1}\n', ' {"a":1}\n'),
        ("", "{}"),
        (" \n", "{}"),
        ('{"city":"Ro', '{"input":"{\\"city\\":\\"Ro"}'),
        ("[1]", '{"input":"[1]"}'),
        ("null", '{"input":"null"}'),
        ('{"a":1} {"b":2}', '{"input":"{\\"a\\":1} {\\"b\\":2}"}'),
        ('{"a":"\x01"}', '{"input":"{\\"a\\":\\"\\u0001\\"}"}'),
    ],
)
def test_what_is_no_object_is_sent_as_the_text_in_one(written: str, sent: str) -> None:
    assert as_object(written) == sent
    assert is_object(written) == (written == sent)
    assert is_object(sent)
    assert bytes(raw_object(written)).decode() == sent.strip()
