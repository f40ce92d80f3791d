"""The arguments of a function call: a JSON object, as models mostly write it.

What a model got wrong is still its client's to answer. But most providers refuse a history with it, and what is no JSON
cannot stand inside a block at all: it is sent back as a text inside an object.
"""

from __future__ import annotations

from typing import Final

import msgspec

_EMPTY: Final = "{}"
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_object(arguments: str) -> bool:
    """Whether the arguments are a whole JSON object."""
    try:
        _fields(arguments)
    except msgspec.MsgspecError:
        return False
    return True


def as_object(arguments: str) -> str:
    """The JSON object to send: the model's own text where it is one, `{}` for none, else `{"input": TEXT}`."""
    if not arguments.strip():
        return _EMPTY
    return arguments if is_object(arguments) else msgspec.json.encode({"input": arguments}).decode()


def raw_object(arguments: str) -> msgspec.Raw:
    """The same for wires that have the object itself, not its text."""
    return msgspec.Raw(as_object(arguments).strip().encode())
