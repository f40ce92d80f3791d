"""What a model call costs, in nano-USD: by the operator's own prices, else by the `genai-prices` data.

Nobody's price is zero: a model without one is unpriced (None), and shown so. `genai-prices` (Pydantic, MIT) is the
extra `antiphon[prices]`; it is imported when the first price is asked for. Source: reference of provider wires, §7.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from decimal import Decimal
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any, Final

from antiphon.config import PriceRow
from antiphon.protocol.deltas import Usage

_PER_MILLION: Final = 1_000
"""USD per million tokens to nano-USD a token."""
_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "azure": "azure",
    "azure-dated": "azure",
    "bedrock": "aws",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "cohere": "cohere",
    "databricks": "databricks",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google": "google",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "vertex": "google",
    "xai": "x-ai",
    "zai": "zai",
}
"""Our vendors' names in the data; the operator's own vendors are in no list."""


class Prices:
    """Prices of models. One per process."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        self._rows = tuple(rows)
        self._has_data = find_spec("genai_prices") is not None
        self._data: Any = None

    def cost(self, target: str, usage: Usage) -> int | None:
        """Nano-USD for what was used of `vendor/model`, or None where nobody knows its price."""
        for row in self._rows:
            if any(fnmatchcase(target, pattern) for pattern in row.models):
                return _by_row(row, usage)
        vendor, _, model = target.partition("/")
        provider = _PROVIDERS.get(vendor)
        if provider is None or not model or not self._has_data:
            return None
        return self._by_data(provider, model, usage)

    def _by_data(self, provider: str, model: str, usage: Usage) -> int | None:
        if self._data is None:
            self._data = importlib.import_module("genai_prices")
        said = self._data.Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
        )
        try:
            price: Decimal = self._data.calc_price(said, model, provider_id=provider).total_price
        except (LookupError, ValueError):  # an unknown model, or counts that its tiers cannot take
            return None
        return int(price * 1_000_000_000)


def _by_row(row: PriceRow, usage: Usage) -> int:
    """The operator's price; cached and written tokens cost as input where no price of their own is said."""
    fresh = max(usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens, 0)
    cached = row.input if row.cached is None else row.cached
    written = row.input if row.cache_write is None else row.cache_write
    dollars = (
        fresh * row.input + usage.cached_tokens * cached + usage.cache_write_tokens * written
    ) + usage.output_tokens * row.output
    return round(dollars * _PER_MILLION)
