"""The anthropic decoder: what each event means, and what must not be lost, doubled or believed."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.providers import anthropic_kit as kit

from antiphon.protocol.deltas import (
    CallStarted,
    Cited,
    Ended,
    Failed,
    Native,
    Paused,
    Refusal,
    Removed,
    Started,
    Summary,
    Text,
    Thinking,
)
from antiphon.protocol.errors import TruncatedStream, UpstreamFault

STOPPED = kit.stopped()


def test_pitfall_003_empty_deltas_give_nothing() -> None:
    deltas = kit.decode(kit.begun(), kit.thinking_block(0, "", "Hm", ""), kit.text_block(1, "", "Hi", ""), STOPPED)
    assert [delta.text for delta in deltas if isinstance(delta, Text | Summary)] == ["Hm", "Hi"]


def test_pitfall_004_a_thinking_block_in_many_pieces_is_kept_as_one() -> None:
    deltas = kit.decode(kit.begun(), kit.thinking_block(0, "a", "b", "c"), kit.text_block(1, "Hi"), STOPPED)
    thinking = b'{"type":"thinking","thinking":"abc","signature":"sig"}'
    assert bytes(kit.kept(deltas).blocks) == b"[" + thinking + b',{"type":"text","text":"Hi"}]'
    assert kit.carried(deltas) == [b"[" + thinking + b"]"]


def test_pitfall_005_a_signature_after_the_thinking_is_kept_byte_for_byte() -> None:
    signature = "Eq+/=QBCkYIBxgCKkD" * 40
    deltas = kit.decode(kit.begun(), kit.thinking_block(0, "a", signature=signature), STOPPED)
    (block,) = msgspec.json.decode(kit.carried(deltas)[0])
    assert block["signature"] == signature


def test_pitfall_006_a_block_of_nothing_but_a_signature_is_reasoning_with_a_carrier() -> None:
    deltas = kit.decode(kit.begun(), kit.thinking_block(0), kit.text_block(1, "Hi"), STOPPED)
    assert Thinking(0) in deltas
    assert Ended(0) in deltas
    assert kit.carried(deltas) == [b'[{"type":"thinking","thinking":"","signature":"sig"}]']


def test_pitfall_016_a_call_without_arguments_is_kept_with_an_empty_object() -> None:
    deltas = kit.decode(kit.begun(), kit.call_block(0, "toolu_1", "now"), kit.stopped("tool_use"))
    assert kit.calls(deltas) == [("toolu_1", "now", "")]
    assert b'"input":{}' in bytes(kit.kept(deltas).blocks)
    assert Ended(0) in deltas


def test_pitfall_017_the_empty_input_of_a_block_start_is_no_part_of_the_arguments() -> None:
    deltas = kit.decode(kit.begun(), kit.call_block(0, "toolu_1", "f", "", '{"a":', "1}"), kit.stopped("tool_use"))
    assert kit.calls(deltas) == [("toolu_1", "f", '{"a":1}')]


def test_pitfall_018_parallel_calls_are_as_many_as_were_made_even_interleaved() -> None:
    starts = [{"type": "tool_use", "id": f"toolu_{n}", "name": "f", "input": {}} for n in range(2)]
    frames = [kit.event("content_block_start", index=n, content_block=start) for n, start in enumerate(starts)]
    for index, piece in ((0, '{"a"'), (1, '{"b"'), (0, ":0}"), (1, ":1}")):
        delta = {"type": "input_json_delta", "partial_json": piece}
        frames.append(kit.event("content_block_delta", index=index, delta=delta))
    frames += [kit.event("content_block_stop", index=index) for index in (1, 0)]
    deltas = kit.decode(kit.begun(), *frames, kit.stopped("tool_use"))
    assert kit.calls(deltas) == [("toolu_0", "f", '{"a":0}'), ("toolu_1", "f", '{"b":1}')]


def test_pitfall_020_a_plain_json_body_means_what_the_stream_means() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
    ]
    body = {"id": "msg_1", "model": kit.MODEL, "content": blocks, "stop_reason": "tool_use"}
    body |= {"usage": {"input_tokens": 5, "output_tokens": 7}}
    plain = kit.decode(msgspec.json.encode(body))
    streamed = kit.decode(
        kit.begun(input_tokens=5, output_tokens=1),
        kit.thinking_block(0, "Hm"),
        kit.text_block(1, "Hi"),
        kit.call_block(2, "toolu_1", "f", '{"a":1}'),
        kit.stopped("tool_use", {"output_tokens": 7}),
    )
    assert kit.kept(plain) == kit.kept(streamed)
    assert kit.calls(plain) == kit.calls(streamed)
    assert kit.usage(plain) == kit.usage(streamed)
    assert kit.finished(plain) == kit.finished(streamed)


def test_a_plain_json_error_fails_and_a_plain_json_of_another_kind_is_no_answer() -> None:
    (failed,) = kit.decode(b' {"type":"error","error":{"type":"overloaded_error","message":"busy"}}')
    assert isinstance(failed, Failed)
    assert failed.error.kind == "overloaded"
    with pytest.raises(TruncatedStream):
        kit.decode(b'{"object":"list"}')
    with pytest.raises(UpstreamFault):
        kit.decode(b'{"object":')


def test_pitfall_026_every_one_of_three_calls_is_begun_and_ended() -> None:
    frames = [kit.call_block(n, f"toolu_{n}", "f", *([] if n == 1 else ["{}"])) for n in range(3)]
    deltas = kit.decode(kit.begun(), *frames, kit.stopped("tool_use"))
    assert [delta.key for delta in deltas if isinstance(delta, CallStarted)] == [0, 1, 2]
    assert [delta for delta in deltas if isinstance(delta, Ended)] == [Ended(0), Ended(1), Ended(2)]


@pytest.mark.parametrize("kind", ["web_search_29990101_tool_result", "fallback", "mcp_tool_listing"])
def test_pitfall_027_031_blocks_nobody_here_knows_are_kept_and_essential(kind: str) -> None:
    rare = {"type": kind, "data": {"z": 1, "a": [None]}, "text": None}
    deltas = kit.decode(kit.begun(), kit.block(0, rare), kit.text_block(1, "Hi"), STOPPED)
    assert bytes(kit.kept(deltas).blocks) == b"[" + msgspec.json.encode(rare) + b',{"type":"text","text":"Hi"}]'
    assert kit.kept(deltas).essential
    assert kit.text(deltas) == "Hi"


def test_a_server_tools_streamed_input_is_kept_as_the_model_wrote_it() -> None:
    start = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ('{"q" :', ' "a"}')]
    blocks = bytes(kit.kept(kit.decode(kit.begun(), kit.block(0, start, *deltas), STOPPED)).blocks)
    assert b'"input":{"q" : "a"}' in blocks


@pytest.mark.parametrize("arguments", ['{"q": "a"}', '{"q": "'])
def test_a_server_tool_that_was_cut_is_not_sent_back(arguments: str) -> None:
    call = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_0", "content": []}
    deltas = kit.decode(
        kit.begun(),
        kit.block(0, call | {"id": "srvtoolu_0"}),
        kit.block(1, found),
        kit.block(2, call, {"type": "input_json_delta", "partial_json": arguments}),
        kit.stopped("max_tokens"),
    )
    blocks = msgspec.json.decode(kit.kept(deltas).blocks)
    assert blocks == [call | {"id": "srvtoolu_0"}, found]


def test_a_server_tools_input_that_is_no_json_is_kept_as_text() -> None:
    call = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    streamed = kit.block(0, call, {"type": "input_json_delta", "partial_json": '{"q": "'})
    (kept,) = msgspec.json.decode(kit.kept(kit.decode(kit.begun(), streamed, STOPPED)).blocks)
    assert kept["input"] == {"input": '{"q": "'}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("message_start", {"message": 7}),
        ("message_start", {"message": {"content": "text"}}),
        ("message_start", {"message": {"usage": {"input_tokens": "many"}}}),
        ("content_block_start", {"index": 1, "content_block": 7}),
        ("content_block_delta", {"index": 0, "delta": 7}),
        ("message_delta", {"delta": {"type": 7}}),
    ],
)
def test_an_event_of_another_shape_is_the_providers_fault(kind: str, fields: dict[str, object]) -> None:
    opened = kit.event("content_block_start", index=0, content_block=kit.said(""))
    with pytest.raises(UpstreamFault, match="cannot be read"):
        kit.decode(kit.begun(), opened, kit.event(kind, **fields))


def test_a_compaction_is_kept_with_its_streamed_content() -> None:
    delta = {"type": "compaction_delta", "content": "So far", "encrypted_content": "Eu"}
    deltas = kit.decode(kit.begun(), kit.block(0, {"type": "compaction", "content": None}, delta), STOPPED)
    (block,) = msgspec.json.decode(kit.kept(deltas).blocks)
    assert block == {"type": "compaction", "content": "So far", "encrypted_content": "Eu"}


def test_pitfall_028_counts_that_come_only_at_the_end_are_counted() -> None:
    end = kit.stopped(usage={"input_tokens": 15, "cache_read_input_tokens": 256, "output_tokens": 9})
    counts = kit.usage(kit.decode(kit.begun(input_tokens=0, output_tokens=0), kit.text_block(0, "Hi"), end))
    assert (counts.input_tokens, counts.cached_tokens, counts.output_tokens) == (271, 256, 9)


def test_pitfall_015_cached_and_written_tokens_are_part_of_the_input() -> None:
    start = kit.begun(input_tokens=1, cache_read_input_tokens=20, cache_creation_input_tokens=300)
    counts = kit.usage(kit.decode(start, kit.text_block(0, "Hi"), STOPPED))
    assert (counts.input_tokens, counts.cached_tokens, counts.cache_write_tokens) == (321, 20, 300)


def test_pitfall_077_counts_said_twice_are_not_doubled() -> None:
    said = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 3}
    counts = kit.usage(kit.decode(kit.begun(**said), kit.text_block(0, "Hi"), kit.stopped(usage=said)))
    assert (counts.input_tokens, counts.cached_tokens, counts.output_tokens) == (15, 5, 3)


def test_pitfall_071_null_counts_are_none_at_all() -> None:
    end = kit.stopped(usage={"input_tokens": None, "output_tokens": 3, "output_tokens_details": None})
    counts = kit.usage(kit.decode(kit.begun(input_tokens=4, cache_read_input_tokens=None), end))
    assert (counts.input_tokens, counts.output_tokens, counts.reasoning_tokens) == (4, 3, 0)


def test_thinking_tokens_are_the_reasoning_tokens() -> None:
    end = kit.stopped(usage={"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 20}})
    assert kit.usage(kit.decode(kit.begun(input_tokens=4), end)).reasoning_tokens == 20


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pitfall_043_a_cut_before_the_stop_reason_never_finishes(size: int) -> None:
    answer = kit.begun() + kit.thinking_block(0, "ü") + kit.call_block(1, "t", "f", '{"a":1}')
    for cut in range(0, len(answer), size):
        with pytest.raises((TruncatedStream, UpstreamFault)):
            kit.decode(answer[:cut])


def test_the_stop_reason_ends_an_answer_without_message_stop() -> None:
    end = kit.event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2})
    assert kit.finished(kit.decode(kit.begun(), kit.text_block(0, "Hi"), end)).reason is None


def test_message_stop_alone_ends_nothing() -> None:
    with pytest.raises(TruncatedStream):
        kit.decode(kit.begun(), kit.text_block(0, "Hi"), kit.event("message_stop"))


def test_pitfall_055_citations_are_annotations_over_their_block_and_kept_whole() -> None:
    citation = {"type": "web_search_result_location", "url": "https://e.org", "title": None, "encrypted_index": "Eo"}
    cited = kit.block(
        1,
        {"type": "text", "text": "", "citations": []},
        {"type": "citations_delta", "citation": citation},
        {"type": "text_delta", "text": "Bern"},
    )
    deltas = kit.decode(kit.begun(), kit.text_block(0, "👋 "), cited, kit.text_block(2, "."), STOPPED)
    (annotation,) = [msgspec.json.decode(delta.annotation) for delta in deltas if isinstance(delta, Cited)]
    assert annotation == {
        "type": "url_citation",
        "url": "https://e.org",
        "title": "https://e.org",
        "start_index": 2,
        "end_index": 6,
    }
    assert kit.text(deltas)[2:6] == "Bern"
    assert {delta.key for delta in deltas if isinstance(delta, Text | Cited)} == {0}
    assert kit.kept(deltas).essential
    assert msgspec.json.decode(kit.kept(deltas).blocks)[1]["citations"] == [citation]


@pytest.mark.parametrize("citation", [{"type": "char_location", "cited_text": "a"}, {"type": "x", "url": 5}])
def test_a_citation_without_an_address_is_kept_but_not_shown(citation: dict[str, object]) -> None:
    delta = {"type": "citations_delta", "citation": citation}
    deltas = kit.decode(kit.begun(), kit.block(0, kit.said("Hi"), delta), STOPPED)
    assert not [delta for delta in deltas if isinstance(delta, Cited)]
    assert kit.kept(deltas).essential


def test_pitfall_059_thinking_without_a_signature_is_shown_and_not_kept() -> None:
    deltas = kit.decode(kit.begun(), kit.thinking_block(0, "Hm", signature=""), kit.text_block(1, "Hi"), STOPPED)
    assert Summary(0, "Hm") in deltas
    assert kit.carried(deltas) == []
    assert bytes(kit.kept(deltas).blocks) == b'[{"type":"text","text":"Hi"}]'


def test_pitfall_060_a_paused_turn_is_paused_not_finished() -> None:
    deltas = kit.decode(kit.begun(), kit.text_block(0, "Hi"), kit.stopped("pause_turn"))
    assert deltas[-2:] == [kit.kept(deltas), Paused()]


def test_redacted_thinking_is_reasoning_without_text_and_carried_whole() -> None:
    data = kit.block(0, {"type": "redacted_thinking", "data": "Em+/="})
    deltas = kit.decode(kit.begun(), data, kit.text_block(1, "Hi"), STOPPED)
    assert not [delta for delta in deltas if isinstance(delta, Summary)]
    assert kit.carried(deltas) == [b'[{"type":"redacted_thinking","data":"Em+/="}]']


def test_neighbouring_thinking_blocks_are_one_item_in_parts_and_parted_ones_are_two() -> None:
    deltas = kit.decode(
        kit.begun(),
        kit.thinking_block(0, "a"),
        kit.thinking_block(1, "b"),
        kit.text_block(2, "Hi"),
        kit.thinking_block(3, "c"),
        STOPPED,
    )
    shown = [(delta.key, delta.part, delta.text) for delta in deltas if isinstance(delta, Summary)]
    assert shown == [(0, 0, "a"), (0, 1, "b"), (2, 0, "c")]
    assert [len(msgspec.json.decode(blocks)) for blocks in kit.carried(deltas)] == [2, 1]


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_a_limit_makes_the_answer_incomplete(reason: str) -> None:
    assert kit.finished(kit.decode(kit.begun(), kit.stopped(reason))).reason == "max_output_tokens"


def test_a_call_that_a_limit_cut_is_incomplete() -> None:
    deltas = kit.decode(kit.begun(), kit.call_block(0, "t", "f", '{"a": "b'), kit.stopped("max_tokens"))
    assert Ended(0, "incomplete") in deltas


def test_a_block_that_no_stop_closed_is_closed_by_the_end() -> None:
    opened = kit.event("content_block_start", index=0, content_block=kit.said("Hi"))
    deltas = kit.decode(kit.begun(), opened, kit.stopped())
    assert bytes(kit.kept(deltas).blocks) == b'[{"type":"text","text":"Hi"}]'


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"explanation": "No.", "category": "cyber"}, "No."),
        ({"category": "cyber", "explanation": None}, "cyber"),
        (None, "The model declined to answer."),
    ],
)
def test_a_refusal_is_said_after_what_was_said_before(details: object, words: str) -> None:
    deltas = kit.decode(kit.begun(), kit.text_block(0, "I"), kit.stopped("refusal", stop_details=details))
    assert [delta for delta in deltas if isinstance(delta, Refusal)] == [Refusal(1, words)]
    assert kit.finished(deltas).reason == "content_filter"


def test_pitfall_037_an_error_in_the_stream_fails_and_nothing_follows() -> None:
    error = kit.event("error", error={"type": "api_error", "message": "boom"})
    deltas = kit.decode(kit.begun(), kit.text_block(0, "Hi"), error, kit.text_block(1, "More"), STOPPED)
    assert isinstance(deltas[-1], Failed)
    assert deltas[-1].error.kind == "server"
    assert kit.text(deltas) == "Hi"


def test_events_blocks_and_deltas_of_a_later_version_disturb_nothing() -> None:
    deltas = kit.decode(
        kit.event("ping"),
        kit.event("weather"),
        kit.begun(),
        kit.block(0, kit.said(""), {"type": "text_delta", "text": "Hi"}, {"type": "text_shine", "text": None}),
        kit.event("content_block_delta", index=7, delta={"type": "text_delta", "text": "nowhere"}),
        kit.event("content_block_stop", index=7),
        kit.stopped("bored"),
    )
    assert kit.text(deltas) == "Hi"
    assert kit.finished(deltas).reason is None


def test_a_broken_event_is_a_fault_of_the_transport() -> None:
    with pytest.raises(UpstreamFault) as caught:
        kit.decode(kit.begun(), b"data: {]\n\n")
    assert caught.value.kind == "transport"


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_line_ends_a_bom_and_bare_data_lines_are_all_read(newline: bytes) -> None:
    answer = kit.begun() + kit.text_block(0, "Hi") + STOPPED
    bare = answer.replace(b"data: ", b"data:").replace(b"\n", newline)
    assert kit.text(kit.decode(b"\xef\xbb\xbf" + bare, b"data: [DONE]" + newline * 2)) == "Hi"


def test_pitfall_023_the_same_piece_five_thousand_times_is_five_thousand_pieces() -> None:
    deltas = kit.decode(kit.begun(), kit.text_block(0, *["la "] * 5000), STOPPED)
    assert kit.text(deltas) == "la " * 5000


def test_only_thinking_that_was_dropped_is_named_as_removed() -> None:
    rows = [
        {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "prefix_binding_mismatch"},
        {"type": "thinking_dropped", "path": "messages.1.content.1", "reason": "model_binding_mismatch"},
        {"type": "thinking_mismatch_allowed", "path": "messages.3.content.0", "reason": "prefix_binding_mismatch"},
        {"type": "thinking_dropped", "path": "messages.5.content.0", "reason": "of_later"},
    ]
    message = {"id": "msg_1", "model": "m", "content": [], "usage": {}, "input_transformations": rows}
    deltas = kit.decode(kit.event("message_start", message=message), kit.text_block(0, "Hi"), STOPPED)
    removed = [delta.reason for delta in deltas if isinstance(delta, Removed)]
    assert removed == ["prefix_mismatch", "model_mismatch", "of_later"]


def test_the_model_and_the_providers_id_come_first() -> None:
    assert kit.decode(kit.begun(), STOPPED)[0] == Started(kit.MODEL, "msg_1")


def test_a_wrapped_custom_tools_input_is_lifted_out_whole() -> None:
    request = kit.encode(tools=[{"type": "custom", "name": "patch"}])
    frames = kit.call_block(0, "t", "patch", '{"input": "a', '\\nb"}')
    deltas = kit.decode(kit.begun(), frames, kit.stopped("tool_use"), request=request)
    assert kit.calls(deltas) == [("t", "patch", "a\nb")]
    assert CallStarted(0, "patch", "t", "custom") in deltas


def test_a_search_the_client_runs_comes_back_as_its_own_item() -> None:
    request = kit.encode(tools=[{"type": "tool_search", "execution": "client"}])
    frames = kit.call_block(0, "t", "tool_search", '{"query":"x"}')
    deltas = kit.decode(kit.begun(), frames, kit.stopped("tool_use"), request=request)
    (native,) = [delta for delta in deltas if isinstance(delta, Native)]
    assert native.type == "tool_search_call"
    assert msgspec.json.decode(native.item)["arguments"] == {"query": "x"}


def test_pitfall_068_an_illegal_tool_name_is_lifted_back() -> None:
    tool = {"type": "function", "name": "server/do it"}
    request = kit.encode(tools=[{"type": "namespace", "name": "mcp", "description": "x", "tools": [tool]}])
    (wire,) = [tool["name"] for tool in msgspec.json.decode(request.body)["tools"]]
    deltas = kit.decode(kit.begun(), kit.call_block(0, "t", wire), kit.stopped("tool_use"), request=request)
    assert kit.calls(deltas)[0][1] == "server/do it"


def test_text_without_a_visible_character_is_not_kept() -> None:
    deltas = kit.decode(kit.begun(), kit.text_block(0, "\n"), kit.call_block(1, "t", "f"), kit.stopped("tool_use"))
    assert [block["type"] for block in msgspec.json.decode(kit.kept(deltas).blocks)] == ["tool_use"]
