"""The assistant message of a model turn: one writer for the replay record and for history built from items.

A stored turn and the same turn in a client's own history must be the same bytes upstream, or prompt caches miss and
signed reasoning is refused. So the decoder (which keeps what the model said) and the encoder (which renders items) both
come here. Reasoning blocks are the message fields that carry them: `{"reasoning_content": "..."}`, `{"reasoning":
"..."}`, `{"reasoning_details": [...]}`, or Mistral's thinking chunks under `{"content": [...]}`; `{}` for none. Under
`call_extras` stand the signatures that belong to calls, by their number: `[{"call": 0, "extra_content": {...}}]`.
Source: reference of provider wires, "Chat Completions", replay column of the dialect matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from .chat_completions_content import SaidMessage
from .quirks import ChatQuirks
from .writing import Open

_EMPTY: Final[dict[str, Mapping[str, object]]] = {"null": {"content": None}, "omitted": {}, "empty": {"content": ""}}
ReasoningBlocks = dict[str, str | list[msgspec.Raw]]

_encode: Final = msgspec.json.Encoder().encode


class CalledFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class FunctionCallPart(msgspec.Struct, frozen=True, tag="function", tag_field="type"):
    """One entry of `tool_calls`."""

    id: str
    function: CalledFunction
    extra_content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class CalledCustom(msgspec.Struct, frozen=True):
    name: str
    input: str


class CustomCallPart(msgspec.Struct, frozen=True, tag="custom", tag_field="type"):
    """One entry of `tool_calls` for a native custom tool."""

    id: str
    custom: CalledCustom
    extra_content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


CallPart = FunctionCallPart | CustomCallPart


class CallExtra(msgspec.Struct, frozen=True):
    """What a provider attached to the turn's `call`-th call."""

    call: int
    extra_content: msgspec.Raw


@dataclass
class AssistantTurn(Open):
    """What one model turn said, in the wire's words."""

    text: str = ""
    refusal: str = ""
    calls: list[CallPart] = field(default_factory=list)
    reasoning: list[msgspec.Raw] = field(default_factory=list)
    """Reasoning blocks in order, one JSON object for each reasoning item."""


def assistant_message(turn: AssistantTurn, quirks: ChatQuirks) -> msgspec.Raw:
    """The message as bytes; equal turns give equal bytes."""
    if turn.text and not (turn.reasoning or turn.calls or turn.refusal):  # as most turns are
        return msgspec.Raw(_encode(SaidMessage("assistant", turn.text)))
    reasoning = merged_reasoning(turn.reasoning) if turn.reasoning else {}
    text = turn.text if quirks.has_refusal_field else turn.text + turn.refusal
    message: dict[str, object] = {"role": "assistant"}
    message |= _content(reasoning.pop("content", None), text, bool(turn.calls), quirks)
    if turn.refusal and quirks.has_refusal_field:
        message["refusal"] = turn.refusal
    extras = reasoning.pop("call_extras", [])
    if turn.calls:
        message["tool_calls"] = _signed(turn.calls, extras, quirks)
    message |= reasoning
    if turn.calls and quirks.empty_reasoning_field:
        message.setdefault(quirks.empty_reasoning_field, "")
    return msgspec.Raw(_encode(message))


def _content(
    thinking: str | list[msgspec.Raw] | None, text: str, has_calls: bool, quirks: ChatQuirks
) -> Mapping[str, object]:
    if thinking:
        said = [{"type": "text", "text": text}] if text else []
        return {"content": [*thinking, *said]}
    if text or not has_calls:
        return {"content": text}
    return _EMPTY[quirks.empty_content]


def _signed(calls: Sequence[CallPart], extras: str | list[msgspec.Raw], quirks: ChatQuirks) -> list[CallPart]:
    """The calls with what was attached to them, or on a turn without any, what the first must bear."""
    signed = list(calls)
    for encoded in extras if isinstance(extras, list) else ():
        extra = msgspec.json.decode(encoded, type=CallExtra)
        if 0 <= extra.call < len(signed):
            signed[extra.call] = msgspec.structs.replace(signed[extra.call], extra_content=extra.extra_content)
    if not extras and quirks.unsigned_call_extra:
        dummy = msgspec.Raw(msgspec.json.encode(quirks.unsigned_call_extra))
        signed[0] = msgspec.structs.replace(signed[0], extra_content=dummy)
    return signed


def merged_reasoning(blocks: Sequence[msgspec.Raw]) -> ReasoningBlocks:
    """The blocks of several reasoning items as the fields of one message: text joined, lists in order."""
    texts: dict[str, str] = {}
    lists: dict[str, list[msgspec.Raw]] = {}
    for block in blocks:
        for name, value in msgspec.json.decode(block, type=ReasoningBlocks).items():
            if isinstance(value, str):
                texts[name] = texts.get(name, "") + value
            else:
                lists.setdefault(name, []).extend(value)
    return {**texts, **lists}
