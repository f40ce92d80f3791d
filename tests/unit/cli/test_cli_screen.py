"""A response's events as a person reads them."""

from __future__ import annotations

import msgspec
import pytest

from antiphon.cli.screen import Event, Screen


def play(screen: Screen, *events: dict[str, object]) -> None:
    for event in events:
        screen.show(msgspec.convert(event, Event))


def delta(kind: str, text: str) -> dict[str, object]:
    return {"type": f"response.{kind}.delta", "delta": text}


def ended(status: str, **more: object) -> dict[str, object]:
    return {"type": f"response.{status}", "response": {"id": "resp_1", "model": "m", "status": status, **more}}


def test_only_the_answer_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    call = {"type": "function_call", "name": "look", "arguments": '{"a":1}'}
    play(
        Screen(),
        delta("reasoning_summary_text", "hm"),
        delta("output_text", "Hel"),
        delta("output_text", "lo [b]"),
        {"type": "response.output_item.done", "item": call},
        ended(
            "completed", usage={"input_tokens": 3, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 2}}
        ),
    )
    out, err = capsys.readouterr()
    assert out == "Hello [b]\n"
    assert err == 'hm\n→ look({"a":1})\nm · 3 in · 4 out (2 reasoning) · resp_1\n'


def test_a_failed_response_keeps_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    play(screen, ended("failed", error={"code": "server_error", "message": "it broke"}))
    assert screen.failure == "it broke"
    assert "it broke" not in capsys.readouterr().out


def test_an_incomplete_response_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    play(Screen(), ended("incomplete", incomplete_details={"reason": "max_output_tokens"}))
    assert "incomplete: max_output_tokens" in capsys.readouterr().err


def test_a_pipe_gets_no_colour_codes(capsys: pytest.CaptureFixture[str]) -> None:
    play(Screen(), delta("reasoning_text", "a"), delta("refusal", "no"), ended("completed"))
    assert "\x1b" not in "".join(capsys.readouterr())
