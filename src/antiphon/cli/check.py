"""`antiphon config check`: read everything a start would read, and show what it comes to. Never prints a credential."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from antiphon.config import SETTINGS, Settings, load_settings
from antiphon.providers.capabilities import Registry
from antiphon.providers.catalog import load_capabilities, load_vendors
from antiphon.routing.models import Router


def check(overrides: Mapping[str, str | int | None], as_json: bool) -> None:
    """Raises ConfigError where the configuration is wrong."""
    settings = load_settings(overrides, os.environ)
    vendors = load_vendors(settings, os.environ)
    Router(vendors, settings.models, Registry(load_capabilities(settings)))
    names = [vendor.name for vendor in vendors]
    shown = _shown(settings)
    if as_json:
        found = {"settings": shown, "vendors": names, "models": [alias.name for alias in settings.models]}
        print(msgspec.json.encode(found).decode())
        return
    print(f"configuration file: {settings.config_path or 'none (antiphon.toml is not in this folder)'}")
    for name, value in shown.items():
        print(f"  {name} = {value}")
    print(f"vendors: {', '.join(names)}")
    print(f"aliases: {', '.join(alias.name for alias in settings.models) or 'none'}")
    print("the configuration is good")


def _shown(settings: Settings) -> dict[str, object]:
    fields = {"data": "data_dir", "store": "store_url", "sim": "is_sim_enabled"}
    found: dict[str, object] = {}
    for setting in SETTINGS:
        value: object = getattr(settings, fields.get(setting.name, setting.name))
        found[setting.name] = value if isinstance(value, str | int | float) else str(value)
    return found
