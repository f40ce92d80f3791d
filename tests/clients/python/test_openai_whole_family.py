"""The openai SDK as it is, against everything around `POST /v1/responses`."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import openai
import pytest
from openai import OpenAI
from tests.harness.process import KEY, ServerProcess

pytestmark = [pytest.mark.clients, pytest.mark.slow]
MODEL = "sim/standard"


@pytest.fixture
def sdk(antiphon_server: ServerProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=antiphon_server.url, api_key=KEY, max_retries=0) as client:
        yield client


def ended(sdk: OpenAI, response_id: str) -> Any:
    while (response := sdk.responses.retrieve(response_id)).status in ("queued", "in_progress"):
        pass
    return response


def test_a_background_response_is_polled_to_its_end(sdk: OpenAI) -> None:
    made = sdk.responses.create(model=MODEL, input="Say hello", background=True)
    assert made.status in ("queued", "in_progress")
    response = ended(sdk, made.id)
    assert (response.status, response.background, response.output_text) == ("completed", True, "hello")


def test_a_background_response_may_name_how_long_it_can_wait(sdk: OpenAI) -> None:
    for window in ("soonest", "8h"):
        made = sdk.responses.create(
            model=MODEL,
            input="Say hello",
            background=True,
            background_options={"completion_window": window, "continuation_id": "review_1"},
        )
        assert ended(sdk, made.id).output_text == "hello"
    with pytest.raises(openai.BadRequestError, match="'background' set to true") as refused:
        sdk.responses.create(model=MODEL, input="hi", background_options={"completion_window": "2h"})
    assert refused.value.param == "background_options.completion_window"


def test_a_background_response_is_cancelled_once_and_again(sdk: OpenAI) -> None:
    made = sdk.responses.create(model=MODEL, input="#sim stall after 2", background=True)
    cancelled = sdk.responses.cancel(made.id)
    assert cancelled.status == "cancelled"
    assert sdk.responses.cancel(made.id) == cancelled


def test_a_stream_is_resumed_after_the_last_event_that_came(sdk: OpenAI) -> None:
    events: list[Any] = []
    stream = sdk.responses.create(model=MODEL, input="#sim slow 5ms\n#sim words 8", background=True, stream=True)
    for event in stream:
        events.append(event)
        if event.type == "response.output_text.delta":
            break
    stream.close()
    response_id, last = events[0].response.id, events[-1].sequence_number
    events += list(sdk.responses.retrieve(response_id, stream=True, starting_after=last))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    joined = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert joined == events[-1].response.output_text == sdk.responses.retrieve(response_id).output_text


def test_conversations_and_their_items(sdk: OpenAI) -> None:
    conversation = sdk.conversations.create(
        metadata={"topic": "names"}, items=[{"type": "message", "role": "user", "content": "My name is Ann"}]
    )
    assert sdk.conversations.retrieve(conversation.id).metadata == {"topic": "names"}
    answer = sdk.responses.create(model=MODEL, input="What is my name?", conversation=conversation.id)
    assert "Ann" in answer.output_text
    assert answer.conversation is not None
    assert answer.conversation.id == conversation.id
    added = sdk.conversations.items.create(conversation.id, items=[{"role": "user", "content": "And goodbye"}])
    items = list(sdk.conversations.items.list(conversation.id, order="asc", limit=2))
    assert [item.type for item in items] == ["message"] * 4
    assert items[-1].id == added.data[0].id
    assert sdk.conversations.items.retrieve(items[0].id, conversation_id=conversation.id) == items[0]
    assert sdk.conversations.items.delete(items[-1].id, conversation_id=conversation.id).id == conversation.id
    assert sdk.conversations.update(conversation.id, metadata={"topic": "x"}).metadata == {"topic": "x"}
    assert sdk.conversations.delete(conversation.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.conversations.retrieve(conversation.id)


def test_input_items_page_through_a_chain(sdk: OpenAI) -> None:
    first = sdk.responses.create(model=MODEL, input="one")
    second = sdk.responses.create(model=MODEL, input="two", previous_response_id=first.id)
    assert len(list(sdk.responses.input_items.list(second.id, limit=1, order="asc"))) == 3


def test_input_tokens_are_counted(sdk: OpenAI) -> None:
    short = sdk.responses.input_tokens.count(model=MODEL, input="hi")
    long = sdk.responses.input_tokens.count(model=MODEL, input="hi " * 500)
    assert 0 < short.input_tokens < long.input_tokens
    assert sdk.responses.input_tokens.count(input="no model").input_tokens > 0


def test_a_compacted_context_is_passed_on_as_it_came(sdk: OpenAI) -> None:
    history: Any = [
        {"role": "user", "content": "My name is Ann"},
        {"role": "assistant", "content": "Hello Ann, I will remember."},
    ]
    compacted = sdk.responses.compact(model=MODEL, input=history)
    assert compacted.object == "response.compaction"
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    goes_on: Any = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
    answer = sdk.responses.create(model=MODEL, input=[*goes_on, {"role": "user", "content": "What is my name?"}])
    assert "Ann" in answer.output_text


def test_context_management_compacts_inside_a_response(sdk: OpenAI) -> None:
    history: Any = [{"role": "user", "content": "word " * 2000}, {"role": "assistant", "content": "ok"}]
    answer = sdk.responses.create(
        model=MODEL,
        input=[*history, {"role": "user", "content": "Say hello"}],
        context_management=[{"type": "compaction", "compact_threshold": 1000}],
    )
    assert [item.type for item in answer.output] == ["compaction", "message"]


def test_one_connection_serves_several_lanes(sdk: OpenAI) -> None:
    with sdk.responses.connect() as connection:
        connection.response.create(model=MODEL, input="Say one", store=False)
        first = _terminal(connection)
        connection.response.create(model=MODEL, input="Say two", store=False, previous_response_id=first.response.id)
        assert _terminal(connection).response.output_text == "two"
        connection.response.create(model=MODEL, input="Say three", stream_id="side")
        third = _terminal(connection)
        assert (third.stream_id, third.response.output_text) == ("side", "three")


def _terminal(connection: Any) -> Any:
    for event in connection:
        assert event.type != "error", event
        if event.type == "response.completed":
            return event
    raise AssertionError("the connection ended")


def test_a_webhook_is_managed_received_and_verified(new_server: Callable[..., ServerProcess]) -> None:
    server = new_server(env={"ANTIPHON_WEBHOOKS_ALLOW_PRIVATE": "true"})
    got: Queue[tuple[dict[str, str], bytes]] = Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.put((dict(self.headers.items()), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            del args

    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    with OpenAI(base_url=server.url, api_key=KEY, max_retries=0) as sdk:
        made = sdk.webhooks.create(name="mine", url=url, event_types=["response.completed"])
        assert [one.id for one in sdk.webhooks.list()] == [made.id]
        response = sdk.responses.create(model=MODEL, input="hi", background=True)
        headers, body = got.get(timeout=10)
        event = sdk.webhooks.unwrap(body, headers, secret=made.signing_secret)
        assert (event.type, event.data.id) == ("response.completed", response.id)
        rotated = sdk.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=False)
        assert sdk.webhooks.test(made.id, event_type="response.completed").status_code == 204
        headers, body = got.get(timeout=10)
        assert sdk.webhooks.unwrap(body, headers, secret=rotated.signing_secret).type == "response.completed"
        with pytest.raises(openai.InvalidWebhookSignatureError):
            sdk.webhooks.unwrap(body, headers, secret=made.signing_secret)
        assert sdk.webhooks.update(made.id, name="other").name == "other"
        assert "response.completed" in sdk.webhooks.event_types.list().data
        assert sdk.webhooks.delete(made.id).deleted
    receiver.shutdown()
    receiver.server_close()
