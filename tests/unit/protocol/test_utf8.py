"""Bytes that should be UTF-8: what is wrong is found wherever pieces of them end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.protocol.utf8 import as_utf8, check_utf8

PIECE = 1 << 16


@given(
    data=st.one_of(st.binary(), st.text().map(str.encode)), before=st.sampled_from([0, 1, PIECE - 2, PIECE - 1, PIECE])
)
def test_a_check_says_what_python_says(data: bytes, before: int) -> None:
    whole = b"a" * before + data
    try:
        whole.decode()
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            check_utf8(whole)
        assert as_utf8(whole).decode() == whole.decode("utf-8", "replace")
    else:
        check_utf8(whole)
        assert as_utf8(whole) == whole
