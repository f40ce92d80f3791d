"""How the running Python was built: one without optimisations needs about a tenth more CPU for every request."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Final

_FLAG: Final = "--enable-optimizations"
_LIBRARY: Final = "/libpython3"


def is_plain() -> bool:
    """Whether this interpreter is known to have been built without optimisations, as version managers build them."""
    try:
        mapped = Path("/proc/self/maps").read_text()
    except OSError:
        return False
    return is_plain_build(sysconfig.get_config_vars(), is_library=_LIBRARY in mapped)


def is_plain_build(described: dict[str, object], *, is_library: bool) -> bool:
    """Whether a build's variables (`sysconfig`) say so of the interpreter that runs, from a library or from one file.

    Debian's describe its library, and its interpreter is another build, of one file: then they say nothing.
    """
    arguments = described.get("CONFIG_ARGS")
    if not isinstance(arguments, str) or is_library != bool(described.get("Py_ENABLE_SHARED")):
        return False
    return _FLAG not in arguments
