"""Compaction: a long context becomes a summary that the model itself writes, sealed in a `compaction` item.

    item -> entries     a summary message and what was kept verbatim; an item that replaces its past drops what stands
                        before it, but for system and developer messages
    context -> item     by the provider where it compacts (its own blob, sealed), else by asking the model to summarise

The item comes back unchanged from clients and from stored chains, and any model can read a summary. A provider's own
blob is readable by that provider alone: another one refuses the item by name. Source: OpenAI compaction guide;
reference "Tools and limits".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from antiphon.protocol.deltas import Usage
from antiphon.protocol.errors import InvalidRequest, UpstreamFault
from antiphon.protocol.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputText,
    Item,
    Message,
    Opaque,
    Reasoning,
)
from antiphon.protocol.parsing import parse_item
from antiphon.protocol.request import CreateResponse, ReasoningSettings, Text
from antiphon.protocol.response import new_response
from antiphon.providers.base import Entry, ModelTurn, ReplayedReasoning, ReplayRecord, Target, Turn

from .assembler import Assembler
from .carrier import Sealer
from .context_base import Context
from .estimate import turn_tokens
from .history import COMPACTION, TRIGGER, is_compaction
from .holding import Holding
from .ports import Ports
from .upstream import open_upstream

_MAX_KEPT_BYTES: Final = 256 * 1024
_MAX_SUMMARY_TOKENS: Final = 8_000
_INSTRUCTIONS: Final = (
    "You are given the transcript of a conversation between a user and an assistant that uses tools. Write a summary "
    "from which the assistant can go on without the transcript. State the user's goals and constraints, decisions "
    "taken and why, facts, names, numbers and identifiers that may be needed again, what has been done, what every "
    "tool call that matters returned, and what is still to do. Do not answer the user and do not invent anything."
)
_HEADING: Final = "Summary of the conversation so far:\n\n"
_encode: Final = msgspec.json.Encoder().encode


class Summary(msgspec.Struct, frozen=True):
    """What is sealed: the summary, items kept verbatim after it, and whether it replaces all that stands before it."""

    summary: str
    kept: tuple[msgspec.Raw, ...] = ()
    replaces: bool = True


_decode_summary: Final = msgspec.json.Decoder(Summary).decode


class _Sealed(msgspec.Struct, frozen=True):
    encrypted_content: str = ""


class Compacted(msgspec.Struct, frozen=True):
    """A compaction: the carrier for its item's `encrypted_content`, the context that goes on, what it cost."""

    encrypted_content: str
    context: Context
    usage: Usage


def compaction_item(item_id: str, encrypted_content: str) -> msgspec.Raw:
    """A `compaction` item as JSON."""
    return msgspec.Raw(_encode({"type": "compaction", "id": item_id, "encrypted_content": encrypted_content}))


def expand(entries: Sequence[Entry], sealer: Sealer, project: str, before: Sequence[Entry] = ()) -> list[Entry]:
    """The entries with our compaction items opened, after those `before`, which were opened already.

    Raises InvalidRequest for one that cannot be read here.
    """
    if not _has_opaque(entries):
        return [*before, *entries]
    expanded = [*before]
    for entry in entries:
        if not is_compaction(entry):
            expanded.append(entry)
            continue
        sealed = msgspec.json.decode(entry.raw, type=_Sealed).encrypted_content
        if not sealer.is_ours(sealed):
            expanded.append(entry)  # a provider's own: that provider may read it
            continue
        record = sealer.unseal(sealed, project)
        if record is None:
            raise InvalidRequest(
                f"The compaction item {entry.id or ''} cannot be read: it was changed, or made in another project.",
                param="input",
                code="invalid_encrypted_content",
            )
        _apply(record, expanded)
    return expanded


def _apply(record: ReplayRecord, expanded: list[Entry]) -> None:
    if record.family != COMPACTION:
        expanded.append(Opaque(COMPACTION, None, record.blocks))
        return
    summary = _decode_summary(record.blocks)
    if summary.replaces:
        expanded[:] = _standing(expanded)
    expanded.append(Message("user", (InputText(_HEADING + summary.summary),)))
    expanded.extend(parse_item(raw) for raw in summary.kept)


def _standing(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if isinstance(entry, Message) and entry.role in ("system", "developer")]


def wants_compaction(turn: Turn, corrected: Callable[[int], int]) -> bool:
    """Whether the context is to be compacted before the model is asked: on demand, or because it is long."""
    latest = turn.latest
    if _has_opaque(latest) and any(is_compaction(entry, TRIGGER) for entry in latest):
        if not is_compaction(turn.context[-1], TRIGGER):
            raise InvalidRequest("A compaction_trigger must be the last item of the input.", param="input")
        return True
    threshold = turn.request.compact_threshold
    return threshold is not None and corrected(turn_tokens(turn)) >= threshold


def _has_opaque(entries: Sequence[Entry]) -> bool:
    """Most histories have none, and they are long."""
    return Opaque in set(map(type, entries))


async def compact_context(
    request: CreateResponse, context: Context, targets: tuple[Target, ...], ports: Ports, project: str
) -> Compacted:
    """Compact everything, and go on from the summary and the user's last words. Raises ApiError."""
    is_triggered = is_compaction(context.entries[-1], TRIGGER)
    entries = tuple(entry for entry in context.entries if not is_compaction(entry, TRIGGER))
    kept = () if is_triggered else _last_words(entries)
    record, usage = await _compact(request, entries, targets, ports, kept, replaces=True)
    goes_on = list(entries)
    _apply(record, goes_on)
    if record.family != COMPACTION:  # a provider's blob holds no words: those it must still see follow it
        goes_on = [*_standing(entries), goes_on[-1], *kept]
    compacted = replace(context, entries=tuple(goes_on), past=None, is_only_compaction=is_triggered)
    return Compacted(ports.sealer.seal(record, project), compacted, usage)


async def compact_whole(
    request: CreateResponse, context: Context, targets: tuple[Target, ...], ports: Ports, project: str
) -> Compacted:
    """Compact everything into an item that stands beside the user's messages (`/v1/responses/compact`)."""
    entries = tuple(entry for entry in context.entries if not is_compaction(entry, TRIGGER))
    record, usage = await _compact(request, entries, targets, ports, (), replaces=False)
    return Compacted(ports.sealer.seal(record, project), context, usage)


async def _compact(
    request: CreateResponse,
    entries: tuple[Entry, ...],
    targets: tuple[Target, ...],
    ports: Ports,
    kept: tuple[Item, ...],
    *,
    replaces: bool,
) -> tuple[ReplayRecord, Usage]:
    native = await _compact_natively(Turn(request, entries), targets[0], ports)
    if native is not None:
        return native
    summary, usage = await _summarise(request, entries, targets, ports)
    blocks = _encode(Summary(summary, tuple(msgspec.Raw(_encode(item)) for item in kept), replaces))
    return ReplayRecord(COMPACTION, "", "", msgspec.Raw(blocks)), usage


async def _compact_natively(turn: Turn, target: Target, ports: Ports) -> tuple[ReplayRecord, Usage] | None:
    dialect = ports.dialects[target.vendor.dialect]
    asked = dialect.compact_request(turn, target)
    if asked is None:
        return None
    async with ports.send(asked) as reply:
        body = await reply.read(_MAX_KEPT_BYTES * 64)
        if reply.status != 200:
            raise dialect.fault(reply.status, reply.headers, body)
    blob, usage = dialect.read_compaction(body)
    return ReplayRecord(target.vendor.dialect, target.vendor.scope, target.model, blob), usage


async def _summarise(
    request: CreateResponse, entries: Sequence[Entry], targets: tuple[Target, ...], ports: Ports
) -> tuple[str, Usage]:
    """One model turn over the transcript, by the request's own model."""
    asking = CreateResponse(
        model=request.model,
        instructions=_INSTRUCTIONS,
        store=False,
        max_output_tokens=_MAX_SUMMARY_TOKENS,
        reasoning=None if request.reasoning is None else ReasoningSettings(effort="low"),
        text=Text(),
        prompt_cache_key=request.prompt_cache_key,
        safety_identifier=request.safety_identifier,
        user=request.user,
    )
    turn = Turn(asking, (Message("user", (InputText(transcript(entries)),)),))
    assembler = Assembler(new_response(asking, "resp_" + "0" * 26, 0), lambda _: None)
    async with await open_upstream(turn, targets, ports, Holding(None), lambda target, sent: None) as answering:
        target = answering.target
        assembler.begin_turn(target.vendor.dialect, target.vendor.scope, target.model)
        await answering.read(assembler)
        assembler.end_turn()
    if assembler.failure is not None:
        raise assembler.failure
    text = "\n".join(_texts(parse_item(raw) for raw in assembler.output()))
    if not text.strip():
        raise UpstreamFault("server", "The model wrote no summary of the conversation.")
    return text, assembler.usage


def _texts(items: Iterable[Item]) -> Iterable[str]:
    for item in items:
        if isinstance(item, Message):
            yield _words(item)


def _words(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(_part_words(part) for part in message.content)


def _part_words(part: msgspec.Struct) -> str:
    for name in ("text", "refusal"):
        text = getattr(part, name, None)
        if isinstance(text, str):
            return text
    return f"[{part.__struct_config__.tag}]"


def transcript(entries: Iterable[Entry]) -> str:
    """The conversation as text that any model can read: who said what, calls and what they returned."""
    lines: list[str] = []
    for entry in entries:
        items = entry.items if isinstance(entry, ModelTurn) else (entry,)
        lines.extend(line for item in items if (line := _line(item)))
    return "\n\n".join(lines)


def _line(item: Item | ReplayedReasoning) -> str:
    match item:
        case Message():
            return f"{item.role}: {_words(item)}"
        case FunctionCall():
            return f"assistant called {item.name} ({item.call_id}): {item.arguments}"
        case CustomToolCall():
            return f"assistant called {item.name} ({item.call_id}): {item.input}"
        case FunctionCallOutput() | CustomToolCallOutput():
            output = item.output if isinstance(item.output, str) else "\n".join(map(_part_words, item.output))
            return f"tool returned ({item.call_id}): {output}"
        case Reasoning() | ReplayedReasoning():
            return ""
        case _:
            return _encode(item).decode()


def _last_words(entries: Sequence[Entry]) -> tuple[Item, ...]:
    """The messages of the user that end the context, or else the last one: what the model is to answer."""
    words: list[Item] = []
    for entry in reversed(entries):
        if isinstance(entry, Message) and entry.role == "user":
            words.insert(0, entry)
        elif words:
            break
    size_bytes = 0
    kept: list[Item] = []
    for item in reversed(words):
        size_bytes += len(_encode(item))
        if size_bytes > _MAX_KEPT_BYTES:
            break
        kept.insert(0, item)
    return tuple(kept)
