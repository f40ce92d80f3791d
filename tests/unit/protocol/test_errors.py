"""What an error keeps when its request is over."""

from __future__ import annotations

import pytest

from antiphon.protocol.errors import InvalidRequest, without_frames


def raised(error: Exception, *, cause: Exception | None = None, context: Exception | None = None) -> Exception:
    with pytest.raises(type(error)):
        raise error
    error.__cause__, error.__context__ = cause, context
    assert error.__traceback__ is not None
    return error


def test_an_error_and_all_that_it_came_from_forget_their_frames() -> None:
    first = raised(KeyError("seen on the way"))
    second = raised(ValueError("not JSON"), context=first)
    third = raised(InvalidRequest("The body is not JSON."), cause=second)
    assert without_frames(third) is third
    assert [one.__traceback__ for one in (first, second, third)] == [None, None, None]


def test_errors_that_come_from_each_other_have_an_end() -> None:
    one = raised(ValueError("one"))
    other = raised(ValueError("other"), cause=one)
    one.__context__ = other
    assert without_frames(one).__traceback__ is other.__traceback__ is None
