"""What an interpreter says of its own build, and when that is believed."""

from __future__ import annotations

import pytest

from antiphon.cli.interpreter import is_plain_build

PLAIN = "'--prefix=/opt/python' '--enable-shared'"
OPTIMISED = "'--enable-shared' '--enable-optimizations' '--with-lto'"


@pytest.mark.parametrize(
    ("arguments", "is_shared", "is_library", "is_plain"),
    [
        pytest.param(PLAIN, 1, True, True, id="a version manager's library"),
        pytest.param(PLAIN, 0, False, True, id="a version manager's program"),
        pytest.param(OPTIMISED, 1, True, False, id="a container image's"),
        pytest.param(PLAIN, 1, False, False, id="Debian's: the variables are its library's"),
        pytest.param(None, 0, False, False, id="no word of it"),
    ],
)
def test_only_a_build_that_describes_itself_is_called_plain(
    arguments: str | None, is_shared: int, *, is_library: bool, is_plain: bool
) -> None:
    described: dict[str, object] = {"CONFIG_ARGS": arguments, "Py_ENABLE_SHARED": is_shared}
    assert is_plain_build(described, is_library=is_library) is is_plain
