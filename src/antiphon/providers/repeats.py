"""Repeats: blocks of an event stream that differ in one string alone, read by the bytes around it.

Most of an answer is such blocks: one piece of text after another, in an envelope that stays the same. Where a block was
decoded and said nothing but text, the bytes around the text are kept; the blocks after it that have the same bytes are
not decoded: what stands between is their text.

Nothing is guessed. Bytes are kept only if another text between them is read as that text, so the string that stands
there is the text; and what comes to stand there is read as a JSON string too. By JSON's grammar all else is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from antiphon.protocol.deltas import Delta, Text, Texts

_LF: Final = ord("\n")
_PROBE: Final = "any other text"
_TRIES: Final = 4
_SINGLY: Final = 4
"""So many blocks of a read are looked at one by one: behind them, or between them, most are alike."""
_SHORT_BYTES: Final = 5 << 10
"""A first read of this size, some 24 blocks, is decoded: an answer that comes whole and short teaches too little."""
_strings: Final = msgspec.json.Decoder(list[str]).decode
_string: Final = msgspec.json.Decoder(str).decode


class Reader(Protocol):
    """A decoder, as far as it is needed to read blocks in its place."""

    def text_key(self) -> int | None:
        """What the text that was read last belongs to, as long as more may be added to it without a look at a block."""
        ...

    def texts(self, pieces: list[str]) -> Delta:
        """More text, each piece from a block of its own; none is empty."""
        ...

    def decoded(self, blocks: bytes) -> list[Delta]:
        """What these blocks say. Raises what the decoder raises."""
        ...


class Repeats:
    """The envelope of one answer's text. One that keeps changing is given up: then every block is decoded."""

    def __init__(self, text_of: Callable[[bytes], str]) -> None:
        """`text_of`: the text of a block (without its blank line) that says nothing else, "" of any other."""
        self._text_of = text_of
        self._key: int | None = None
        self._head = self._tail = b""
        self._tries_left = _TRIES
        self._is_first = True

    def read(self, blocks: bytes, reader: Reader) -> list[Delta]:
        """What whole blocks say. Raises what the reader raises."""
        is_first, self._is_first = self._is_first, False
        if is_first and len(blocks) <= _SHORT_BYTES:
            return reader.decoded(blocks)
        deltas: list[Delta] = []
        for _ in range(_SINGLY):
            if self._key is not None and self._key == reader.text_key() and blocks.startswith(self._head):
                texts, blocks = self._take(blocks)
                deltas += [reader.texts(texts)] if texts else []
            if not blocks:
                return deltas
            if not self._tries_left:
                self._key = None
                break
            block, _, blocks = blocks.partition(b"\n\n")
            said = reader.decoded(block)
            deltas += said
            if len(said) == 1 and (text := _text_in(said[0])):
                self._learn(block, text, reader.text_key())
        return deltas + reader.decoded(blocks)

    def _learn(self, block: bytes, text: str, key: int | None) -> None:
        self._tries_left -= 1
        self._key = None
        head, found, tail = block.rpartition(b'"%b"' % text.encode())
        try:
            is_there = bool(found) and self._text_of(b'%b"%b"%b' % (head, _PROBE.encode(), tail)) == _PROBE
        except msgspec.DecodeError:  # a comma between two strings stands in quotes, too
            return
        if is_there:
            self._key, self._head, self._tail = key, head + b'"', b'"%b\n\n' % tail

    def _take(self, blocks: bytes) -> tuple[list[str], bytes]:
        """Of blocks that begin with `_head`: the texts of the first ones that are alike, and the blocks that follow."""
        quoted = blocks[len(self._head) - 1 : 1 - len(self._tail)]
        try:
            if _LF not in quoted and blocks.endswith(self._tail):  # one block alone
                texts, rest = [_string(quoted)], b""
            else:
                found, rest = self._cut(blocks)
                texts = _read(found)
        except msgspec.DecodeError:
            return [], blocks  # the decoder says what is wrong with it
        if texts:
            self._tries_left = _TRIES
        return [*filter(None, texts)], rest

    def _cut(self, blocks: bytes) -> tuple[list[bytes], bytes]:
        """What is between the known bytes of the first blocks that have them, and the blocks that follow."""
        each = blocks.split(b"\n\n")  # the last one is what follows the last blank line: it never fits
        found = [block[len(self._head) : 2 - len(self._tail)] for block in each]
        if self._around(found[:-1]) == blocks:
            return found[:-1], b""
        fits = [self._around([piece]) == block + b"\n\n" for piece, block in zip(found, each, strict=True)]
        other = fits.index(False)
        return found[:other], b"\n\n".join(each[other:])

    def _around(self, found: list[bytes]) -> bytes:
        return b"%b%b%b" % (self._head, (self._tail + self._head).join(found), self._tail)


def _text_in(delta: Delta) -> str:
    match delta:
        case Text(text=text) | Texts(pieces=[text]):
            return text
        case _:
            return ""


def _read(found: list[bytes]) -> list[str]:
    """What is between the quotes of JSON strings as text. Raises msgspec.DecodeError."""
    listed = b'["%b"]' % b'","'.join(found)
    if listed.count(b'"') == 2 * len(found):  # no quote in any of them: none can end or begin another
        return _strings(listed)
    return [_string(b'"%b"' % piece) for piece in found]
