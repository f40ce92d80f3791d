"""Input items that the program carries but does not read: their documented fields, to check them before they are kept.

Nested objects that only the provider's tools understand (actions, outputs, patches) are checked to be objects or lists
of objects, not field by field: OpenAI adds to them monthly.
Source: OpenAI OpenAPI `Item`; reference "Input items" table.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

Object = dict[str, msgspec.Raw]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
MaybeText = str | None | UnsetType
MaybeStatus = ItemStatus | None | UnsetType
MaybeObject = Object | None | UnsetType
Caller = Object | None | UnsetType


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    type: str


class FileSearchCall(_Item):
    id: str
    queries: list[str]
    status: Literal["in_progress", "searching", "completed", "incomplete", "failed"] | UnsetType | None = UNSET
    results: list[Object] | UnsetType | None = UNSET


class ComputerCall(_Item):
    id: str
    call_id: str
    pending_safety_checks: list[Object] = []
    status: MaybeStatus = UNSET
    action: MaybeObject = UNSET
    actions: list[Object] | UnsetType | None = UNSET


class ComputerCallOutput(_Item):
    call_id: str
    output: Object
    id: MaybeText = UNSET
    acknowledged_safety_checks: list[Object] | UnsetType | None = UNSET
    status: MaybeText = UNSET


class WebSearchCall(_Item):
    id: MaybeText = UNSET
    action: MaybeObject = UNSET
    status: Literal["in_progress", "searching", "completed", "failed", "incomplete"] | UnsetType | None = UNSET
    results: msgspec.Raw | UnsetType = UNSET


class ConfigurationUpdate(_Item):
    id: MaybeText = UNSET
    reasoning: MaybeObject = UNSET
    text: MaybeObject = UNSET


class Compaction(_Item):
    encrypted_content: str
    id: MaybeText = UNSET


class CompactionTrigger(_Item):
    id: MaybeText = UNSET


class ImageGenerationCall(_Item):
    id: str
    result: MaybeText = UNSET
    status: Literal["in_progress", "completed", "generating", "failed"] | UnsetType | None = UNSET
    action: MaybeText = UNSET
    background: MaybeText = UNSET
    error: MaybeObject = UNSET
    output_format: MaybeText = UNSET
    quality: MaybeText = UNSET
    revised_prompt: MaybeText = UNSET
    size: MaybeText = UNSET
    svg_usage: MaybeObject = UNSET


class CodeInterpreterCall(_Item):
    id: str
    container_id: str
    code: MaybeText = UNSET
    outputs: list[Object] | UnsetType | None = UNSET
    status: Literal["in_progress", "completed", "incomplete", "interpreting", "failed"] | UnsetType | None = UNSET


class LocalShellCall(_Item):
    call_id: str
    action: Object
    id: MaybeText = UNSET
    status: MaybeStatus = UNSET


class LocalShellCallOutput(_Item):
    output: str
    id: MaybeText = UNSET
    call_id: MaybeText = UNSET
    status: MaybeStatus = UNSET


class ShellCall(_Item):
    call_id: str
    action: Object
    id: MaybeText = UNSET
    caller: Caller = UNSET
    environment: MaybeObject = UNSET
    status: MaybeStatus = UNSET


class ShellCallOutput(_Item):
    call_id: str
    output: list[Object]
    id: MaybeText = UNSET
    caller: Caller = UNSET
    max_output_length: int | UnsetType | None = UNSET
    status: MaybeStatus = UNSET


class ApplyPatchCall(_Item):
    call_id: str
    operation: Object
    status: Literal["in_progress", "completed"] | UnsetType | None = UNSET
    id: MaybeText = UNSET
    caller: Caller = UNSET


class ApplyPatchCallOutput(_Item):
    call_id: str
    status: Literal["completed", "failed"]
    id: MaybeText = UNSET
    caller: Caller = UNSET
    output: MaybeText = UNSET


class McpListTools(_Item):
    id: str
    server_label: str
    tools: list[Object]
    error: msgspec.Raw | UnsetType = UNSET


class McpApprovalRequest(_Item):
    id: str
    arguments: str
    name: str
    server_label: str


class McpApprovalResponse(_Item):
    approval_request_id: str
    approve: bool
    id: MaybeText = UNSET
    reason: MaybeText = UNSET


class McpCall(_Item):
    id: str
    arguments: str
    name: str
    server_label: str
    approval_request_id: MaybeText = UNSET
    error: msgspec.Raw | UnsetType = UNSET
    output: MaybeText = UNSET
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"] | UnsetType | None = UNSET


class Program(_Item):
    id: str
    call_id: str
    code: str
    fingerprint: str


class ProgramOutput(_Item):
    id: str
    call_id: str
    result: str
    status: Literal["completed", "incomplete"]


CHECKED: Final[dict[str, type[_Item]]] = {
    "file_search_call": FileSearchCall,
    "computer_call": ComputerCall,
    "computer_call_output": ComputerCallOutput,
    "web_search_call": WebSearchCall,
    "configuration_update": ConfigurationUpdate,
    "compaction": Compaction,
    "compaction_trigger": CompactionTrigger,
    "image_generation_call": ImageGenerationCall,
    "code_interpreter_call": CodeInterpreterCall,
    "local_shell_call": LocalShellCall,
    "local_shell_call_output": LocalShellCallOutput,
    "shell_call": ShellCall,
    "shell_call_output": ShellCallOutput,
    "apply_patch_call": ApplyPatchCall,
    "apply_patch_call_output": ApplyPatchCallOutput,
    "mcp_list_tools": McpListTools,
    "mcp_approval_request": McpApprovalRequest,
    "mcp_approval_response": McpApprovalResponse,
    "mcp_call": McpCall,
    "program": Program,
    "program_output": ProgramOutput,
}
