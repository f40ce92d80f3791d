"""What a model can do, as data: rows over rows, the later winning field by field.

    models.toml            our own, by patterns over names
    vendors' own lists     context windows and capability flags, learnt while the server runs
    [[capability]]         the operator's

Nothing here refuses a model: an unknown name gets the defaults below, which suit a model that takes what its wire took
first. Source: reference of provider wires, §0 and §1; Anthropic and Gemini model lists.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final, Literal

import msgspec

Off = Literal["disabled", "between_tools", "never"]
Thinking = Literal["adaptive", "budget", "level", "effort", "none"]
Level = Literal["minimal", "low", "medium", "high", "xhigh"]
Media = Literal["image", "file", "audio", "video"]
ALL_MEDIA: Final[frozenset[Media]] = frozenset({"image", "file", "audio", "video"})


class Capabilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model. `is_known` says that a row named it; None stands for "nobody said"."""

    is_known: bool = False
    context_window: int | None = None
    """Tokens of context and answer together."""
    max_tokens: int | None = None
    """Tokens of one answer, thinking included."""
    has_sampling: bool = True
    """temperature and top_p are taken."""
    has_forced_choice: bool = True
    """tool_choice may name a tool or require one."""
    thinking: Thinking = "budget"
    """How reasoning is asked for: effort beside adaptive thinking (Claude), a token budget, a level (Gemini), an effort
    word (OpenAI), or not at all."""
    off: Off = "disabled"
    """How reasoning is switched off (Claude, Gemini 2.5)."""
    levels: tuple[Level, ...] = ()
    """The levels this model knows, least first (Gemini)."""
    least_budget: int = 0
    most_budget: int = 32_768
    """Bounds of a budget of thinking tokens."""
    has_system_messages: bool = False
    """System messages in the middle of a conversation are honoured (Claude)."""
    has_xhigh: bool = False
    """The effort xhigh exists (Claude)."""
    binds: bool = False
    """Replayed thinking is checked against what stands before it (Claude)."""
    needs_signatures: bool = True
    """The first call of each step needs a thought signature (Gemini)."""
    combines_tools: bool = True
    """Functions may stand beside built-in tools and output schemas (Gemini)."""
    takes_media_results: bool = False
    """Tool results may hold images and documents (Gemini)."""
    inputs: frozenset[Media] | None = None
    """Kinds of input besides text; None is not known, and nothing is refused for it."""


DEFAULTS: Final = Capabilities()
_WILD: Final = re.compile(r"[*?\[]")
Fields = Mapping[str, object]


class Row(msgspec.Struct, frozen=True):
    """Names (shell patterns) and the fields that are laid over."""

    match: tuple[str, ...]
    fields: Fields

    def fits(self, name: str) -> bool:
        return any(_begins_in(name, pattern) and fnmatchcase(name, pattern) for pattern in self.match)


def _begins_in(name: str, pattern: str) -> bool:
    """The pattern's first letters are somewhere in the name. Few are, and only those are worth a regular expression."""
    return _WILD.split(pattern.lstrip("*"), maxsplit=1)[0] in name


def row_of(table: Mapping[str, object]) -> Row:
    """A row from its TOML table. Raises msgspec.ValidationError for a wrong one."""
    match = msgspec.convert(table.get("match"), tuple[str, ...])
    fields = {name: value for name, value in table.items() if name != "match"}
    msgspec.convert(fields, Capabilities)
    return Row(match, fields)


@cache
def built_in_rows() -> tuple[Row, ...]:
    """The rows of models.toml."""
    text = files("antiphon.providers").joinpath("models.toml").read_text("utf-8")
    document = msgspec.convert(tomllib.loads(text), dict[Literal["model"], list[dict[str, object]]])
    return tuple(row_of(table) for table in document["model"])


def plain_name(model: str) -> str:
    """A model's name as patterns see it: `us.anthropic.claude-opus-4.6` is `us-anthropic-claude-opus-4-6`."""
    return model.lower().rpartition("/")[2].replace(".", "-").replace("_", "-")


def overlaid(name: str, rows: Iterable[Row], base: Capabilities = DEFAULTS) -> Capabilities:
    """The fields of every fitting row over `base`, in order; `name` as `plain_name` gives it."""
    fields: dict[str, object] = {}
    for row in rows:
        if row.fits(name):
            fields |= row.fields
    if not fields:
        return base
    said = msgspec.convert(fields, Capabilities)
    return msgspec.structs.replace(base, **{field: getattr(said, field) for field in fields})


@lru_cache(maxsize=4096)
def built_in(model: str) -> Capabilities:
    """What our own table says of a model."""
    return overlaid(plain_name(model), built_in_rows())


class Registry:
    """Capabilities by vendor and model, with what vendors' lists and the operator say. One per process."""

    def __init__(self, operator: Sequence[Row] = ()) -> None:
        self._operator = tuple(operator)
        self._learnt: dict[tuple[str, str], Fields] = {}

    def learn(self, vendor: str, model: str, fields: Fields) -> None:
        """What a vendor's own list says of one of its models."""
        self._learnt[vendor, model] = fields

    def of(self, vendor: str, model: str) -> Capabilities:
        """What is known of a model. The operator's patterns see `vendor/model` as it is written, and the plain name."""
        found = built_in(model)
        learnt = self._learnt.get((vendor, model))
        if learnt:
            found = overlaid("", [Row(("",), learnt)], found)
        own = [row for row in self._operator if row.fits(f"{vendor}/{model}") or row.fits(plain_name(model))]
        for row in own:
            found = overlaid("", [Row(("",), row.fields)], found)
        return found
