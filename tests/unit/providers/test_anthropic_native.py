"""Tools that run at Anthropic: declared as its own, and what they did shown as items, one after the other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.harness.stage import Stage
from tests.unit.providers.anthropic_kit import target

from antiphon.protocol.errors import InvalidRequest
from antiphon.protocol.parsing import parse_request
from antiphon.providers.anthropic import Anthropic
from antiphon.providers.anthropic_decode import AnthropicDecoder
from antiphon.providers.base import Turn
from antiphon.providers.quirks import AnthropicQuirks

Json = dict[str, Any]
SERVED = frozenset({"web_search", "web_fetch", "code_interpreter"})
SOURCES = "web_search_call.action.sources"
OUTPUTS = "code_interpreter_call.outputs"


def played(*blocks: Json, include: frozenset[str] = frozenset(), stop: str = "end_turn") -> tuple[Stage, Json]:
    """The response to an answer of these blocks, whole in their starts as results are."""
    decoder = AnthropicDecoder((), include)
    stage = Stage()
    frames = [_event("message_start", message={"id": "m", "model": "c", "container": {"id": "container_1"}})]
    for index, block in enumerate(blocks):
        start = block | ({"input": {}} if block["type"] == "server_tool_use" else {})
        frames.append(_event("content_block_start", index=index, content_block=start))
        if block["type"] == "server_tool_use":
            text = msgspec.json.encode(block["input"]).decode()
            for piece in (text[:4], text[4:]):
                delta = {"type": "input_json_delta", "partial_json": piece}
                frames.append(_event("content_block_delta", index=index, delta=delta))
        frames.append(_event("content_block_stop", index=index))
    frames += [_event("message_delta", delta={"stop_reason": stop}, usage={}), _event("message_stop")]
    deltas = decoder.feed(b"".join(frames)) + decoder.close()
    stage.turn(deltas)
    return stage, stage.finish()


def _event(kind: str, **fields: Any) -> bytes:
    return b"data: " + msgspec.json.encode({"type": kind} | fields) + b"\n\n"


def call(name: str, identity: str, **given: Any) -> Json:
    return {"type": "server_tool_use", "id": identity, "name": name, "input": given}


def result(kind: str, identity: str, content: Any) -> Json:
    return {"type": f"{kind}_tool_result", "tool_use_id": identity, "content": content}


FOUND = [{"type": "web_search_result", "url": "https://a.example", "title": "A", "encrypted_content": "x"}]


def test_a_search_is_shown_as_it_runs_and_its_sources_where_they_are_asked_for() -> None:
    blocks = (call("web_search", "s1", query="weather"), result("web_search", "s1", FOUND))
    stage, response = played(*blocks, include=frozenset({SOURCES}))
    (item,) = response["output"]
    assert item["action"] == {
        "type": "search",
        "query": "weather",
        "queries": ["weather"],
        "sources": [{"type": "url", "url": "https://a.example"}],
    }
    assert (item["type"], item["status"]) == ("web_search_call", "completed")
    names = [name for name in stage.types() if name.startswith("web_search_call")]
    assert names == ["web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed"]
    assert "sources" not in played(*blocks)[1]["output"][0]["action"]


def test_a_failed_search_and_an_opened_page() -> None:
    error = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    page = {"type": "web_fetch_result", "url": "https://a.example", "content": {}}
    _, response = played(
        call("web_search", "s1", query="q"),
        result("web_search", "s1", error),
        call("web_fetch", "f1", url="https://a.example"),
        result("web_fetch", "f1", page),
    )
    failed, opened = response["output"]
    assert failed["status"] == "failed"
    assert (opened["action"], opened["status"]) == ({"type": "open_page", "url": "https://a.example"}, "completed")


@pytest.mark.parametrize("name", ["code_execution", "bash_code_execution"])
def test_code_that_ran_is_an_item_with_what_it_printed(name: str) -> None:
    given = {"code": "print(1)"} if name == "code_execution" else {"command": "print(1)"}
    ran = {"type": f"{name}_result", "stdout": "1\n", "stderr": "!", "return_code": 0, "content": []}
    blocks = (call(name, "c1", **given), result(name, "c1", ran))
    stage, response = played(*blocks, include=frozenset({OUTPUTS}))
    (item,) = response["output"]
    assert (item["code"], item["container_id"]) == ("print(1)", "container_1")
    assert item["outputs"] == [{"type": "logs", "logs": "1\n!"}]
    assert "code_interpreter_call_code.done" in stage.types()
    assert played(*blocks)[1]["output"][0]["outputs"] is None


@pytest.mark.parametrize("order", [("s1", "s2"), ("s2", "s1")])
def test_searches_side_by_side_are_items_one_after_the_other(order: tuple[str, str]) -> None:
    results = [result("web_search", identity, FOUND) for identity in order]
    _, response = played(call("web_search", "s1", query="a"), call("web_search", "s2", query="b"), *results)
    assert [item["action"]["query"] for item in response["output"]] == ["a", "b"]
    assert all(item["status"] == "completed" for item in response["output"])


def test_a_result_of_a_later_version_is_kept_and_not_shown() -> None:
    decoder = AnthropicDecoder(())
    block = {"type": "hologram_tool_result", "tool_use_id": "h1", "content": 7}
    decoder.feed(_event("message_start", message={"id": "m", "model": "c"}))
    decoder.feed(_event("content_block_start", index=0, content_block=block))
    decoder.feed(_event("content_block_stop", index=0))
    decoder.feed(_event("message_delta", delta={"stop_reason": "end_turn"}, usage={}))
    (kept,) = [delta for delta in decoder.close() if type(delta).__name__ == "Kept"]
    assert msgspec.json.decode(kept.blocks) == [block]
    assert kept.essential


def encoded(body: Json, **quirks: Any) -> Json:
    request = parse_request(msgspec.json.encode(body))
    where = target(body["model"], quirks=AnthropicQuirks(**quirks))
    turn = Turn(request, tuple(entry.item for entry in request.input))
    return msgspec.json.decode(Anthropic().encode(turn, where).body)


def tools_of(*tools: Json, **more: Any) -> list[Json]:
    body = {"model": "claude-sonnet-5-5", "input": "Hi", "tools": list(tools)} | more
    return encoded(body, native_tools=SERVED)["tools"]


def test_a_search_is_declared_with_its_filters_limits_and_place() -> None:
    filters = {"allowed_domains": ["a.example"]}
    place = {"type": "approximate", "country": "AT", "city": None}
    search, fetch = tools_of({"type": "web_search", "filters": filters, "user_location": place}, max_tool_calls=3)
    assert search == {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 3,
        "allowed_domains": ["a.example"],
        "user_location": {"type": "approximate", "country": "AT"},
    }
    assert (fetch["name"], fetch["allowed_domains"]) == ("web_fetch", ["a.example"])


def test_code_runs_there_and_a_tool_can_be_forced() -> None:
    code: Json = {"type": "code_interpreter", "container": {"type": "auto"}}
    assert tools_of(code) == [{"type": "code_execution_20250825", "name": "code_execution"}]
    body = encoded(
        {"model": "claude-opus-4-6", "input": "Hi", "tools": [code], "tool_choice": {"type": "code_interpreter"}},
        native_tools=SERVED,
    )
    assert body["tool_choice"] == {"type": "tool", "name": "code_execution"}


def test_what_is_not_served_cannot_be_forced() -> None:
    request = {"model": "claude-opus-4-6", "input": "Hi", "tools": [{"type": "web_search"}]}
    with pytest.raises(InvalidRequest):
        encoded(request | {"tool_choice": {"type": "web_search"}})
