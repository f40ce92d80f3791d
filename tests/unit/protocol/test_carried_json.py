"""JSON that is only carried: any value of it decodes, null included."""

from __future__ import annotations

import msgspec
import pytest

from antiphon.protocol.items import FunctionCall, InputText
from antiphon.protocol.tools import FunctionTool


@pytest.mark.parametrize("value", [b'{"type":"object"}', b"null", b"[1]"])
def test_carried_json_of_any_kind_is_decoded_as_it_came(value: bytes) -> None:
    tool = msgspec.json.decode(b'{"type":"function","name":"f","parameters":' + value + b"}", type=FunctionTool)
    assert isinstance(tool.parameters, msgspec.Raw)
    assert bytes(tool.parameters) == value
    call = b'{"type":"function_call","call_id":"c","name":"f","arguments":"","caller":' + value + b"}"
    assert msgspec.json.encode(msgspec.json.decode(call, type=FunctionCall).caller) == value
    part = b'{"type":"input_text","text":"","prompt_cache_breakpoint":' + value + b"}"
    assert msgspec.json.encode(msgspec.json.decode(part, type=InputText).prompt_cache_breakpoint) == value
