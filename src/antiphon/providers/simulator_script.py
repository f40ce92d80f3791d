"""Script words: lines `#sim WORD ...` of the last user message that tell the simulator what to do.

    #sim call get_weather {"city":"Paris"}
    #sim slow 50ms

One word a line, any number of lines; the other lines are what the user says. `WORDS` is the whole grammar. A line that
does not follow it becomes a `complaint`, which the simulator answers in place of everything else.
Source: docs/simulator.md has an example of each word, and a test runs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MAX_WORDS: Final = 100_000
MAX_CALLS: Final = 64
STALL_S: Final = 3600.0
"""How long a stall lasts that names no end: longer than any deadline."""

_LINE: Final = re.compile(r"[ \t]*#sim\b[ \t]*(.*)")
_DURATION: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0}


class ScriptedCall(NamedTuple):
    """A call to make: the tool's name and, if said, the arguments (JSON text) or the input (plain text)."""

    name: str
    text: str | None


class Stall(NamedTuple):
    after: int
    seconds: float


class Failure(NamedTuple):
    """`after` pieces of the answer, or before the first byte (None)."""

    status: int
    after: int | None
    retry_after_s: float | None


class Cut(NamedTuple):
    """The answer stops after so many pieces, for this reason."""

    reason: Literal["max_output_tokens", "content_filter"]
    after: int


@dataclass(frozen=True, slots=True)
class Script:
    """What the script lines of one message ask for; `text` is the message without them."""

    text: str = ""
    said: str | None = None
    word_count: int | None = None
    is_echo: bool = False
    is_recall: bool = False
    is_help: bool = False
    effort: str | None = None
    thinks_aloud: bool = False
    calls: tuple[ScriptedCall, ...] = ()
    call_count: int | None = None
    citations: tuple[tuple[str, str], ...] = ()
    refusal: str | None = None
    cut: Cut | None = None
    delay_s: float = 0.0
    stall: Stall | None = None
    failure: Failure | None = None
    hangup_after: int | None = None
    complaint: str | None = None

    @property
    def is_talk(self) -> bool:
        """Whether a word says what to answer: then no tool is called but those that the script names."""
        said = self.said is not None or self.word_count is not None
        return said or self.is_echo or self.is_recall or self.is_help


class _Wrong(Exception):
    """The arguments of a script word do not follow its form."""


class Word(NamedTuple):
    """One script word: its form and what it does, for people, and the function that reads its arguments."""

    form: str
    meaning: str
    read: Callable[[Script, str], Script]


def parse(message: str) -> Script:
    """The script of a user message. Never raises: a wrong line becomes the script's complaint."""
    if "#sim" not in message:
        return Script(text=message)
    script = Script()
    kept: list[str] = []
    for line in message.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            kept.append(line)
        else:
            script = _read(script, found[1].strip())
    return replace(script, text="\n".join(kept).strip())


def _read(script: Script, line: str) -> Script:
    name, _, rest = line.partition(" ")
    word = WORDS.get(name)
    if word is None:
        known = ", ".join(WORDS)
        return replace(script, complaint=f"Unknown script word {name!r}. The words are: {known}.")
    try:
        return word.read(script, rest.strip())
    except _Wrong as wrong:
        return replace(script, complaint=f"Script word {name!r}: {wrong}. Write it as: #sim {word.form}")


# -- arguments ---------------------------------------------------------------------------------------------------------


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= most):
        raise _Wrong(f"{text!r} is not a whole number up to {most}")
    return int(text)


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise _Wrong(f"{text!r} is not a time such as 50ms or 2s")
    return float(found[1]) * _UNIT_S[found[2]]


def _options(tokens: Iterable[str], known: tuple[str, ...]) -> dict[str, str]:
    """`after 5 retry 2s` as a mapping."""
    options: dict[str, str] = {}
    rest = list(tokens)
    while rest:
        key, *rest = rest
        if key not in known:
            raise _Wrong(f"{key!r} is not expected here")
        if not rest:
            raise _Wrong(f"{key!r} needs a value")
        options[key], *rest = rest
    return options


def _after(options: dict[str, str], default: int = 0) -> int:
    return _number(options["after"], MAX_WORDS) if "after" in options else default


def _required(rest: str, what: str) -> str:
    if not rest:
        raise _Wrong(f"it needs {what}")
    return rest


# -- the words ---------------------------------------------------------------------------------------------------------


def _say(script: Script, rest: str) -> Script:
    return replace(script, said=_required(rest, "a text"))


def _words(script: Script, rest: str) -> Script:
    return replace(script, word_count=_number(rest, MAX_WORDS))


def _echo(script: Script, rest: str) -> Script:
    _options(rest.split(), ())
    return replace(script, is_echo=True)


def _recall(script: Script, rest: str) -> Script:
    _options(rest.split(), ())
    return replace(script, is_recall=True)


def _help(script: Script, rest: str) -> Script:
    _options(rest.split(), ())
    return replace(script, is_help=True)


def _reason(script: Script, rest: str) -> Script:
    if rest and rest not in EFFORTS:
        raise _Wrong(f"{rest!r} is not one of {', '.join(EFFORTS)}")
    return replace(script, effort=rest or "medium")


def _think(script: Script, rest: str) -> Script:
    return replace(_reason(script, rest), thinks_aloud=True)


def _call(script: Script, rest: str) -> Script:
    name, _, text = _required(rest, "the name of a tool").partition(" ")
    return replace(script, calls=(*script.calls, ScriptedCall(name, text.strip() or None)))


def _calls(script: Script, rest: str) -> Script:
    return replace(script, call_count=_number(rest, MAX_CALLS))


def _cite(script: Script, rest: str) -> Script:
    url, _, title = _required(rest, "a URL").partition(" ")
    return replace(script, citations=(*script.citations, (url, title.strip() or url)))


def _refuse(script: Script, rest: str) -> Script:
    return replace(script, refusal=rest or "I'm sorry, but the simulator was asked to refuse this.")


def _length(script: Script, rest: str) -> Script:
    return replace(script, cut=Cut("max_output_tokens", _after(_options(rest.split(), ("after",)), 5)))


def _filter(script: Script, rest: str) -> Script:
    return replace(script, cut=Cut("content_filter", _after(_options(rest.split(), ("after",)), 5)))


def _slow(script: Script, rest: str) -> Script:
    return replace(script, delay_s=_seconds(rest or "100ms"))


def _stall(script: Script, rest: str) -> Script:
    options = _options(rest.split(), ("after", "for"))
    seconds = _seconds(options["for"]) if "for" in options else STALL_S
    return replace(script, stall=Stall(_after(options), seconds))


def _fail(script: Script, rest: str) -> Script:
    tokens = [part for part in rest.split() if part != "before"]
    status = _number(tokens.pop(0), 599) if tokens and tokens[0].isdigit() else 500
    if status < 400:
        raise _Wrong(f"{status} is not an error status")
    options = _options(tokens, ("after", "retry"))
    retry_after_s = _seconds(options["retry"]) if "retry" in options else None
    return replace(script, failure=Failure(status, _after(options) if "after" in options else None, retry_after_s))


def _hangup(script: Script, rest: str) -> Script:
    return replace(script, hangup_after=_after(_options(rest.split(), ("after",))))


WORDS: Final[dict[str, Word]] = {
    "say": Word("say TEXT", "answers exactly this text", _say),
    "words": Word("words N", "answers with N words", _words),
    "echo": Word("echo", "repeats the rest of the message", _echo),
    "recall": Word("recall", "tells what it sees of the conversation, and whether its reasoning came back", _recall),
    "help": Word("help", "lists the script words", _help),
    "reason": Word("reason [EFFORT]", "reasons first, as reasoning.effort would ask", _reason),
    "think": Word("think [EFFORT]", "reasons first, in raw reasoning text as open models do", _think),
    "call": Word("call NAME [ARGUMENTS]", "calls this tool; several lines make parallel calls", _call),
    "custom": Word("custom NAME [INPUT]", "the same, for custom tools", _call),
    "calls": Word("calls N", "calls the fitting tool N times", _calls),
    "cite": Word("cite URL [TITLE]", "cites this page in the answer", _cite),
    "refuse": Word("refuse [TEXT]", "refuses in a refusal part", _refuse),
    "length": Word("length [after N]", "stops after N pieces as at the token limit", _length),
    "filter": Word("filter [after N]", "stops after N pieces as by a content filter", _filter),
    "slow": Word("slow [TIME]", "waits before every piece", _slow),
    "stall": Word("stall [after N] [for TIME]", "falls silent after N pieces", _stall),
    "fail": Word("fail [STATUS] [before | after N] [retry TIME]", "fails with an error", _fail),
    "hangup": Word("hangup [after N]", "closes the connection after N pieces, without an end", _hangup),
}


def described() -> str:
    """The script words, one a line."""
    return "\n".join(f"#sim {word.form}: {word.meaning}" for word in WORDS.values())
