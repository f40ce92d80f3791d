"""Parts of messages, and what a target gets in their place. Numbered tests are pitfalls of the reference."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.providers.chat_kit import OPENAI, encode, messages

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.items import (
    InputAudio,
    InputFile,
    InputImage,
    InputText,
    InputVideo,
    Message,
    RefusalPart,
)
from antiphon.protocol.request import InputItem
from antiphon.providers.quirks import ChatQuirks

PNG = "data:image/png;base64,AAAA"


def raw(item: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(item))


def test_parts_have_their_forms() -> None:
    parts = (
        InputText("look"),
        InputText(""),
        InputImage("original", PNG),
        InputFile("a.pdf", "data:application/pdf;base64,AAAA"),
        InputAudio(raw({"data": "AAAA", "format": "wav"})),
    )
    (sent,) = messages(Message("user", parts), quirks=OPENAI)
    assert sent["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "original"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]


def test_parts_have_their_vendors_forms() -> None:
    quirks = ChatQuirks(inputs=frozenset({"image", "audio", "video", "file_url"}), audio_as_data_url=True)
    parts = (
        InputImage("original", PNG),
        InputFile(file_url="https://a.example/b.pdf"),
        InputAudio(raw({"data": "AAAA", "format": "wav"})),
        InputVideo("https://a.example/v.mp4"),
    )
    image, file, audio, video = messages(Message("user", parts), quirks=quirks)[0]["content"]
    assert image["image_url"]["detail"] == "high"
    assert file["file"] == {"file_data": "https://a.example/b.pdf"}
    assert audio["input_audio"]["data"] == "data:audio/wav;base64,AAAA"
    assert video == {"type": "video_url", "video_url": {"url": "https://a.example/v.mp4"}}


def test_a_text_file_is_text_where_no_files_are_taken() -> None:
    (sent,) = messages(Message("user", (InputFile("a.txt", "data:text/plain;base64,aGk="),)))
    assert sent["content"] == "<file name='a.txt'>\nhi\n</file>"


@pytest.mark.parametrize(
    "part",
    [
        InputFile("a.pdf", "data:application/pdf;base64,AAAA"),
        InputFile(file_url="https://a.example/b.pdf"),
        InputFile(file_id="file_1"),
        InputImage(file_id="file_1"),
        InputVideo("https://a.example/v.mp4"),
        InputAudio(msgspec.Raw(b'{"data":1}')),
    ],
)
def test_pitfall_032_a_part_that_cannot_be_sent_is_refused_by_its_path(part: InputFile) -> None:
    item = Message("user", (InputText("x"), part))
    with pytest.raises(InvalidRequest) as caught:
        encode(item, input=(InputItem(item, raw({})),))
    assert (caught.value.param or "").startswith("input[0].content[1]")


def test_pitfall_038_and_076_cache_breakpoints_are_written_the_vendors_way_and_at_most_four_times() -> None:
    part = InputText("x", prompt_cache_breakpoint=msgspec.Raw(b'{"mode":"explicit"}'))
    turns = [Message("user", (part,)) for _ in range(5)]
    assert [m["content"] for m in messages(turns[0])] == ["x"]
    null = Message("user", (InputText("x", prompt_cache_breakpoint=msgspec.Raw(b"null")),))
    assert [m["content"] for m in messages(null, quirks=OPENAI)] == ["x"]
    native = messages(turns[0], quirks=OPENAI)[0]["content"][0]
    assert native["prompt_cache_breakpoint"] == {"mode": "explicit"}
    sent = messages(*turns, quirks=ChatQuirks(prompt_cache_breakpoint="cache_control"))
    assert ["cache_control" in message["content"][0] for message in sent] == [False, True, True, True, True]


def test_a_system_message_of_several_parts_keeps_their_text_where_one_may_lead() -> None:
    parts = (InputText("b"), InputText("c"))
    sent = messages(Message("system", parts), instructions="a", quirks=ChatQuirks(single_system=True))
    assert sent == [{"role": "system", "content": "a\n\nb\n\nc"}]


def test_a_message_without_content_is_empty() -> None:
    assert messages(Message("user", ())) == [{"role": "user", "content": ""}]


def test_parts_of_other_roles_are_text() -> None:
    assert messages(Message("user", (RefusalPart("no"),)))[0]["content"] == "no"
