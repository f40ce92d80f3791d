"""A model's name to the targets that serve it, in order of preference.

An alias of the operator's wins, then `vendor/model` (the model part may hold slashes), then a bare name where exactly
one vendor is known to have it. Must never ask a vendor: `routing.discovery` teaches what it found through `learn`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from antiphon.config import ModelAlias
from antiphon.protocol.errors import ConfigError, InvalidRequest
from antiphon.providers.base import Target, Vendor
from antiphon.providers.capabilities import Fields, Registry
from antiphon.providers.catalog import known_models, serving

_OWNER: Final = "antiphon"
_MAX_RESOLVED: Final = 1024


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One row of GET /v1/models. `created` is Unix seconds, 0 where the vendor does not say."""

    id: str
    owned_by: str
    created: int = 0


class Router:
    """What can be called under which name. One per process; `learn` may be called while it serves."""

    def __init__(
        self, vendors: Sequence[Vendor], aliases: Sequence[ModelAlias], registry: Registry | None = None
    ) -> None:
        """Raises ConfigError for an alias whose target names no vendor."""
        self.vendors: Final = tuple(vendors)
        self._registry: Final = registry or Registry()
        self._known: Final = lru_cache(_MAX_RESOLVED)(self._find)  # bounded: clients write what names they like
        self._by_name: Final = {vendor.name: vendor for vendor in vendors}
        self._models: Final = {vendor.name: dict.fromkeys(known_models(vendor), 0) for vendor in vendors}
        self._aliases: Final = {alias.name: tuple(alias.targets) for alias in aliases}
        for alias in aliases:
            self._check_targets(alias)

    def _check_targets(self, alias: ModelAlias) -> None:
        for name in alias.targets:
            if self._qualified(name) is None:
                raise ConfigError(
                    f"[[model]] {alias.name!r}: target {name!r} is not VENDOR/MODEL of an active vendor "
                    f"({', '.join(self._by_name)}); set the vendor's key or add a [[vendor]]"
                )

    def resolve(self, model: str) -> tuple[Target, ...]:
        """The targets for a name, best first, at least one, and the same ones until more is learnt.

        Raises InvalidRequest(model_not_found).
        """
        return self._known(model)

    def _find(self, model: str) -> tuple[Target, ...]:
        if names := self._aliases.get(model):
            return tuple(target for name in names if (target := self._qualified(name)) is not None)
        if target := self._qualified(model):
            return (target,)
        owners = [vendor for vendor in self.vendors if model in self._models[vendor.name]]
        if len(owners) == 1:
            return (self._target(owners[0], model),)
        raise InvalidRequest(self._explain(model, owners), param="model", code="model_not_found")

    def _qualified(self, name: str) -> Target | None:
        vendor_name, slash, model = name.partition("/")
        vendor = self._by_name.get(vendor_name)
        return self._target(vendor, model) if vendor is not None and slash and model else None

    def _target(self, vendor: Vendor, model: str) -> Target:
        return Target(serving(vendor, model), model, self._registry.of(vendor.name, model))

    def _explain(self, model: str, owners: Sequence[Vendor]) -> str:
        start = f"The model '{model}' does not exist or is not configured."
        if owners:
            return f"{start} Several vendors have it: use {' or '.join(f'{vendor.name}/{model}' for vendor in owners)}."
        known = [row.id for row in self.models()]
        bare = [name.partition("/")[2] for name in known]
        close = difflib.get_close_matches(model, [*known, *bare], n=1, cutoff=0.7)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        return (
            f"{start}{hint} Models are named VENDOR/MODEL; active vendors: {', '.join(self._active()) or 'none'}. "
            "Set another vendor's API key variable or add a [[vendor]] to antiphon.toml to have more."
        )

    def _active(self) -> list[str]:
        """Vendors that are worth naming: local engines only where one was found to run."""
        return [vendor.name for vendor in self.vendors if not vendor.is_local or self._models[vendor.name]]

    def models(self) -> list[ModelInfo]:
        """What can be called: aliases first, then every known model of every vendor."""
        rows = [ModelInfo(name, _OWNER) for name in self._aliases]
        for vendor in self.vendors:
            created = self._models[vendor.name]
            rows += [ModelInfo(f"{vendor.name}/{model}", vendor.name, created[model]) for model in created]
        return rows

    def find(self, model_id: str) -> ModelInfo | None:
        """One model by the id that `models` lists, or by a bare name that `resolve` takes."""
        if model_id in self._aliases:
            return ModelInfo(model_id, _OWNER)
        for vendor in self.vendors:
            prefix = f"{vendor.name}/"
            model = model_id.removeprefix(prefix)
            if model_id.startswith(prefix) and model in self._models[vendor.name]:
                return ModelInfo(model_id, vendor.name, self._models[vendor.name][model])
        owners = [vendor for vendor in self.vendors if model_id in self._models[vendor.name]]
        if len(owners) != 1:
            return None
        return ModelInfo(model_id, owners[0].name, self._models[owners[0].name][model_id])

    def learn(
        self, vendor_name: str, models: Sequence[tuple[str, int]], facts: Sequence[tuple[str, Fields]] = ()
    ) -> None:
        """Take a vendor's own list, (name, created), for what it serves; names given in the catalog stay.

        `facts` are what the list says of a model beside its name.
        """
        self._known.cache_clear()
        for model, said in facts:
            self._registry.learn(vendor_name, model, said)
        vendor = self._by_name[vendor_name]
        self._models[vendor_name] = dict.fromkeys(known_models(vendor), 0) | dict(models)
