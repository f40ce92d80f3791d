"""Every operation of our own OpenAPI document, with what it allows and what it does not: an answer, never a 5xx."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from tests.harness.contracts import check_error
from tests.harness.process import KEY, ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
EXAMPLES = 12
WAIT_S = 10
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)


def _checked(answer: Any) -> None:
    assert answer.status_code < 500, (answer.request.method, answer.request.url, answer.request.body, answer.text)
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert "application/json" in str(answer.headers["content-type"])
        check_error(msgspec.json.decode(answer.content))


def _aimed(body: Any) -> Any:
    """Bodies that name a model name one that is there: what they ask is carried out."""
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        return body | {"model": "sim/standard"}
    return body


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_operation_breaks(antiphon_server: ServerProcess, mode: GenerationMode) -> None:
    document = requests.get(f"{antiphon_server.origin}/openapi.json", timeout=WAIT_S).json()
    schema = schemathesis.openapi.from_dict(document)
    session = requests.Session()
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.body = _aimed(case.body)
            headers = {"authorization": f"Bearer {KEY}"}
            answer = case.call(base_url=antiphon_server.origin, session=session, headers=headers, timeout=WAIT_S)
            _checked(answer)

        try:
            call()
        except Unsatisfiable:  # an operation without input has nothing to be made wrong
            continue
    assert tried > 100


NASTY: list[bytes] = [
    b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe", b"\x00", b'{"model":"\\ud800"}', b"[" * 5000, b'{"a":' * 5000,
    b'{"model":"sim/standard","input":"\\u0000"}', b'{"model":"sim/standard","input":' + b"9" * 400 + b"}",
    b'{"model":"sim/standard","input":"x","max_output_tokens":1e999}',
    b'{"model":"sim/standard","input":"x","metadata":{"\\ud800":"x"}}',
    b'{"model":"sim/standard","input":"x","metadata":{"a":"\\u0000"}}',
    b'{"model":"a\\u0000b","input":"x"}', b'{"items":[{"role":"user","content":"\\u0000\\ud83d"}]}',
    b'{"model":"sim/standard","input":"x","previous_response_id":"\\u0000"}',
    b'{"model":"sim/standard","input":"x","conversation":"\\u0000"}',
    b'{"model":"sim/standard","input":[{"type":"item_reference","id":"\\u0000"}]}',
    b'{"items":[{"role":"user","content":"x","id":"\\u0000"}]}', b'{"prompt":{"id":"\\u0000"}}',
    b'{"\xc1":1}', b'{"model":"sim/standard","input":"x","metadata":{"\xd0":"x"}}', b'{"items":[{"\x90":1}]}',
    b'{"model":"sim/standard","input":[{"\x90":1}]}', b'{"model":"sim/standard","input":"x","prompt":{"\xff":1}}',
    b'{"model":"sim/standard","input":"x","tools":[{"type":"function","name":"f","parameters":{"\xff":1}}]}',
    b'{"model":"sim/standard","input":"x","tools":[{"type":"function","name":"f","parameters":{"a":"\xff"}}]}',
    b'{"model":"sim/standard","input":"x","text":{"format":{"type":"json_schema","name":"f","schema":{"\xff":1}}}}',
    b'{"name":"\\u0000","template":{"input":"{{x}}"}}', b'{"metadata":{"a":"\\udfff"}}',
]  # fmt: skip
NASTY_IDS = [
    "%00",
    "a%00b",
    "%ff%fe",
    "%ed%a0%80",
    "x" * 5000,
    "..",
    "%2e%2e%2f",
    "resp_%F0%9F%98%80",
    "'; DROP--",
    "%0a",
]


@pytest.mark.parametrize("body", NASTY, ids=range(len(NASTY)))
def test_no_body_breaks_any_post(antiphon_server: ServerProcess, body: bytes) -> None:
    document = requests.get(f"{antiphon_server.origin}/openapi.json", timeout=WAIT_S).json()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    for path, methods in document["paths"].items():
        if "post" in methods:
            url = antiphon_server.origin + path.replace("{", "").replace("}", "")
            _checked(requests.post(url, data=body, headers=headers, timeout=WAIT_S))


@pytest.mark.parametrize("name", NASTY_IDS)
def test_no_id_breaks_any_path(antiphon_server: ServerProcess, name: str) -> None:
    document = requests.get(f"{antiphon_server.origin}/openapi.json", timeout=WAIT_S).json()
    headers = {"authorization": f"Bearer {KEY}"}
    for path, methods in document["paths"].items():
        filled = "/".join(name if part.startswith("{") else part for part in path.split("/"))
        for method in methods if filled != path else ():
            for query in ("", f"?after={name}&version={name}&starting_after={name}&include[]={name}"):
                _checked(
                    requests.request(method, antiphon_server.origin + filled + query, headers=headers, timeout=WAIT_S)
                )
