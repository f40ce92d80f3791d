"""Prompt templates: made, versioned, filled with text, images and files, and laid under requests."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.client import Client, Json, text_of
from tests.upstream.script import Say, Script
from tests.upstream.server import Upstream

PIXEL = "data:image/png;base64,iVBORw0KGgo="


async def prompt(client: Client, **template: Any) -> str:
    answer = await client.request("POST", "/prompts", json={"name": "greeting", "template": template})
    assert answer.status == 200, answer.body
    return answer.body["id"]


async def test_a_prompt_supplies_what_the_request_leaves_out(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("ok"),)))
    made = await prompt(
        client,
        model="chat/m1",
        instructions="Speak {{language}}.",
        temperature=0.5,
        input=[{"role": "developer", "content": "Topic: {{ topic }}."}],
    )
    reference = {"id": made, "variables": {"language": "Latin", "topic": "Rome"}}
    response = await client.create({"prompt": reference, "input": "hi"})
    assert (response["model"], response["instructions"], response["temperature"]) == ("chat/m1", "Speak Latin.", 0.5)
    assert response["prompt"] == reference | {"version": None}
    sent = [message["content"] for message in upstream.requests("m1")[-1].body["messages"]]
    assert [str(content) for content in sent] == ["Speak Latin.", "Topic: Rome.", "hi"]


async def test_the_request_wins_over_the_prompt(client: Client) -> None:
    made = await prompt(client, model="nobody/none", instructions="a", temperature=0.1, input="Say one")
    response = await client.create({"prompt": {"id": made}, "model": "sim/standard", "instructions": "b"})
    assert (response["instructions"], response["temperature"], text_of(response)) == ("b", 0.1, "one")


async def test_images_and_files_take_their_places_in_the_text(client: Client, upstream: Upstream) -> None:
    upstream.queue("m1", Script((Say("ok"),)))
    made = await prompt(client, model="chat/m1", input="Compare {{left}} with {{name}} and say.")
    image = {"type": "input_image", "image_url": PIXEL, "detail": "auto"}
    await client.create({"prompt": {"id": made, "variables": {"left": image, "name": "Rome"}}})
    parts = upstream.requests("m1")[-1].body["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text"]
    assert [part.get("text") for part in parts] == ["Compare ", None, " with Rome and say."]


async def test_a_value_is_never_read_as_a_template(client: Client) -> None:
    made = await prompt(client, model="sim/standard", input="#sim echo\n{{a}} {{b}}")
    response = await client.create({"prompt": {"id": made, "variables": {"a": "{{b}}", "b": "x"}}})
    assert text_of(response).strip() == "{{b}} x"


async def test_versions_are_added_and_chosen(client: Client) -> None:
    made = await prompt(client, model="sim/standard", input="Say one")
    path = f"/prompts/{made}"
    second = await client.request(
        "POST", path + "/versions", json={"template": {"model": "sim/standard", "input": "Say two"}}
    )
    assert second.body["version"] == "2"
    third = {"template": {"model": "sim/standard", "input": "Say three"}, "default": False}
    await client.request("POST", path + "/versions", json=third)
    said = [
        text_of(await client.create({"prompt": {"id": made} | named}))
        for named in ({}, {"version": "1"}, {"version": "3"})
    ]
    assert said == ["two", "one", "three"]
    assert [row["version"] for row in (await client.get(path + "/versions?order=asc")).body["data"]] == ["1", "2", "3"]
    changed = await client.request("POST", path, json={"default_version": "3", "name": "new"})
    assert (changed.body["default_version"], changed.body["name"], changed.body["version"]) == ("3", "new", "3")
    assert (await client.get(path + "?version=1")).body["template"]["input"] == "Say one"
    assert made in [row["id"] for row in (await client.get("/prompts?limit=100")).body["data"]]
    assert (await client.delete(path)).body["deleted"] is True
    for answer in (await client.get(path), await client.post({"prompt": {"id": made}})):
        assert (answer.status, answer.error["message"]) == (404, f"Prompt with id '{made}' not found.")


async def test_in_the_background_the_prompt_is_the_one_of_the_moment(client: Client) -> None:
    made = await prompt(client, model="sim/standard", input="#sim slow 30ms\n#sim say as it was")
    answer = await client.post({"prompt": {"id": made}, "background": True, "stream": False})
    assert answer.status == 200
    await client.delete(f"/prompts/{made}")
    while (body := (await client.get(f"/responses/{answer.body['id']}")).body)["status"] in ("queued", "in_progress"):
        pass
    assert text_of(body) == "as it was"


@pytest.mark.parametrize(
    ("reference", "status", "code", "param"),
    [
        ({"variables": {"a": "x"}}, 400, "missing_required_parameter", "prompt.variables"),
        ({"variables": {"a": "x", "b": "y", "c": "z"}}, 400, "unknown_parameter", "prompt.variables.c"),
        ({"variables": {"a": 7, "b": "y"}}, 400, "invalid_type", "prompt.variables.a"),
        (
            {"variables": {"a": {"type": "input_image", "image_url": PIXEL}, "b": "y"}},
            400,
            "invalid_value",
            "prompt.variables.a",
        ),
        ({"version": "9", "variables": {"a": "x", "b": "y"}}, 404, None, None),
        ({"version": "one", "variables": {"a": "x", "b": "y"}}, 404, None, None),
    ],
)
async def test_variables_that_do_not_fit_are_refused_by_name(
    client: Client, reference: Json, status: int, code: str | None, param: str | None
) -> None:
    made = await prompt(client, model="sim/standard", instructions="{{a}}", input="{{b}}")
    answer = await client.post({"prompt": {"id": made} | reference})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (status, code, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"template": {}}, "name"),
        ({"name": "x"}, "template"),
        ({"name": "x", "template": 7}, "template"),
        ({"name": "x", "template": {"stream": True}}, "template.stream"),
        ({"name": "x", "template": {"temperature": 9}}, "template.temperature"),
        ({"name": "x", "template": {"bogus": 9}}, "template.bogus"),
        ({"name": "x", "template": {"input": [{"role": "nobody", "content": "x"}]}}, "template.input[0].role"),
    ],
)
async def test_a_template_that_could_be_no_request_is_refused(client: Client, body: Json, param: str) -> None:
    answer = await client.request("POST", "/prompts", json=body)
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_a_prompt_without_a_model_needs_one_from_the_request(client: Client) -> None:
    made = await prompt(client, input="Say one")
    answer = await client.post({"prompt": {"id": made}})
    assert (answer.status, answer.error["param"]) == (400, "model")
    assert text_of(await client.create({"prompt": {"id": made}, "model": "sim/standard"})) == "one"
