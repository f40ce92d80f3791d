"""What items of a conversation say: model turns are whole again, with their records if nothing of them is missing."""

from __future__ import annotations

import msgspec

from antiphon.engine.conversation_items import conversation_entries
from antiphon.protocol.items import Message
from antiphon.providers.base import ModelTurn
from antiphon.store.base import ConversationItem

RECORD = b'{"family":"chat_completions","scope":"s","model":"m","blocks":{"role":"assistant","content":"Hi"}}'


def item(text: str, item_id: str = "msg_1", **more: object) -> ConversationItem:
    content = [{"type": "input_text", "text": text}]
    body = {"type": "message", "id": item_id, "role": "user", "content": content}
    return ConversationItem(item_id, msgspec.json.encode(body), **more)  # type: ignore[arg-type]


def test_items_that_stand_alone_are_entries() -> None:
    first, second = conversation_entries([item("one"), item("two", "msg_2")])
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert (first.id, second.id) == ("msg_1", "msg_2")


def test_a_model_turn_has_its_record_only_where_it_is_whole() -> None:
    turn = [item("a", turn="r.0", turn_size=2, record=RECORD), item("b", "msg_2", turn="r.0", turn_size=2)]
    (whole,), (cut,) = conversation_entries(turn), conversation_entries(turn[:1])
    assert isinstance(whole, ModelTurn)
    assert isinstance(cut, ModelTurn)
    assert (len(whole.items), len(cut.items)) == (2, 1)
    assert whole.record is not None
    assert whole.record.model == "m"
    assert cut.record is None


def test_turns_side_by_side_stay_two() -> None:
    first, second = conversation_entries(
        [item("a", turn="r.0", turn_size=1), item("b", "msg_2", turn="r.1", turn_size=1)]
    )
    assert isinstance(first, ModelTurn)
    assert isinstance(second, ModelTurn)
