"""Who may write: the checks that a batch passes before anything of it is merged.

A whole batch is refused, and counts nothing as seen, when it cannot be known to come from the device it names: then any dot in
it may be forged, and the real device will send the real one. What is against one of its commands is said where that is decided
(`examination`): it is rejected and counts as seen, for all replicas must agree that it happened and did nothing.

Everything depends on the record, its append time and the registry only, so a replay decides the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, batch_digest, decode_body
from driftlog_schemas.devices import EVERYTHING, PUBLISH, DeviceStatus, Standing
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import CLOSER, CLOSING_REPLICA, CLOUD, CLOUD_REPLICA, REACTION_REPLICA, is_replica_of
from driftlog_schemas.messages import Batch, DocumentOp
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import verify
from driftlog_streams.core.rights import CLOSE, FORGET, strangers
from driftlog_streams.core.rules import Devices, SpaceRules

MAX_RECORD_BYTES = MAX_BATCH_BYTES + 4096
"""A body at its bound, in an envelope with room for names and a signature."""

UNKNOWN = frozenset({"unknown_device", "unknown_key"})
"""Refusals of somebody who may only be new."""
_DOCUMENT = itemgetter(0)


class Refusal(NamedTuple):
    """A whole batch is refused.

    It touches no chain. Whoever it claims to be from is told by offset, never by number: an answer that repeated the number in a forged
    batch would tell the real device that its own batch was refused.
    """

    code: str
    reason: str
    device_id: str = ""
    known: bool = False
    """Is there such a device?"""
    value: bytes = b""


class Admitted(NamedTuple):
    """A batch that its device has signed, and how the device stood when it was appended."""

    batch: Batch
    device: Standing
    digest: bytes
    """Of its body."""
    value: bytes
    """The record as it came."""
    strangers: frozenset[str] = frozenset()
    """To whom it gives rights and who was not enrolled then (see `rights`); what reading the registry to its end may change."""


Admission: TypeAlias = Admitted | Refusal

VALUELESS = Refusal("undecodable", "a record without a value")
UNFORESEEN = "unforeseen"
"""Code of a record that could not even be admitted or refused."""


def doubtful(admission: Admission) -> bool:
    """May reading the device registry to its present end change it? Who is new there counts at once, all else is announced ahead."""
    if isinstance(admission, Admitted):
        return bool(admission.strangers)
    return admission.code in UNKNOWN


def admit(value: bytes | None, append_ms: int, partition: int, rules: SpaceRules, devices: Devices) -> Admission:
    """Check one record of the op topic."""
    if value is None:
        return VALUELESS
    if len(value) > MAX_RECORD_BYTES:
        return Refusal("too_large", f"{len(value)} bytes, at most {MAX_RECORD_BYTES}")
    try:
        signed = rules.batches.open(value)
    except (Undecodable, UnknownSchema) as error:
        return Refusal("undecodable", str(error))
    except RegistryUnreachable as error:
        return Refusal("unknown_schema", str(error), value=value)
    device_id = signed.device_id
    device = devices.find(device_id)
    if device is None:
        return Refusal("unknown_device", f"device {device_id!r} is not enrolled", device_id)
    key = device.key_at(signed.key_id, append_ms)
    if key is None:
        return Refusal("unknown_key", f"device {device_id!r} had no key {signed.key_id!r} then", device_id)
    if not verify(key.public, signed.signature, signed.body):
        return Refusal("bad_signature", "the signature is not this device's over this body", device_id)
    try:
        batch = decode_body(signed.body)
    except Undecodable as error:
        return Refusal("undecodable", str(error), device_id, known=True)
    standing = device.standing_at(append_ms)
    if standing is None:
        return Refusal("unknown_device", f"device {device_id!r} was not enrolled then", device_id, known=True)
    digest = batch_digest(signed.body)
    if batch.react is not None:
        standing = standing._replace(scopes=EVERYTHING, permissions=(*EVERYTHING, *standing.permissions, PUBLISH))
    unknown = strangers(batch, append_ms, rules, devices)
    return _refused(batch, standing, partition, rules) or Admitted(batch, standing, digest, value, unknown)


def _refused(batch: Batch, device: Standing, partition: int, rules: SpaceRules) -> Refusal | None:
    def refuse(code: str, reason: str) -> Refusal:
        return Refusal(code, reason, device.device_id, known=True)

    if device.status is not DeviceStatus.ACTIVE:
        return refuse("revoked", f"the device was {device.status.value} before this arrived")
    if device.device_id == CLOSER:
        return _not_closing(batch, device, partition, rules, refuse)
    if batch.react is not None:
        return _not_reacting(batch, device, partition, rules, refuse)
    if batch.forget is not None or device.device_id == CLOUD:
        return _not_the_cloud(batch, device, partition, rules, refuse)
    if not is_replica_of(batch.replica, device.device_id):
        return refuse("wrong_replica", f"{batch.replica!r} is no life of this device")
    if batch.space != rules.name or batch.partition != partition:
        return refuse("wrong_partition", f"made for {batch.space}/{batch.partition}, found in {rules.name}/{partition}")
    return _malformed(batch, partition, rules, refuse)


def _not_the_cloud(
    batch: Batch, device: Standing, partition: int, rules: SpaceRules, refuse: Callable[[str, str], Refusal]
) -> Refusal | None:
    """What a partition forgets only the workers' own device says, and it says nothing else."""
    if device.device_id != CLOUD or FORGET not in device.permissions or device.expired:
        return refuse(
            "forbidden",
            f"the device may not make a partition forget; that takes {FORGET!r}, which '*' does not contain",
        )
    if batch.forget is None or batch.commands or batch.replica != CLOUD_REPLICA:
        return refuse("malformed", f"{CLOUD} writes only what a partition forgets")
    if batch.space != rules.name or batch.partition != partition:
        return refuse("wrong_partition", f"made for {batch.space}/{batch.partition}, found in {rules.name}/{partition}")
    return None


def _not_closing(
    batch: Batch, device: Standing, partition: int, rules: SpaceRules, refuse: Callable[[str, str], Refusal]
) -> Refusal | None:
    """That a log ends only the device says that an operator has made for it, and it says nothing else."""
    if CLOSE not in device.permissions or device.expired:
        return refuse("forbidden", f"the device may not close a log; that takes {CLOSE!r}, which '*' does not contain")
    says_more = batch.commands or batch.ends or batch.forget is not None or batch.react is not None
    if batch.replica != CLOSING_REPLICA or batch.number != 1 or says_more:
        return refuse("malformed", f"{CLOSER} writes only that a log ends")
    if batch.space != rules.name or batch.partition != partition:
        return refuse("wrong_partition", f"made for {batch.space}/{batch.partition}, found in {rules.name}/{partition}")
    return None


def _not_reacting(
    batch: Batch, device: Standing, partition: int, rules: SpaceRules, refuse: Callable[[str, str], Refusal]
) -> Refusal | None:
    """What reactions call for, and what becomes of that, only the workers' own device says."""
    if device.device_id != CLOUD or FORGET not in device.permissions or device.expired:
        return refuse("forbidden", f"only the workers react; that takes {FORGET!r}, which '*' does not contain")
    calls = bool(batch.react and batch.react.calls)
    if batch.forget is not None or batch.replica != REACTION_REPLICA or (calls and batch.commands) or batch.ends:
        return refuse("malformed", f"{CLOUD} reacts as {REACTION_REPLICA}, and says nothing else with that")
    ran = None if batch.react is None else batch.react.ran
    if ran is not None and len(ran.depths) != len(batch.commands):
        return refuse("malformed", f"{len(batch.commands)} commands with {len(ran.depths)} depths")
    if batch.space != rules.name or batch.partition != partition:
        return refuse("wrong_partition", f"made for {batch.space}/{batch.partition}, found in {rules.name}/{partition}")
    return _malformed(batch, partition, rules, refuse)


def _malformed(
    batch: Batch, partition: int, rules: SpaceRules, refuse: Callable[[str, str], Refusal]
) -> Refusal | None:
    """What no agent of ours sends, and what could not be counted as seen: the documents live elsewhere, or a dot names two ops.

    That all ops are of the batch's replica, with a dot and a clock that can be, its bytes can only say so (`batch_codec`).
    """
    commands = batch.commands
    if len({command.id for command in commands}) < len(commands):
        return refuse("malformed", "two commands of one id")
    for scope in {command.scope for command in commands}:
        if partition_of(scope, rules.partitions) != partition:
            return refuse("wrong_partition", f"scope {scope!r} does not live in partition {partition}")
    for command in commands:
        scope, ops = command.scope, command.ops
        for document, _ in ops:
            if document.scope != scope:
                return refuse("malformed", f"command {command.id} of scope {scope!r} changes {document.scope!r}")
        if len(ops) > 1 and _one_dot_twice(ops):
            return refuse("malformed", f"command {command.id} has one dot twice")
        if command.root and command.stands_for:
            return refuse(
                "malformed", f"command {command.id} of an earlier life stands for others: each is counted once"
            )
    return None


def _one_dot_twice(ops: Sequence[DocumentOp]) -> bool:
    """Not where each op has a document of its own, as in most commands."""
    count = len(ops)
    return len(set(map(_DOCUMENT, ops))) < count and len({(document, op.seq) for document, op in ops}) < count
