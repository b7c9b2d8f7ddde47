"""Devices under load: real Ed25519 keys that follow from a seed, and their lines for the device registry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from driftlog_schemas.messages import Device, DeviceStatus
from driftlog_schemas.signing import Identity

ENROLLED_MS = 1
"""Long ago: every record of a run was appended after it."""


def identity(prefix: str, number: int, seed: int) -> Identity:
    """The identity of device `number`: the same for the same prefix and seed."""
    name = f"{prefix}-{number:03d}"
    secret = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=32).digest()
    return Identity(name, 1, "load", Ed25519PrivateKey.from_private_bytes(secret))


def registered(
    identity: Identity, *, status: DeviceStatus = DeviceStatus.ACTIVE, since_ms: int = ENROLLED_MS
) -> Device:
    """Its line in the registry: everything permitted."""
    return Device(
        device_id=identity.device_id,
        incarnation=identity.incarnation,
        keys={identity.key_id: identity.public_key},
        scopes=("*",),
        permissions=("*",),
        status=status,
        enrolled_ms=ENROLLED_MS,
        status_since_ms=since_ms,
    )


@dataclass(frozen=True, slots=True)
class Fleet:
    """Some devices."""

    members: tuple[Identity, ...]

    @classmethod
    def of(cls, prefix: str, size: int, seed: int) -> Fleet:
        return cls(tuple(identity(prefix, number, seed) for number in range(size)))

    def registry(self) -> list[Device]:
        """The lines of all of them."""
        return [registered(member) for member in self.members]
