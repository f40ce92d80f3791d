"""`antiphon ask`: one question through the HTTP API, its answer printed as it comes.

The answer's text goes to standard output, all else (reasoning, tool calls, usage) to standard error, so that a pipe
carries the answer alone. It uses the same API as any client and knows no room below it.
"""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from antiphon.config import Settings, load_settings
from antiphon.protocol.errors import AntiphonError, ConfigError
from antiphon.protocol.sse import SseDecoder

from .screen import Event, Screen

_PREFERRED: Final = ("fast", "default")
_SIM_MODEL: Final = "sim/standard"
_HEALTH_S: Final = 1.0


class AskFailed(AntiphonError):
    """The server refused the question, or its answer broke off."""


class _Error(msgspec.Struct):
    message: str = ""


class _Envelope(msgspec.Struct):
    error: _Error


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model] = []


@dataclass(frozen=True, slots=True)
class Question:
    """What the person typed."""

    text: str
    model: str | None = None
    previous: str | None = None
    effort: str | None = None
    instructions: str | None = None
    images: tuple[Path, ...] = ()


def ask(question: Question, base_url: str | None, key: str | None, overrides: Mapping[str, str | int | None]) -> None:
    """Ask and print. Raises AskFailed or ConfigError with what to do about it."""
    asyncio.run(_ask(question, base_url, key, load_settings(overrides, os.environ)))


async def _ask(question: Question, base_url: str | None, key: str | None, settings: Settings) -> None:
    """Put the question to what was named, else to the server that runs here, else to one of our own."""
    bearer = key or settings.bootstrap_key
    if base_url is not None:
        if bearer is None:
            raise ConfigError("give the server's key with --key or ANTIPHON_API_KEY")
        return await _put(question, base_url.rstrip("/"), bearer)
    from .local import local_key, with_local_server

    if key is None:
        bearer, first = await local_key(settings)
        if first is not None:
            Screen().note(f"First start: your API key is {first} (shown this once)")
    assert bearer is not None
    if await _is_running(settings):
        return await _put(question, f"{_origin(settings)}/v1", bearer)
    return await with_local_server(settings, lambda url: _put(question, url, bearer))


async def _put(question: Question, url: str, bearer: str) -> None:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    headers = {"authorization": f"Bearer {bearer}"}
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            await _stream(session, url, question)
    except aiohttp.ClientError as error:
        raise AskFailed(f"{url}: the server cannot be reached or broke off: {error}") from error


def _origin(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    return f"http://{host}:{settings.port}"


async def _is_running(settings: Settings) -> bool:
    timeout = aiohttp.ClientTimeout(total=_HEALTH_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{_origin(settings)}/ready") as reply,
        ):
            return reply.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def _stream(session: aiohttp.ClientSession, url: str, question: Question) -> None:
    model = question.model or await _default_model(session, url)
    screen = Screen()
    decoder = SseDecoder()
    async with session.post(f"{url}/responses", json=_body(question, model)) as reply:
        if reply.status != 200:
            raise AskFailed(_reason(await reply.read(), reply.status))
        async for chunk in reply.content.iter_any():
            for event in decoder.feed(chunk):
                if event.data != b"[DONE]":
                    screen.show(msgspec.json.decode(event.data, type=Event))
    if screen.failure is not None:
        raise AskFailed(screen.failure)


def _reason(body: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(body, type=_Envelope).error.message
    except (msgspec.DecodeError, msgspec.ValidationError):
        return f"the server answered {status}"


async def _default_model(session: aiohttp.ClientSession, url: str) -> str:
    """The alias `fast` or `default`, else the first listed model that is not simulated, else the simulator's."""
    async with session.get(f"{url}/models") as reply:
        body = await reply.read()
        if reply.status != 200:
            raise AskFailed(_reason(body, reply.status))
    names = [model.id for model in msgspec.json.decode(body, type=_Models).data]
    preferred = [name for name in _PREFERRED if name in names]
    real = [name for name in names if not name.startswith("sim/")]
    return (preferred or real or [_SIM_MODEL])[0]


def _body(question: Question, model: str) -> dict[str, object]:
    body: dict[str, object] = {"model": model, "input": _input(question), "stream": True}
    if question.previous is not None:
        body["previous_response_id"] = question.previous
    if question.instructions is not None:
        body["instructions"] = question.instructions
    if question.effort is not None:
        body["reasoning"] = {"effort": question.effort, "summary": "auto"}
    return body


def _input(question: Question) -> object:
    if not question.images:
        return question.text
    text: dict[str, object] = {"type": "input_text", "text": question.text}
    return [{"role": "user", "content": [text, *map(_image_part, question.images)]}]


def _image_part(path: Path) -> dict[str, object]:
    return {"type": "input_image", "image_url": _data_url(path)}


def _data_url(path: Path) -> str:
    kind, _ = mimetypes.guess_type(path.name)
    if kind is None or not kind.startswith("image/"):
        raise ConfigError(f"--image {str(path)!r}: not known as an image; use .png, .jpg, .gif or .webp")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--image {str(path)!r}: cannot be read: {error.strerror}") from error
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
