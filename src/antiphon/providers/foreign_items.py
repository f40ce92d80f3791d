"""Items that a wire has no words for, told as text: what a built-in tool did in an earlier turn.

A model that goes on with another's conversation should know that something was searched or run; it must never see an
item type it would imitate. Types nobody knows are refused, since nobody can say what leaving them out would mean.
Source: reference of provider wires, §2.4.
"""

from __future__ import annotations

from typing import Final

import msgspec

from antiphon.protocol.items import Opaque

_CALLS: Final = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "computer_call",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "shell_call",
        "local_shell_call",
        "apply_patch_call",
        "program",
    }
)
_OUTPUTS: Final = frozenset(
    {
        "computer_call_output",
        "mcp_approval_response",
        "shell_call_output",
        "local_shell_call_output",
        "apply_patch_call_output",
        "program_output",
    }
)
_SILENT: Final = frozenset({"configuration_update", "compaction_trigger"})
# Ids mean nothing to a model, pixels and vectors are not text.
_UNTOLD: Final = frozenset({"id", "type", "status", "result", "encrypted_content", "fingerprint", "outputs"})
_MAX_LENGTH: Final = 8000


def is_call(item: Opaque) -> bool:
    """Made by a model, so it belongs to an assistant message."""
    return item.type in _CALLS


def is_output(item: Opaque) -> bool:
    """Given back by a client."""
    return item.type in _OUTPUTS


def is_silent(item: Opaque) -> bool:
    """A mark for the server that no model needs to see."""
    return item.type in _SILENT


def told(item: Opaque) -> str:
    """The item in one line of text, such as `[web_search_call: {"action":{"query":"..."}}]`."""
    fields = msgspec.json.decode(item.raw, type=dict[str, msgspec.Raw])
    kept = {name: value for name, value in fields.items() if name not in _UNTOLD and bytes(value) != b"null"}
    text = msgspec.json.encode(kept).decode()
    return f"[{item.type}: {text[:_MAX_LENGTH]}]"
