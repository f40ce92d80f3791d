"""What was read of a chain is kept, within its bounds."""

from __future__ import annotations

from antiphon.engine.history import Link
from antiphon.engine.links import Links
from antiphon.store.base import StoredResponse


def link(response_id: str, previous: str | None = None, size_bytes: int = 0) -> Link:
    body = b'{"output":[],"pad":"' + b"x" * size_bytes + b'"}'
    return Link(StoredResponse(response_id, "proj", previous, "completed", "m", 1, None, body, b"[]", b"[]"))


def ids(links: list[Link]) -> list[str]:
    return [one.stored.id for one in links]


def chain(links: Links, count: int, size_bytes: int = 0) -> None:
    for number in range(count):
        links.keep(link(f"r{number}", f"r{number - 1}" if number else None, size_bytes))


def test_the_newest_links_come_oldest_first_as_far_as_there_is_no_gap() -> None:
    links = Links()
    chain(links, 4)
    assert ids(links.newest_of("r3")) == ["r0", "r1", "r2", "r3"]
    links.forget("r1")
    assert ids(links.newest_of("r3")) == ["r2", "r3"]
    assert links.newest_of("r9") == []
    assert links.newest_of(None) == []


def test_the_least_used_leave_when_there_are_too_many_bytes() -> None:
    links = Links(max_bytes=10_000)
    for name in ("a", "b", "c"):
        links.keep(link(name, None, 2_400))
    assert ids(links.newest_of("a")) == ["a"]
    for name in ("d", "e"):
        links.keep(link(name, None, 2_400))
    assert [name for name in "abcde" if links.newest_of(name)] == ["a", "c", "d", "e"]


def test_a_link_that_would_fill_most_of_the_room_is_not_kept() -> None:
    links = Links(max_bytes=10_000)
    links.keep(link("a", None, 3_000))
    assert links.newest_of("a") == []


def test_what_nobody_asked_for_in_a_while_leaves() -> None:
    now = [0.0]
    links = Links(now=lambda: now[0])
    links.keep(link("a"))
    now[0] = 601.0
    links.keep(link("b"))
    assert links.newest_of("a") == []
    assert ids(links.newest_of("b")) == ["b"]


def test_a_link_kept_twice_counts_once() -> None:
    links = Links(max_bytes=10_000)
    for _ in range(10):
        links.keep(link("a", None, 2_000))
    links.keep(link("b", None, 2_000))
    assert ids(links.newest_of("a")) == ["a"]
    links.forget("a")
    links.forget("a")
    assert ids(links.newest_of("b")) == ["b"]
