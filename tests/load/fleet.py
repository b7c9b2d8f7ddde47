"""Devices under load: real Ed25519 keys that follow from a seed, their lines for the device registry, and the operator that signs those.

All tests of a session share one operator: they write to one registry, and a reader believes one root.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from driftlog_schemas.devices import Device, DeviceKey, DeviceStatus, enrolled, with_terms
from driftlog_schemas.identity import CLOUD, ReplicaId, replica_id
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.signing import Identity
from driftlog_streams.core.rights import FORGET

ENROLLED_MS = 1
"""Long ago: every record of a run was appended after it."""
LIFE = "aaaaaaaa"


def _key(text: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(text.encode(), digest_size=32).digest())


def operator() -> OperatorKey:
    """Who signs the registry in tests: always the same keys."""
    root, key = RootKey(_key("root")), _key("operator")
    return OperatorKey(key, root.certify(key.public_key().public_bytes_raw(), 1, time.time_ns() // 1_000_000))


def identity(prefix: str, number: int, seed: int) -> Identity:
    """The identity of device `number`: the same for the same prefix and seed."""
    name = f"{prefix}-{number:03d}"
    return Identity(name, "load", _key(f"{seed} {name}"))


def cloud() -> Identity:
    """The workers' own device, always the same: a cluster has one, and all tests of a session share the cluster."""
    return Identity(CLOUD, "load", _key("cloud"))


def cloud_line() -> Device:
    """Its line in the registry: newer than whatever a test before has made of it, for an older one is not believed."""
    clouds = cloud()
    line = enrolled(CLOUD, DeviceKey(clouds.key_id, clouds.public_key, ENROLLED_MS), (), (FORGET,))
    return replace(line, version=time.time_ns() // 1_000_000)


def replica_of(identity: Identity) -> ReplicaId:
    """The one replica of a device that sends by hand."""
    return replica_id(identity.device_id, LIFE)


def registered(identity: Identity) -> Device:
    """Its line in the registry: everything permitted."""
    return enrolled(identity.device_id, DeviceKey(identity.key_id, identity.public_key, ENROLLED_MS))


def revoked(identity: Identity, since_ms: int) -> Device:
    """The next version of its line."""
    line = registered(identity)
    return with_terms(line, line.latest._replace(status=DeviceStatus.REVOKED, from_ms=since_ms))


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
