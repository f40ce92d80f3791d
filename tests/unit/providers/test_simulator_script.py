"""Script words: the documented grammar, and what is said about lines that break it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.providers.simulator_play import WEATHER, Play, play

from antiphon.protocol.deltas import Cited, Failed, Finished
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.tools import CustomTool
from antiphon.providers.simulator import MODELS
from antiphon.providers.simulator_script import STALL_S, WORDS, Cut, Failure, Stall, parse

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text()
ROWS = re.findall(r"^\| `(\w+)([^`]*)` \| (.+?) \| `(#sim [^`]+)` \|$", PAGE, re.MULTILINE)


def test_every_word_and_every_model_is_documented() -> None:
    assert [name for name, *_ in ROWS] == list(WORDS)
    assert [name + form.replace("\\|", "|") for name, form, *_ in ROWS] == [word.form for word in WORDS.values()]
    assert re.findall(r"^\| `sim/(\w+)` \|", PAGE, re.MULTILINE) == list(MODELS)


@pytest.mark.parametrize("example", [row[3] for row in ROWS])
async def test_every_documented_example_does_something_of_its_own(example: str) -> None:
    tools = (WEATHER, CustomTool("run_shell"))
    assert parse(example).complaint is None
    try:
        answer = await play(f"{example}\nHello from here", tools=tools)
    except (UpstreamFault, TruncatedStream):
        return
    assert _seen(answer) != _seen(await play("Hello from here", tools=tools))


def _seen(answer: Play) -> tuple[object, ...]:
    cited = [bytes(delta.annotation) for delta in answer.all(Cited)]
    failed = [delta.error.kind for delta in answer.all(Failed)]
    reasons = [delta.reason for delta in answer.all(Finished)]
    shown = (answer.text, answer.refusal, answer.thought, answer.calls, cited)
    return (*shown, failed, reasons, answer.waits, answer.usage.reasoning_tokens)


async def test_a_text_to_say_wins_over_a_tool_that_fits_and_follows_a_scripted_call() -> None:
    assert (await play("#sim say hm\nWeather in Rome?", tools=(WEATHER,))).text == "hm"
    asked = "#sim call get_weather\n#sim say hm\nWeather in Rome?"
    called = await play(asked, tools=(WEATHER,))
    assert called.calls == [("get_weather", '{"location":"Rome"}')]
    assert (await play(asked, called.as_turn(), *called.outputs("mild"), tools=(WEATHER,))).text == "hm"


def test_a_message_without_script_lines_is_only_text() -> None:
    assert parse("hello #simple").text == "hello #simple"
    assert parse("we say #sim in text").text == "we say #sim in text"


def test_script_lines_are_taken_out_of_the_text() -> None:
    script = parse("one\n  #sim say x y\ntwo\n#sim slow")
    assert (script.text, script.said, script.delay_s) == ("one\ntwo", "x y", 0.1)


def test_times_and_counts_are_read() -> None:
    assert parse("#sim slow 50ms").delay_s == pytest.approx(0.05)
    assert parse("#sim stall").stall == Stall(0, STALL_S)
    assert parse("#sim stall after 3 for 1.5s").stall == Stall(3, 1.5)
    assert parse("#sim length").cut == Cut("max_output_tokens", 5)
    assert parse("#sim filter after 2").cut == Cut("content_filter", 2)
    assert parse("#sim fail").failure == Failure(500, None, None)
    assert parse("#sim fail after 2").failure == Failure(500, 2, None)
    assert parse("#sim fail 429 before retry 2s").failure == Failure(429, None, 2.0)
    assert parse("#sim hangup").hangup_after == 0
    assert parse("#sim cite https://a.example/").citations == (("https://a.example/", "https://a.example/"),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nope", "Unknown script word 'nope'. The words are: say, words,"),
        ("", "Unknown script word ''"),
        ("say", "Script word 'say': it needs a text. Write it as: #sim say TEXT"),
        ("words many", "'many' is not a whole number up to 100000"),
        ("words 100001", "is not a whole number"),
        ("calls 65", "is not a whole number up to 64"),
        ("slow soon", "'soon' is not a time such as 50ms or 2s"),
        ("stall until 3", "'until' is not expected here"),
        ("stall after", "'after' needs a value"),
        ("fail 200", "200 is not an error status"),
        ("fail 429 at 3", "'at' is not expected here"),
        ("reason much", "'much' is not one of none, minimal,"),
        ("call", "it needs the name of a tool"),
        ("cite", "it needs a URL"),
        ("echo loudly", "'loudly' is not expected here"),
    ],
)
async def test_a_wrong_line_is_answered_with_the_way_out(line: str, said: str) -> None:
    assert said in (await play(f"#sim {line}")).text
