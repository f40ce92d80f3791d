"""Reasoning, limits, usage, failures and formats of the simulator's answers."""

from __future__ import annotations

import jsonschema
import msgspec
import pytest
from tests.unit.providers.simulator_play import STRING, VENDOR, WEATHER, encoded, play, raw

from antiphon.protocol.deltas import (
    CallArguments,
    Carried,
    Cited,
    Ended,
    Failed,
    Finished,
    Started,
    Text,
    Thinking,
    Used,
)
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.items import InputImage, InputText, Message
from antiphon.protocol.request import ReasoningSettings, TextFormat
from antiphon.protocol.request import Text as TextSettings
from antiphon.providers.base import HttpRequest, Target
from antiphon.providers.simulator import MODELS, Simulator
from antiphon.providers.simulator_answer import MODELS as ANSWERING
from antiphon.providers.simulator_scene import pieces
from antiphon.providers.simulator_script import STALL_S
from antiphon.providers.simulator_upstream import SimulatorUpstream


def test_every_listed_model_answers() -> None:
    assert set(MODELS) == ANSWERING


async def test_the_same_request_gives_the_same_answer() -> None:
    assert (await play("hello")).deltas == (await play("hello")).deltas


async def test_an_answer_names_its_model_and_streams_a_piece_at_a_time() -> None:
    answer = await play("#sim say one two")
    (started,) = answer.all(Started)
    assert started.model == "standard"
    assert [delta.text for delta in answer.all(Text)] == ["one", " two"]
    assert answer.reason is None


# -- reasoning ---------------------------------------------------------------------------------------------------------


async def test_effort_makes_hidden_reasoning_and_counts_it() -> None:
    answer = await play("hi", reasoning=ReasoningSettings("low"))
    assert answer.all(Thinking)
    assert (answer.summary, answer.thought) == ("", "")
    assert 0 < answer.usage.reasoning_tokens < answer.usage.output_tokens


async def test_more_effort_makes_more_reasoning() -> None:
    efforts = ("minimal", "low", "medium", "high", "xhigh", "max")
    counts = [(await play("hi", reasoning=ReasoningSettings(effort))).usage.reasoning_tokens for effort in efforts]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("effort", ["none", None])
async def test_without_effort_there_is_no_reasoning(effort: str | None) -> None:
    answer = await play("hi", reasoning=ReasoningSettings(effort, "auto"))
    assert answer.usage.reasoning_tokens == 0
    assert not answer.all(Carried)


@pytest.mark.parametrize(("summary", "parts"), [("concise", 1), ("auto", 2), ("detailed", 4)])
async def test_a_summary_comes_in_parts(summary: str, parts: int) -> None:
    answer = await play("hi", reasoning=ReasoningSettings("high", summary))
    assert {delta.part for delta in answer.deltas if hasattr(delta, "part")} == set(range(parts))
    assert len(answer.all(Carried)) == 1


async def test_open_models_think_aloud() -> None:
    assert (await play("hi", model="reason")).thought
    assert (await play("hi", model="reason", reasoning=ReasoningSettings(None, "auto"))).summary
    assert (await play("#sim think", reasoning=ReasoningSettings(None, "auto"))).thought
    assert (await play("#sim reason", reasoning=ReasoningSettings(None, "auto"))).summary


@pytest.mark.parametrize("summary", [None, "auto", "detailed"])
@pytest.mark.parametrize("limit", [1, 10, 25])
async def test_the_token_limit_can_fall_into_the_reasoning(summary: str | None, limit: int) -> None:
    answer = await play("hi", reasoning=ReasoningSettings("high", summary), max_output_tokens=limit)
    assert (answer.reason, answer.text) == ("max_output_tokens", "")
    assert answer.usage.output_tokens == answer.usage.reasoning_tokens == limit
    assert [delta.status for delta in answer.all(Ended)] == ["incomplete"]


@pytest.mark.parametrize("summary", [None, "detailed"])
async def test_a_hangup_can_fall_into_the_reasoning(summary: str | None) -> None:
    with pytest.raises(TruncatedStream):
        await play("#sim hangup after 3", reasoning=ReasoningSettings("high", summary))


# -- limits and usage --------------------------------------------------------------------------------------------------


async def test_the_token_limit_ends_the_answer() -> None:
    answer = await play("#sim words 50", max_output_tokens=7)
    assert answer.reason == "max_output_tokens"
    assert len(answer.text.split()) == answer.usage.output_tokens == 7
    assert [delta.status for delta in answer.all(Ended)] == ["incomplete"]


async def test_an_answer_of_just_the_limit_is_whole() -> None:
    assert (await play("#sim words 7", max_output_tokens=7)).reason is None


async def test_the_token_limit_cuts_arguments() -> None:
    answer = await play("#sim call get_weather", tools=(WEATHER,), max_output_tokens=1)
    assert len(answer.all(CallArguments)) == 1
    assert [delta.status for delta in answer.all(Ended)] == ["incomplete"]


async def test_the_earlier_of_limit_and_scripted_cut_wins() -> None:
    assert (await play("#sim filter after 3\n#sim words 9", max_output_tokens=5)).reason == "content_filter"
    assert (await play("#sim filter after 6\n#sim words 9", max_output_tokens=5)).reason == "max_output_tokens"
    assert (await play("#sim filter after 6\n#sim say short", max_output_tokens=5)).reason == "content_filter"
    assert (await play("#sim length\n#sim refuse no no no no no no no")).refusal == "no no no no no"


async def test_input_grows_with_the_context_and_what_was_sent_before_is_cached() -> None:
    first = await play("one two three", instructions="be kind")
    assert (first.usage.input_tokens, first.usage.cached_tokens) == (2 + 3 + 3, 0)
    second = await play("one two three", first.as_turn(), "four", instructions="be kind")
    assert second.usage.cached_tokens == first.usage.input_tokens
    assert second.usage.input_tokens == first.usage.input_tokens + first.usage.output_tokens + 3 + 1 + 3
    called = await play("Weather in Rome?", tools=(WEATHER,), reasoning=ReasoningSettings("low"))
    after = await play("Weather in Rome?", called.as_turn(), *called.outputs("mild"), tools=(WEATHER,))
    assert after.usage.cached_tokens == called.usage.input_tokens


async def test_an_image_costs_a_fixed_count() -> None:
    parts = (InputText("look"), InputImage(image_url="data:image/png;base64,AAAA"))
    assert (await play(Message("user", parts))).usage.input_tokens == 3 + 1 + 85


@pytest.mark.parametrize("text", ["", " ", "a  b\n", "abcdefghijklmnopqrstuvwxyz", "x\n\n"])
def test_pieces_lose_nothing(text: str) -> None:
    assert "".join(pieces(text)) == text


# -- refusals, citations, logprobs, formats ----------------------------------------------------------------------------


async def test_a_refusal_is_a_refusal_part() -> None:
    assert (await play("#sim refuse No.")).refusal == "No."
    assert (await play("hi", model="refuse")).refusal == "I'm sorry, but I can't help with that."
    assert (await play("hi", model="refuse")).text == ""


async def test_a_citation_stands_on_the_whole_text() -> None:
    answer = await play("#sim cite https://example.com/a A page\n#sim say four")
    (cited,) = answer.all(Cited)
    assert msgspec.json.decode(cited.annotation) == {
        "type": "url_citation",
        "start_index": 0,
        "end_index": 4,
        "url": "https://example.com/a",
        "title": "A page",
    }


@pytest.mark.parametrize("top", [0, 1, 3])
async def test_logprobs_come_for_each_piece_where_they_are_wanted(top: int) -> None:
    include = frozenset({"message.output_text.logprobs"})
    answer = await play("#sim say one two", include=include, top_logprobs=top)
    for delta in answer.all(Text):
        assert delta.logprobs is not None
        (entry,) = msgspec.json.decode(delta.logprobs)
        assert (entry["token"], bytes(entry["bytes"]).decode()) == (delta.text, delta.text)
        assert -0.2 < entry["logprob"] <= 0
        assert len({rival["token"] for rival in entry["top_logprobs"]}) == top
    assert (await play("hi")).all(Text)[0].logprobs is None


async def test_a_json_schema_gets_a_valid_value() -> None:
    schema = {"type": "object", "properties": {"city": STRING}, "required": ["city"], "additionalProperties": False}
    settings = TextSettings(TextFormat("json_schema", "place", raw(schema)))
    answer = await play("I live in Oslo.", text=settings)
    assert msgspec.json.decode(answer.text) == {"city": "Oslo"}
    assert len(answer.all(Text)) > 1
    jsonschema.validate(msgspec.json.decode(answer.text), schema)
    assert (await play("#sim say no JSON", text=settings)).text == "no JSON"


async def test_a_json_object_is_given_where_one_is_asked_for() -> None:
    answer = await play("#sim echo\nhi", text=TextSettings(TextFormat("json_object")))
    assert msgspec.json.decode(answer.text) == {"answer": "hi"}


async def test_an_impossible_schema_gives_an_empty_object() -> None:
    answer = await play("hi", text=TextSettings(TextFormat("json_schema", "x", raw({"$ref": "#"}))))
    assert answer.text == "{}"


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("fail", "server"),
        ("fail 400", "bad_request"),
        ("fail 401", "auth"),
        ("fail 404", "not_found"),
        ("fail 429", "rate_limit"),
        ("fail 503", "overloaded"),
        ("fail 599", "server"),
    ],
)
async def test_a_failure_before_the_first_byte_has_its_status(script: str, kind: str) -> None:
    with pytest.raises(UpstreamFault) as caught:
        await play(f"#sim {script}")
    assert caught.value.kind == kind


async def test_a_failure_says_when_to_come_back() -> None:
    with pytest.raises(UpstreamFault) as caught:
        await play("#sim fail 429 retry 1500ms")
    assert caught.value.retry_after_s == pytest.approx(1.5)


async def test_the_error_model_fails_and_unknown_models_are_not_found() -> None:
    with pytest.raises(UpstreamFault) as caught:
        await play("hi", model="error")
    assert caught.value.kind == "server"
    with pytest.raises(UpstreamFault) as caught:
        await play("hi", model="gpt")
    assert caught.value.kind == "not_found"


@pytest.mark.parametrize(("after", "texts"), [(0, 0), (2, 2), (99, 9)])
async def test_a_failure_in_the_middle_is_the_last_delta(after: int, texts: int) -> None:
    answer = await play(f"#sim fail 429 after {after}\n#sim words 9")
    assert len(answer.all(Text)) == texts
    assert answer.failure.error.kind == "rate_limit"
    assert isinstance(answer.deltas[-1], Failed)


@pytest.mark.parametrize("after", [0, 2, 99])
async def test_a_hangup_is_a_truncated_stream(after: int) -> None:
    with pytest.raises(TruncatedStream):
        await play(f"#sim hangup after {after}\n#sim words 9")


async def test_silences_are_played() -> None:
    assert (await play("#sim slow 50ms\n#sim words 3")).waits == [0.05] * 3
    assert (await play("#sim stall after 2\n#sim words 3")).waits == [STALL_S]
    assert (await play("#sim stall for 2s\n#sim words 3")).waits == [2.0]
    assert (await play("#sim slow 1s\n#sim stall after 1 for 3s\n#sim words 2")).waits == [1.0, 3.0, 1.0]
    assert len(set((await play("hi", model="slow")).waits)) == 1


# -- the upstream ------------------------------------------------------------------------------------------------------


async def chunks_of(request: HttpRequest) -> tuple[int, list[bytes]]:
    reply = await SimulatorUpstream().answer(request)
    return reply.status, [chunk async for chunk in reply.chunks]


async def test_a_body_that_is_not_the_wire_is_a_400() -> None:
    status, chunks = await chunks_of(HttpRequest("POST", "sim://local/turns", (), b"{}"))
    assert (status, b"invalid_request_error" in b"".join(chunks)) == (400, True)


async def test_a_large_request_is_answered_like_any_other() -> None:
    status, chunks = await chunks_of(encoded("#sim say yes\n" + "word " * 300_000))
    assert (status, b'"yes"' in b"".join(chunks)) == (200, True)


async def test_a_long_answer_comes_in_many_chunks() -> None:
    status, chunks = await chunks_of(encoded("#sim words 500"))
    assert (status, len(chunks) > 10) == (200, True)


async def test_any_chunking_gives_the_same_deltas() -> None:
    request = encoded("#sim cite https://example.com/ ü\n#sim think\n#sim say äö ü €")
    _, chunks = await chunks_of(request)
    body = b"".join(chunks)
    for size in (1, 3, 7, len(body)):
        decoder = Simulator().decoder(Target(VENDOR, "standard"), request)
        deltas = [delta for at in range(0, len(body), size) for delta in decoder.feed(body[at : at + size])]
        assert deltas == (await play("#sim cite https://example.com/ ü\n#sim think\n#sim say äö ü €")).deltas
        assert decoder.close() == []
        assert decoder.feed(body) == []


async def test_every_cut_but_the_last_is_truncated() -> None:
    request = encoded("hi")
    _, chunks = await chunks_of(request)
    body = b"".join(chunks)
    for cut in range(0, len(body), 5):
        decoder = Simulator().decoder(Target(VENDOR, "standard"), request)
        assert not any(isinstance(delta, Finished) for delta in decoder.feed(body[:cut]))
        with pytest.raises(TruncatedStream):
            decoder.close()


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b'{"type":"unheard-of"}\n', b"\xff\n"])
def test_foreign_bytes_are_a_transport_fault(line: bytes) -> None:
    with pytest.raises(UpstreamFault) as caught:
        Simulator().decoder(Target(VENDOR, "standard"), encoded("hi")).feed(line)
    assert caught.value.kind == "transport"


def test_a_turn_without_items_keeps_nothing() -> None:
    stop = b'{"type":"stop","reason":null,"input_tokens":1,"cached_tokens":0,"output_tokens":0,"reasoning_tokens":0}\n'
    deltas = Simulator().decoder(Target(VENDOR, "standard"), encoded("hi")).feed(stop)
    assert [type(delta) for delta in deltas] == [Used, Finished]


def test_an_endless_line_is_a_transport_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.providers.simulator_decoder.MAX_LINE_BYTES", 10)
    with pytest.raises(UpstreamFault):
        Simulator().decoder(Target(VENDOR, "standard"), encoded("hi")).feed(b"x" * 11)
