"""One answer as it grows: which item is open, what was said so far, and the assistant message it makes.

Reasoning and text are serial: opening one ends the other. Calls stay open until the answer ends. White space alone
never opens a message: several templates put newlines between reasoning, text and calls that belong to none of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

import msgspec

from antiphon.protocol.deltas import Cited, Delta, Ended, Refusal, Text, Texts

from .base import Target, ToolName
from .chat_completions_assistant import AssistantTurn, assistant_message
from .chat_completions_calls import CallCollector, Keys
from .chat_completions_markup import MarkupSplitter, WrittenCall
from .chat_completions_reasoning import ReasoningRun
from .chat_completions_think import ThinkSplitter
from .chat_completions_wire import (
    NULL,
    Annotation,
    CallDelta,
    Chunk,
    ContentChunk,
    FunctionDelta,
    MessageDelta,
    SearchResult,
)

_FIRST_WRITTEN: Final = 1 << 20  # indices of calls written into text, apart from those of real calls
_MARKER: Final = re.compile(r"\[(\d{1,3})\]")


class _UrlCitation(msgspec.Struct, frozen=True, tag="url_citation", tag_field="type"):
    """A citation as the Responses API writes it."""

    url: str
    title: str
    start_index: int
    end_index: int


class Answer:
    """The open items and the sum of one answer."""

    def __init__(self, target: Target, names: Sequence[ToolName]) -> None:
        self._quirks = target.vendor.quirks.chat_completions
        self._keys = Keys()
        self._calls = CallCollector(names, self._keys)
        self._turn = AssistantTurn()
        self._pieces: list[str] = []  # adding to one string copies it for every chunk
        self._id = ""
        self._message: int | None = None
        self._run: ReasoningRun | None = None
        self._space = ""
        self._follows_reasoning = False
        self._message_start = 0
        self._sources: Sequence[SearchResult] = ()
        thinks = _is_named(target.model, self._quirks.think_models)
        self._splitter = ThinkSplitter() if thinks else None
        marks = names and _is_named(target.model, self._quirks.tool_markup_models)
        self._markup = MarkupSplitter() if marks else None
        self._is_plain = self._splitter is None and self._markup is None
        self._written = 0

    @property
    def has_nameless_call(self) -> bool:
        return self._calls.has_nameless_arguments

    def note(self, chunk: Chunk) -> None:
        """What a chunk says of the whole answer. Sources come again with every chunk (Perplexity): the last stand."""
        self._id = self._id or chunk.id or ""
        if chunk.search_results:
            self._sources = chunk.search_results
        elif chunk.citations:
            self._sources = tuple(SearchResult(url) for url in chunk.citations)

    def reason(self, said: MessageDelta) -> list[Delta]:
        """Reasoning fields of one chunk."""
        if not (said.reasoning_content or said.reasoning or said.reasoning_details):
            return []
        deltas = self._open_run()
        assert self._run is not None
        return deltas + self._run.feed(said)

    def open_text(self) -> int | None:
        """The key of the open message that text is added to with no look inside; only `go_on` leaves it so for sure."""
        return self._message if self._run is None and self._is_plain else None

    def go_on(self, pieces: list[str]) -> Texts:
        """More text of the message that is open, as most chunks are."""
        assert self._message is not None, "it goes on"
        self._pieces += pieces
        return Texts(self._message, pieces)

    def say(
        self, content: str | tuple[ContentChunk, ...] | None, logprobs: tuple[msgspec.Raw, ...] | None
    ) -> list[Delta]:
        """Content of one chunk: text, or a list of typed chunks."""
        if not content:
            return []
        if isinstance(content, str):
            return self._split(content, logprobs)
        return [delta for chunk in content for delta in self._content_chunk(chunk)]

    def refuse(self, text: str) -> list[Delta]:
        """A piece of a refusal."""
        deltas, key = self._open_message()
        self._turn.refusal += text
        return [*deltas, Refusal(key, text)]

    def annotate(self, annotations: tuple[Annotation, ...]) -> list[Delta]:
        """Citations in the chat shape; those that come after their message was closed are lost with it."""
        if self._message is None:
            return []
        found = [note.url_citation for note in annotations if note.url_citation is not None]
        return [self._cited(c.url, c.title, c.start_index, c.end_index) for c in found]

    def call(self, piece: CallDelta) -> list[Delta]:
        """A piece of a tool call."""
        deltas: list[Delta] = []
        if piece.extra_content != NULL:
            deltas += self._open_run()
            assert self._run is not None
            deltas += self._run.sign(self._calls.number(piece), piece.extra_content)
        deltas += self._end_run() + self._end_message()
        return deltas + self._calls.feed(piece, self._id)

    def end(self, status: Literal["completed", "incomplete"]) -> list[Delta]:
        """The answer is whole: the end of everything that is open."""
        deltas: list[Delta] = []
        if self._splitter is not None:
            thought, text = self._splitter.close()
            deltas += self._thought(thought) + self._said(text, None)
        if self._markup is not None:
            deltas += self._unmarked(self._markup.close())
        if self._space and not self._keys.given:
            deltas += self._write(self._space, None)
        return deltas + self._end_run() + self._end_message(status) + self._calls.end(status)

    def kept(self) -> msgspec.Raw:
        """The assistant message exactly as it must be sent again."""
        self._turn.text = "".join(self._pieces)
        self._turn.calls = self._calls.parts()
        return assistant_message(self._turn, self._quirks)

    def _content_chunk(self, chunk: ContentChunk) -> list[Delta]:
        if chunk.type == "thinking":
            deltas = self._open_run()
            assert self._run is not None
            return deltas + self._run.feed_thinking(chunk)
        if chunk.type == "tool_reference" and chunk.url and self._message is not None:
            end = len(self._message_text())
            return [self._cited(chunk.url, chunk.title, end, end)]
        return self._split(chunk.text, None) if chunk.text else []

    def _split(self, text: str, logprobs: tuple[msgspec.Raw, ...] | None) -> list[Delta]:
        if self._splitter is None:
            return self._said(text, logprobs)
        thought, rest = self._splitter.feed(text)
        return self._thought(thought) + self._said(rest, None)

    def _said(self, text: str, logprobs: tuple[msgspec.Raw, ...] | None) -> list[Delta]:
        if self._markup is None:
            return self._text(text, logprobs)
        return self._unmarked(self._markup.feed(text))

    def _unmarked(self, found: Sequence[str | WrittenCall]) -> list[Delta]:
        """Text as text, and calls that were written into it as calls."""
        deltas: list[Delta] = []
        for piece in found:
            if isinstance(piece, str):
                deltas += self._text(piece, None)
            else:
                function = FunctionDelta(name=piece.name, arguments=msgspec.Raw(msgspec.json.encode(piece.arguments)))
                deltas += self.call(CallDelta(index=_FIRST_WRITTEN + self._written, function=function))
                self._written += 1
        return deltas

    def _thought(self, text: str) -> list[Delta]:
        if not text:
            return []
        deltas = self._open_run()
        assert self._run is not None
        return deltas + self._run.thought(text)

    def _text(self, text: str, logprobs: tuple[msgspec.Raw, ...] | None) -> list[Delta]:
        if self._message is None and not text.strip():
            self._space += text
            return []
        deltas = self._end_run() if text else []
        if self._message is None and self._follows_reasoning:
            # R1-like templates put newlines after the reasoning; they are no part of the answer.
            text, self._space = (self._space + text).lstrip("\r\n"), ""
        return deltas + self._write(self._space + text, logprobs) if text else []

    def _write(self, text: str, logprobs: tuple[msgspec.Raw, ...] | None) -> list[Delta]:
        deltas, key = self._open_message()
        self._space = ""
        self._pieces.append(text)
        encoded = msgspec.Raw(msgspec.json.encode(logprobs)) if logprobs else None
        return [*deltas, Text(key, text, encoded)]

    def _open_message(self) -> tuple[list[Delta], int]:
        deltas = self._end_run()
        if self._message is None:
            self._follows_reasoning = False
            self._message = self._keys.next()
            self._message_start = len(self._pieces)
        return deltas, self._message

    def _open_run(self) -> list[Delta]:
        deltas = self._end_message()
        if self._run is None:
            self._run = ReasoningRun(self._keys.next(), is_replayed=self._quirks.replays_reasoning)
        return deltas

    def _end_run(self) -> list[Delta]:
        run, self._run = self._run, None
        if run is None:
            return []
        self._turn.reasoning.append(run.blocks())
        self._follows_reasoning = True
        return run.end()

    def _end_message(self, status: Literal["completed", "incomplete"] = "completed") -> list[Delta]:
        key = self._message
        if key is None:
            return []
        deltas: list[Delta] = [*self._source_citations(), Ended(key, status)]
        self._message = None
        return deltas

    def _message_text(self) -> str:
        return "".join(self._pieces[self._message_start :])

    def _source_citations(self) -> list[Delta]:
        """Numbered sources: one citation at each `[n]` of the text, and one at the end for each that is not named."""
        if not self._sources:
            return []
        text = self._message_text()
        cited: list[Delta] = []
        named: set[int] = set()
        for marker in _MARKER.finditer(text):
            number = int(marker.group(1)) - 1
            if 0 <= number < len(self._sources):
                named.add(number)
                cited.append(self._cited_source(number, marker.start(), marker.end()))
        rest = [number for number in range(len(self._sources)) if number not in named]
        return cited + [self._cited_source(number, len(text), len(text)) for number in rest]

    def _cited_source(self, number: int, start: int, end: int) -> Cited:
        source = self._sources[number]
        return self._cited(source.url, source.title, start, end)

    def _cited(self, url: str, title: str | None, start: int, end: int) -> Cited:
        assert self._message is not None
        citation = _UrlCitation(url, title or url, start, end)
        return Cited(self._message, msgspec.Raw(msgspec.json.encode(citation)))


def _is_named(model: str, patterns: Sequence[str]) -> bool:
    return bool(patterns) and any(fnmatchcase(model, pattern) for pattern in patterns)
