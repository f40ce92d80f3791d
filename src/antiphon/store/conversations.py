"""Conversations and their items, and the lock that one response at a time holds on a conversation."""

from __future__ import annotations

from typing import Final

from antiphon.protocol.errors import AntiphonError

from .base import ConversationItem, ConversationRow, ItemPage, check_context
from .engine import Engine, Script, Sql

_COLUMNS: Final = "id, project, created_at, metadata, next_position, holes, removals"
_LOAD: Final = f"SELECT {_COLUMNS} FROM conversations WHERE id = $1 AND project = $2"  # noqa: S608 - own names
_ITEM: Final = "id, body, turn, turn_size, record, carried, position"
_ITEMS: Final = f"SELECT {_ITEM} FROM conversation_items WHERE conversation = $1"  # noqa: S608
_SUM: Final = "SELECT SUM(length(body) + COALESCE(length(record), 0)) FROM conversation_items WHERE conversation = $1"
PAGE_BYTES: Final = 32 << 20
_END: Final = 2**31 - 1
"""Beyond every position."""
_FREE: Final = "(holder IS NULL OR held_until <= now_s())"


class ConversationBusy(AntiphonError):
    """A response holds the conversation."""


class ItemNotFound(AntiphonError):
    """A cursor or a path names an item that the conversation does not have."""


def _load(project: str, conversation_id: str) -> Script[ConversationRow | None]:
    rows = yield Sql(_LOAD + " FOR UPDATE", (conversation_id, project))
    return ConversationRow(*rows[0]) if rows else None


def append(conversation_id: str, items: tuple[ConversationItem, ...]) -> Script[None]:
    """Add items at the end; one whose id is there already is the same item and stays where it is."""
    rows = yield Sql(
        "UPDATE conversations SET next_position = next_position + $2 WHERE id = $1 RETURNING next_position",
        (conversation_id, len(items)),
    )
    if not rows:  # deleted meanwhile
        return
    first = int(rows[0][0]) - len(items)
    for offset, item in enumerate(items):
        yield Sql(
            "INSERT INTO conversation_items (conversation, position, id, body, turn, turn_size, record, carried) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (conversation, id) DO NOTHING",
            (
                conversation_id,
                first + offset,
                item.id,
                item.body,
                item.turn,
                item.turn_size,
                item.record,
                item.carried,
            ),
        )


def unlock(conversation_id: str, holder: str) -> Script[None]:
    """Give the lock back, if it is still this holder's."""
    yield Sql(
        "UPDATE conversations SET holder = NULL, held_until = 0 WHERE id = $1 AND holder = $2",
        (conversation_id, holder),
    )


def _is_free(conversation_id: str) -> Script[bool]:
    return bool((yield Sql(f"SELECT id FROM conversations WHERE id = $1 AND {_FREE}", (conversation_id,))))  # noqa: S608


class ConversationTable:
    """Every method that takes a project answers None or False for a conversation that is not there for it."""

    engine: Engine
    max_context_bytes: int

    async def create_conversation(self, row: ConversationRow, items: tuple[ConversationItem, ...]) -> None:
        """A new conversation with its first items."""

        def script() -> Script[None]:
            yield Sql(
                "INSERT INTO conversations (id, project, created_at, metadata, next_position, holes, held_until) "
                "VALUES ($1, $2, $3, $4, 0, '', 0)",
                (row.id, row.project, row.created_at, row.metadata),
            )
            yield from append(row.id, items)

        await self.engine.write(script, sum(len(item.body) for item in items))

    async def load_conversation(self, project: str, conversation_id: str) -> ConversationRow | None:
        def script() -> Script[ConversationRow | None]:
            rows = yield Sql(_LOAD, (conversation_id, project))
            return ConversationRow(*rows[0]) if rows else None

        return await self.engine.read(script)

    async def update_conversation(self, project: str, conversation_id: str, metadata: bytes) -> ConversationRow | None:
        """Replace the metadata."""

        def script() -> Script[ConversationRow | None]:
            yield Sql(
                "UPDATE conversations SET metadata = $3 WHERE id = $1 AND project = $2",
                (conversation_id, project, metadata),
            )
            return (yield from _load(project, conversation_id))

        return await self.engine.write(script)

    async def delete_conversation(self, project: str, conversation_id: str) -> bool:
        """Remove the conversation and its items; responses made in it keep their own."""

        def script() -> Script[bool]:
            rows = yield Sql(
                "DELETE FROM conversations WHERE id = $1 AND project = $2 RETURNING id", (conversation_id, project)
            )
            if rows:
                yield Sql("DELETE FROM conversation_items WHERE conversation = $1", (conversation_id,))
            return bool(rows)

        return await self.engine.write(script)

    async def add_items(self, project: str, conversation_id: str, items: tuple[ConversationItem, ...]) -> bool:
        """Append items. Raises ConversationBusy while a response holds the conversation."""

        def script() -> Script[bool]:
            if (yield from _load(project, conversation_id)) is None:
                return False
            if not (yield from _is_free(conversation_id)):
                raise ConversationBusy(conversation_id)
            yield from append(conversation_id, items)
            return True

        return await self.engine.write(script, sum(len(item.body) for item in items))

    async def list_items(
        self, conversation_id: str, *, after: str | None, limit: int, is_ascending: bool, most_bytes: int = PAGE_BYTES
    ) -> ItemPage:
        """Up to `limit` items after the one with id `after`, which end with the one that comes to `most_bytes`.

        Raises ItemNotFound for a cursor to nothing.
        """
        compare, order = (">", "ASC") if is_ascending else ("<", "DESC")

        def script() -> Script[ItemPage]:
            condition, values = "", (conversation_id, limit + 1, most_bytes)
            if after is not None:
                rows = yield Sql(
                    "SELECT position FROM conversation_items WHERE conversation = $1 AND id = $2",
                    (conversation_id, after),
                )
                if not rows:
                    raise ItemNotFound(after)
                condition, values = f" AND position {compare} $4", (*values, int(rows[0][0]))
            rows = yield Sql(
                f"WITH page AS (SELECT position AS at, length(body) AS size FROM conversation_items "  # noqa: S608
                f"WHERE conversation = $1{condition} ORDER BY position {order} LIMIT $2), "
                f"sums AS (SELECT at, SUM(size) OVER (ORDER BY at {order}) - size AS before FROM page) "
                f"SELECT {_ITEM}, (SELECT COUNT(*) FROM page) FROM conversation_items WHERE conversation = $1 "
                f"AND position IN (SELECT at FROM sums WHERE before < $3) ORDER BY position {order}",
                values,
            )
            items = [ConversationItem(*row[:-1]) for row in rows[:limit]]
            return ItemPage(items, bool(rows) and int(rows[0][-1]) > len(items))

        return await self.engine.read(script)

    async def all_items(
        self, conversation_id: str, before: int | None = None, *, first: int = 0
    ) -> list[ConversationItem]:
        """Every item in order, from position `first` on, or those before a position.

        Raises InvalidRequest (context_length_exceeded).
        """
        asked = (conversation_id, first, _END if before is None else before)
        among = " AND position >= $2 AND position < $3"

        def script() -> Script[list[ConversationItem]]:
            fits = f"({_SUM}{among}) <= $4"
            rows = yield Sql(f"{_ITEMS}{among} AND {fits} ORDER BY position", (*asked, self.max_context_bytes))
            if not rows:
                size_bytes = (yield Sql(_SUM + among, asked))[0][0]
                check_context(int(size_bytes or 0), self.max_context_bytes)
            return [ConversationItem(*row) for row in rows]

        return await self.engine.read(script)

    async def conversation_item(self, conversation_id: str, item_id: str) -> ConversationItem | None:
        def script() -> Script[ConversationItem | None]:
            rows = yield Sql(_ITEMS + " AND id = $2", (conversation_id, item_id))
            return ConversationItem(*rows[0]) if rows else None

        return await self.engine.read(script)

    async def find_item(self, project: str, item_id: str) -> ConversationItem | None:
        """An item of any conversation of the project, by its id."""
        columns = ", ".join(f"i.{name}" for name in _ITEM.split(", "))

        def script() -> Script[ConversationItem | None]:
            rows = yield Sql(
                f"SELECT {columns} FROM conversation_items i JOIN conversations c ON c.id = i.conversation "  # noqa: S608
                "WHERE i.id = $1 AND c.project = $2 LIMIT 1",
                (item_id, project),
            )
            return ConversationItem(*rows[0]) if rows else None

        return await self.engine.read(script)

    async def delete_item(self, project: str, conversation_id: str, item_id: str, hole: str) -> ConversationRow | None:
        """Remove one item; `hole` is the call id that loses its call or its output, or "".

        Raises ItemNotFound, and ConversationBusy while a response holds the conversation.
        """

        def script() -> Script[ConversationRow | None]:
            row = yield from _load(project, conversation_id)
            if row is None:
                return None
            if not (yield from _is_free(conversation_id)):
                raise ConversationBusy(conversation_id)
            gone = yield Sql(
                "DELETE FROM conversation_items WHERE conversation = $1 AND id = $2 RETURNING id",
                (conversation_id, item_id),
            )
            if not gone:
                raise ItemNotFound(item_id)
            if hole:
                yield Sql(
                    "UPDATE conversations SET holes = $2 WHERE id = $1", (conversation_id, f"{row.holes}{hole}\n")
                )
            return row

        return await self.engine.write(script)

    async def lock_conversation(
        self, project: str, conversation_id: str, holder: str, lease_s: float
    ) -> ConversationRow | None:
        """Hold the conversation for a response. Raises ConversationBusy while another holds it."""

        def script() -> Script[ConversationRow | None]:
            row = yield from _load(project, conversation_id)
            if row is None:
                return None
            taken = yield Sql(
                f"UPDATE conversations SET holder = $2, held_until = now_s() + $3 "  # noqa: S608 - own names
                f"WHERE id = $1 AND ({_FREE} OR holder = $2) RETURNING id",
                (conversation_id, holder, lease_s),
            )
            if not taken:
                raise ConversationBusy(conversation_id)
            return row

        return await self.engine.write(script)

    async def renew_conversation(self, conversation_id: str, holder: str, lease_s: float) -> None:
        """Hold it longer."""

        def script() -> Script[None]:
            yield Sql(
                "UPDATE conversations SET held_until = now_s() + $3 WHERE id = $1 AND holder = $2",
                (conversation_id, holder, lease_s),
            )

        await self.engine.write(script)

    async def unlock_conversation(self, conversation_id: str, holder: str) -> None:
        """Give it back without adding anything."""
        await self.engine.write(lambda: unlock(conversation_id, holder))
