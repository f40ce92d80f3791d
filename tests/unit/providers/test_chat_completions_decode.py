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
    kept,
    piece,
    said,
    sse,
    target,
    text,
    thought,
)

from antiphon.protocol.deltas import (
    CallStarted,
    Carried,
    Cited,
    Delta,
    Ended,
    Failed,
    Finished,
    Native,
    Refusal,
    Started,
    Summary,
    Text,
    Thinking,
    Usage,
    Used,
)
from antiphon.protocol.errors import TruncatedStream, UpstreamFault
from antiphon.protocol.tools import CustomTool, FunctionTool, HostedTool, NamespaceTool
from antiphon.providers.chat_completions_decode import usage_of
from antiphon.providers.chat_completions_wire import UsageWire
from antiphon.providers.quirks import ChatQuirks


def failed(deltas: list[Delta]) -> UpstreamFault:
    assert isinstance(deltas[-1], Failed)
    return deltas[-1].error


def used(deltas: list[Delta]) -> Usage:
    return [delta.usage for delta in deltas if isinstance(delta, Used)][-1]


def test_the_first_chunk_starts_the_answer_before_it_has_content() -> None:
    decoder = DIALECT.decoder(target(), encode())
    assert decoder.feed(sse(said(role="assistant", content=""), is_done=False)) == [Started("m-1", "chatcmpl-1")]


def test_pitfall_001_arguments_that_come_whole_are_not_lost() -> None:
    assert calls(decode(piece(0, "a", "f", '{"x":1}'), CALLED)) == [("a", "f", '{"x":1}')]


def test_pitfall_002_every_call_of_the_wire_is_started_and_ended() -> None:
    deltas = decode(piece(0, "a", "f", "{}"), piece(1, "b", "g", "{}"), CALLED)
    started = [delta.key for delta in deltas if isinstance(delta, CallStarted)]
    assert started == [delta.key for delta in deltas if isinstance(delta, Ended)]


def test_pitfall_003_reasoning_is_never_text_and_no_delta_is_empty() -> None:
    deltas = decode(said(reasoning_content="", content=""), said(reasoning_content="hm", content=""), STOP)
    assert thought(deltas) == "hm"
    assert not any(isinstance(delta, Text) for delta in deltas)
    assert all(delta.text for delta in deltas if hasattr(delta, "text"))


def test_pitfall_015_a_whole_answer_has_the_usage_of_a_streamed_one() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}
    streamed = decode(said(content="hi"), STOP, {"choices": [], "usage": usage})
    whole = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage}
    assert used(decode_bytes(msgspec.json.encode(whole))) == used(streamed) == Usage(9, 8, 0, 2, 0)


@pytest.mark.parametrize("nothing", ["", " ", None])
def test_pitfall_016_a_call_without_arguments_has_an_empty_object(nothing: str | None) -> None:
    ((_, _, arguments),) = calls(decode(piece(0, "a", "f", nothing), CALLED))
    assert msgspec.json.decode(arguments) == {}


def test_pitfall_018_no_phantom_calls() -> None:
    empty = said(tool_calls=[{"index": 1, "function": {"arguments": ""}}, {"index": 2}])
    assert len(calls(decode(piece(0, "a", "f", "{}"), empty, CALLED))) == 1


def test_pitfall_019_an_empty_piece_of_arguments_ends_nothing() -> None:
    chunks = [piece(0, "a", "f", ""), piece(0, args='{"x"'), piece(0, args=""), piece(0, args=":1}"), CALLED]
    assert calls(decode(*chunks)) == [("a", "f", '{"x":1}')]


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


def test_pitfall_026_three_calls_one_without_arguments_are_three() -> None:
    chunks = [piece(0, "a", "f", '{"x":1}'), piece(1, "b", "g"), piece(2, "c", "h", "{}"), CALLED]
    assert calls(decode(*chunks)) == [("a", "f", '{"x":1}'), ("b", "g", "{}"), ("c", "h", "{}")]


def test_pitfall_035_reasoning_details_are_joined_with_a_signature_that_comes_last() -> None:
    detail = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
    deltas = decode(
        said(reasoning="a", reasoning_details=[{**detail, "text": "a"}]),
        said(reasoning="b", reasoning_details=[{**detail, "text": "b"}]),
        said(reasoning_details=[{**detail, "signature": "s"}]),
        said(content="hi"),
        STOP,
    )
    joined = [{"type": "reasoning.text", "text": "ab", "signature": "s", "format": "anthropic-claude-v1", "index": 0}]
    assert msgspec.json.decode(kept(deltas))["reasoning_details"] == joined
    assert thought(deltas) == "ab"


def test_encrypted_details_are_thinking_without_text() -> None:
    detail = {"type": "reasoning.encrypted", "data": "zz", "id": "rs_1", "index": 0}
    deltas = decode(said(reasoning_details=[detail]), said(content="hi"), STOP)
    assert any(isinstance(delta, Thinking) for delta in deltas)
    assert msgspec.json.decode(kept(deltas))["reasoning_details"] == [detail]


def test_summary_details_are_a_summary() -> None:
    deltas = decode(said(reasoning_details=[{"type": "reasoning.summary", "summary": "so"}]), STOP)
    assert [delta.text for delta in deltas if isinstance(delta, Summary)] == ["so"]


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


def test_pitfall_047_indices_may_be_sparse_reused_or_missing() -> None:
    expected = [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]
    for first, second in [(0, 1), (3, 9), (1, 0), (0, 0), (None, None)]:
        chunks = [piece(first, "a", "f", '{"x"'), piece(first, args=":1}")]
        chunks += [piece(second, "b", "g", '{"y"'), piece(second, args=":2}"), CALLED]
        assert calls(decode(*chunks)) == expected


@pytest.mark.parametrize("prefix", ["1", "{}", '{"path":"/"}'])
def test_pitfall_048_arguments_that_parse_end_nothing_before_the_answer_ends(prefix: str) -> None:
    deltas = decode(piece(0, "a", "f", prefix), piece(0, args="2"), CALLED)
    assert calls(deltas) == [("a", "f", prefix + "2")]
    end = next(index for index, delta in enumerate(deltas) if isinstance(delta, Ended))
    assert not any(hasattr(delta, "text") for delta in deltas[end:])


def test_pitfall_049_arguments_before_the_name_are_kept() -> None:
    chunks = [piece(0, "a", args='{"x"'), piece(0, name="f"), piece(0, args=":1}"), CALLED]
    assert calls(decode(*chunks)) == [("a", "f", '{"x":1}')]


def test_arguments_whose_call_is_never_named_fail() -> None:
    assert "never named" in failed(decode(piece(0, "a", args='{"x":1}'), CALLED)).message


def test_pitfall_054_more_reasoning_than_output_is_clamped() -> None:
    wire = msgspec.convert({"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 9}}, UsageWire)
    assert usage_of(wire, False) == Usage(output_tokens=5, reasoning_tokens=5)
    assert usage_of(wire, True) == Usage(output_tokens=14, reasoning_tokens=9)


@pytest.mark.parametrize("call_id", ["", None])
def test_pitfall_057_calls_without_ids_get_ids_of_their_own(call_id: str | None) -> None:
    chunks = [piece(0, call_id, "f", "{}"), piece(1, call_id, "g", "{}"), CALLED]
    (first, _, _), (second, _, _) = calls(decode(*chunks))
    assert first
    assert second
    assert first != second
    assert calls(decode(*chunks))[0][0] == first


def test_two_calls_with_one_id_on_two_indices_keep_apart() -> None:
    found = calls(decode(piece(0, "x", "f", "{}"), piece(1, "x", "g", "{}"), CALLED))
    assert [name for _, name, _ in found] == ["f", "g"]
    assert found[0][0] != found[1][0]


@pytest.mark.parametrize("choices", [None, []])
def test_pitfall_062_chunks_without_choices_are_ordinary(choices: object) -> None:
    assert text(decode({"choices": choices}, said(content="hi"), {"id": "x", "choices": choices}, STOP)) == "hi"


def test_pitfall_070_content_filter_chunks_are_no_content() -> None:
    filters = {"choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}
    late = {
        "choices": [{"index": 0, "finish_reason": None, "content_filter_results": {}, "content_filter_offsets": {}}]
    }
    assert text(decode(filters, said(content="hi"), late, STOP)) == "hi"


def test_pitfall_071_null_details_count_as_nothing() -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }
    assert used(decode(STOP, {"choices": [], "usage": usage})) == Usage(3, 0, 0, 2, 0)
    hollow = {**usage, "prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": {}}
    assert used(decode(STOP, {"choices": [], "usage": hollow})) == Usage(3, 0, 0, 2, 0)


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


def test_arguments_may_be_an_object() -> None:
    chunk = said(tool_calls=[{"function": {"name": "f", "arguments": {"x": 1}}}])
    ((_, name, arguments),) = calls(decode(chunk, STOP))
    assert (name, msgspec.json.decode(arguments)) == ("f", {"x": 1})
    twice = decode(chunk, chunk, STOP)
    assert len(calls(twice)) == 2


def test_a_legacy_function_call_is_a_call() -> None:
    chunks = [said(function_call={"name": "f", "arguments": '{"x"'}), said(function_call={"arguments": ":1}"})]
    ((_, name, arguments),) = calls(decode(*chunks, said("function_call")))
    assert (name, arguments) == ("f", '{"x":1}')


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


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_replayed_under_the_name_it_came_in(field: str) -> None:
    deltas = decode(said(**{field: "h"}), said(**{field: "m"}), said(content="hi"), STOP)
    assert kept(deltas) == f'{{"role":"assistant","content":"hi","{field}":"hm"}}'.encode()
    (carried,) = [delta for delta in deltas if isinstance(delta, Carried)]
    assert bytes(carried.blocks) == f'{{"{field}":"hm"}}'.encode()


def test_one_reasoning_text_under_two_names_is_read_once() -> None:
    assert thought(decode(said(reasoning="hm", reasoning_content="hm"), STOP)) == "hm"


def test_reasoning_is_not_replayed_where_it_is_refused() -> None:
    deltas = decode(said(reasoning="hm"), said(content="hi"), STOP, quirks=ChatQuirks(replays_reasoning=False))
    assert kept(deltas) == b'{"role":"assistant","content":"hi"}'


def test_thinking_chunks_are_replayed_as_one() -> None:
    def thinking(words: str) -> dict[str, object]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": words}], "closed": True}

    deltas = decode(said(content=[thinking("h")]), said(content=[thinking("m"), {"type": "text", "text": "hi"}]), STOP)
    assert msgspec.json.decode(kept(deltas))["content"] == [thinking("hm"), {"type": "text", "text": "hi"}]
    assert (thought(deltas), text(deltas)) == ("hm", "hi")


def test_reasoning_after_text_is_another_item() -> None:
    deltas = decode(said(reasoning="a"), said(content="b"), said(reasoning="c"), said(content="d"), STOP)
    assert [delta.key for delta in deltas if isinstance(delta, Ended)] == [0, 1, 2, 3]
    assert kept(deltas) == b'{"role":"assistant","content":"bd","reasoning":"ac"}'


def test_think_tags_are_split_only_where_asked_for_and_wherever_they_are_cut() -> None:
    whole = "<think>h<m</think>\n\nhi </think>"
    chunks = [said(content=character) for character in whole]
    asked = ChatQuirks(think_models=("r1*",))
    deltas = decode(*chunks, STOP, quirks=asked, model="r1-small")
    assert (thought(deltas), text(deltas)) == ("h<m", "hi </think>")
    assert text(decode(*chunks, STOP, quirks=asked, model="v3")) == whole


@pytest.mark.parametrize(
    ("whole", "expected"), [("<thin", ("", "<thin")), ("<think>hm</thi", ("hm</thi", "")), ("hi", ("", "hi"))]
)
def test_half_a_tag_is_no_tag(whole: str, expected: tuple[str, str]) -> None:
    deltas = decode(said(content=whole), STOP, quirks=ChatQuirks(think_models=("*",)))
    assert (thought(deltas), text(deltas)) == expected


def test_a_wrapped_custom_call_is_unwrapped() -> None:
    request = encode(tools=(CustomTool("exec"), NamespaceTool("ns", (FunctionTool("f"),))))
    chunks = [piece(0, "a", "exec", '{"inp'), piece(0, args='ut": "ls"}'), piece(1, "b", "ns__f", "{}"), CALLED]
    deltas = decode(*chunks, request=request)
    started = [delta for delta in deltas if isinstance(delta, CallStarted)]
    assert [(call.kind, call.name, call.namespace) for call in started] == [
        ("custom", "exec", None),
        ("function", "f", "ns"),
    ]
    assert calls(deltas)[0] == ("a", "exec", "ls")


def test_a_native_custom_call_is_one() -> None:
    chunk = said(tool_calls=[{"index": 0, "id": "a", "type": "custom", "custom": {"name": "exec", "input": "ls"}}])
    deltas = decode(chunk, CALLED)
    assert calls(deltas) == [("a", "exec", "ls")]
    assert [delta.kind for delta in deltas if isinstance(delta, CallStarted)] == ["custom"]
    assert b'{"type":"custom","id":"a","custom":{"name":"exec","input":"ls"}}' in kept(deltas)


def test_a_tool_search_is_lifted_to_its_item() -> None:
    search = HostedTool("tool_search", msgspec.Raw(b'{"type":"tool_search","execution":"client"}'))
    deltas = decode(piece(0, "a", "tool_search", '{"query":"maps"}'), CALLED, request=encode(tools=(search,)))
    (native,) = [delta for delta in deltas if isinstance(delta, Native)]
    item = msgspec.json.decode(native.item)
    assert (item["call_id"], item["arguments"]) == ("a", {"query": "maps"})
    assert not any(isinstance(delta, CallStarted) for delta in deltas)


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


def test_newlines_between_reasoning_and_text_belong_to_neither() -> None:
    deltas = decode(said(reasoning="hm"), said(content="\n\n"), said(content="\n    code"), STOP)
    assert text(deltas) == "    code"


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


def test_a_signature_of_thinking_is_kept() -> None:
    deltas = decode(said(content=[{"type": "thinking", "thinking": "hm", "signature": "s"}]), STOP)
    assert msgspec.json.decode(kept(deltas))["content"][0]["signature"] == "s"


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
