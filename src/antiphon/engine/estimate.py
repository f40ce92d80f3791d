"""How many tokens a context has, without asking anybody: from its bytes.

Good to within a third for prose in Latin script, and better for a model whose real counts have been seen; used where a
decision is needed at once (compaction, truncation) and where a provider counts none. Must never load a tokenizer or
touch the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from antiphon.protocol.items import ContentPart, InputFile, InputImage, Item, Message
from antiphon.protocol.request import CreateResponse, InputItem
from antiphon.protocol.resent import Resent
from antiphon.providers.base import Counted, Entry, ModelTurn, ReplayedReasoning, Turn

T = TypeVar("T")

BYTES_PER_TOKEN: Final = 4
IMAGE_TOKENS: Final = 800
ITEM_TOKENS: Final = 4
_MAX_FILE_TOKENS: Final = 20_000
_SMALL_BYTES: Final = 4_096
"""An item of this size is as good as its bytes: it holds no image or file that would count as less."""
_FIRST: Final = 4
_ONE_IN: Final = 32
_LEAST_TOKENS: Final = 50
_MOST_TARGETS: Final = 10_000
_WEIGHT: Final = 0.2
_SENT: Final = object()
_encode: Final = msgspec.json.Encoder().encode


class LearnedEstimates:
    """How far our estimates are off for each target, learnt from what providers counted. One per process."""

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}
        self._seen: dict[str, int] = {}

    def is_due(self, target: str) -> bool:
        """Whether this answer is to be learnt from: the first few of a target, then one in so many."""
        seen = self._seen.get(target, 0) + 1
        if seen == 1 and len(self._seen) == _MOST_TARGETS:
            return False
        self._seen[target] = seen
        return seen <= _FIRST or seen % _ONE_IN == 0

    def observe(self, target: str, estimated: int, counted: int) -> None:
        """A provider counted what we estimated; tiny and absurd samples teach nothing."""
        if estimated < _LEAST_TOKENS or counted < _LEAST_TOKENS or len(self._factors) > _MOST_TARGETS:
            return
        ratio = min(max(counted / estimated, 0.25), 4.0)
        known = self._factors.get(target)
        self._factors[target] = ratio if known is None else known + _WEIGHT * (ratio - known)

    def corrected(self, target: str, estimated: int) -> int:
        """An estimate as this target would probably count it."""
        return round(estimated * self._factors.get(target, 1.0))


def turn_tokens(turn: Turn) -> int:
    """Tokens of a whole request: its context, instructions, tools and output schema.

    What has been counted of its past is not counted again.
    """
    past = turn.past
    known = 0 if past is None else _known_tokens(past.counted, turn.context, past.length, _context_tokens)
    return _fixed_tokens(turn.request) + known + _context_tokens(turn.latest)


def request_tokens(request: CreateResponse) -> int:
    """Tokens that a request may need by itself: its own input, and the longest answer that it allows.

    What of its input has been sent before was counted then.
    """
    return _fixed_tokens(request) + _input_tokens(request.input) + (request.max_output_tokens or 0)


def _input_tokens(own: Sequence[InputItem]) -> int:
    if not isinstance(own, Resent):
        return _own_tokens(own)
    counted = own.history.memory.once(_SENT, Counted)
    return _known_tokens(counted, own, own.known, _own_tokens) + _own_tokens(own[own.known :])


def _known_tokens(counted: Counted, items: Sequence[T], length: int, tokens: Callable[[Sequence[T]], int]) -> int:
    """What the first `length` items come to; what was counted of them before is not counted again."""
    if counted.length > length:  # another turn went on from there
        return tokens(items[:length])
    counted.tokens += tokens(items[counted.length : length])
    counted.length = length
    return counted.tokens


def _own_tokens(own: Sequence[InputItem]) -> int:
    tokens = 0
    for one in own:
        size = len(one.raw)
        tokens += ITEM_TOKENS + size // BYTES_PER_TOKEN if size <= _SMALL_BYTES else _item_tokens(one.item)
    return tokens


def _context_tokens(entries: Sequence[Entry]) -> int:
    return sum(map(tokens_of, entries))


def _fixed_tokens(request: CreateResponse) -> int:
    fixed = len((request.instructions or "").encode()) + sum(map(len, request.tools_raw))
    schema = request.text.format.schema
    return (fixed + len(schema or b"")) // BYTES_PER_TOKEN


def tokens_of(entry: Entry) -> int:
    """Tokens of one entry."""
    if isinstance(entry, ModelTurn):
        return sum(_item_tokens(item) for item in entry.items)
    return _item_tokens(entry.item if isinstance(entry, ReplayedReasoning) else entry)


def _item_tokens(item: Item) -> int:
    if isinstance(item, Message):
        if isinstance(item.content, str):
            return ITEM_TOKENS + -(-len(item.content.encode()) // BYTES_PER_TOKEN)
        return ITEM_TOKENS + sum(_part_tokens(part) for part in item.content)
    return ITEM_TOKENS + -(-len(_encode(item)) // BYTES_PER_TOKEN)


def _part_tokens(part: ContentPart) -> int:
    if isinstance(part, InputImage):
        return IMAGE_TOKENS
    text = getattr(part, "text", None)
    if isinstance(text, str):
        return -(-len(text.encode()) // BYTES_PER_TOKEN)
    size = len(_encode(part)) // BYTES_PER_TOKEN
    return min(size, _MAX_FILE_TOKENS) if isinstance(part, InputFile) else size
