"""How many files this process may have open: every connection is one, a client's and a provider's alike.

Systems start programs with room for 1,024, and let them ask for more. Source: getrlimit(2), RLIMIT_NOFILE.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

_ENOUGH: Final = 1 << 20
_MACOS: Final = 10_240
"""OPEN_MAX: there the hard limit may say that there is none, and more than this is refused."""
_BESIDE: Final = 128
"""The database, its readers, the listening socket, logs and what else is no client's."""
_EACH: Final = 4
"""The client's connection and the provider's, and as many that are kept for what comes next."""


def open_files() -> int:
    """As many as may be open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def raise_open_files() -> int:
    """Ask for as many as this user may have; answers what it has come to."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    for wanted in (most, min(most, _MACOS)):
        if wanted > open_files():
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return open_files()


def responses_within(files: int) -> int:
    """How many responses can be made at once with so many files open; at least one."""
    return max((files - _BESIDE) // _EACH, 1)
