"""The last word of a replica that was wiped. It counts only if the key that was destroyed has signed it.

So nobody who may merely write the topic can make an operator believe that a stolen device is clean. Whoever holds the key can: a
farewell tells what the agent did, not what was copied from its disk before.

Signed before the key goes, sent after: whoever reads it knows that the folder is gone. Its record has a key of its own (`device/key`), so that
the heartbeats of a device that was enrolled again do not cover it.
"""

from __future__ import annotations

from typing import NamedTuple

from driftlog_crdt import canonical
from driftlog_schemas.devices import Device
from driftlog_schemas.signing import Identity, verify

_SIGNS = b"driftlog farewell 1\n"


class Farewell(NamedTuple):
    """Which key was destroyed with all that was written under it, and by which line of the registry."""

    device_id: str
    key_id: str
    version: int
    replica: str
    lost: int
    """Commands that were answered and that the cloud had not confirmed."""
    said_ms: int
    signature: bytes = b""

    def signed(self, identity: Identity) -> Farewell:
        """The same with the word of its key."""
        return self._replace(signature=identity.sign(self._statement()))

    def genuine(self, device: Device) -> bool:
        """Has a key of that device signed it?"""
        key = next((key for key in device.keys if key.key_id == self.key_id), None)
        if key is None or device.device_id != self.device_id:
            return False
        return verify(key.public, self.signature, self._statement())

    @property
    def key(self) -> bytes:
        """Of its record."""
        return f"{self.device_id}/{self.key_id}".encode()

    def _statement(self) -> bytes:
        return _SIGNS + canonical(list(self[:-1])).encode()
