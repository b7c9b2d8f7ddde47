"""Who may write what: the checks a batch and its commands pass before anything is merged.

A whole batch is refused, and counts nothing as seen, when it cannot be known to come from the device it names: then any dot in
it may be forged, and the real device will send the real one. A command is rejected, and counts as seen, when the
device is known but the command is not allowed or not well-formed: all replicas must agree that it happened and did nothing.

Everything depends on the record, its append time and the registry only, so a replay decides the same.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from driftlog_crdt import AlgebraError
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import device_of, replica_id
from driftlog_schemas.messages import Batch, Command, Device, DeviceStatus
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import verify

from driftlog_streams.rules import Devices, SpaceRules

UNKNOWN = frozenset({"unknown_device", "unknown_key"})
"""Refusals that reading the device registry to its present end may change."""


class Refusal(NamedTuple):
    """A whole batch is refused. The names are as claimed, not as proven; `number` is -1 where it could not be read."""

    code: str
    reason: str
    device_id: str = ""
    replica: str = ""
    number: int = -1


class Admitted(NamedTuple):
    """A batch that its device has signed, and the device's line in the registry."""

    batch: Batch
    device: Device


Admission: TypeAlias = Admitted | Refusal


def admit(value: bytes, append_ms: int, partition: int, rules: SpaceRules, devices: Devices) -> Admission:
    """Check one record of the op topic."""
    try:
        signed = rules.batches.open(value)
    except Undecodable as error:
        return Refusal("undecodable", str(error))
    device_id = signed.device_id
    device = devices.find(device_id)
    if device is None:
        return Refusal("unknown_device", f"device {device_id!r} is not enrolled", device_id)
    key = device.keys.get(signed.key_id)
    if key is None:
        return Refusal("unknown_key", f"device {device_id!r} has no key {signed.key_id!r}", device_id)
    if not verify(key, signed.signature, signed.body):
        return Refusal("bad_signature", "the signature is not this device's over this body", device_id)
    try:
        batch = decode_body(signed.body)
    except Undecodable as error:
        return Refusal("undecodable", str(error), device_id)
    return _admit_batch(batch, device, append_ms, partition, rules)


def _admit_batch(batch: Batch, device: Device, append_ms: int, partition: int, rules: SpaceRules) -> Admission:
    def refuse(code: str, reason: str) -> Refusal:
        return Refusal(code, reason, device.device_id, batch.replica, batch.number)

    if device.status is not DeviceStatus.ACTIVE and append_ms >= device.status_since_ms:
        return refuse("revoked", f"the device was {device.status.value} before this arrived")
    incarnation = batch.replica.rpartition(".")[2]
    if (
        device_of(batch.replica) != device.device_id
        or not incarnation.isdecimal()
        or not 1 <= int(incarnation) <= device.incarnation
        or batch.replica != replica_id(device.device_id, int(incarnation))
    ):
        return refuse("wrong_replica", f"{batch.replica!r} is no incarnation of this device up to {device.incarnation}")
    if batch.space != rules.name or batch.partition != partition:
        return refuse("wrong_partition", f"made for {batch.space}/{batch.partition}, found in {rules.name}/{partition}")
    return Admitted(batch, device)


def objection(command: Command, device: Device, partition: int, rules: SpaceRules) -> tuple[str, str] | None:
    """Why this command of a known device cannot be merged: (code, reason), or None."""
    if "*" not in device.scopes and command.scope not in device.scopes:
        return "forbidden", f"the device may not write scope {command.scope!r}"
    if "*" not in device.permissions and (command.name or "_write") not in device.permissions:
        return "forbidden", f"the device may not send {command.name or 'direct writes'!r}"
    if partition_of(command.scope, rules.partitions) != partition:
        return "invalid", f"scope {command.scope!r} does not live in this partition"
    for document, op in command.ops:
        if document.scope != command.scope:
            return "invalid", f"a command of scope {command.scope!r} changes {document.scope!r}"
        collection = rules.collections.get(document.collection)
        if collection is None:
            return "undeclared", f"collection {document.collection!r} is not declared by the app that runs here"
        try:
            collection.type.check(op)
        except AlgebraError as error:
            return "invalid", str(error)
    return None
