"""The values that cross between the engine and a dialect, and the two protocols a dialect implements.

A dialect is pure: `encode` turns a Turn for a Target into one HttpRequest, a `Decoder` turns the answer's bytes into
deltas. Neither does I/O, reads a clock, or mints ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from antiphon.protocol.deltas import Delta, Usage
from antiphon.protocol.errors import UpstreamFault
from antiphon.protocol.items import Item, Reasoning
from antiphon.protocol.memory import Memory
from antiphon.protocol.request import CreateResponse

from .capabilities import Capabilities, Media, built_in
from .quirks import Quirks

DialectName = Literal["responses", "chat_completions", "anthropic", "gemini", "bedrock", "cohere", "sim"]
AuthStyle = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "aws", "google", "entra", "none"]


@dataclass(frozen=True, slots=True)
class Credential:
    """What signs a call that no key in a header opens: who signs (`kind`), and for what.

    `service` and `region` are AWS's; `scope` is the OAuth scope that Google or Entra grant a token for.
    """

    kind: Literal["aws", "google", "entra"]
    service: str = ""
    region: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Vendor:
    """Who is paid: one row of the catalog. `base_url` has no trailing slash.

    `scope` names the account in replay records; blocks bound to an account are replayed only to the same scope.
    """

    name: str
    dialect: DialectName
    base_url: str
    auth: AuthStyle = "bearer"
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    quirks: Quirks = field(default_factory=Quirks)
    scope: str = ""
    is_local: bool = False
    credential: Credential | None = None
    memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)


def call_headers(vendor: Vendor) -> tuple[tuple[str, str], ...]:
    """What every call to a vendor carries: JSON in, a stream out, the credential, the operator's own headers last."""
    return vendor.memory.once(call_headers, _call_headers, vendor)


def _call_headers(vendor: Vendor) -> tuple[tuple[str, str], ...]:
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    if vendor.api_key and vendor.auth in ("bearer", "aws", "google", "entra"):
        headers["authorization"] = f"Bearer {vendor.api_key}"
    elif vendor.api_key and vendor.auth != "none":
        headers[vendor.auth] = vendor.api_key
    return tuple((headers | {name.lower(): value for name, value in vendor.headers.items()}).items())


@dataclass(frozen=True, slots=True)
class Target:
    """One place a turn can be sent: a vendor and the name it knows the model by."""

    vendor: Vendor
    model: str
    learnt: Capabilities | None = None
    name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"{self.vendor.name}/{self.model}")

    @property
    def able(self) -> Capabilities:
        """What the model can do: as the registry knows it, else as our own table does."""
        return self.learnt if self.learnt is not None else built_in(self.model)


class ReplayRecord(msgspec.Struct, frozen=True):
    """One model turn's own blocks, byte for byte, and who may read them again.

    `family` is the dialect that wrote them, `scope` the account, `model` the upstream's model name. `blocks` is
    whatever JSON value that dialect's decoder put in `Kept` (or in `Carried`, for one reasoning item); only that
    dialect reads it. `call_ids` maps public call ids to the upstream's own, where they differ. `essential` and
    `omits_cut`: as in `Kept`.
    """

    family: str
    scope: str
    model: str
    blocks: msgspec.Raw
    essential: bool = False
    call_ids: dict[str, str] = {}
    omits_cut: bool = False


class ReplayedReasoning(msgspec.Struct, frozen=True):
    """A reasoning item that the client sent back (or referred to), with the provider's blocks of that item alone.

    It stands among client-sent items: the calls and messages of its turn follow it as plain items. A target that can
    read the record puts `record.blocks` in this place of the assistant turn; any other drops the item and names it.
    """

    item: Reasoning
    record: ReplayRecord


class ModelTurn(msgspec.Struct, frozen=True):
    """One past model turn: the public items it made, in order, and its replay record if there is one."""

    items: tuple[Item, ...]
    record: ReplayRecord | None = None


Entry = Item | ModelTurn | ReplayedReasoning


@dataclass(slots=True, eq=False)
class Rendered:
    """The first `length` entries of a chain as a dialect has written them for one target, to go on from.

    `writer` is the dialect's own, see `writing.write`; nobody else looks into it.
    """

    target: Target | None = None
    length: int = 0
    writer: object = None


@dataclass(slots=True, eq=False)
class Counted:
    """What the first `length` entries of a chain come to, in tokens as we estimate them."""

    length: int = 0
    tokens: int = 0


class Past(msgspec.Struct, frozen=True, eq=False):
    """What a context begins with, and the contexts of its chain's next turns too: its first `length` entries.

    What is known of all of them need not be found out again: their types, and whether images, files or videos are among
    them. `rendered` and `counted` are shared by the turns of the chain.
    """

    length: int
    kinds: frozenset[type]
    shows_media: bool
    rendered: Rendered
    counted: Counted


class Turn(msgspec.Struct, frozen=True):
    """What the model is to answer: the settings of the request and the whole context, oldest first.

    Items in `context` that stand alone came from clients; item references are already resolved. A `ModelTurn` is a turn
    of a stored chain, a `ReplayedReasoning` a reasoning item in a history that the client keeps. `pending` holds the
    blocks of this very turn when the provider paused and wants it continued: one record per paused call, in order.
    `past` is what is known of the context's beginning; whoever changes the context leaves it out.
    """

    request: CreateResponse
    context: tuple[Entry, ...]
    pending: tuple[ReplayRecord, ...] = ()
    past: Past | None = None

    @property
    def kinds(self) -> frozenset[type]:
        """The types of the entries."""
        if self.past is None:
            return frozenset(map(type, self.context))
        return self.past.kinds.union(map(type, self.latest))

    @property
    def latest(self) -> tuple[Entry, ...]:
        """The entries after the past."""
        return self.context if self.past is None else self.context[self.past.length :]


@dataclass(frozen=True, slots=True)
class ToolName:
    """How one tool of the client's is called on the wire, so that its calls can be lifted back.

    `wrapped`: a custom tool sent as a function with one string argument `input`. `is_search`: the function that stands
    for a tool search which the client runs; its calls are lifted to `tool_search_call` items.
    """

    wire_name: str
    name: str
    kind: Literal["function", "custom"]
    namespace: str | None = None
    wrapped: bool = False
    is_search: bool = False


class HttpRequest(msgspec.Struct, frozen=True):
    """One upstream call. `headers` include the credential; they are never logged.

    `dropped` names request fields that were left out because this target cannot honour them and they only tune.
    `removed` are ids ("" if unknown) of reasoning items that were not sent, with the reason, for
    `response.input_transformations`. `credential` signs the call just before it is sent.
    `include` is the client's: what its items are to hold besides.
    """

    method: Literal["POST", "GET"]
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    dropped: tuple[str, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    tool_names: tuple[ToolName, ...] = ()
    credential: Credential | None = None
    include: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"HttpRequest(method={self.method!r}, url={self.url!r})"


class Decoder(Protocol):
    """A state machine over one answer's bytes (HTTP 200). No I/O, no clock, no ids."""

    def feed(self, chunk: bytes) -> list[Delta]:
        """The deltas that this chunk completes. Chunks may split anywhere, even inside a UTF-8 character.

        A stream error that the provider reports becomes a `Failed` delta; bytes that are not the dialect's wire
        raise UpstreamFault("transport"). After Finished or Failed further bytes are ignored.
        """
        ...

    def close(self) -> list[Delta]:
        """The bytes have ended: the last deltas (Kept, Finished), or raises TruncatedStream."""
        ...


class Dialect(Protocol):
    """What a vendor speaks."""

    name: DialectName

    def encode(self, turn: Turn, target: Target) -> HttpRequest:
        """One streamed upstream call for this turn. Raises InvalidRequest for what changes the meaning."""
        ...

    def decoder(self, target: Target, request: HttpRequest) -> Decoder:
        """A fresh decoder for the answer to `request`."""
        ...

    def reads_urls(self, target: Target) -> frozenset[Media]:
        """The kinds of media whose http(s) URLs the target fetches itself; others are fetched before `encode`."""
        ...

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        """Classify a non-2xx answer. Header names are lower case."""
        ...

    def count_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """The call that counts this turn's input tokens, or None where there is none."""
        ...

    def read_count(self, body: bytes) -> int:
        """The answer to `count_request`. Raises UpstreamFault for anything else."""
        ...

    def compact_request(self, turn: Turn, target: Target) -> HttpRequest | None:
        """The call that compacts this turn's context, or None where there is none."""
        ...

    def read_compaction(self, body: bytes) -> tuple[msgspec.Raw, Usage]:
        """The answer to `compact_request`: the provider's own `compaction` item. Raises UpstreamFault."""
        ...

    def models_request(self, target_vendor: Vendor) -> HttpRequest | None:
        """The call that lists this vendor's models, or None where there is none."""
        ...
