"""What a decoder says of a model's answer, in words no dialect owns.

Deltas keep dialects ignorant of our ids, indices and lifecycle; the assembler keeps ignorant of wires. `key` is any
integer that names one item within one model turn (a block index, a tool-call index); a key is opened by the first
delta that bears it, and closed by `Ended` or at the end of the turn. Keys may interleave.

    Started                      the upstream answered and named its model
    Text Texts Refusal Cited     message parts
    Summary Thought Thinking     reasoning: summary text, raw text, "there is reasoning" without text
    CallStarted CallArguments    function and custom calls
    Native NativeEvent           an item or event only the provider understands, verbatim
    Carried                      the provider's own blocks of one reasoning item, before its Ended
    Ended                        an item is whole
    Used Kept                    usage so far (absolute), the provider's own blocks for replay
    Paused                       the turn goes on after another upstream call with these blocks appended
    Finished Failed              why the model stopped; exactly one is last
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from .errors import UpstreamFault

_MOST_TOKENS: Final = 1 << 40
"""More than any answer has: with counts near 64 bits no ledger could be summed."""


class Started(msgspec.Struct, frozen=True, gc=False):
    """The provider's own name of the model and its id of the answer, for the trace."""

    model: str = ""
    upstream_id: str = ""
    service_tier: str | None = None


class Text(msgspec.Struct, frozen=True, gc=False):
    """Visible text. `logprobs` is a JSON array in OpenAI's shape, or None."""

    key: int
    text: str
    logprobs: msgspec.Raw | None = None
    phase: str | None = None


class Texts(msgspec.Struct, frozen=True, gc=False):
    """Pieces of visible text that came together, none of them empty. Each is an event of its own."""

    key: int
    pieces: list[str]


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Text of a refusal part."""

    key: int
    text: str


class Cited(msgspec.Struct, frozen=True, gc=False):
    """One annotation object, in OpenAI's shape, on the message part that is open under `key`."""

    key: int
    annotation: msgspec.Raw


class Summary(msgspec.Struct, frozen=True, gc=False):
    """Text of the `part`-th summary part of a reasoning item; parts count from 0."""

    key: int
    text: str
    part: int = 0


class Thought(msgspec.Struct, frozen=True, gc=False):
    """Raw reasoning text of an open model."""

    key: int
    text: str


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """There is reasoning here, perhaps without readable text (redacted, or display omitted)."""

    key: int


class CallStarted(msgspec.Struct, frozen=True, gc=False):
    """A call to a tool of the client's. `name` and `namespace` are the client's own, already lifted back.

    `call_id` is the upstream's id ("" where it gave none); the assembler makes it legal and unique.
    """

    key: int
    name: str
    call_id: str = ""
    kind: Literal["function", "custom"] = "function"
    namespace: str | None = None


class CallArguments(msgspec.Struct, frozen=True, gc=False):
    """More of the arguments (JSON text) or of a custom tool's input (plain text)."""

    key: int
    text: str


class Native(msgspec.Struct, frozen=True, gc=False):
    """An output item in the provider's Responses shape, forwarded but for its `id`.

    `stage` "added" opens it, "done" closes it; a lone "done" opens and closes.
    """

    key: int
    type: str
    item: msgspec.Raw
    stage: Literal["added", "done"] = "done"


class NativeEvent(msgspec.Struct, frozen=True, gc=False):
    """A streamed event about a native item; item_id, output_index and sequence_number are replaced by ours."""

    key: int
    type: str
    event: msgspec.Raw


class Carried(msgspec.Struct, frozen=True, gc=False):
    """The provider's own blocks of the reasoning item under `key` alone, one JSON value, byte for byte.

    Comes before that item's `Ended` (or the end of the turn): it is sealed into `encrypted_content`, so that a client
    that keeps its own history (`store:false`) gives it back in the item's place. The dialect that wrote it finds it
    again as the `record.blocks` of a `ReplayedReasoning` entry.
    """

    key: int
    blocks: msgspec.Raw


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The item under `key` is whole; `status` is "incomplete" when the provider says so."""

    key: int
    status: Literal["completed", "incomplete"] = "completed"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts in OpenAI's sense: input includes cached and cache-write tokens, output includes reasoning."""

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def sane(self) -> Usage:
        """What of it can be true, whatever an upstream claims: none is negative or beyond sums."""
        read, cached, written = self.input_tokens, self.cached_tokens, self.cache_write_tokens
        output, reasoning = self.output_tokens, self.reasoning_tokens
        is_sane = 0 <= read <= _MOST_TOKENS and 0 <= cached <= _MOST_TOKENS and 0 <= written <= _MOST_TOKENS
        if is_sane and 0 <= reasoning <= output <= _MOST_TOKENS:
            return self
        counts = (read, cached, written, output, reasoning)
        read, cached, written, output, reasoning = (min(max(count, 0), _MOST_TOKENS) for count in counts)
        return Usage(read, cached, written, output, min(reasoning, output))


class Used(msgspec.Struct, frozen=True, gc=False):
    """Usage of this upstream call so far; a later one replaces an earlier one."""

    usage: Usage


class Kept(msgspec.Struct, frozen=True, gc=False):
    """The turn's blocks as this provider wants them back, one JSON value, byte for byte.

    `essential` says that replaying without them loses more than the public items and the reasoning items' `Carried`
    blocks hold (server-tool results, citations' indices). `omits_cut`: calls that were cut are not in them.
    """

    blocks: msgspec.Raw
    essential: bool = False
    omits_cut: bool = False


class Removed(msgspec.Struct, frozen=True, gc=False):
    """The provider dropped reasoning we sent (Anthropic `input_transformations`)."""

    reason: str
    detail: msgspec.Raw | None = None


class Paused(msgspec.Struct, frozen=True, gc=False):
    """The provider wants the same turn re-sent with its own answer appended (Anthropic `pause_turn`)."""


class Finished(msgspec.Struct, frozen=True, gc=False):
    """Why the model stopped. `reason` is None for a whole answer."""

    reason: Literal["max_output_tokens", "content_filter"] | None = None


class Failed(msgspec.Struct, frozen=True):
    """The provider reported an error inside a stream that had begun."""

    error: UpstreamFault


Delta = (
    Started
    | Text
    | Texts
    | Refusal
    | Cited
    | Summary
    | Thought
    | Thinking
    | CallStarted
    | CallArguments
    | Native
    | NativeEvent
    | Carried
    | Ended
    | Used
    | Kept
    | Removed
    | Paused
    | Finished
    | Failed
)
