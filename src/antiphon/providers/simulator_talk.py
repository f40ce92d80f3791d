"""What the simulator says when it talks: simple rules, the first that fits wins.

    say exactly ..., in exactly N words, count 1 to 5, 6 times 7
    what is my name?      a fact that the user told earlier: "my X is Y", "I am Y", "call me Y", "remember ..."
    images and files      what came: kind, type, size
    anything else         what it understood, and which turn of the conversation this is

The same request always gives the same words. It knows nothing of the world.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from . import simulator_wire as wire
from .simulator_calls import unknown_call
from .simulator_scene import Scene, described, sentences, words
from .simulator_script import described as described_words

MAX_QUOTED: Final = 2_000
_VERBS: Final = r"\b(?:reply|respond|answer|say|output|write|return|print|repeat)\b"
_EXACTLY: Final = re.compile(
    _VERBS + r"[^.\n:\"']{0,40}?\b(?:exactly|only|just|verbatim|after me|back)\b"
    r"(?:[^.\n:\"']{0,30}?:|\s+with\b|\s+this\b|\s+the (?:word|text|phrase)\b)*\s*(?P<text>[^\n]+)",
    re.IGNORECASE,
)
_SAY_QUOTED: Final = re.compile(_VERBS + r"[^\"'“\n]{0,40}[\"'“](?P<text>[^\"”\n]+?)[\"'”](?!\w)", re.IGNORECASE)
_IN_WORDS: Final = re.compile(r"\b(?:in|with|using)\s+(?:exactly\s+|only\s+)?(?P<count>\w+)\s+words?\b", re.IGNORECASE)
_COUNT: Final = re.compile(
    r"\bcount\b[^\d\n]{0,30}?(?:(?P<low>\d{1,6})\s*(?:to|through|-)\s*)?(?P<high>\d{1,6})\b", re.IGNORECASE
)
_SUM: Final = re.compile(r"(-?\d{1,12})\s*(\+|-|\*|x|times|plus|minus)\s*(-?\d{1,12})", re.IGNORECASE)
_TOLD: Final = re.compile(r"\bmy (?P<what>[\w ]{1,40}?) (?:is|are|was) (?P<fact>[^.!?,;\n]{1,200})", re.IGNORECASE)
_NAMED: Final = re.compile(r"\b(?:I am|I'm|call me|my name's) (?P<fact>[A-Z][\w'-]*(?: [A-Z][\w'-]*)*)")
_ASKED: Final = re.compile(
    r"\b(?:what|which|who|where|when|how)(?:'s|\b)[^?\n]{0,80}?\bmy (?P<what>[\w ]{1,40})", re.IGNORECASE
)
_WHO_AM_I: Final = re.compile(r"\bwho am I\b", re.IGNORECASE)
_SAY: Final = re.compile(r"\s*(?:please\s+)?say\s+(?P<text>[^\n]{1,500})", re.IGNORECASE)
_IS_QUESTION: Final = re.compile(r"\?|\b(?:what|which|who|where|when|remind|recall)\b", re.IGNORECASE)
_NUMBER_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_FILLER: Final = sentences("hello from the simulator which answers every request with the same words")[0].split()


def talk(scene: Scene) -> str:
    """The answer in words. Never empty."""
    return _scripted(scene) or _after_outputs(scene) or _ruled(scene) or _otherwise(scene)


def filler(count: int) -> str:
    """So many words."""
    return " ".join(_FILLER[index % len(_FILLER)] for index in range(count)) or "."


def _scripted(scene: Scene) -> str | None:
    script = scene.script
    unknown = unknown_call(scene)
    if script.complaint is not None:
        return script.complaint
    if unknown is not None:
        names = ", ".join(tool.name for tool in scene.request.tools) or "none"
        return f"No tool {unknown.name!r} can be called here. The declared tools are: {names}."
    if script.said is not None:
        return script.said
    if script.word_count is not None:
        return filler(script.word_count)
    if script.is_help:
        return described_words()
    if script.is_recall:
        return _recalled(scene)
    if script.is_echo or scene.request.model == "echo":
        return scene.text or "(nothing was said)"
    return None


def _recalled(scene: Scene) -> str:
    """What came in the transcript, counted: shows that state and replay work."""
    blocks = scene.request.transcript
    roles = [block.role for block in blocks if isinstance(block, wire.MessageBlock)]
    reasoning = [block for block in blocks if isinstance(block, wire.ReasoningBlock)]
    intact = sum(map(wire.is_intact, reasoning))
    counts = {
        "user messages": roles.count("user"),
        "assistant messages": roles.count("assistant"),
        "tool calls": sum(isinstance(block, wire.CallBlock) for block in blocks),
        "tool outputs": sum(isinstance(block, wire.OutputBlock) for block in blocks),
        "reasoning intact": intact,
        "reasoning damaged": len(reasoning) - intact,
    }
    return "I see " + ", ".join(f"{what}: {count}" for what, count in counts.items()) + "."


def _after_outputs(scene: Scene) -> str | None:
    outputs = scene.outputs
    if not outputs:
        return None
    return " ".join(f"{name or 'The tool'} returned: {given[:MAX_QUOTED]}" for name, given in outputs)


def _ruled(scene: Scene) -> str | None:
    rules: tuple[Callable[[Scene], str | None], ...] = (
        _exactly,
        _in_words,
        _say,
        _counted,
        _remembered,
        _computed,
        _earlier,
    )
    return next((said for rule in rules if (said := rule(scene))), None)


def _exactly(scene: Scene) -> str | None:
    """What the user, or else the instructions, demand word by word."""
    for demand in (scene.text, scene.rules):
        found = _SAY_QUOTED.search(demand) or _EXACTLY.search(demand)
        if found is not None and _IN_WORDS.search(found["text"]) is None and not _is_count(found["text"]):
            text = found["text"].strip()
            quoted = re.match(r"[\"'“`](.+?)[\"'”`]", text)
            return quoted[1] if quoted else text.rstrip(".!") or text
    return None


def _is_count(text: str) -> bool:
    """`exactly 3 words` counts words, it is no text to say."""
    return re.match(r"(?:\w+\s+)?words?\b", text.strip(), re.IGNORECASE) is not None


def _in_words(scene: Scene) -> str | None:
    found = _IN_WORDS.search(scene.text)
    count = found["count"].lower() if found else ""
    if count in _NUMBER_WORDS:
        return filler(_NUMBER_WORDS.index(count)).capitalize()
    return filler(min(int(count), 10_000)).capitalize() if count.isascii() and count.isdigit() else None


def _say(scene: Scene) -> str | None:
    found = _SAY.fullmatch(scene.text)
    return found["text"].rstrip(".!") or None if found else None


def _counted(scene: Scene) -> str | None:
    found = _COUNT.search(scene.text)
    if found is None:
        return None
    low, high = int(found["low"] or 1), int(found["high"])
    step = 1 if low <= high else -1
    last = min(max(high, low - 10_000), low + 10_000)
    return ", ".join(str(number) for number in range(low, last + step, step))


def _remembered(scene: Scene) -> str | None:
    """A fact of the user's own: the latest that was told."""
    asked = _ASKED.search(scene.text)
    if asked is None and not _WHO_AM_I.search(scene.text):
        return None
    what = words(asked["what"]) if asked else {"name"}
    for text in reversed(scene.user_texts[:-1]):
        for told in reversed(list(_TOLD.finditer(text))):
            if what & words(told["what"]):
                return f"Your {told['what'].strip()} is {told['fact'].strip()}."
        if "name" in what and (named := _NAMED.search(text)):
            return f"Your name is {named['fact']}."
    return None


def _computed(scene: Scene) -> str | None:
    found = _SUM.search(scene.text)
    if found is None:
        return None
    first, sign, second = int(found[1]), found[2].lower(), int(found[3])
    results = {"+": first + second, "plus": first + second, "-": first - second, "minus": first - second}
    return f"{found[0].strip()} = {results.get(sign, first * second)}"


def _earlier(scene: Scene) -> str | None:
    """The sentence said earlier that shares most words with the question."""
    asked = words(scene.text)
    if not _IS_QUESTION.search(scene.text) or not asked:
        return None
    said = [sentence for text in scene.user_texts[:-1] for sentence in sentences(text)]
    best = max(said, key=lambda sentence: len(words(sentence) & asked), default="")
    return f'Earlier you said: "{best[:MAX_QUOTED]}"' if words(best) & asked else None


def _otherwise(scene: Scene) -> str:
    received = _received(scene.parts)
    text = scene.text[:MAX_QUOTED]
    turn = max(len(scene.user_texts), 1)
    said = f'You said: "{text}".' if text else "You said nothing in words."
    return " ".join(filter(None, (said, received, f"This is turn {turn} of our conversation.")))


def _received(parts: Sequence[wire.Part]) -> str:
    things = [described(part) for part in parts if not isinstance(part, wire.TextPart)]
    return f"You sent {len(things)}: {'; '.join(things)}." if things else ""
