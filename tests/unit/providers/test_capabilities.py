"""What a model can do: told from its name, learnt from lists, overruled by the operator."""

from __future__ import annotations

import pytest

from antiphon.providers.capabilities import built_in as abilities


@pytest.mark.parametrize(
    ("name", "thinking", "off"),
    [
        ("claude-3-5-haiku-20241022", "none", "disabled"),
        ("claude-3-7-sonnet-latest", "budget", "disabled"),
        ("claude-opus-4-20250514", "budget", "disabled"),
        ("claude-sonnet-4-5-20250929", "budget", "disabled"),
        ("anthropic/claude-opus-4.6", "adaptive", "disabled"),
        ("us.anthropic.claude-sonnet-4-6-v1", "adaptive", "disabled"),
        ("claude-sonnet-5-5", "adaptive", "between_tools"),
        ("claude-opus-5-5", "adaptive", "never"),
        ("claude-fable-5", "adaptive", "never"),
    ],
)
def test_a_name_tells_how_the_model_thinks(name: str, thinking: str, off: str) -> None:
    able = abilities(name)
    assert (able.thinking, able.off) == (thinking, off)


@pytest.mark.parametrize("name", ["claude-opus-4-20250514", "claude-sonnet-4@20250514"])
def test_a_date_is_no_minor_version(name: str) -> None:
    assert abilities(name).has_sampling


@pytest.mark.parametrize(
    ("name", "binds"),
    [
        ("claude-fable-5-1", True),
        ("claude-mythos-5-1", False),
        ("claude-mythos-5-2", True),
        ("claude-haiku-5-5", True),
        ("claude-sonnet-5", False),
    ],
)
def test_a_name_tells_whether_thinking_is_bound(name: str, binds: bool) -> None:
    assert abilities(name).binds is binds


@pytest.mark.parametrize(
    ("name", "honours"), [("claude-opus-4-8", True), ("claude-fable-5", True), ("claude-sonnet-5-5", False)]
)
def test_a_name_tells_whether_system_messages_are_honoured(name: str, honours: bool) -> None:
    assert abilities(name).has_system_messages is honours


def test_a_new_claude_is_taken_for_the_newest_and_others_for_the_first() -> None:
    new, other = abilities("claude-aria-1"), abilities("some-model")
    assert (new.thinking, new.has_sampling, new.has_forced_choice) == ("adaptive", False, False)
    assert (other.thinking, other.has_sampling, other.has_forced_choice) == ("budget", True, True)
    assert not new.is_known
    assert not other.is_known
