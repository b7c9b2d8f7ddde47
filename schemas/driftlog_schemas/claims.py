"""Who looks after a conflict, and until when. It tells others, and binds nobody: whoever may decide still can.

A claim ends by itself, at the latest so long after the log took it, whatever clock said when; so nothing is ever held by somebody who went home. The
newest record of a conflict counts, if a key of its console has signed it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from driftlog_crdt import canonical
from driftlog_schemas.devices import Device, DeviceStatus
from driftlog_schemas.signing import Identity, verify
from driftlog_schemas.topics import RETENTION_MS

HOUR_MS = 3_600_000
LONGEST_MS = RETENTION_MS
"""No claim lasts longer than its topic keeps it."""
_SIGNS = b"driftlog claim 1\n"
_EVERYTHING = "*"


class ClaimKind(StrEnum):
    """What was said."""

    CLAIMED = "claimed"
    """A person looks after it, by their own word or another's."""
    DEFERRED = "deferred"
    """A person has put it off."""
    RELEASED = "released"
    """Nobody does any more."""


class Claim(NamedTuple):
    """What a console says of one conflict."""

    conflict_id: str
    scope: str
    kind: str
    """One of `ClaimKind`; another one is of a later release."""
    person: str
    by: str
    until_ms: int
    note: str
    device_id: str
    key_id: str
    said_ms: int
    signature: bytes = b""

    def signed(self, identity: Identity) -> Claim:
        """The same with the word of its console's key."""
        return self._replace(signature=identity.sign(self._statement()))

    def genuine(self, device: Device, append_ms: int) -> bool:
        """Has a key of that device signed it that counted when the log took it, and may it write in the scope?"""
        key, standing = device.key_at(self.key_id, append_ms), device.standing_at(append_ms)
        if key is None or standing is None or device.device_id != self.device_id:
            return False
        if standing.status is not DeviceStatus.ACTIVE or standing.expired:
            return False
        allowed = _EVERYTHING in standing.scopes or self.scope in standing.scopes
        return allowed and verify(key.public, self.signature, self._statement())

    def ends_ms(self, append_ms: int) -> int:
        """When it ends, of a claim that the log took at this time."""
        return min(self.until_ms, append_ms + LONGEST_MS)

    def _statement(self) -> bytes:
        return _SIGNS + canonical(list(self[:-1])).encode()
