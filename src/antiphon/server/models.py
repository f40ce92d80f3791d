"""/v1/models and /v1/models/{id}: what can be called."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from antiphon.protocol.errors import NotFound
from antiphon.routing.models import ModelInfo, Router

from .routes import Call, Route

_encode: Final = msgspec.json.Encoder().encode


class Model(msgspec.Struct, frozen=True):
    """A model as OpenAI shows it; `created` is Unix seconds, 0 where the vendor does not say."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(msgspec.Struct, frozen=True):
    object: Literal["list"]
    data: list[Model]


def _shown(model: ModelInfo) -> Model:
    return Model(model.id, "model", model.created, model.owned_by)


class ModelsEndpoint:
    """The models of every active vendor."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/v1/models", self.list, "List models.", answer=ModelList),
            Route(
                "GET", "/v1/models/{model*}", self.retrieve, "Retrieve a model; its id may hold slashes.", answer=Model
            ),
        )

    async def list(self, call: Call) -> None:
        """GET /v1/models."""
        await call.exchange.answer(200, _encode(ModelList("list", [_shown(model) for model in self._router.models()])))

    async def retrieve(self, call: Call) -> None:
        """GET /v1/models/{id}."""
        model_id = call.params["model"]
        model = self._router.find(model_id)
        if model is None:
            raise NotFound(f"The model '{model_id}' does not exist.", param="model", code="model_not_found")
        await call.exchange.answer(200, _encode(_shown(model)))
