"""What is charged, by whose price, and what has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.access.prices import Prices
from antiphon.access.projects import Projects
from antiphon.config import PriceRow, ProjectRow
from antiphon.protocol.deltas import Usage
from antiphon.store.base import UsageRow
from antiphon.store.sqlite import open_sqlite

USED = Usage(input_tokens=1000, cached_tokens=400, cache_write_tokens=100, output_tokens=50, reasoning_tokens=20)


def test_the_operators_price_wins_and_cached_tokens_have_their_own() -> None:
    row = PriceRow(["openai/gpt-*"], input=2.0, output=10.0, cached=0.5, cache_write=2.5)
    assert Prices([row]).cost("openai/gpt-5.4", USED) == 500 * 2000 + 400 * 500 + 100 * 2500 + 50 * 10_000


def test_without_a_price_of_their_own_cached_tokens_cost_as_input() -> None:
    assert Prices([PriceRow(["lab/*"], 1.0, 1.0)]).cost("lab/x", USED) == 1050 * 1000


def test_known_models_have_the_datas_price_in_whole_nano_dollars() -> None:
    cost = Prices([]).cost("anthropic/claude-sonnet-4-5", Usage(input_tokens=1_000_000))
    assert isinstance(cost, int)
    assert cost > 1_000_000_000


@pytest.mark.parametrize("target", ["openai/a-model-nobody-knows", "lab/gpt-5.4", "sim/standard", "ollama/llama3", ""])
def test_what_nobody_prices_is_unpriced_not_free(target: str) -> None:
    assert Prices([]).cost(target, USED) is None


async def test_the_ledger_is_summed_by_project_and_target_with_unpriced_lines_counted(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "a.db")
    try:
        project = await _project(store)
        for number, cost in enumerate((100, None, 250)):
            row = UsageRow(
                f"resp_{number}", project, "key_1", "m", "lab/m", 1000 + number, "completed", 10, 2, 0, 5, 0, cost
            )
            await store.engine.save(None, row, ())
        (found,) = await store.usage_since(0)
        assert (found.project, found.target, found.responses) == ("team", "lab/m", 3)
        assert (found.input_tokens, found.cost_nano_usd, found.unpriced) == (30, 350, 1)
        assert await store.usage_since(5000) == []
    finally:
        await store.close()


async def test_a_project_is_strict_by_its_name(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "a.db")
    try:
        project = await _project(store)
        assert await Projects(store, [ProjectRow("team", strict=True)]).is_strict(project)
        assert not await Projects(store, [ProjectRow("team")]).is_strict(project)
        assert not await Projects(store, [ProjectRow("other", strict=True)]).is_strict(project)
    finally:
        await store.close()


async def _project(store: object) -> str:
    from antiphon.access.keys import Keys
    from antiphon.access.secret import Secret
    from antiphon.store.store import Store

    assert isinstance(store, Store)
    return (await Keys(store, Secret.of(b"the tests' own secret, 32 bytes!")).create("team")).row.project
