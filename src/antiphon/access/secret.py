"""The installation's secret: 32 random bytes from which the keys for hashing and sealing are derived.

It lives in `DATA/secret` (mode 0600), made at the first start; `ANTIPHON_SECRET` overrides it so that replicas share
one. `ANTIPHON_SECRET_OLD` (comma-separated) names earlier ones, under which keys and sealed content stay valid. Never
logged.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from antiphon.protocol.errors import ConfigError

SECRET_ENV: Final = "ANTIPHON_SECRET"  # noqa: S105 - the name of the variable, not its value
OLD_SECRETS_ENV: Final = "ANTIPHON_SECRET_OLD"
_SIZE: Final = 32
_LEAST_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class Secret:
    """Derived keys, 32 bytes each. `sealing` is the ring: the first seals, all unseal."""

    key_hashing: tuple[bytes, ...] = field(repr=False)
    sealing: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def of(cls, current: bytes, old: tuple[bytes, ...] = ()) -> Secret:
        roots = (current, *old)
        return cls(
            tuple(_derive(root, b"key-hashing") for root in roots), tuple(_derive(root, b"sealing") for root in roots)
        )


def _derive(root: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) for one block of output."""
    extracted = hmac.digest(b"antiphon/1", root, sha256)
    return hmac.digest(extracted, purpose + b"\x01", sha256)


def load_secret(data_dir: Path, environ: Mapping[str, str] = os.environ) -> Secret:
    """The secret of this installation, made if there is none. Raises ConfigError with the way out."""
    given = environ.get(SECRET_ENV, "")
    old = tuple(_from_text(OLD_SECRETS_ENV, text) for text in environ.get(OLD_SECRETS_ENV, "").split(",") if text)
    return Secret.of(_from_text(SECRET_ENV, given) if given else _from_file(data_dir / "secret"), old)


def _from_text(name: str, text: str) -> bytes:
    if len(text) < _LEAST_CHARACTERS:
        raise ConfigError(
            f"{name} must be at least {_LEAST_CHARACTERS} characters: make one with `openssl rand -hex 32`"
        )
    return text.encode()


def _from_file(path: Path) -> bytes:
    try:
        if not path.exists():
            _create(path)
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be used as the installation's secret: {error}. Set {SECRET_ENV} instead"
        ) from error
    if len(secret) != _SIZE:
        raise ConfigError(f"{path} must hold {_SIZE} bytes in hex: restore it from a backup, or set {SECRET_ENV}")
    return secret


def _create(path: Path) -> None:
    """Write whole and link into place: of two processes that start at once one wins, and both read the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".secret-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_SIZE) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)
