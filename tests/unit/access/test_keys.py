"""Who is let in, for how long, and what a refusal shows."""

from __future__ import annotations

import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.access.keys import CACHE_S, Keys
from antiphon.access.secret import Secret, load_secret
from antiphon.protocol.errors import ConfigError, Forbidden, Unauthenticated
from antiphon.store.base import KeyRow
from antiphon.store.sqlite import open_sqlite
from antiphon.store.store import Store

SECRET = Secret.of(b"s" * 32)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_sqlite(tmp_path / "a.db")
    yield opened
    await opened.close()


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {key}".encode("latin-1")}


async def test_a_new_key_opens_its_project_by_either_header(store: Store) -> None:
    keys = Keys(store, SECRET)
    made = await keys.create("a")
    assert made.key.startswith("sk-antiphon-")
    assert made.key not in repr(made) + repr(await keys.list())
    for headers in (
        bearer(made.key),
        {b"authorization": f"bEARER  {made.key}".encode()},
        {b"x-api-key": made.key.encode()},
    ):
        principal = await keys.authenticate(headers)
        assert (principal.project, principal.key_id) == (made.row.project, made.row.id)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Basic abcdefghijklmnopqrstuvwxyz"},
        {b"authorization": b"Bearer " + b"k" * 513},
        {b"authorization": b"Bearer sk-" + b"\xe9" * 15},
        {b"authorization": b"Bearer two words"},
        {b"x-api-key": b""},
        {b"x-api-key": b"sk-unknown-abcdefghijklmnop"},
    ],
)
async def test_anything_else_is_refused(store: Store, headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Unauthenticated):
        await Keys(store, SECRET).authenticate(headers)


async def test_a_refusal_shows_the_key_only_as_its_hint(store: Store) -> None:
    with pytest.raises(Unauthenticated, match=r"Incorrect API key provided: sk-proj\*\*\*wxyz") as refused:
        await Keys(store, SECRET).authenticate(bearer("sk-proj-verysecretvalue-wxyz"))
    assert "verysecret" not in refused.value.message


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_a_revoked_key_is_refused_once_the_cache_has_run_out(
    store: Store, tmp_path: Path, is_elsewhere: bool
) -> None:
    now = [100.0]
    keys = Keys(store, SECRET, clock=lambda: now[0])
    made = await keys.create("a")
    await keys.authenticate(bearer(made.key))
    other = await open_sqlite(tmp_path / "a.db")
    revoking = Keys(other, SECRET) if is_elsewhere else keys
    assert await revoking.revoke(made.row.id)
    assert not await revoking.revoke(made.row.id)
    await other.close()
    now[0] += CACHE_S
    with pytest.raises(Unauthenticated):
        await keys.authenticate(bearer(made.key))


async def test_keys_that_are_known_are_not_looked_up_again_while_none_is_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    keys = Keys(store, SECRET, clock=lambda: now[0])
    made = [await keys.create("a") for _ in range(3)]
    for one in made:
        await keys.authenticate(bearer(one.key))
    looked_up: list[str] = []
    find = store.find_key

    async def find_key(key_hash: str) -> KeyRow | None:
        looked_up.append(key_hash)
        return await find(key_hash)

    monkeypatch.setattr(store, "find_key", find_key)
    for _ in range(2):
        now[0] += CACHE_S
        for one in made:
            assert (await keys.authenticate(bearer(one.key))).key_id == one.row.id
    assert looked_up == []
    await keys.revoke(made[0].row.id)
    now[0] += CACHE_S
    with pytest.raises(Unauthenticated):
        await keys.authenticate(bearer(made[0].key))
    for one in made[1:]:
        await keys.authenticate(bearer(one.key))
    assert looked_up == [one.row.hash for one in made]


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_trusted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    keys = Keys(store, SECRET, clock=lambda: now[0])
    made, other = await keys.create("a"), await keys.create("a")
    find = store.find_key

    async def find_key(key_hash: str) -> KeyRow | None:
        row = await find(key_hash)
        if key_hash == made.row.hash:  # the answer is late: meanwhile it is revoked, and somebody hears of that
            await keys.revoke(made.row.id)
            now[0] += CACHE_S
            await keys.authenticate(bearer(other.key))
        return row

    monkeypatch.setattr(store, "find_key", find_key)
    assert (await keys.authenticate(bearer(made.key))).key_id == made.row.id
    monkeypatch.setattr(store, "find_key", find)
    with pytest.raises(Unauthenticated):
        await keys.authenticate(bearer(made.key))


async def test_a_bootstrap_key_may_come_again_and_stays_revoked(store: Store) -> None:
    keys = Keys(store, SECRET)
    row = await keys.bootstrap("x" * 16)
    assert await keys.bootstrap("x" * 16) == row
    await keys.authenticate(bearer("x" * 16))
    await keys.revoke(row.id)
    await keys.bootstrap("x" * 16)
    with pytest.raises(Unauthenticated):
        await Keys(store, SECRET).authenticate(bearer("x" * 16))


@pytest.mark.parametrize("key", ["", "x" * 15, "x" * 513, "with a space in it", "\u00e9" * 20])
async def test_a_bootstrap_key_that_no_header_can_carry_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ConfigError, match="ANTIPHON_BOOTSTRAP_KEY"):
        await Keys(store, SECRET).bootstrap(key)


async def test_a_rotated_secret_locks_nobody_out(store: Store) -> None:
    made = await Keys(store, SECRET).create("a")
    rotated = Keys(store, Secret.of(b"t" * 32, (b"s" * 32,)))
    assert (await rotated.authenticate(bearer(made.key))).key_id == made.row.id
    with pytest.raises(Unauthenticated):
        await Keys(store, Secret.of(b"t" * 32)).authenticate(bearer(made.key))


def test_processes_that_start_together_make_one_secret(tmp_path: Path) -> None:
    made: list[Secret] = []
    threads = [threading.Thread(target=lambda: made.append(load_secret(tmp_path, {}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert made == [load_secret(tmp_path, {})] * 8
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_damaged_secret_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abcd\n")
    with pytest.raises(ConfigError, match="secret"):
        load_secret(tmp_path, {})
    assert (tmp_path / "secret").read_text() == "abcd\n"


def test_the_environment_wins_and_may_name_earlier_secrets(tmp_path: Path) -> None:
    environ = {"ANTIPHON_SECRET": "n" * 32, "ANTIPHON_SECRET_OLD": "o" * 32}
    assert load_secret(tmp_path, environ) == Secret.of(b"n" * 32, (b"o" * 32,))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="at least 32"):
        load_secret(tmp_path, {"ANTIPHON_SECRET": "short"})


async def test_a_key_acts_for_its_projects_and_no_others(store: Store) -> None:
    keys = Keys(store, Secret.of(b"x" * 32), has_project_header=True)
    made = await keys.create("one", "two")
    foreign = await keys.create("three")
    sent = bearer(made.key)
    own = await keys.authenticate(sent)
    other = await keys.authenticate(sent | {b"x-project-id": b"two"})
    assert other.project == await store.project_id("two")
    assert (await keys.authenticate(sent | {b"x-project-id": other.project.encode()})) == other
    assert await keys.authenticate(sent | {b"x-project-id": b" one "}) == own
    for wanted in ("three", foreign.row.project, "none"):
        with pytest.raises(Forbidden, match="does not own"):
            await keys.authenticate(sent | {b"x-project-id": wanted.encode()})
    assert await Keys(store, Secret.of(b"x" * 32)).authenticate(sent | {b"x-project-id": b"two"}) == own
