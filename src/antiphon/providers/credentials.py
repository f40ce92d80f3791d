"""Signing calls where no key in a header opens them: AWS SigV4, Google's application default credentials, Entra.

The clouds' own libraries find and refresh credentials (profiles, roles, metadata services, federated tokens); they
block, so they run in threads, and what they give is kept until it is nearly over. Each is an extra of ours, imported
when first needed. Must never log what it handles.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from antiphon.protocol.errors import UpstreamFault

from .base import Credential, HttpRequest

Headers = tuple[tuple[str, str], ...]
_AWS_KEPT_S: Final = 60.0
_TOKEN_KEPT: Final = 0.8
"""Of a token's life: then a new one is fetched, well before the old one ends."""
_LEAST_LIFE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, and how many seconds it may be used from now on."""

    value: str
    life_s: float


class AwsKeys(Protocol):
    """botocore's frozen credentials."""

    access_key: str
    secret_key: str
    token: str | None


class Credentials:
    """Signs calls. One per process; `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._tokens: dict[Credential, tuple[str, float]] = {}
        self._aws: tuple[AwsKeys, float] | None = None
        self._aws_source: Any = None
        self._google: Any = None
        self._entra: Any = None

    async def headers(self, request: HttpRequest) -> Headers:
        """The headers of the call, signed. Raises UpstreamFault(auth) where there is nothing to sign with."""
        credential = request.credential
        if credential is None:
            return request.headers
        try:
            if credential.kind == "aws":
                return await self._signed(request, credential)
            token = await self._token(credential)
        except UpstreamFault:
            raise
        except Exception as error:
            # Whatever a cloud's library raises means one thing here; its text may name files and accounts.
            raise _refused(credential, type(error).__name__) from error
        return (*request.headers, ("authorization", f"Bearer {token}"))

    def forget(self, credential: Credential) -> None:
        """The cloud refused what this gave: fetch anew for the next call."""
        self._tokens.pop(credential, None)
        if credential.kind == "aws":
            self._aws = None

    async def _token(self, credential: Credential) -> str:
        known = self._tokens.get(credential)
        if known is not None and known[1] > self._clock():
            return known[0]
        async with self._lock:
            known = self._tokens.get(credential)
            if known is not None and known[1] > self._clock():
                return known[0]
            fetch = self._google_token if credential.kind == "google" else self._entra_token
            token = await asyncio.to_thread(fetch, credential.scope)
            kept_s = max(token.life_s * _TOKEN_KEPT, min(token.life_s, _LEAST_LIFE_S))
            self._tokens[credential] = (token.value, self._clock() + kept_s)
            return token.value

    def _google_token(self, scope: str) -> Token:
        transport = importlib.import_module("google.auth.transport.requests")
        if self._google is None:
            self._google, _ = importlib.import_module("google.auth").default(scopes=[scope])
        source = self._google
        source.refresh(transport.Request())
        expiry = source.expiry  # UTC without a zone
        now = importlib.import_module("google.auth._helpers").utcnow()
        return Token(source.token, (expiry - now).total_seconds() if expiry is not None else _LEAST_LIFE_S)

    def _entra_token(self, scope: str) -> Token:
        if self._entra is None:
            self._entra = importlib.import_module("azure.identity").DefaultAzureCredential()
        token = self._entra.get_token(scope)
        return Token(token.token, token.expires_on - time.time())

    async def _signed(self, request: HttpRequest, credential: Credential) -> Headers:
        if self._aws is None or self._aws[1] <= self._clock():
            async with self._lock:
                if self._aws is None or self._aws[1] <= self._clock():
                    self._aws = (await asyncio.to_thread(self._aws_keys), self._clock() + _AWS_KEPT_S)
        keys = self._aws[0]
        auth = importlib.import_module("botocore.auth")
        requests = importlib.import_module("botocore.awsrequest")
        unsigned = requests.AWSRequest(
            method=request.method, url=request.url, data=request.body, headers=dict(request.headers)
        )
        auth.SigV4Auth(keys, credential.service, credential.region).add_auth(unsigned)
        return tuple((name.lower(), str(value)) for name, value in unsigned.headers.items())

    def _aws_keys(self) -> AwsKeys:
        if self._aws_source is None:
            self._aws_source = importlib.import_module("botocore.session").get_session().get_credentials()
        if self._aws_source is None:
            raise _refused(Credential("aws"), "NoCredentials")
        keys: AwsKeys = self._aws_source.get_frozen_credentials()
        return keys


def _refused(credential: Credential, what: str) -> UpstreamFault:
    name = {"aws": "AWS", "google": "Google", "entra": "Entra"}[credential.kind]
    return UpstreamFault("auth", f"This server could not get {name} credentials ({what}).")
