"""By whom a record of the quarantine is signed, and whether it would be taken now: it is judged by when it comes again.

What a device has signed it keeps, and sends again under its newest key. What workers have signed nobody else has: whoever holds their identity may sign it
anew, where a key of theirs has signed it.
"""

from __future__ import annotations

from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.messages import SignedBatch
from driftlog_schemas.signing import Identity, verify
from driftlog_streams.core.rules import Devices
from driftlog_streams.errors import SetupProblem


def ended_key(record: bytes, batches: BatchCodec, devices: Devices, now_ms: int) -> str:
    """The key that signed it, where that is one of its device's and does not count any more. Empty else, also where nobody can read it."""
    signed = _opened(record, batches)
    device = None if signed is None else devices.find(signed.device_id)
    if signed is None or device is None or device.key_at(signed.key_id, now_ms) is not None:
        return ""
    return signed.key_id if any(key.key_id == signed.key_id for key in device.keys) else ""


def signed_anew(record: bytes, batches: BatchCodec, devices: Devices, identity: Identity) -> bytes:
    """The same, signed by the workers' identity of today. Raises `SetupProblem` where no key of theirs has signed it."""
    signed, workers = _opened(record, batches), devices.find(CLOUD)
    if signed is not None and workers is not None and signed.device_id == CLOUD:
        for key in workers.keys:
            if key.key_id == signed.key_id and verify(key.public, signed.signature, signed.body):
                return batches.seal(signed.body, identity)
    raise SetupProblem("no worker has signed that record", "leave out --cloud-identity: it is sent as it came")


def _opened(record: bytes, batches: BatchCodec) -> SignedBatch | None:
    try:
        return batches.open(record)
    except (Undecodable, UnknownSchema, RegistryUnreachable):
        return None
