"""Every response and event against both OpenAPI documents, where those are present; a no-op where they are not.

The documents lie beside the repository (`../shared/spec`, or ANTIPHON_SPEC_DIR). What we send on purpose against one of
them is listed in EXCEPTIONS, with its reason, and nowhere else.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import msgspec

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
SPEC_FOLDER = Path(os.environ.get("ANTIPHON_SPEC_DIR", ROOT.parent / "shared" / "spec"))
OPENAI, OPEN_RESPONSES = "openai-responses.openapi.json", "open-responses.openapi.json"
RESPONSE_SCHEMAS = {OPENAI: "Response", OPEN_RESPONSES: "ResponseResource"}


class Exemption(NamedTuple):
    """Errors of one document at paths that match, and why we send it nevertheless."""

    document: str
    path: str
    reason: str


NEWER_EVENTS = ("response.compaction.compacting",)
"""Events of OpenAI's SDK that its public document, of August 2026, does not have yet."""

EXCEPTIONS = (
    Exemption(OPENAI, r"(response/)?usage", "null until the end, as the live API sends it; no null is documented"),
    Exemption(OPENAI, r"(response/)?incomplete_details", "`steered` is newer than the document"),
    Exemption(
        OPENAI, r"(response/)?text/format", "description is null where none was given: Open Responses requires it"
    ),
    Exemption(
        OPEN_RESPONSES, r"(response/)?text/format", "the document's `schema` is null only, which is a slip of it"
    ),
    Exemption(OPEN_RESPONSES, r"(response/)?tools/\d+", "the document knows function tools alone; others are echoed"),
    Exemption(OPEN_RESPONSES, r"((response/)?output/\d+|item)", "nor does it know items of OpenAI's other tools"),
)


@cache
def _schemas(document: str) -> Json:
    path = SPEC_FOLDER / document
    return msgspec.json.decode(path.read_bytes())["components"] if path.exists() else {}


@cache
def _event_schemas(document: str) -> dict[str, str]:
    """Event type -> schema name."""
    found: dict[str, str] = {}
    for name, schema in _schemas(document).get("schemas", {}).items():
        kinds = schema.get("properties", {}).get("type", {}).get("enum") or ()
        for kind in kinds:
            if str(kind).startswith("response.") and name.endswith("Event"):
                found[kind] = name
    return found


@cache
def _validator(document: str, schema: str) -> jsonschema.Draft202012Validator:
    root = {"$ref": f"#/components/schemas/{schema}", "components": _schemas(document)}
    return jsonschema.Draft202012Validator(root)


def _complaints(document: str, schema: str, value: Json) -> list[str]:
    complaints: list[str] = []
    for error in _validator(document, schema).iter_errors(value):
        path = "/".join(str(step) for step in error.absolute_path)
        if not any(one.document == document and re.fullmatch(one.path, path) for one in EXCEPTIONS):
            complaints.append(f"{document} {schema} at {path or '.'}: {error.message[:300]}")
    return complaints


def check_response(body: Json) -> None:
    """A response object, as a JSON body or inside an event."""
    assert body["id"].startswith("resp_")
    for document, schema in RESPONSE_SCHEMAS.items():
        if _schemas(document):
            complaints = _complaints(document, schema, body)
            assert not complaints, complaints


def check_event(event: Json) -> None:
    """One streamed event. A document that does not know the type has no say: OpenAI's has all we send."""
    known = _event_schemas(OPENAI)
    assert not known or event["type"] in {*known, *NEWER_EVENTS}, f"unknown event {event['type']}"
    for document in RESPONSE_SCHEMAS:
        schema = _event_schemas(document).get(event["type"])
        if schema is not None:
            complaints = _complaints(document, schema, event)
            assert not complaints, complaints


def check_error(body: Json) -> None:
    """An HTTP error's body: OpenAI's envelope with all four keys."""
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"message", "type", "param", "code"}, body
    assert body["error"]["message"] != ""
