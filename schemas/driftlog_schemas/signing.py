"""Who a device is: its identity file, its signature, and the check of it.

Ed25519 over the body's bytes exactly as sent, so that no re-encoding stands between what was signed and what is checked.

Source: RFC 8032.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import ReplicaId, device_id, replica_id


class IdentityProblem(ContractError):
    """An identity file that is missing, foreign or readable by others."""


@dataclass(frozen=True)
class Identity:
    """One incarnation of a device and the key it signs with."""

    device_id: str
    incarnation: int
    key_id: str
    key: Ed25519PrivateKey

    @classmethod
    def create(cls, device: str, incarnation: int = 1) -> Self:
        """A new identity with a fresh key. Raises ValueError for a bad device name."""
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
        """Write the identity where only its owner can read it, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as out:
            secret = base64.b64encode(self.key.private_bytes_raw()).decode()
            json.dump(
                {
                    "device_id": self.device_id,
                    "incarnation": self.incarnation,
                    "key_id": self.key_id,
                    "private_key": secret,
                },
                out,
                indent=1,
            )
            out.flush()
            os.fsync(out.fileno())
        temp.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises `IdentityProblem` naming the file and the remedy."""
        remedy = "make one with `driftlog devices enrol DEVICE --out FILE`"
        try:
            facts = json.loads(path.read_text())
            key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(facts["private_key"]))
            return cls(device_id(facts["device_id"]), int(facts["incarnation"]), str(facts["key_id"]), key)
        except FileNotFoundError as error:
            raise IdentityProblem(f"identity file {path} does not exist", remedy) from error
        except (ValueError, KeyError, TypeError) as error:
            raise IdentityProblem(f"{path} is not an identity file: {error!r}", remedy) from error


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
