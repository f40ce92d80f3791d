"""The sealed carrier: a replay record on its way through a client that keeps its own history (store:false).

    ant1. + base64url( key id (4) | nonce (12) | AES-256-GCM( packing (1) | zlib or plain msgpack ) )

The tenant is in the associated data, so that no project can play another's carrier; the prefix is the version. A
carrier that was cut, changed, made elsewhere or sealed under a lost key is unreadable: `unseal` gives None, never an
exception. Nothing in here reads what the blocks mean.
Source: reference of providers, "`encrypted_content` as the carrier".
"""

from __future__ import annotations

import hashlib
import os
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from antiphon.protocol.items import CustomToolCall, FunctionCall, Item, Message, Opaque, Reasoning
from antiphon.providers.base import ReplayRecord

PREFIX: Final = "ant1."
MAX_BYTES: Final = 8 * 1024 * 1024
_MAX_RATIO: Final = 100
_KEY_ID: Final = 4
_NONCE: Final = 12
_SECRET: Final = "secret/"  # noqa: S105 - what it is for; project ids never begin so
_PLAIN: Final = b"\x00"
_ZLIB: Final = b"\x01"


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed. `blocks` are JSON, as bytes: a Raw would be taken for msgpack."""

    family: str
    scope: str
    model: str
    blocks: bytes
    essential: bool
    call_ids: dict[str, str]
    covers: tuple[str, ...]


class Carrier(msgspec.Struct, frozen=True):
    """What came back. `covers` are digests (`item_digest`) of the public items that the record stands for, in order."""

    record: ReplayRecord
    covers: tuple[str, ...]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Packed).decode


class Sealer:
    """Seals under the first key of the ring (`Secret.sealing`), reads under any of them."""

    def __init__(self, ring: Sequence[bytes]) -> None:
        self._ring = {_key_id(key): AESGCM(key) for key in ring}
        self._current = _key_id(ring[0])

    def seal(self, record: ReplayRecord, project: str, covers: tuple[str, ...] = ()) -> str:
        """The text that carries this record, for this project only.

        A record over MAX_BYTES gives a carrier without content: its reasoning will be dropped and named, as on a
        change of provider, instead of failing an answer that is already whole.
        """
        packed = _Packed(
            record.family,
            record.scope,
            record.model,
            bytes(record.blocks),
            record.essential,
            dict(record.call_ids),
            covers,
        )
        content = _pack(_encode(packed))
        if content is None:
            return PREFIX
        nonce = os.urandom(_NONCE)
        sealed = self._ring[self._current].encrypt(nonce, content, _associated(self._current, project))
        return PREFIX + _to_text(self._current + nonce + sealed)

    def seal_secret(self, secret: str, purpose: str) -> bytes:
        """A short secret as the store may keep it, for one purpose (an endpoint's id) only."""
        nonce = os.urandom(_NONCE)
        associated = _associated(self._current, _SECRET + purpose)
        return self._current + nonce + self._ring[self._current].encrypt(nonce, secret.encode(), associated)

    def open_secret(self, sealed: bytes, purpose: str) -> str | None:
        """The secret, or None if it was sealed for another purpose or under a lost key."""
        key = self._ring.get(sealed[:_KEY_ID])
        if key is None:
            return None
        nonce, content = sealed[_KEY_ID : _KEY_ID + _NONCE], sealed[_KEY_ID + _NONCE :]
        try:
            return key.decrypt(nonce, content, _associated(sealed[:_KEY_ID], _SECRET + purpose)).decode()
        except (InvalidTag, ValueError):
            return None

    @staticmethod
    def is_ours(text: str) -> bool:
        """Whether an Antiphon made this, readable here or not; any other text belongs to a provider."""
        return text.startswith(PREFIX)

    def unseal(self, text: str, project: str) -> ReplayRecord | None:
        """The record, or None if this is not ours, was changed, or is another project's."""
        carrier = self.open(text, project)
        return None if carrier is None else carrier.record

    def open(self, text: str, project: str) -> Carrier | None:
        """The record with the digests it covers, or None as `unseal`."""
        sealed = _from_text(text)
        key = self._ring.get(sealed[:_KEY_ID])
        if key is None:
            return None
        nonce, content = sealed[_KEY_ID : _KEY_ID + _NONCE], sealed[_KEY_ID + _NONCE :]
        try:
            plain = _unpack(key.decrypt(nonce, content, _associated(sealed[:_KEY_ID], project)))
            packed = _decode(plain)
        except (InvalidTag, ValueError, zlib.error):  # msgspec's errors are ValueErrors
            return None
        record = ReplayRecord(
            packed.family, packed.scope, packed.model, msgspec.Raw(packed.blocks), packed.essential, packed.call_ids
        )
        return Carrier(record, packed.covers)


def _key_id(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=_KEY_ID, person=b"antiphon/key-id").digest()


def _associated(key_id: bytes, project: str) -> bytes:
    return PREFIX.encode() + key_id + project.encode("utf-8", "surrogatepass")


def _to_text(sealed: bytes) -> str:
    return urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


def _from_text(text: str) -> bytes:
    """The bytes of a carrier, b"" if it is none. Only the one canonical spelling of the bytes is accepted."""
    body = text[len(PREFIX) :]
    if not text.startswith(PREFIX) or len(body) > MAX_BYTES * 4 // 3 + 128 or not body.isascii():
        return b""
    try:
        sealed = urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except ValueError:
        return b""
    return sealed if _to_text(sealed) == body else b""


def _pack(content: bytes) -> bytes | None:
    if len(content) > MAX_BYTES:
        return None
    packed = zlib.compress(content)
    if len(packed) < len(content) <= len(packed) * _MAX_RATIO:
        return _ZLIB + packed
    return _PLAIN + content


def _unpack(content: bytes) -> bytes:
    """Raises ValueError or zlib.error for what `_pack` cannot have made."""
    if content[:1] == _PLAIN:
        return content[1:]
    limit = min(MAX_BYTES, (len(content) - 1) * _MAX_RATIO)
    inflater = zlib.decompressobj()
    plain = inflater.decompress(content[1:], limit + 1)
    if content[:1] != _ZLIB or len(plain) > limit or not inflater.eof:
        raise ValueError("not a packing of ours")
    return plain


def item_digest(item: Item) -> str:
    """A digest of what an item says: equal for an honest echo, whatever ids, statuses or spellings the client left out.

    Covers the text of messages and summaries; name, namespace, call id and arguments or input of calls.
    """
    return hashlib.blake2b(_encode(_semantics(item)), digest_size=16).hexdigest()


def _semantics(item: Item) -> tuple[object, ...]:
    match item:
        case Message(role=role, content=content):
            parts = (("text", content),) if isinstance(content, str) else tuple(_part(part) for part in content)
            return ("message", role, parts)
        case Reasoning(summary=summary):
            return ("reasoning", tuple(part.text for part in summary))
        case FunctionCall():
            return ("function_call", item.name, item.namespace or "", item.call_id, item.arguments)
        case CustomToolCall():
            return ("custom_tool_call", item.name, item.namespace or "", item.call_id, item.input)
        case Opaque():
            return (item.type, bytes(item.raw))
        case _:
            return (msgspec.json.encode(item),)


def _part(part: msgspec.Struct) -> tuple[str, str | bytes]:
    text = getattr(part, "text", None)
    return ("text", text) if isinstance(text, str) else ("part", msgspec.json.encode(part))
