"""The sealed carrier: a reasoning item's provider blocks inside `encrypted_content`, for clients that keep the history.

    ant1.<base64url( key id, 1 byte | nonce, 12 | AES-256-GCM( zlib( msgpack(ReplayRecord) ) ) )>

The project is the associated data, so a carrier opens only where it was made. Nothing here raises for what a client
sends: what cannot be opened is None. Source: decision record 0008; NIST SP 800-38D.
"""

from __future__ import annotations

import base64
import binascii
import os
import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from antiphon.providers.base import ReplayRecord

PREFIX: Final = "ant1."
MAX_BYTES: Final = 8 * 1024 * 1024
_NONCE_BYTES: Final = 12
_encode: Final = msgspec.msgpack.Encoder().encode


class _Sealed(msgspec.Struct, array_like=True, frozen=True):
    """ReplayRecord with its JSON as bytes: msgpack would take Raw for msgpack."""

    family: str
    scope: str
    model: str
    blocks: bytes


_decode: Final = msgspec.msgpack.Decoder(_Sealed).decode


class Sealer:
    """Seals with the first key of the ring, opens with any."""

    def __init__(self, ring: Sequence[bytes]) -> None:
        self._ring = {sha256(key).digest()[0]: AESGCM(key) for key in reversed(ring)}
        self._current = sha256(ring[0]).digest()[0]

    @staticmethod
    def is_ours(text: str) -> bool:
        """Whether this was sealed by an Antiphon server, readable here or not."""
        return text.startswith(PREFIX)

    def seal(self, record: ReplayRecord, project: str) -> str:
        """The record as `encrypted_content` for this project."""
        packed = zlib.compress(_encode(_Sealed(record.family, record.scope, record.model, bytes(record.blocks))), 1)
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ring[self._current].encrypt(nonce, packed, project.encode())
        return PREFIX + base64.urlsafe_b64encode(bytes([self._current]) + nonce + sealed).decode()

    def unseal(self, text: str, project: str) -> ReplayRecord | None:
        """The record, or None if the text was not sealed here for this project, or was changed."""
        if not self.is_ours(text) or len(text) > MAX_BYTES * 4 // 3:
            return None
        try:
            raw = base64.b64decode(text[len(PREFIX) :].encode("ascii"), altchars=b"-_", validate=True)
            cipher = self._ring.get(raw[0]) if raw else None
            if cipher is None:
                return None
            packed = cipher.decrypt(raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :], project.encode())
            inflater = zlib.decompressobj()
            plain = inflater.decompress(packed, MAX_BYTES)
            if inflater.unconsumed_tail:
                return None
            sealed = _decode(plain)
        except (InvalidTag, ValueError, UnicodeEncodeError, binascii.Error, zlib.error, msgspec.MsgspecError):
            return None
        return ReplayRecord(sealed.family, sealed.scope, sealed.model, msgspec.Raw(sealed.blocks))
