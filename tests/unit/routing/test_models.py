"""Names to targets."""

from __future__ import annotations

import pytest

from antiphon.config import ModelAlias
from antiphon.protocol.errors import ConfigError, InvalidRequest
from antiphon.providers.base import Vendor
from antiphon.routing.models import ModelInfo, Router

ONE = Vendor("one", "responses", "http://one")
TWO = Vendor("two", "chat_completions", "http://two")


def router(*aliases: ModelAlias) -> Router:
    made = Router([ONE, TWO], aliases)
    made.learn("one", [("alpha", 5), ("org/shared", 0)])
    made.learn("two", [("beta", 0), ("org/shared", 0)])
    return made


def names(found: Router, model: str) -> list[str]:
    return [target.name for target in found.resolve(model)]


def test_a_qualified_name_goes_to_its_vendor_also_when_no_list_has_it() -> None:
    assert names(router(), "two/unheard/of") == ["two/unheard/of"]


def test_a_bare_name_goes_to_the_only_vendor_that_has_it() -> None:
    assert names(router(), "alpha") == ["one/alpha"]


def test_an_alias_wins_and_keeps_the_order_of_its_targets() -> None:
    assert names(router(ModelAlias("alpha", ["two/beta", "one/alpha"])), "alpha") == ["two/beta", "one/alpha"]


def test_a_name_is_looked_up_once_until_more_is_learnt() -> None:
    found = router()
    before = found.resolve("one/alpha")
    assert found.resolve("one/alpha") is before
    found.learn("one", [("alpha", 5)], [("alpha", {"context_window": 11})])
    assert [target.able.context_window for target in found.resolve("one/alpha")] == [11]


def test_names_that_clients_make_up_are_not_all_kept() -> None:
    found = router()
    first = found.resolve("one/first")
    for number in range(2_000):
        found.resolve(f"one/{number}")
    assert found.resolve("one/first") is not first
    assert found.resolve("one/1999") is found.resolve("one/1999")


def test_an_ambiguous_bare_name_is_refused_with_its_candidates() -> None:
    with pytest.raises(InvalidRequest, match=r"one/org/shared or two/org/shared") as caught:
        router().resolve("org/shared")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_an_unknown_name_says_what_is_near_and_who_is_active() -> None:
    with pytest.raises(InvalidRequest, match=r"Did you mean 'alpha'.*active vendors: one, two"):
        router().resolve("alphaa")


def test_a_local_engine_that_does_not_run_is_not_called_active() -> None:
    local = Vendor("engine", "chat_completions", "http://local", is_local=True)
    found = Router([ONE, local], [])
    with pytest.raises(InvalidRequest, match=r"active vendors: one\."):
        found.resolve("x")
    found.learn("engine", [("m", 0)])
    with pytest.raises(InvalidRequest, match=r"active vendors: one, engine\."):
        found.resolve("x")


@pytest.mark.parametrize("model", ["", "one/", "/x", "three/x"])
def test_a_name_without_vendor_or_model_is_not_found(model: str) -> None:
    with pytest.raises(InvalidRequest):
        router().resolve(model)


def test_an_alias_to_a_vendor_that_is_not_active_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"'fast': target 'three/x'"):
        Router([ONE], [ModelAlias("fast", ["three/x"])])


def test_models_lists_aliases_first_then_qualified_names() -> None:
    rows = router(ModelAlias("fast", ["one/alpha"])).models()
    assert rows[0] == ModelInfo("fast", "antiphon")
    assert rows[1] == ModelInfo("one/alpha", "one", 5)
    assert [row.id for row in rows[2:]] == ["one/org/shared", "two/beta", "two/org/shared"]


def test_every_listed_model_can_be_found_and_resolved() -> None:
    found = router(ModelAlias("fast", ["one/alpha"]))
    for row in found.models():
        assert found.find(row.id) == row
        assert found.resolve(row.id)


def test_find_takes_a_bare_name_only_where_it_is_unambiguous() -> None:
    assert router().find("beta") == ModelInfo("beta", "two")
    assert router().find("org/shared") is None


def test_learning_again_replaces_what_was_learnt_before() -> None:
    found = router()
    found.learn("one", [("gamma", 0)])
    assert found.find("one/alpha") is None
    assert found.find("one/gamma") is not None
