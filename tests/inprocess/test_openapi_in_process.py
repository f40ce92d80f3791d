"""The OpenAPI document and its page: whole, true to the routes, and readable without a key."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.inprocess.rig import Rig

METHODS = {"get", "post", "delete"}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig.open(tmp_path) as opened:
        yield opened


@pytest.fixture
async def document(rig: Rig) -> Any:
    answer = await rig.request("GET", "/openapi.json", headers={"authorization": ""})
    assert answer.status == 200
    return answer.body


def _refs(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [ref for part in value.values() for ref in _refs(part)]
    return [ref for part in value for ref in _refs(part)] if isinstance(value, list) else []


async def test_every_route_is_in_the_document_once(rig: Rig, document: Any) -> None:
    found = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert found == {(route.method, route.path.replace("*}", "}")) for route in rig.edge.routes.routes}
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))


async def test_every_reference_resolves_and_every_schema_is_one(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in _refs(document)} <= set(schemas)
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_placeholders_of_paths_are_declared(document: Any) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            declared = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))


async def test_answers_fit_their_schemas(rig: Rig, document: Any) -> None:
    made = (await rig.post({"input": "hi"})).body
    root = {"components": document["components"]}
    for path, schema in (("/v1/models", "ModelList"), (f"/v1/responses/{made['id']}", "Response")):
        answer = await rig.request("GET", path)
        jsonschema.validate(answer.body, {"$ref": f"#/components/schemas/{schema}"} | root)


async def test_the_page_needs_nothing_but_itself(rig: Rig, document: Any) -> None:
    answer = await rig.request("GET", "/docs", headers={"authorization": ""})
    text = answer.raw.decode()
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", text)
    for path in document["paths"]:
        assert f"<code>{path}</code>" in text
