"""What tools gave back, as tool messages: text, with images and files beside it, and call ids a target accepts.

Source: reference of provider wires, §1.2 "function_call_output" and §2.5 "call_id".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from antiphon.protocol.items import ContentPart

from .chat_completions_content import TextPart, WirePart, wire_part
from .quirks import ChatQuirks

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class ToolOutput(msgspec.Struct, frozen=True):
    """The text of a tool message, and the parts that must follow in a user message."""

    text: str
    media: list[WirePart]


def tool_output(
    output: str | Sequence[ContentPart], where: Callable[[], str], quirks: ChatQuirks, call_id: str
) -> ToolOutput:
    """An output in the wire's words. Tool messages hold text alone, on every server (pitfall 92)."""
    if isinstance(output, str):
        return ToolOutput(output, [])
    path = where()
    parts = [wire_part(part, f"{path}[{index}]", quirks) for index, part in enumerate(output)]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    media: list[WirePart] = [part for part in parts if not isinstance(part, TextPart)]
    if not media:
        return ToolOutput("\n".join(texts), [])
    frame = TextPart(text=f"Output of call {call_id}:")
    return ToolOutput("\n".join(texts) or "(see the next user message)", [frame, *media])


def wire_call_id(call_id: str, length: int) -> str:
    """The id itself, or where exactly `length` alphanumerics are wanted, a digest that is always the same."""
    if not length or (len(call_id) == length and call_id.isalnum() and call_id.isascii()):
        return call_id
    number = int.from_bytes(hashlib.sha256(call_id.encode()).digest())
    characters: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(characters)
