"""What is understood of a Chat Completions answer. Tests with a number are pitfalls of the provider reference."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.providers.chat_kit import (
    CALLED,
    DIALECT,
    STOP,
    calls,
    decode,
    decode_bytes,
    encode,
    finished,
    piece,
    said,
    sse,
    target,
    text,
)

from antiphon.protocol.deltas import (
    Cited,
    Delta,
    Ended,
    Failed,
    Finished,
    Refusal,
    Started,
    Text,
    Usage,
    Used,
)
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.providers.quirks import ChatQuirks


def failed(deltas: list[Delta]) -> UpstreamFault:
    assert isinstance(deltas[-1], Failed)
    return deltas[-1].error


def used(deltas: list[Delta]) -> Usage:
    return [delta.usage for delta in deltas if isinstance(delta, Used)][-1]


def test_the_first_chunk_starts_the_answer_before_it_has_content() -> None:
    decoder = DIALECT.decoder(target(), encode())
    assert decoder.feed(sse(said(role="assistant", content=""), is_done=False)) == [Started("m-1", "chatcmpl-1")]


def test_pitfall_015_a_whole_answer_has_the_usage_of_a_streamed_one() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}
    streamed = decode(said(content="hi"), STOP, {"choices": [], "usage": usage})
    whole = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage}
    assert used(decode_bytes(msgspec.json.encode(whole))) == used(streamed) == Usage(9, 8, 0, 2, 0)


def test_pitfall_020_a_whole_answer_reads_as_its_stream() -> None:
    message = {
        "role": "assistant",
        "content": "hi",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    answer = {"id": "chatcmpl-1", "model": "m-1", "choices": [{"message": message, "finish_reason": "stop"}]}
    streamed = decode(said(reasoning_content="hm"), said(content="hi"), piece(0, "a", "f", "{}"), STOP)
    assert decode_bytes(msgspec.json.encode(answer)) == streamed


def test_pitfall_023_five_thousand_equal_deltas_pass() -> None:
    assert text(decode(*[said(content="ha")] * 5000, STOP)) == "ha" * 5000


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "no capacity", "code": 502}, "choices": []},
        {"error": {"message": "no capacity"}, "choices": [{"delta": {}, "finish_reason": "error"}]},
        {"error": "no capacity"},
        {"choices": [{"delta": {}, "error": {"message": "no capacity", "code": 502}}]},
        {"choices": [], "x_groq": {"error": {"message": "no capacity"}}},
    ],
)
def test_pitfall_037_an_error_in_any_place_of_a_stream_fails(error: object) -> None:
    deltas = decode(said(content="hi"), error, STOP)
    assert "no capacity" in failed(deltas).message
    assert not any(isinstance(delta, Finished) for delta in deltas)


def test_an_event_named_error_fails() -> None:
    raw = sse(said(content="hi"), is_done=False) + b'event: error\ndata: {"message":"boom"}\n\n'
    assert "boom" in failed(decode_bytes(raw)).message


def test_a_200_with_an_error_document_fails() -> None:
    document = b'{"error":{"message":"Rate limit reached","type":"rate_limit_error","code":"rate_limit_exceeded"}}'
    assert failed(decode_bytes(document)).kind == "rate_limit"


def test_a_200_with_some_other_document_fails() -> None:
    assert "not today" in failed(decode_bytes(b'{"detail":"not today"}')).message


@pytest.mark.parametrize("is_done", [True, False])
def test_pitfall_043_an_end_without_finish_reason_is_truncated(is_done: bool) -> None:
    with pytest.raises(TruncatedStream):
        decode(said(content="hi"), is_done=is_done)


def test_an_end_without_finish_reason_is_whole_where_the_vendor_is_known_for_it() -> None:
    lenient = ChatQuirks(is_end_lenient=True)
    assert finished(decode(said(content="hi"), quirks=lenient)) == Finished()
    with pytest.raises(TruncatedStream):
        decode(said(content="hi"), quirks=lenient, is_done=False)


@pytest.mark.parametrize("choices", [None, []])
def test_pitfall_062_chunks_without_choices_are_ordinary(choices: object) -> None:
    assert text(decode({"choices": choices}, said(content="hi"), {"id": "x", "choices": choices}, STOP)) == "hi"


def test_pitfall_070_content_filter_chunks_are_no_content() -> None:
    filters = {"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}
    late = {
        "choices": [{"index": 0, "finish_reason": None, "content_filter_results": {}, "content_filter_offsets": {}}]
    }
    assert text(decode(filters, said(content="hi"), late, STOP)) == "hi"


@pytest.mark.parametrize(
    ("usage", "cached"),
    [({"prompt_cache_hit_tokens": 4}, 4), ({"cached_tokens": 5}, 5)],
)
def test_cached_tokens_are_found_under_their_vendors_words(usage: dict[str, int], cached: int) -> None:
    wire = {"prompt_tokens": 9, "completion_tokens": 1, **usage}
    assert used(decode(STOP, {"choices": [], "usage": wire})).cached_tokens == cached


def test_groq_puts_usage_beside_the_last_choice() -> None:
    last = {**said("stop"), "x_groq": {"id": "r", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}}
    assert used(decode(said(content="hi"), last)) == Usage(3, 0, 0, 1, 0)


def test_pitfall_074_an_error_of_null_fields_fails_and_a_nested_one_keeps_its_message() -> None:
    assert failed(decode({"error": {"message": None, "code": None, "type": None}})).message
    nested = {
        "message": "Provider returned error",
        "code": 429,
        "metadata": {"raw": '{"error":{"message":"slow down"}}'},
    }
    fault = failed(decode({"error": nested}))
    assert (fault.kind, fault.message) == ("rate_limit", "slow down")


def test_pitfall_075_values_nobody_knows_do_not_raise() -> None:
    odd = {**said("because", content="hi", role="robot", surprise=[1]), "service_tier": "hyper", "object": 7}
    deltas = decode(odd)
    assert deltas[0] == Started("m-1", "chatcmpl-1", "hyper")
    assert finished(deltas) == Finished()


def test_pitfall_081_a_connection_that_closes_early_is_no_answer() -> None:
    with pytest.raises(TruncatedStream):
        decode_bytes(b"")
    with pytest.raises(TruncatedStream):
        decode_bytes(b'data: {"choices":[{"delta":{"content":"h')


def test_pitfall_082_each_finish_reason_has_its_meaning() -> None:
    meanings = {
        "stop": None,
        "tool_calls": None,
        "function_call": None,
        "length": "max_output_tokens",
        "model_length": "max_output_tokens",
        "content_filter": "content_filter",
    }
    for reason, meaning in meanings.items():
        assert finished(decode(said(content="hi"), said(reason))).reason == meaning
    assert failed(decode(said("error"))).kind == "server"
    assert failed(decode(said("insufficient_system_resource"))).kind == "overloaded"


def test_calls_are_calls_even_when_the_answer_merely_stopped() -> None:
    deltas = decode(said(content="\n"), piece(0, "a", "f", "{}"), said(content="\n"), STOP)
    assert calls(deltas) == [("a", "f", "{}")]
    assert text(deltas) == ""


def test_pitfall_089_white_space_around_calls_makes_no_message() -> None:
    deltas = decode(said(reasoning_content="hm"), said(content="\n\n"), piece(0, "a", "f", "{}"), CALLED)
    assert not any(isinstance(delta, Text) for delta in deltas)


def test_white_space_before_text_belongs_to_the_text() -> None:
    assert text(decode(said(content="\n"), said(content=" hi"), STOP)) == "\n hi"
    assert text(decode(said(content=" "), STOP)) == " "


def test_pitfall_096_a_choice_without_delta_is_tolerated() -> None:
    assert text(decode({"choices": [{"index": 0}]}, {"id": "x"}, {}, said(content="hi"), STOP)) == "hi"


def test_usage_after_the_finish_comes_before_finished() -> None:
    deltas = decode(STOP, {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    kinds = [type(delta).__name__ for delta in deltas]
    assert kinds == ["Started", "Used", "Kept", "Finished"]


def test_other_choices_are_not_read() -> None:
    assert text(decode(said(content="hi"), {"choices": [{"index": 1, "delta": {"content": "no"}}]}, STOP)) == "hi"


def test_a_refusal_is_a_refusal() -> None:
    deltas = decode(said(refusal="I can"), said(refusal="not"), STOP)
    assert [delta.text for delta in deltas if isinstance(delta, Refusal)] == ["I can", "not"]


def test_logprobs_travel_with_their_text() -> None:
    entry = {"token": "hi", "logprob": -0.1, "bytes": [104, 105], "top_logprobs": []}
    chunk = said(content="hi")
    chunk["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}
    (delta,) = [delta for delta in decode(chunk, STOP) if isinstance(delta, Text)]
    assert delta.logprobs is not None
    assert msgspec.json.decode(delta.logprobs) == [entry]


def test_url_citations_are_flattened() -> None:
    citation = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    deltas = decode(said(content="hi"), said(annotations=[{"type": "url_citation", "url_citation": citation}]), STOP)
    (cited,) = [delta for delta in deltas if isinstance(delta, Cited)]
    assert msgspec.json.decode(cited.annotation) == {"type": "url_citation", **citation}


def test_numbered_sources_are_cited_where_the_text_names_them() -> None:
    sources = {
        "search_results": [{"title": "A", "url": "https://a.example"}, {"title": "B", "url": "https://b.example"}]
    }
    deltas = decode({**said(content="so [1]."), **sources}, {**said("stop"), **sources})
    found = [msgspec.json.decode(delta.annotation) for delta in deltas if isinstance(delta, Cited)]
    assert [(c["title"], c["start_index"], c["end_index"]) for c in found] == [("A", 3, 6), ("B", 7, 7)]


def test_plain_citations_are_sources() -> None:
    deltas = decode({**said(content="so [1]"), "citations": ["https://a.example"]}, STOP)
    (cited,) = [delta for delta in deltas if isinstance(delta, Cited)]
    assert msgspec.json.decode(cited.annotation)["url"] == "https://a.example"


def test_bytes_of_another_wire_are_a_transport_fault() -> None:
    with pytest.raises(UpstreamFault) as caught:
        decode_bytes(b"data: <html>\n\n")
    assert caught.value.kind == "transport"


@pytest.mark.parametrize(
    "odd", [b": OPENROUTER PROCESSING\n\n", b"event: message\nid: 1\n", b"\r\n", b"\xef\xbb\xbf", b"data:\n\n"]
)
def test_what_surrounds_events_is_no_content(odd: bytes) -> None:
    raw = odd + sse(said(content="hé"), STOP).replace(b"data: ", b"data:").replace(b"\n", b"\r\n")
    assert text(decode_bytes(raw)) == "hé"


def test_nothing_is_read_after_the_end() -> None:
    decoder = DIALECT.decoder(target(), encode())
    decoder.feed(sse(said(content="hi"), STOP))
    assert decoder.feed(sse(said(content="more"))) == []
    assert decoder.close() == []


def test_an_answer_that_was_cut_short_has_items_cut_short() -> None:
    for reason in ("length", "content_filter"):
        ends = [delta for delta in decode(said(content="hi"), said(reason)) if isinstance(delta, Ended)]
        assert [end.status for end in ends] == ["incomplete"]


def test_a_citation_after_its_message_is_lost_with_it() -> None:
    late = said(annotations=[{"type": "url_citation", "url_citation": {"url": "https://a.example"}}])
    assert not any(isinstance(delta, Cited) for delta in decode(late, STOP))


def test_tools_that_a_text_refers_to_are_cited_where_they_stand() -> None:
    reference = {"type": "tool_reference", "tool": "web_search", "url": "https://a.example", "title": "A"}
    deltas = decode(said(content=[{"type": "text", "text": "so"}, reference]), STOP)
    (cited,) = [delta for delta in deltas if isinstance(delta, Cited)]
    assert msgspec.json.decode(cited.annotation)["end_index"] == 2


def test_a_choice_beside_the_first_does_not_matter() -> None:
    odd = {
        "choices": [{"index": 0, "delta": {"annotations": [{"type": "other"}]}}, {"index": 1, "finish_reason": "stop"}]
    }
    with pytest.raises(TruncatedStream):
        decode(odd)


def test_a_document_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.providers.chat_completions_decode._MAX_DOCUMENT_BYTES", 8)
    with pytest.raises(UpstreamFault, match="larger than 8"):
        decode_bytes(b'{"choices":')


def test_usage_that_comes_again_is_told_once() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    assert len([delta for delta in decode(STOP, usage, usage) if isinstance(delta, Used)]) == 1
