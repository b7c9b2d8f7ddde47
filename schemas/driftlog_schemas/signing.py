"""Who a device is: its identity file, its signature, and the check of it.

Ed25519 over the body's bytes exactly as sent, so that no re-encoding stands between what was signed and what is checked. An
identity is a device's name, the key it signs with, and the root key whose operators it believes. It names no replica: a folder draws
its own life (see `driftlog_edge.store.lives`). The key never leaves its file, which only its owner may read. Losing it costs an enrolment, leaking it lets others write as this device until it is ended.

Source: RFC 8032.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from driftlog_schemas import private_file
from driftlog_schemas.identity import device_id
from driftlog_schemas.public_key import key_text, parse_key

_ENROL = "make one with `driftlog devices enrol DEVICE --out FILE`"
_WHAT = "identity file"


@dataclass(frozen=True)
class Identity:
    """A device and the key it signs with."""

    device_id: str
    key_id: str
    key: Ed25519PrivateKey = field(repr=False)
    root: bytes | None = None
    """The root's public key, as enrolment pinned it."""

    @classmethod
    def create(cls, device: str, root: bytes | None = None) -> Self:
        """A new identity with a fresh key. Raises ValueError for a bad device name."""
        return cls(device_id(device), secrets.token_hex(4), Ed25519PrivateKey.generate(), root)

    @property
    def public_key(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self.key.public_key().public_bytes_raw()

    def sign(self, body: bytes) -> bytes:
        """64 bytes of signature."""
        return self.key.sign(body)

    def save(self, path: Path) -> None:
        """Write the identity where only its owner can read it, whole or not at all. Raises `IdentityProblem`."""
        facts = {
            "device_id": self.device_id,
            "key_id": self.key_id,
            "private_key": private_file.key_fact(self.key),
        }
        if self.root is not None:
            facts["root"] = key_text(self.root)
        private_file.save(path, _WHAT, facts)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The identity in a file. Raises `IdentityProblem` naming the file, the field and the remedy."""
        facts = private_file.load(path, _WHAT, _ENROL)
        try:
            return cls(
                device_id(private_file.text(facts, "device_id")),
                private_file.text(facts, "key_id"),
                private_file.private_key(facts),
                _root(facts),
            )
        except ValueError as error:
            raise private_file.foreign(path, _WHAT, str(error), _ENROL) from error


def verify(public_key: bytes, signature: bytes, body: bytes) -> bool:
    """Is this the signature of that key over that body?"""
    try:
        _loaded(public_key).verify(signature, body)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=10_000)
def _loaded(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def _root(facts: dict[str, Any]) -> bytes | None:
    if "root" not in facts:
        return None
    try:
        return parse_key(private_file.text(facts, "root"))
    except ValueError as error:
        raise ValueError(f"root: {error}") from error
