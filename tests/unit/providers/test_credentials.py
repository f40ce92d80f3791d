"""Calls signed by the clouds' own chains: real libraries, their services played on loopback."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from antiphon.protocol.errors import UpstreamFault
from antiphon.providers.base import Credential, HttpRequest
from antiphon.providers.credentials import Credentials

BODY = b'{"messages":[]}'
URL = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/us.amazon.nova-pro-v1%3A0/converse-stream"


def request(credential: Credential, url: str = URL) -> HttpRequest:
    return HttpRequest("POST", url, (("content-type", "application/json"),), BODY, credential=credential)


@dataclass
class Granter:
    """A token service; it counts what it is asked."""

    answer: dict[str, Any]
    port: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def granter() -> Iterator[Granter]:
    granter = Granter({"access_token": "token-1", "expires_in": 3600, "token_type": "Bearer"})

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            granter.asked.append(self.path + "?" + self.rfile.read(length).decode())
            body = msgspec.json.encode(granter.answer)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 - the handler's own names

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    granter.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield granter
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(autouse=True)
def _no_own_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own is found."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def test_an_aws_profile_signs_as_botocore_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_PROFILE", "work")
    signed = dict(await Credentials().headers(request(Credential("aws", "bedrock", "eu-west-1"))))
    assert signed["content-type"] == "application/json"
    scope = f"/{signed['x-amz-date'][:8]}/eu-west-1/bedrock/aws4_request"
    assert signed["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE" + scope)
    assert signed["authorization"].endswith(_signature(signed, "secret", scope[1:]))


async def test_a_session_token_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    signed = dict(await Credentials().headers(request(Credential("aws", "bedrock-mantle", "us-east-1"))))
    assert signed["x-amz-security-token"] == "session"
    assert "/us-east-1/bedrock-mantle/aws4_request" in signed["authorization"]


async def test_without_aws_credentials_the_fault_is_ours(tmp_path: Path) -> None:
    del tmp_path
    with pytest.raises(UpstreamFault) as caught:
        await Credentials().headers(request(Credential("aws", "bedrock", "us-east-1")))
    assert (caught.value.kind, caught.value.fault.status) == ("auth", 502)


async def test_googles_default_credentials_are_fetched_once_and_again_when_nearly_over(
    granter: Granter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding = serialization.Encoding.PEM
    pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {"type": "service_account", "client_email": "a@p.example", "project_id": "p", "private_key_id": "k"}
    account |= {"private_key": pem.decode(), "token_uri": f"http://127.0.0.1:{granter.port}/token"}
    path = tmp_path / "account.json"
    path.write_bytes(msgspec.json.encode(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    now = 1000.0
    credentials = Credentials(lambda: now)
    credential = Credential("google", scope="https://www.googleapis.com/auth/cloud-platform")
    for _ in range(3):
        assert dict(await credentials.headers(request(credential)))["authorization"] == "Bearer token-1"
    assert len(granter.asked) == 1
    assert "assertion" in parse_qs(granter.asked[0].partition("?")[2])
    now += 3000
    granter.answer["access_token"] = "token-2"
    assert dict(await credentials.headers(request(credential)))["authorization"] == "Bearer token-2"


async def test_entra_grants_a_token_to_a_managed_identity(granter: Granter, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{granter.port}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    granter.answer = {"access_token": "entra-1", "expires_on": "4102444800", "resource": "r", "token_type": "Bearer"}
    credential = Credential("entra", scope="https://cognitiveservices.azure.com/.default")
    credentials = Credentials()
    assert dict(await credentials.headers(request(credential)))["authorization"] == "Bearer entra-1"
    assert "cognitiveservices.azure.com" in granter.asked[0]
    credentials.forget(credential)
    granter.answer["access_token"] = "entra-2"
    assert dict(await credentials.headers(request(credential)))["authorization"].startswith("Bearer entra-")


def _signature(signed: dict[str, str], secret: str, scope: str) -> str:
    """SigV4 written down again from its description, to hold the library's answer against."""
    import hashlib
    import hmac

    names = signed["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    held = {name: {"host": "bedrock-runtime.eu-west-1.amazonaws.com"}.get(name) or signed[name] for name in names}
    canonical = "\n".join(
        [
            "POST",
            "/model/us.amazon.nova-pro-v1%253A0/converse-stream",
            "",
            *(f"{name}:{held[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(BODY).hexdigest(),
        ]
    )
    text = "\n".join(["AWS4-HMAC-SHA256", signed["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
