"""The values that cross between the store and the rest of the program, and what may go wrong.

Every look-up names its project: one project never sees another's rows. Times are Unix seconds UTC; whole numbers where
a client sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from antiphon.protocol.errors import AntiphonError, InvalidRequest

# How long a writer rests between two groups of several saves: a group costs its wake-ups and its sync, whatever its
# size. Resting costs a client under load this much latency, and saves a quarter of a request's CPU (eight callers).
REST_S: Final = 0.003


class StoreUnavailable(AntiphonError):
    """The database does not answer, is locked too long, or its disk is full."""


class LeaseLost(AntiphonError):
    """Another worker has taken this run over: what this one still has to say is not written."""


def check_context(size_bytes: int, most_bytes: int) -> None:
    """Raises InvalidRequest (context_length_exceeded) if more is stored of a context than may be read."""
    if size_bytes > most_bytes:
        raise InvalidRequest(
            f"What this continues takes more than {most_bytes:,} bytes, which is the most that this server reads for "
            "one request. Begin a new chain or conversation, with what is still needed of this one.",
            code="context_length_exceeded",
        )


class StoredResponse(msgspec.Struct, frozen=True):
    """One response with what only it contributed to its chain.

    `body` is the response object's JSON as sent (with every include-gated field); `input` a JSON array of its own new
    input items, each with an id; `turns` the JSON of its model turns: an array of
    {"output": [first, end), "record": ReplayRecord | null}. `expires_at` None = kept. `conversation` and
    `conversation_position`: its context began with that conversation's items before the position. `instructions_hash`
    and `tools_hash` name the echoes that the body lacks: they stand in it as null and [].
    """

    id: str
    project: str
    previous_response_id: str | None
    status: str
    model: str
    created_at: int
    expires_at: int | None
    body: bytes
    input: bytes
    turns: bytes
    conversation: str | None = None
    conversation_position: int | None = None
    instructions_hash: bytes | None = None
    tools_hash: bytes | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.body) + len(self.input) + len(self.turns)


class Echo(msgspec.Struct, frozen=True):
    """JSON that many responses of a project have in common, by its hash."""

    hash: bytes
    body: bytes


def size_of(response: StoredResponse | None, echoes: Sequence[Echo]) -> int:
    """The bytes of what is to be stored."""
    return (0 if response is None else response.size_bytes) + sum(len(echo.body) for echo in echoes)


class Removals(msgspec.Struct, frozen=True):
    """How many responses of a project had been removed when the database's clock stood at `now`."""

    count: int
    now: float


class Chain(msgspec.Struct, frozen=True):
    """Responses of which each follows the one before it, and what had been removed when they were all there."""

    links: list[StoredResponse]
    removals: Removals


class UsageRow(msgspec.Struct, frozen=True):
    """One line of the ledger, written in the same transaction as the response."""

    response_id: str
    project: str
    key_id: str
    model: str
    target: str
    created_at: int
    status: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nano_usd: int | None = None
    """None where the model has no price."""


class UsageSum(msgspec.Struct, frozen=True):
    """The ledger lines of one project and target together; `unpriced` of its responses have no cost."""

    project: str
    target: str
    responses: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_nano_usd: int
    unpriced: int


class KeyRow(msgspec.Struct, frozen=True):
    """An API key as stored: `hash` is HMAC-SHA256 of the whole key under the installation's secret, hex.

    `project` is the one it acts for unless a request names another of `other_projects`.
    """

    id: str
    project: str
    project_name: str
    hash: str
    hint: str
    created_at: int
    revoked_at: int | None = None


class Lease(msgspec.Struct, frozen=True):
    """The right to write for one run, until another worker takes it: `attempt` counts the takings from 1."""

    response_id: str
    owner: str
    attempt: int


class EventBatch(msgspec.Struct, frozen=True):
    """Consecutive events of a response: JSON objects joined by newlines; `first` is the first's sequence number."""

    first: int
    count: int
    lines: bytes


class Job(msgspec.Struct, frozen=True):
    """A background run that a worker has claimed, with all it needs to go on.

    `request` is the body the client sent; `checkpoint` what the last worker had finished, b"" at first.
    """

    lease: Lease
    project: str
    key_id: str
    request: bytes
    checkpoint: bytes
    queued_at: float
    is_cancelled: bool
    response: StoredResponse


class NewJob(msgspec.Struct, frozen=True):
    """What `enqueue` needs beside the queued response. With `owner` the run is claimed in the same transaction.

    It waits as if it had been queued `delay_s` later: others come first, and it may wait so much longer.
    """

    key_id: str
    request: bytes
    events: EventBatch
    events_expire_at: int
    owner: str | None
    lease_s: float
    max_queued: int
    delay_s: float = 0.0


class ConversationRow(msgspec.Struct, frozen=True):
    """A conversation; `metadata` is a JSON object. `next_position` is where its next item will stand.

    `holes` are call ids, joined by newlines, of which the call or the output was deleted. `removals` counts the items
    that were ever removed.
    """

    id: str
    project: str
    created_at: int
    metadata: bytes
    next_position: int = 0
    holes: str = ""
    removals: int = 0


class ConversationItem(msgspec.Struct, frozen=True):
    """One item of a conversation. Items of one model turn share `turn`, of which there were `turn_size`.

    `record` (JSON of a ReplayRecord) stands on the turn's first item, `carried` on a reasoning item of its own.
    """

    id: str
    body: bytes
    turn: str | None = None
    turn_size: int = 0
    record: bytes | None = None
    carried: bytes | None = None
    position: int = -1


class ItemPage(msgspec.Struct, frozen=True):
    """Some items of a conversation, and whether there are more behind them."""

    items: list[ConversationItem]
    has_more: bool


class PromptVersion(msgspec.Struct, frozen=True):
    """One version of a prompt template: `body` is a JSON object of request parameters with `{{placeholders}}`."""

    prompt_id: str
    version: int
    body: bytes
    created_at: int


class PromptRow(msgspec.Struct, frozen=True):
    """A prompt template. `default_version` is used where a request names none; `latest_version` is the newest."""

    id: str
    project: str
    name: str
    created_at: int
    default_version: int
    latest_version: int


class WebhookRow(msgspec.Struct, frozen=True):
    """A webhook endpoint; secrets are sealed, `event_types` are joined by blanks."""

    id: str
    project: str
    name: str
    url: str
    event_types: str
    secret: bytes
    hint: str
    created_at: int
    updated_at: int
    old_secret: bytes | None = None
    old_until: float | None = None


class Delivery(msgspec.Struct, frozen=True):
    """One event on its way to one endpoint. `log` is a JSON array of what each attempt came to."""

    id: str
    event_id: str
    endpoint: str
    project: str
    event_type: str
    payload: bytes
    created_at: float
    attempts: int
    next_at: float
    state: Literal["pending", "delivered", "failed"]
    log: bytes


class WebhookEvent(msgspec.Struct, frozen=True):
    """Something to tell the project's endpoints: `payload` is the event object's JSON."""

    id: str
    type: str
    payload: bytes


class IdempotentAnswer(msgspec.Struct, frozen=True):
    """What a key's first request was answered: a JSON body, event lines, or the background response to follow."""

    response_id: str
    kind: Literal["json", "events", "background"]
    answer: bytes


class IdempotencyClaim(msgspec.Struct, frozen=True):
    """A key as it was found: `answer` None means that the request is this caller's to carry out, or still runs."""

    is_mine: bool
    fingerprint: str
    answer: IdempotentAnswer | None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the end of a run writes, in one transaction.

    `lease` is set for background runs: the response's row exists, and is finished instead of inserted. `items` are
    appended to `conversation`, whose lock the response `holder` gives back in any case. `echoes`: those that the
    response names.
    """

    response: StoredResponse | None
    usage: UsageRow
    echoes: tuple[Echo, ...] = ()
    holder: str = ""
    conversation: str | None = None
    items: tuple[ConversationItem, ...] = ()
    lease: Lease | None = None
    events: EventBatch | None = None
    events_expire_at: int = 0
    keeps_events: bool = True
    webhook: WebhookEvent | None = None
    idempotency_key: str | None = None
    idempotent: IdempotentAnswer | None = None

    @property
    def is_plain(self) -> bool:
        """Nothing but the response and its ledger line: the hot path."""
        return self.conversation is None and self.lease is None and self.idempotency_key is None
