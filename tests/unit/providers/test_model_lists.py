"""What vendors' own lists say of their models."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antiphon.providers.base import Vendor
from antiphon.providers.capabilities import Registry, Row, row_of
from antiphon.providers.model_lists import facts
from antiphon.routing.discovery import read_facts
from antiphon.routing.models import Router

YES, NO = {"supported": True}, {"supported": False}
CLAUDE: dict[str, Any] = {
    "id": "claude-new-9",
    "max_input_tokens": 500_000,
    "max_tokens": 90_000,
    "capabilities": {
        "thinking": {
            "supported": True,
            "types": {"adaptive": YES, "enabled": NO, "disabled": NO, "between_tools": YES},
        },
        "effort": {"supported": True, "low": YES, "medium": YES, "high": YES, "max": YES, "xhigh": NO},
        "image_input": YES,
        "pdf_input": NO,
    },
}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            CLAUDE,
            {
                "context_window": 500_000,
                "max_tokens": 90_000,
                "thinking": "adaptive",
                "off": "between_tools",
                "has_xhigh": False,
                "inputs": ["image"],
            },
        ),
        (
            {"name": "models/gem", "inputTokenLimit": 1000, "outputTokenLimit": 100},
            {"context_window": 1000, "max_tokens": 100},
        ),
        (
            {
                "id": "a/b",
                "context_length": 2000,
                "top_provider": {"max_completion_tokens": 300},
                "architecture": {"input_modalities": ["text", "image", "smell"]},
                "supported_parameters": ["tools"],
            },
            {"context_window": 2000, "max_tokens": 300, "has_sampling": False, "inputs": ["image"]},
        ),
        (
            {"id": "llama", "context_window": 8192, "max_completion_tokens": 4096},
            {"context_window": 8192, "max_tokens": 4096},
        ),
        ({"id": "q", "max_model_len": 32768}, {"context_window": 32768}),
        ({"id": "m", "max_context_length": 131072, "capabilities": {"vision": True}}, {"context_window": 131072}),
        ({"name": "command-a", "context_length": 256000.0}, {"context_window": 256000}),
        ({"id": "plain"}, {}),
        ({"id": "odd", "context_length": "long"}, {}),
    ],
)
def test_a_row_is_read_whatever_its_vendor_calls_things(row: dict[str, Any], expected: dict[str, Any]) -> None:
    assert facts(msgspec.Raw(msgspec.json.encode(row))) == expected


def test_a_whole_list_gives_the_facts_by_name() -> None:
    rows = [CLAUDE, {"id": "plain"}, {"name": "models/gem", "inputTokenLimit": 9}]
    assert [name for name, _ in read_facts(msgspec.json.encode({"data": rows}))] == ["claude-new-9", "gem"]


def test_the_operator_overrules_the_list_and_the_list_our_table() -> None:
    registry = Registry((row_of({"match": ["anthropic/claude-opus-4-6"], "max_tokens": 5}),))
    before = registry.of("anthropic", "claude-opus-4-6")
    assert (before.max_tokens, before.thinking) == (5, "adaptive")
    registry.learn("anthropic", "claude-opus-4-6", {"max_tokens": 7, "context_window": 11, "thinking": "none"})
    after = registry.of("anthropic", "claude-opus-4-6")
    assert (after.max_tokens, after.context_window, after.thinking) == (5, 11, "none")
    assert registry.of("other", "claude-opus-4-6").context_window == 1_000_000


def test_patterns_see_the_plain_name_too() -> None:
    registry = Registry((Row(("qwen3*",), {"context_window": 42}),))
    assert registry.of("lab", "Qwen/Qwen3-32B").context_window == 42


def test_targets_carry_what_is_known() -> None:
    registry = Registry((row_of({"match": ["lab/*"], "has_sampling": False}),))
    router = Router([Vendor("lab", "chat_completions", "http://lab")], [], registry)
    assert not router.resolve("lab/x")[0].able.has_sampling
    assert router.resolve("lab/x")[0].able.is_known is False


@pytest.mark.parametrize(
    "table", [{"match": "x", "max_tokens": 1}, {"match": ["x"], "speed": 1}, {"match": ["x"], "off": "maybe"}]
)
def test_a_wrong_row_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        row_of(table)
