"""What items of a conversation say is read once, by the very bytes that say it."""

from __future__ import annotations

import msgspec

from antiphon.engine.conversation_items import conversation_entries
from antiphon.protocol.items import Message
from antiphon.providers.base import ModelTurn
from antiphon.store.base import ConversationItem


def item(text: str, item_id: str = "msg_1", **more: object) -> ConversationItem:
    content = [{"type": "input_text", "text": text}]
    body = {"type": "message", "id": item_id, "role": "user", "content": content}
    return ConversationItem(item_id, msgspec.json.encode(body), **more)  # type: ignore[arg-type]


def texts(items: list[ConversationItem]) -> list[str]:
    return [entry.content[0].text for entry in conversation_entries(items) if isinstance(entry, Message)]  # type: ignore[union-attr]


def test_an_item_is_read_once() -> None:
    first, again = conversation_entries([item("Hello there")]), conversation_entries([item("Hello there")])
    assert first == again
    assert first[0] is again[0]


def test_another_item_under_an_id_that_was_deleted_says_what_it_says() -> None:
    assert texts([item("one"), item("two", "msg_2")]) == ["one", "two"]
    assert texts([item("three"), item("two", "msg_2")]) == ["three", "two"]


def test_the_record_of_a_model_turn_is_read_once_and_only_for_a_whole_turn() -> None:
    record = b'{"family":"chat_completions","scope":"s","model":"m","blocks":{"role":"assistant","content":"Hi"}}'
    turn = [item("a", turn="r.0", turn_size=2, record=record), item("b", "msg_2", turn="r.0", turn_size=2)]
    (whole,), (again,) = conversation_entries(turn), conversation_entries(turn)
    assert isinstance(whole, ModelTurn)
    assert isinstance(again, ModelTurn)
    assert whole.record is not None
    assert whole.record is again.record
    (cut,) = conversation_entries(turn[:1])
    assert isinstance(cut, ModelTurn)
    assert cut.record is None
