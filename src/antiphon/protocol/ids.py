"""Ids: time-ordered, random, with OpenAI's prefixes; an item's id names the response it belongs to.

A response id is `resp_` + 26 characters (48 bits of milliseconds, 80 random bits, Crockford base 32). An item's id is
its own prefix + the same 26 characters + a 4-character ordinal, so that an `item_reference` finds its response by
primary key and no index table is written per item. No state hides in an id and none is longer than 64 characters.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_STEM_LENGTH: Final = 26
_ORDINAL_LENGTH: Final = 4
_RANDOM_LENGTH: Final = 16
_CHARACTER_OF_BYTE: Final = (_ALPHABET * 8).encode()
_DRAWN_AHEAD: Final = 256
_INPUT_BASE: Final = 31 * 32**3  # ordinals of input items begin with "z"

ITEM_PREFIXES: Final[dict[str, str]] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "web_search_call": "ws",
    "code_interpreter_call": "ci",
    "file_search_call": "fs",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "image_generation_call": "ig",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
    "shell_call": "sh",
    "shell_call_output": "sho",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
    "apply_patch_call": "apc",
    "apply_patch_call_output": "apco",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "additional_tools": "at",
    "configuration_update": "cfg",
    "compaction": "cmp",
    "program": "prog",
    "program_output": "progo",
}


# Random characters drawn ahead: to ask the system for a few at a time costs more than all else an id needs.
_drawn: Final[list[str]] = []
os.register_at_fork(after_in_child=_drawn.clear)


def _draw() -> str:
    """80 random bits: 16 characters."""
    if not _drawn:
        found = os.urandom(_RANDOM_LENGTH * _DRAWN_AHEAD).translate(_CHARACTER_OF_BYTE).decode()
        _drawn.extend(found[first : first + _RANDOM_LENGTH] for first in range(0, len(found), _RANDOM_LENGTH))
    return _drawn.pop()


@lru_cache(maxsize=2)
def _second(number: int) -> str:
    """The first 8 characters of all ids of 1,024 milliseconds: 40 bits."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in (30, 20, 10, 0)])


def new_stem() -> str:
    """26 characters, increasing with time to the millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{_second(milliseconds >> 10)}{_PAIRS[milliseconds & 1023]}{_draw()}"


def new_id(prefix: str) -> str:
    """A fresh id such as `call_01jd...`."""
    return f"{prefix}_{new_stem()}"


def output_item_id(response_id: str, item_type: str, ordinal: int) -> str:
    """The id of the ordinal-th output item of a response."""
    return _item_id(response_id, item_type, ordinal)


def input_item_id(response_id: str, item_type: str, ordinal: int) -> str:
    """The id of the ordinal-th new input item of a response."""
    return _item_id(response_id, item_type, _INPUT_BASE + ordinal)


def _item_id(response_id: str, item_type: str, number: int) -> str:
    prefix = ITEM_PREFIXES.get(item_type, "item")
    return f"{prefix}_{response_id[5:]}{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}"


def response_of_item(item_id: str) -> str | None:
    """The response id that an item id of ours belongs to, or None for a foreign id."""
    _, separator, rest = item_id.partition("_")
    if not separator or len(rest) != _STEM_LENGTH + _ORDINAL_LENGTH or not set(rest) <= set(_ALPHABET):
        return None
    return "resp_" + rest[:_STEM_LENGTH]
