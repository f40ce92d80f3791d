"""What a WebSocket client sends, and what only it is sent: `response.create`, `response.steer`, the error envelope.

Source: OpenAI SDK 3.52 `ResponsesClientEvent`, `ResponseSteer*Event`; Open Responses `WebSocketResponseCreateEvent`,
`WebSocketErrorEvent`; reference "WebSocket mode".
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from .errors import ApiError, envelope_of, wire_of
from .explain import invalid, join_path, missing_parameter, not_json, unknown_parameter, wrong_type
from .item_parsing import read_input
from .items import InputFile, InputImage, InputText, Message
from .request import InputItem
from .request_schema import MAX_INPUT_CHARACTERS
from .utf8 import check_utf8

Fields = dict[str, msgspec.Raw]
_fields: Final = msgspec.json.Decoder(Fields).decode
_encode: Final = msgspec.json.Encoder().encode
_STREAM_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_TRANSPORT: Final = frozenset({"type", "stream_id", "generate", "stream"})
_KINDS: Final = {"bool": "bool", "int": "int", "float": "float", "list": "array", "dict": "object"}
_STEER: Final = ("type", "previous_response_id", "input")


class Create(msgspec.Struct, frozen=True):
    """A `response.create` as it came: on which lane, and the body of the request it is."""

    stream_id: str | None
    body: bytes
    generate: bool


class Steer(msgspec.Struct, frozen=True):
    """A `response.steer` as it came; `input` is the client's own JSON, to be returned if it cannot be used."""

    previous_response_id: str
    input: msgspec.Raw


def parse_client_event(text: bytes) -> Create | Steer:
    """One message of a client. Raises InvalidRequest."""
    try:
        check_utf8(text)
        fields = _fields(text)
    except msgspec.ValidationError as error:
        raise wrong_type("", "object", "array") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from error
    kind = _text(fields, "type")
    if kind == "response.create":
        return _create(fields)
    if kind == "response.steer":
        return _steer(fields)
    if kind is None:
        raise missing_parameter("type")
    raise invalid("type", f"Invalid value: '{kind}'. Supported values are: 'response.create' and 'response.steer'.")


def _text(fields: Fields, name: str) -> str | None:
    raw = fields.get(name)
    if raw is None:
        return None
    value: object = msgspec.json.decode(raw)
    if not isinstance(value, str):
        raise wrong_type(name, "str", _KINDS.get(type(value).__name__, "null"))
    return value


def _create(fields: Fields) -> Create:
    stream_id = _text(fields, "stream_id")
    if stream_id is not None and not _STREAM_ID.fullmatch(stream_id):
        raise invalid(
            "stream_id",
            "Invalid 'stream_id': use 1 to 256 letters, digits, '_', '.' or '-', or leave it out.",
            "invalid_stream_id",
        )
    generate = fields.get("generate", msgspec.Raw(b"true"))
    if bytes(generate) not in (b"true", b"false", b"null"):
        raise wrong_type("generate", "bool", "str")
    if bytes(fields.get("background", b"null")) == b"true":
        raise invalid(
            "background",
            "Unsupported parameter: 'background' is not supported over WebSocket.",
            "unsupported_parameter",
        )
    body = {name: raw for name, raw in fields.items() if name not in _TRANSPORT}
    return Create(stream_id, _encode(body), bytes(generate) != b"false")


def _steer(fields: Fields) -> Steer:
    for name in fields:
        if name not in _STEER:
            raise unknown_parameter(name, _STEER)
    previous = _text(fields, "previous_response_id")
    if previous is None:
        raise missing_parameter("previous_response_id")
    if "input" not in fields:
        raise missing_parameter("input")
    return Steer(previous, fields["input"])


def parse_steer_input(raw: msgspec.Raw) -> tuple[InputItem, ...]:
    """The messages of a steer: of the user alone, of text, images and files. Raises InvalidRequest."""
    own = read_input(raw, MAX_INPUT_CHARACTERS)
    if not own:
        raise invalid("input", "Invalid 'input': array too short. Expected at least 1 items.", "array_below_min_length")
    for position, one in enumerate(own):
        path, item = join_path("input", f"[{position}]"), one.item
        if not isinstance(item, Message) or item.role != "user":
            raise invalid(path, f"'{path}' must be a message with role 'user': nothing else can steer a response.")
        parts = () if isinstance(item.content, str) else item.content
        if not all(isinstance(part, InputText | InputImage | InputFile) for part in parts):
            raise invalid(path, f"'{path}.content' may hold input_text, input_image and input_file only.")
    return own


def error_event(error: ApiError, stream_id: str | None) -> bytes:
    """The error envelope of a WebSocket. Status and code are those an HTTP answer would have."""
    event: dict[str, object] = {"type": "error", "status": wire_of(error).status, "error": envelope_of(error).error}
    return _encode(event if stream_id is None else event | {"stream_id": stream_id})


def steer_failed(steer: Steer, steer_id: str | None, code: str, message: str, stream_id: str | None) -> bytes:
    """`response.steer.failed`: the input goes back to the client."""
    returned: dict[str, object] = {"previous_response_id": steer.previous_response_id, "input": steer.input}
    event: dict[str, object] = {
        "type": "response.steer.failed",
        "error": {"type": "invalid_request_error", "code": code, "message": message},
        "steer": returned if steer_id is None else returned | {"id": steer_id},
    }
    return _encode(event if stream_id is None else event | {"stream_id": stream_id})


def on_lane(payload: bytes, stream_id: str | None) -> bytes:
    """An event as it goes out on a named lane."""
    return payload if stream_id is None else payload[:-1] + b',"stream_id":"' + stream_id.encode() + b'"}'
