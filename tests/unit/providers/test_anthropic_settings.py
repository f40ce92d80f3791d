"""Settings on the Messages wire: each is sent where the model takes it, and named where not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.providers import anthropic_kit as kit

from antiphon.providers.quirks import AnthropicQuirks

BUDGETED, UNKNOWN = "claude-opus-4-1", "glm-5"
THOUGHT = b'[{"type":"thinking","thinking":"Hm","signature":"s"},{"type":"text","text":"Yes"}]'


def effort(word: str | None, summary: str | None = None, **fields: Any) -> dict[str, Any]:
    return kit.body(reasoning={"effort": word, "summary": summary}, **fields)


def version(**fields: Any) -> str:
    return dict(kit.encode(**fields).headers)["anthropic-version"]


# -- reasoning


@pytest.mark.parametrize(
    ("word", "model", "sent"),
    [
        ("minimal", "claude-sonnet-5-5", "low"),
        ("low", "claude-sonnet-5-5", "low"),
        ("high", "claude-fable-5-2", "high"),
        ("xhigh", "claude-opus-4-7", "xhigh"),
        ("xhigh", "claude-opus-4-6", "max"),
        ("max", "claude-opus-5-5", "max"),
    ],
)
def test_adaptive_models_are_asked_by_effort(word: str, model: str, sent: str) -> None:
    said = effort(word, model=model)
    assert said["thinking"] == {"type": "adaptive", "display": "omitted"}
    assert said["output_config"] == {"effort": sent}


@pytest.mark.parametrize(
    ("word", "budget"),
    [("minimal", 1024), ("low", 2048), ("medium", 10000), ("high", 16384), ("xhigh", 24000), ("max", 24000)],
)
def test_older_models_get_a_budget_that_leaves_a_quarter_to_the_answer(word: str, budget: int) -> None:
    said = effort(word, model=BUDGETED)
    assert said["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert budget < said["max_tokens"]


def test_a_limit_too_small_to_think_in_drops_the_effort_by_name() -> None:
    sent = kit.encode(model=BUDGETED, reasoning={"effort": "high"}, max_output_tokens=1024)
    assert b"thinking" not in sent.body
    assert sent.dropped == ("reasoning.effort",)
    assert effort("high", model=BUDGETED, max_output_tokens=1025)["thinking"]["budget_tokens"] == 1024


@pytest.mark.parametrize(
    ("model", "thinking", "output"),
    [
        ("claude-sonnet-4-6", {"type": "disabled"}, None),
        ("claude-sonnet-5-5", {"type": "between_tools"}, None),
        ("claude-opus-5-5", None, {"effort": "low"}),
        ("claude-mythos-5-1", None, {"effort": "low"}),
        (BUDGETED, {"type": "disabled"}, None),
    ],
)
def test_no_effort_is_each_models_least(model: str, thinking: Any, output: Any) -> None:
    said = effort("none", model=model)
    assert said.get("thinking") == thinking
    assert said.get("output_config") == output


def test_a_model_that_cannot_think_drops_reasoning_by_name() -> None:
    sent = kit.encode(model="claude-3-5-haiku-20241022", reasoning={"effort": "high"})
    assert sent.dropped == ("reasoning",)


@pytest.mark.parametrize(("summary", "display"), [("auto", "summarized"), ("detailed", "summarized")])
def test_a_summary_is_asked_for_by_display(summary: str, display: str) -> None:
    assert effort(None, summary)["thinking"] == {"type": "adaptive", "display": display}
    assert effort(None, summary, model=BUDGETED)["thinking"]["budget_tokens"] == 10000


def test_nothing_is_asked_of_thinking_that_the_client_did_not_ask() -> None:
    assert "thinking" not in kit.body(model=kit.BINDING)


# -- binding


def test_replayed_thinking_may_be_dropped_where_it_no_longer_fits() -> None:
    sent = kit.encode(kit.turn(THOUGHT), model=kit.BINDING)
    assert b'"block_binding":{"prefix_mismatch_behavior":"drop_block"}' in sent.body
    assert dict(sent.headers)["anthropic-beta"] == "thinking-binding-controls-2026-08-01"


@pytest.mark.parametrize(
    ("model", "word"), [(kit.MODEL, None), (kit.BINDING, "none"), ("claude-3-5-haiku-20241022", None)]
)
def test_models_that_do_not_bind_or_do_not_think_adaptively_get_no_binding(model: str, word: str | None) -> None:
    sent = kit.encode(kit.turn(THOUGHT), model=model, reasoning={"effort": word})
    assert b"block_binding" not in sent.body
    assert "anthropic-beta" not in dict(sent.headers)


# -- sampling


@pytest.mark.parametrize("model", ["claude-sonnet-5", "claude-opus-4-7", "claude-haiku-5-5", "claude-future"])
def test_pitfall_103_models_without_sampling_never_see_it(model: str) -> None:
    sent = kit.encode(model=model, temperature=1.0, top_p=0.5)
    assert b"temperature" not in sent.body
    assert b"top_p" not in sent.body
    assert sent.dropped == ("temperature", "top_p")
    assert dict(sent.headers)["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize("model", [kit.MODEL, "claude-opus-4-6", BUDGETED, "claude-3-haiku-20240307", UNKNOWN])
def test_pitfall_103_models_with_sampling_are_asked_in_the_older_version(model: str) -> None:
    assert version(model=model, top_p=0.5) == "2023-06-01"
    assert kit.body(model=model, top_p=0.5)["top_p"] == 0.5
    assert version(model=model) == "2026-10-21"


def test_sampling_gives_way_to_thinking_but_not_to_its_absence() -> None:
    assert kit.encode(reasoning={"effort": "low"}, temperature=0.1).dropped == ("temperature",)
    assert effort("none", temperature=0.1)["temperature"] == 0.1


def test_a_temperature_above_one_is_sent_as_one_and_named() -> None:
    sent = kit.encode(temperature=1.5)
    assert b'"temperature":1.0' in sent.body
    assert sent.dropped == ("temperature",)


def test_a_vendors_own_version_wins() -> None:
    assert version(quirks=AnthropicQuirks(version="2023-06-01")) == "2023-06-01"


# -- limits


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("claude-opus-5-5", 128_000),
        ("claude-sonnet-4-5", 64_000),
        ("claude-sonnet-4-20250514", 64_000),
        (BUDGETED, 32_000),
        ("claude-3-5-sonnet-20241022", 8_192),
        ("claude-3-opus-20240229", 4_096),
    ],
)
def test_max_tokens_is_always_sent_and_never_above_the_models_own(model: str, most: int) -> None:
    assert kit.body(model=model)["max_tokens"] == most
    assert kit.body(model=model, max_output_tokens=200_000)["max_tokens"] == most
    assert kit.body(model=model, max_output_tokens=100)["max_tokens"] == 100


def test_a_model_nobody_knows_is_asked_for_what_the_client_asked() -> None:
    assert kit.body(model=UNKNOWN, max_output_tokens=200_000)["max_tokens"] == 200_000
    assert kit.body(model=UNKNOWN, quirks=AnthropicQuirks(max_tokens=9))["max_tokens"] == 9


# -- the rest


def test_pitfall_014_a_schema_and_thinking_need_no_forced_tool() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}, "required": ["a"]}
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    said = effort("high", text={"format": form})
    assert said["output_config"]["effort"] == "high"
    assert said["output_config"]["format"]["schema"]["additionalProperties"] is False
    assert "tool_choice" not in said
    assert "tools" not in said


def test_json_object_is_asked_for_in_words() -> None:
    said = kit.body(text={"format": {"type": "json_object"}}, instructions="I")
    assert said["system"][0]["text"] == "I"
    assert "JSON object" in said["system"][1]["text"]


@pytest.mark.parametrize(
    ("tier", "sent", "dropped"),
    [("auto", "auto", ()), ("default", "standard_only", ()), ("flex", None, ("service_tier",))],
)
def test_a_service_tier_is_sent_or_named(tier: str, sent: str | None, dropped: tuple[str, ...]) -> None:
    request = kit.encode(service_tier=tier)
    assert kit.body(service_tier=tier).get("service_tier") == sent
    assert request.dropped == dropped


def test_the_end_user_is_the_safety_identifier_before_the_user() -> None:
    assert kit.body(user="u", safety_identifier="s")["metadata"] == {"user_id": "s"}
    assert kit.body(user="u")["metadata"] == {"user_id": "u"}
    assert "metadata" not in kit.body(metadata={"a": "b"})


def test_hints_the_wire_cannot_say_are_named() -> None:
    sent = kit.encode(
        text={"verbosity": "low"},
        prompt_cache_key="k",
        presence_penalty=0.1,
        frequency_penalty=0.1,
        top_logprobs=1,
        include=["message.output_text.logprobs"],
    )
    assert set(sent.dropped) == {
        "text.verbosity",
        "prompt_cache_key",
        "presence_penalty",
        "frequency_penalty",
        "top_logprobs",
    }


def test_caching_is_automatic_long_on_request_and_off_by_quirk() -> None:
    assert kit.body()["cache_control"] == {"type": "ephemeral"}
    assert kit.body(prompt_cache_retention="24h")["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert "cache_control" not in kit.body(prompt_cache_options={"mode": "explicit"})
    assert "cache_control" not in kit.body(quirks=AnthropicQuirks(caches=False))


@pytest.mark.parametrize("automatic", ["implicit", "explicit"])
def test_pitfall_038_076_no_more_than_four_cache_controls_are_sent_and_the_newest_win(automatic: str) -> None:
    part = {"type": "input_text", "text": "T", "prompt_cache_breakpoint": {"mode": "explicit"}}
    result = {"type": "function_call_output", "call_id": "a", "output": [part, part]}
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"cache_control":1}'}
    said = [{"role": "user", "content": [part] * 3}, call, result, {"role": "user", "content": [part]}]
    sent = kit.encode(input=said, prompt_cache_options={"mode": automatic})
    assert sent.body.count(b'"cache_control":{') == 4
    last = kit.messages(input=said)[-1][1]
    assert last[-1]["cache_control"] == {"type": "ephemeral"}
    assert all("cache_control" in inner for inner in last[0]["content"])
