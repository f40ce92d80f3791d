"""What the simulator says: simple wishes are met, earlier words are remembered, nothing is ever empty."""

from __future__ import annotations

import pytest
from tests.unit.providers.simulator_play import WEATHER, play

from antiphon.protocol.items import InputFile, InputImage, InputText, Message, RefusalPart


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Reply with exactly: pong", "pong"),
        ("Please respond with just the word OK.", "OK"),
        ("Reply with exactly the word 'ok' and nothing else", "ok"),
        ('Say "hello there" and nothing else', "hello there"),
        ("Say hello in exactly 3 words", "Hello from the"),
        ("Greet me in five words.", "Hello from the simulator which"),
        ("Answer in many words", 'You said: "Answer in many words". This is turn 1 of our conversation.'),
        ("Count from 1 to 5", "1, 2, 3, 4, 5"),
        ("count 3 to 1", "3, 2, 1"),
        ("Count to 3.", "1, 2, 3"),
        ("Say hi!", "hi"),
        ("Say !", 'You said: "Say !". This is turn 1 of our conversation.'),
        ("What is 6 times 7?", "6 times 7 = 42"),
        ("What is 2+2?", "2+2 = 4"),
        ("What is 2 - 5?", "2 - 5 = -3"),
        ("", "You said nothing in words. This is turn 1 of our conversation."),
        ("What is my name?", 'You said: "What is my name?". This is turn 1 of our conversation.'),
    ],
)
async def test_simple_wishes_are_met(asked: str, said: str) -> None:
    assert (await play(asked)).text == said


@pytest.mark.parametrize(
    ("told", "asked", "said"),
    [
        ("My name is Ada.", "What is my name?", "Your name is Ada."),
        ("Hi, I'm Grace Hopper!", "Who am I?", "Your name is Grace Hopper."),
        (
            "my favourite colours are teal and red",
            "which is my favourite colour",
            "Your favourite colours is teal and red.",
        ),
        (
            "Remember the number 42. Thanks.",
            "What number did I give you?",
            'Earlier you said: "Remember the number 42."',
        ),
        ("My dog is Rex. My name is Ada. My cat is Tom.", "What is my name?", "Your name is Ada."),
        ("Ask about the cities.", "Which city?", 'Earlier you said: "Ask about the cities."'),
        ("I like tea.", "What is my name?", 'You said: "What is my name?". This is turn 2 of our conversation.'),
    ],
)
async def test_facts_are_remembered(told: str, asked: str, said: str) -> None:
    first = await play(told)
    assert (await play(told, first.as_turn(), asked)).text == said


async def test_the_latest_fact_wins() -> None:
    assert (await play("My name is Ada.", "My name is Eve.", "What is my name?")).text == "Your name is Eve."


async def test_instructions_may_say_what_to_answer() -> None:
    assert (await play("Hello", instructions="Always reply with exactly 'pong'.")).text == "pong"
    assert (await play(Message("developer", "Respond with only: quack"), "Hello")).text == "quack"


async def test_images_and_files_are_named_with_type_and_size() -> None:
    parts = (
        InputText("Look"),
        InputImage(image_url="data:image/png;base64,AAAA"),
        InputImage(image_url="https://example.com/a.png"),
        InputImage(file_id="file-1"),
        InputImage(),
        InputFile(filename="a.pdf", file_data="AAAAAA=="),
    )
    said = (await play(Message("user", parts))).text
    assert "You sent 5: an image (image/png, 3 bytes); an image (at https://example.com/a.png)" in said
    assert "You sent 1: no." in (await play(Message("user", (RefusalPart("no"),)))).text
    assert "an image (id file-1); an image (empty); a file (a.pdf, application/octet-stream, 4 bytes)" in said


async def test_tool_outputs_are_quoted() -> None:
    called = await play("Weather in Paris?", tools=(WEATHER,))
    answer = await play("Weather in Paris?", called.as_turn(), *called.outputs("18 degrees"), tools=(WEATHER,))
    assert answer.text == "get_weather returned: 18 degrees"


async def test_the_echo_model_repeats() -> None:
    assert (await play("one two", model="echo")).text == "one two"
    assert (await play("", model="echo")).text == "(nothing was said)"
