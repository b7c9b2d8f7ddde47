"""Names of devices, replicas and documents, and the key of a document on the wire and on disk.

A replica is one life of a device's folder: `store-1.k3f7q2w7` is one of device `store-1`. A document's key is
`collection/scope/id` with `%` and `/` escaped, so that keys of one scope are neighbours, in order of id.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple, NewType

DeviceId = NewType("DeviceId", str)
ReplicaId = NewType("ReplicaId", str)

CLOUD = DeviceId("cloud")
"""The device of the workers themselves: what it writes is what a partition forgets."""
CLOUD_REPLICA = ReplicaId("cloud.forget")
REACTION_REPLICA = ReplicaId("cloud.reaction")
"""It writes the commands that reactions call for."""
CLOSER = DeviceId("driftlog-closing")
"""The device by which an operator closes a space's op log. It writes nothing else."""
CLOSING_REPLICA = ReplicaId("driftlog-closing.end")
"""Its one batch in each partition: nothing behind it is merged."""
NO_DEVICES = frozenset({CLOUD, CLOSER})
"""Names that no device of a user has."""
OVER_REPLICA = ReplicaId("cloud.over")
"""It writes nothing: under its name stand the lives that are over and have no chain row any more."""

LIFE_LENGTH = 8
_LIFE_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_LIFE = re.compile(rf"[a-z0-9]{{1,{LIFE_LENGTH}}}\Z")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")


class DocumentId(NamedTuple):
    """Which document."""

    collection: str
    scope: str
    id: str


def device_id(text: str) -> DeviceId:
    """Raises ValueError unless `text` can name a device: letters, digits, `_`, `-`, at most 63."""
    if not _DEVICE.match(text):
        raise ValueError(f"{text!r} cannot name a device; use 1 to 63 letters, digits, '-' or '_'")
    return DeviceId(text)


def new_life() -> str:
    """The name of a life: eight letters and digits, drawn at random, so that nobody has to hand them out (40 bit)."""
    return "".join(secrets.choice(_LIFE_LETTERS) for _ in range(LIFE_LENGTH))


def replica_id(device: str, life: str) -> ReplicaId:
    """The replica of this life of a device."""
    return ReplicaId(f"{device}.{life}")


def is_replica_of(replica: str, device: str) -> bool:
    """Could this be a life of the device? Drawn ones have the full length; tools may name one by hand."""
    name, _, life = replica.rpartition(".")
    return name == device and _LIFE.match(life) is not None


def is_life(replica: str) -> bool:
    """Can a device's life be called so? The workers' own is nobody's."""
    device, _, life = replica.rpartition(".")
    return device not in NO_DEVICES and bool(_DEVICE.match(device)) and bool(_LIFE.match(life))


def device_of(replica: str) -> DeviceId:
    """The device whose life this is."""
    return DeviceId(replica.rpartition(".")[0])


def document_key(document: DocumentId) -> bytes:
    """The key of a document in the state topic and in every store."""
    text = "/".join(document)
    if text.count("/") == 2 and "%" not in text:
        return text.encode()
    return "/".join([part.replace("%", "%25").replace("/", "%2F") for part in document]).encode()


def parse_document_key(key: bytes) -> DocumentId:
    """Inverse of `document_key`. Raises ValueError for a foreign key."""
    parts = key.decode().split("/")
    if len(parts) != 3:
        raise ValueError(f"{key!r} is not collection/scope/id")
    if b"%" not in key:
        return DocumentId(*parts)
    return DocumentId(*[part.replace("%2F", "/").replace("%25", "%") for part in parts])


def collection_prefix(collection: str) -> bytes:
    """What the keys of a collection's documents begin with."""
    return document_key(DocumentId(collection, "", ""))[:-1]


def scope_prefix(collection: str, scope: str) -> bytes:
    """What the keys of a collection's documents in one scope begin with."""
    return document_key(DocumentId(collection, scope, ""))
