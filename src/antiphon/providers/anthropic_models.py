"""What each generation of Claude accepts, told from the model's name; the fallback where no live list says it.

A name nobody knows gets cautious answers and is never refused: a new Claude is taken for the newest generation, another
vendor's model for one that takes what Messages took first.
Source: reference of provider wires, §0.2-0.4, §1.3 and §2.2.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

_NAME: Final = re.compile(r"(fable|mythos|opus|sonnet|haiku)-(\d)(?:[-.](\d{1,2}))?(?!\d)")
_OLD_NAME: Final = re.compile(r"claude-(\d)(?:[-.](\d))?-(opus|sonnet|haiku)")

Version = tuple[int, int]
Off = Literal["disabled", "between_tools", "never"]


class Abilities(NamedTuple):
    """How to ask one model.

    `thinking` is how reasoning is asked for: by effort (adaptive), by a token budget, or not at all. `off` is how it
    is switched off. `binds` models check that replayed thinking stands where it was made. `max_tokens` is the model's
    own limit where it `is_known`, else a cautious one.
    """

    thinking: Literal["adaptive", "budget", "none"]
    off: Off
    has_forced_choice: bool
    has_sampling: bool
    has_system_messages: bool
    has_xhigh: bool
    binds: bool
    max_tokens: int
    is_known: bool = False


_NEWEST: Final = Abilities("adaptive", "never", False, False, True, True, True, 64_000)
_OTHER: Final = Abilities("budget", "disabled", True, True, False, False, False, 16_384)

_UNFORCED: Final[dict[str, Version]] = {"fable": (5, 1), "mythos": (5, 1), "opus": (5, 5), "sonnet": (5, 5)}
_UNSAMPLED: Final[dict[str, Version]] = {
    "fable": (5, 0),
    "mythos": (5, 0),
    "opus": (4, 7),
    "sonnet": (5, 0),
    "haiku": (5, 5),
}
_SYSTEM: Final[dict[str, Version]] = {"fable": (5, 0), "mythos": (5, 0), "opus": (4, 8)}
_BINDING: Final[dict[str, Version]] = {
    "fable": (5, 1),
    "mythos": (5, 2),
    "opus": (5, 5),
    "sonnet": (5, 5),
    "haiku": (5, 5),
}


def abilities(model: str) -> Abilities:
    """What this model accepts."""
    name = model.lower()
    found = _NAME.search(name)
    if found:
        return _of(found[1], (int(found[2]), int(found[3] or 0)))
    old = _OLD_NAME.search(name)
    if old:
        return _of(old[3], (int(old[1]), int(old[2] or 0)))
    return _NEWEST if "claude" in name else _OTHER


def _of(family: str, version: Version) -> Abilities:
    def since(table: dict[str, Version]) -> bool:
        first = table.get(family)
        return first is not None and version >= first

    return Abilities(
        thinking=_thinking(version),
        off=_off(family, version),
        has_forced_choice=not since(_UNFORCED),
        has_sampling=not since(_UNSAMPLED),
        has_system_messages=since(_SYSTEM),
        has_xhigh=version >= (4, 7),
        binds=since(_BINDING),
        max_tokens=_max_tokens(family, version),
        is_known=True,
    )


def _thinking(version: Version) -> Literal["adaptive", "budget", "none"]:
    if version >= (4, 6):
        return "adaptive"
    return "budget" if version >= (3, 7) else "none"


def _off(family: str, version: Version) -> Off:
    if family in ("fable", "mythos") or (family == "opus" and version >= (5, 5)):
        return "never"
    return "between_tools" if family == "sonnet" and version >= (5, 5) else "disabled"


def _max_tokens(family: str, version: Version) -> int:
    if version >= (4, 6):
        return 128_000
    if version >= (3, 7):
        return 32_000 if family == "opus" and version < (4, 5) else 64_000
    return 8_192 if version >= (3, 5) else 4_096
