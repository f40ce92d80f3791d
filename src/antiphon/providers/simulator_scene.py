"""What the simulator reads in a transcript: who said what, what came since the last question, what a text mentions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from . import simulator_wire as wire
from .simulator_script import Script, parse

_WORD: Final = re.compile(r"[A-Za-z][a-z]*|[^\W\d_]+|\d+")
_PIECE: Final = re.compile(r"\s*\S{1,12}|\s+")
_QUOTED: Final = re.compile(r'"[^"\n]{1,200}"|“[^”\n]{1,200}”|`[^`\n]{1,200}`')
_PROPER: Final = re.compile(r"[A-Z][\w'-]*(?:[ ][A-Z][\w'-]*)*")
_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?]*")


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOPWORDS: Final = _listed(
    """
    a about all also am an and any are as at be been but by call can could current did do does every exactly for from
    function get give given had has have he hello her hey hi him his how i if in into is it its just let like make me
    my no not now of on one only or our out please question reply response set she should so some tell than that the
    their them then there these they this those to today tool two up us use user was we were what when where which
    who why will with would yes you your
    """
)
_OPENERS: Final = _listed(
    """
    Add Answer Ask Book Calculate Call Check Compute Convert Count Create Describe Explain Extract Fetch Find Generate
    Hey Hi Hello List Look Lookup Multiply Name OK Ok Open Play Please Read Remember Remind Repeat Reply Respond Return
    Run Say Schedule Search Send Show Subtract Sum Summarize Tell Thanks Think Translate Turn Use Using Write
    """
)


_DAYS: Final = _listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday Today Tomorrow Yesterday")
"""Capitalised, and yet no names of things."""


def pieces(text: str) -> list[str]:
    """The tokens of a text: each is the white space before and up to 12 characters of a word. Nothing is lost."""
    return _PIECE.findall(text)


def words(text: str) -> frozenset[str]:
    """The telling words of a text in lower case, plurals as singulars, names in camelCase or snake_case cut up."""
    found = (word.lower() for word in _WORD.findall(text))
    return frozenset(_stem(word) for word in found if word not in STOPWORDS and (len(word) > 1 or word.isdigit()))


def _stem(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the space around them."""
    return [stripped for found in _SENTENCE.findall(text) if (stripped := found.strip())]


def entities(text: str) -> list[str]:
    """What a text names: quoted phrases first, then capitalised ones, each once."""
    quoted = [found[0][1:-1] for found in _QUOTED.finditer(text)]
    unquoted = _QUOTED.sub(" ", text)
    proper = [name for sentence in sentences(unquoted) for name in _proper(sentence)]
    return list(dict.fromkeys(quoted + proper))


def _proper(sentence: str) -> Iterator[str]:
    for found in _PROPER.findall(sentence):
        name = found.rstrip(".'-")
        while name:
            first, _, rest = name.partition(" ")
            if first.split("'")[0].lower() not in STOPWORDS and first not in _OPENERS and first not in _DAYS:
                break
            name = rest
        if name:
            yield name.removesuffix("'s")


def text_of(parts: Sequence[wire.Part]) -> str:
    """The text parts of some content, joined."""
    return "\n".join(part.text for part in parts if isinstance(part, wire.TextPart))


@dataclass(frozen=True)
class Scene:
    """A request as the simulator understands it."""

    request: wire.SimRequest
    script: Script = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "script", parse(text_of(self._last_user.content)))

    @cached_property
    def _last_user_at(self) -> int:
        blocks = self.request.transcript
        at = (place for place in reversed(range(len(blocks))) if _is_user(blocks[place]))
        return next(at, -1)

    @property
    def _last_user(self) -> wire.MessageBlock:
        block = self.request.transcript[self._last_user_at] if self._last_user_at >= 0 else None
        return block if isinstance(block, wire.MessageBlock) else wire.MessageBlock("user", ())

    @property
    def text(self) -> str:
        """What the user said last, without script lines."""
        return self.script.text

    @property
    def parts(self) -> tuple[wire.Part, ...]:
        """The last user message's parts."""
        return self._last_user.content

    @cached_property
    def since(self) -> tuple[wire.Block, ...]:
        """What came after the last user message."""
        return self.request.transcript[self._last_user_at + 1 :]

    @property
    def made_calls(self) -> list[wire.CallBlock]:
        """The calls made since the user spoke."""
        return [block for block in self.since if isinstance(block, wire.CallBlock)]

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """Tool outputs since the user spoke: the tool's name ("" if unknown) and what it gave."""
        names = {block.call_id: block.name for block in self.made_calls}
        return [
            (names.get(block.call_id, ""), described_parts(block.content))
            for block in self.since
            if isinstance(block, wire.OutputBlock)
        ]

    @property
    def user_texts(self) -> list[str]:
        """What the user said in each message, oldest first, without script lines."""
        users = (block for block in self.request.transcript if isinstance(block, wire.MessageBlock))
        return [parse(text_of(block.content)).text for block in users if block.role == "user"]

    @property
    def rules(self) -> str:
        """Instructions, then system and developer messages."""
        blocks = (block for block in self.request.transcript if isinstance(block, wire.MessageBlock))
        told = [text_of(block.content) for block in blocks if block.role in ("system", "developer")]
        return "\n".join(filter(None, (self.request.instructions, *told)))


def _is_user(block: wire.Block) -> bool:
    return isinstance(block, wire.MessageBlock) and block.role == "user"


def described_parts(parts: Sequence[wire.Part]) -> str:
    """Text as it is, anything else in words."""
    return "\n".join(part.text if isinstance(part, wire.TextPart) else described(part) for part in parts)


def described(part: wire.Part) -> str:
    """A part in words: what it is, its type and its size where they can be known."""
    match part:
        case wire.TextPart() | wire.RefusalPart():
            return part.text
        case wire.ImagePart():
            return f"an image ({_origin(part.url, part.file_id)})"
        case wire.VideoPart():
            return f"a video ({_origin(part.url, None)})"
        case _:
            name = f"{part.name}, " if part.name else ""
            return f"a file ({name}{_origin(part.content or part.url, part.file_id)})"


def _origin(url: str | None, file_id: str | None) -> str:
    if url is None:
        return f"id {file_id}" if file_id else "empty"
    if url.startswith(("http://", "https://")):
        return f"at {url}"
    head, comma, payload = url.partition(",")
    media = head.removeprefix("data:").partition(";")[0] if comma else "application/octet-stream"
    payload = payload if comma else url
    return f"{media}, {len(payload.rstrip('=')) * 3 // 4} bytes"
