"""`POST /v1/responses` from bytes to a validated CreateResponse.

One typed decode says yes or no. Only after a no is the body read again, field by field in OpenAI's order (model,
unknown keys, each field), to find the first thing wrong and say it in OpenAI's words.
Source: reference "responses.create parameters" and "Errors, headers, retries".
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from . import request_schema as schema
from .errors import InvalidRequest
from .explain import check_id, explain, invalid, missing_parameter, not_json, unknown_parameter, wrong_type
from .item_parsing import parse_item, parse_items, read_input, read_items
from .items import DECLARATIONS
from .request import PLAIN_TEXT, CreateResponse, InputItem, PromptReference, ReasoningSettings, Text, TextFormat
from .resent import Read, Resent
from .tool_parsing import NONE_DECLARED, Declared, parse_tool_choice, read_tools
from .tools import Tool, ToolChoice
from .utf8 import check_utf8

Raw = msgspec.Raw
Wire = schema.RequestWire

Recall = Callable[[Raw, Read], Resent]
"""`Histories.read` for one sender."""
_decode: Final = msgspec.json.Decoder(Wire).decode
_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_types: Final = typing.get_type_hints(Wire, include_extras=True)
_rare_of: Final = attrgetter(*schema.RARE)
_NOTHING_RARE: Final = _rare_of(Wire())
_NULL: Final = Raw(b"null")
_NOTHING: Final = frozenset[str]()
_BRACKET: Final = ord("[")
_LEAST_KEPT_BYTES: Final = 4 << 10
_MOST_KEPT_BYTES: Final = 1 << 20


def parse_request(body: bytes, recall: Recall | None = None) -> CreateResponse:
    """The request, or InvalidRequest that names what is wrong, where, and what would be right.

    `recall` knows what the same sender has sent before, and keeps what is read of the input.
    """
    try:
        check_utf8(body)
        wire = _decode(body)
    except msgspec.ValidationError as error:
        raise _first_fault(body) or explain(error, Wire) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from error
    if not wire.model and (wire.model is not None or wire.prompt is None):
        raise _no_model(wire.model)
    try:
        return _read(wire, wire.model or "", recall)
    except (UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from error


def _no_model(model: str | None) -> InvalidRequest:
    if model is None:
        return missing_parameter("model")
    return invalid("model", "The model '' does not exist: name one, as VENDOR/MODEL.", "model_not_found")


def _first_fault(body: bytes) -> InvalidRequest | None:
    """The first fault in OpenAI's order of checks, when the body is an object at all."""
    try:
        fields = _fields(body)
    except msgspec.ValidationError:
        return _not_an_object(body)
    except (msgspec.DecodeError, RecursionError) as error:
        return not_json(error)
    if fields.get("model", _NULL) == _NULL and "prompt" not in fields:
        return missing_parameter("model")
    for name in ("model", *fields, *Wire.__struct_fields__):
        fault = _field_fault(name, fields)
        if fault is not None and (name not in Wire.__struct_fields__ or name == "model"):
            return fault
    return next((fault for name in Wire.__struct_fields__ if (fault := _field_fault(name, fields))), None)


def _not_an_object(body: bytes) -> InvalidRequest:
    try:
        document: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        return not_json(error)
    kinds: dict[type, str] = {list: "array", str: "str", bool: "bool", int: "int", float: "float"}
    return wrong_type("", "object", kinds.get(type(document), "null"))


def _field_fault(name: str, fields: dict[str, Raw]) -> InvalidRequest | None:
    if name not in Wire.__struct_fields__:
        if name == "messages":
            return invalid(
                "messages",
                "Unsupported parameter: 'messages'. In the Responses API, this parameter has moved to 'input'.",
                "unsupported_parameter",
            )
        return unknown_parameter(name, Wire.__struct_fields__)
    if name not in fields:
        return None
    try:
        msgspec.json.decode(fields[name], type=_types[name])
    except msgspec.ValidationError as error:
        return explain(error, _types[name], name)
    return None


def _read(wire: Wire, model: str, recall: Recall | None) -> CreateResponse:
    own = _own(wire.input, recall) if _is_said(wire.input) else ()
    declared = read_tools(wire.tools) if wire.tools else NONE_DECLARED
    choice = _choice(wire, declared.tools, own)
    is_plain = _rare_of(wire) == _NOTHING_RARE
    if not is_plain:
        _refuse_later(wire)
    _check_state(wire)
    request = _request(wire, model, own, declared, choice)
    return request if is_plain else _with_rare(wire, request)


def _own(raw: Raw, recall: Recall | None) -> tuple[InputItem, ...]:
    """`input`; a history of some length is probably sent again."""
    array = memoryview(raw)
    if recall is not None and _LEAST_KEPT_BYTES <= len(array) <= _MOST_KEPT_BYTES and array[0] == _BRACKET:
        return recall(raw, read_items)
    return read_input(raw, schema.MAX_INPUT_CHARACTERS)


class _Choice(typing.NamedTuple):
    """`tool_choice`, and as a response shows it."""

    read: ToolChoice = "auto"
    shown: Raw = Raw(b'"auto"')


_AUTO: Final = _Choice()
_WINDOWS_S: Final = {"2h": 7_200, "8h": 28_800}


def _choice(wire: Wire, tools: Sequence[Tool], own: Sequence[InputItem]) -> _Choice:
    if not _is_said(wire.tool_choice):
        return _AUTO
    choice = Raw(bytes(wire.tool_choice))
    declared = [*tools, *(tool for one in own if isinstance(one.item, DECLARATIONS) for tool in one.item.tools)]
    return _Choice(parse_tool_choice(choice, declared), choice)


def _request(wire: Wire, model: str, own: tuple[InputItem, ...], tools: Declared, choice: _Choice) -> CreateResponse:
    """What was read, and what most clients say; a null becomes the documented default."""
    return CreateResponse(
        model=model,
        input=own,
        tools=tools.tools,
        tools_raw=tools.shown,
        tool_choice=choice.read,
        tool_choice_raw=choice.shown,
        instructions=wire.instructions,
        previous_response_id=wire.previous_response_id,
        store=wire.store is not False,
        stream=wire.stream is True,
        include=frozenset(wire.include) if wire.include else _NOTHING,
        max_output_tokens=wire.max_output_tokens,
        temperature=wire.temperature,
        text=PLAIN_TEXT if wire.text is None else _text(wire.text),
        reasoning=None if wire.reasoning is None else _reasoning(wire.reasoning),
        prompt_cache_key=wire.prompt_cache_key,
    )


def _with_rare(wire: Wire, request: CreateResponse) -> CreateResponse:
    """The request with everything else."""
    options = wire.stream_options
    return replace(
        request,
        conversation=_conversation(wire.conversation),
        prompt=None if wire.prompt is None else _prompt(wire.prompt),
        compact_threshold=_compact_threshold(wire.context_management) if wire.context_management else None,
        background=wire.background is True,
        completion_window_s=0 if wire.background_options is None else _window_s(wire, wire.background_options),
        include_obfuscation=options is None or options.include_obfuscation is not False,
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        parallel_tool_calls_said=wire.parallel_tool_calls is not None,
        max_tool_calls=wire.max_tool_calls,
        top_p=wire.top_p,
        top_logprobs=wire.top_logprobs,
        presence_penalty=wire.presence_penalty,
        frequency_penalty=wire.frequency_penalty,
        truncation=wire.truncation or "disabled",
        metadata=wire.metadata or {},
        service_tier=wire.service_tier,
        prompt_cache_options=_cache_options(wire.prompt_cache_options) if _is_said(wire.prompt_cache_options) else None,
        prompt_cache_retention=wire.prompt_cache_retention,
        safety_identifier=wire.safety_identifier,
        user=wire.user,
    )


def _is_said(value: Raw | msgspec.UnsetType) -> typing.TypeGuard[Raw]:
    return isinstance(value, Raw) and value != _NULL


def _text(wire: schema.TextWire) -> Text:
    asked = wire.format
    if isinstance(asked, schema.TextFormatSchema):
        body = Raw(msgspec.json.encode(asked.schema))
        return Text(TextFormat("json_schema", asked.name, body, asked.description, asked.strict), wire.verbosity)
    kind = "json_object" if isinstance(asked, schema.TextFormatObject) else "text"
    return Text(TextFormat(kind), wire.verbosity)


def _reasoning(wire: schema.ReasoningWire) -> ReasoningSettings:
    return ReasoningSettings(wire.effort, wire.summary or wire.generate_summary, wire.context, wire.mode)


def _cache_options(raw: Raw) -> Raw:
    try:
        options = msgspec.json.decode(raw, type=schema.PromptCacheOptions)
    except msgspec.ValidationError as error:
        raise explain(error, schema.PromptCacheOptions, "prompt_cache_options") from error
    if options.prewarm:
        raise _later("prompt_cache_options.prewarm")
    if options.comparison_response_id is not None:
        raise _later("prompt_cache_options.comparison_response_id")
    return Raw(bytes(raw))


def _later(param: str) -> InvalidRequest:
    return invalid(
        param, f"Unsupported parameter: '{param}' is not supported by this server yet.", "unsupported_parameter"
    )


def _conversation(wire: str | schema.ConversationWire | None) -> str | None:
    return wire.id if isinstance(wire, schema.ConversationWire) else wire


def _window_s(wire: Wire, options: schema.BackgroundOptions) -> int:
    """Source: guide "Background mode"."""
    window, path = options.completion_window, "background_options.completion_window"
    if window is None or window == "soonest":
        return 0
    if not wire.background:
        raise invalid(path, f"'{path}' can be '{window}' only with 'background' set to true.")
    if wire.stream:
        raise invalid(
            path, f"'{path}' cannot be '{window}' with 'stream': poll the response, or follow it with a webhook."
        )
    if wire.service_tier not in (None, "auto", "default"):
        raise invalid(path, f"'{path}' can be '{window}' only with 'service_tier' 'auto' or 'default'.")
    return _WINDOWS_S[window]


def _prompt(wire: schema.PromptWire) -> PromptReference:
    return PromptReference(wire.id, wire.version, wire.variables)


def _compact_threshold(rules: tuple[schema.ContextManagement, ...]) -> int:
    return min(rule.compact_threshold or schema.DEFAULT_COMPACT_THRESHOLD for rule in rules)


def _check_state(wire: Wire) -> None:
    """Where the context comes from: one chain, one conversation, or the input alone."""
    check_id("model", wire.model)
    if wire.previous_response_id is None and wire.conversation is None and wire.prompt is None:
        if not _is_said(wire.input):
            raise missing_parameter("input")
        return
    check_id("previous_response_id", wire.previous_response_id)
    check_id("conversation", _conversation(wire.conversation))
    check_id("prompt.id", None if wire.prompt is None else wire.prompt.id)
    if wire.conversation is not None and wire.previous_response_id is not None:
        raise invalid(
            None,
            "Mutually exclusive parameters: 'conversation' and 'previous_response_id'. "
            "Ensure you are only providing one of them.",
            "mutually_exclusive_parameters",
        )


def _refuse_later(wire: Wire) -> None:
    """What this release does not do is refused by name, never ignored."""
    for name in schema.LATER:
        value: Raw | msgspec.UnsetType = getattr(wire, name)
        if _is_said(value) and bytes(value) not in (b"[]", b"{}"):
            raise _later(name)
    if _is_said(wire.image) and b"enabled" in bytes(wire.image):
        raise _later("image")


__all__ = ["parse_item", "parse_items", "parse_request"]
