"""/v1/models and /v1/models/{id}: what can be called."""

from __future__ import annotations

from typing import Final

import msgspec

from antiphon.protocol.errors import NotFound
from antiphon.routing.models import ModelInfo, Router

from .asgi import Exchange

_encode: Final = msgspec.json.Encoder().encode


def _shown(model: ModelInfo) -> dict[str, object]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}


async def list_models(exchange: Exchange, router: Router) -> None:
    """GET /v1/models."""
    await exchange.answer(200, _encode({"object": "list", "data": [_shown(model) for model in router.models()]}))


async def retrieve_model(exchange: Exchange, router: Router, model_id: str) -> None:
    """GET /v1/models/{id}; ids contain slashes."""
    model = router.find(model_id)
    if model is None:
        raise NotFound(f"The model '{model_id}' does not exist.", param="model", code="model_not_found")
    await exchange.answer(200, _encode(_shown(model)))
