"""Who a device is: its identity file, its signature, and the check of it.

Ed25519 over the body's bytes exactly as sent, so that no re-encoding stands between what was signed and what is checked. An
identity is one incarnation of a device and the key it signs with; the key never leaves its file, which only its owner may
read. Losing it costs an enrolment, leaking it lets others write as this device.

Source: RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from driftlog_schemas.errors import IdentityProblem
from driftlog_schemas.identity import ReplicaId, device_id, replica_id

_ENROL = "make one with `driftlog devices enrol DEVICE --out FILE`"


@dataclass(frozen=True)
class Identity:
    """One incarnation of a device and the key it signs with."""

    device_id: str
    incarnation: int
    key_id: str
    key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def create(cls, device: str, incarnation: int = 1) -> Self:
        """A new identity with a fresh key. Raises ValueError for a bad device name or incarnation."""
        if incarnation < 1:
            raise ValueError(f"incarnation {incarnation}: a device's first life is 1")
        return cls(device_id(device), incarnation, secrets.token_hex(4), Ed25519PrivateKey.generate())

    @property
    def replica(self) -> ReplicaId:
        """The replica whose ops this identity writes."""
        return replica_id(self.device_id, self.incarnation)

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
            "incarnation": self.incarnation,
            "key_id": self.key_id,
            "private_key": base64.b64encode(self.key.private_bytes_raw()).decode(),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd, temp = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
            try:
                with os.fdopen(fd, "w") as out:
                    json.dump(facts, out, indent=1)
                    out.flush()
                    os.fsync(out.fileno())
                Path(temp).replace(path)
            except OSError:
                Path(temp).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise IdentityProblem(
                f"identity file {path} cannot be written: {error.strerror}", "choose another file"
            ) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """The identity in a file. Raises `IdentityProblem` naming the file, the field and the remedy."""
        try:
            facts = json.loads(path.read_text())
            mode = path.stat().st_mode
        except FileNotFoundError as error:
            raise IdentityProblem(f"identity file {path} does not exist", _ENROL) from error
        except OSError as error:
            raise IdentityProblem(
                f"identity file {path} cannot be read: {error.strerror}", "run as its owner, or name another file"
            ) from error
        except (ValueError, RecursionError) as error:
            raise IdentityProblem(f"{path} is not an identity file: {error}", _ENROL) from error
        if mode & stat.S_IROTH:
            raise IdentityProblem(f"identity file {path} can be read by every user", f"chmod 600 {path}")
        if not isinstance(facts, dict):
            raise IdentityProblem(f"{path} is not an identity file: it holds no JSON object", _ENROL)
        try:
            return cls(_device(facts), _incarnation(facts), _text(facts, "key_id"), _key(facts))
        except ValueError as error:
            raise IdentityProblem(f"{path} is not an identity file: {error}", _ENROL) from error


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


def _text(facts: dict[str, Any], name: str) -> str:
    value = facts.get(name)
    if type(value) is not str or not value:
        raise ValueError(f"{name} is missing" if value is None else f"{name} is no text")
    return value


def _device(facts: dict[str, Any]) -> str:
    return device_id(_text(facts, "device_id"))


def _incarnation(facts: dict[str, Any]) -> int:
    value = facts.get("incarnation")
    if type(value) is not int or value < 1:
        raise ValueError("incarnation is no whole number from 1 up")
    return value


def _key(facts: dict[str, Any]) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(_text(facts, "private_key"), validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"private_key: {error}") from error
