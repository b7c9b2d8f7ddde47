"""A device as the registry has it: its keys and its terms, each with the time from which it counts. History is added to, never rewritten.

What a device may do is asked about a moment, the append time of a record, and never about "now": so a replay years later decides
as the worker did that day. A key that has ended still verifies what was appended before its end and nothing after; a device
that was revoked and enrolled again stays revoked for what was appended in between.

A change of terms and the end of a key count only from `NOTICE_MS` after they were said (see `ahead`). A worker never admits anything with
knowledge of the registry that is older than this, so it knows of every change before it counts: live and replayed decisions
agree, and that time bounds a revocation whatever becomes of the thread that reads the registry. A new device and a new key count at
once: whoever does not know them asks before refusing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

NOTICE_MS = 10_000
"""How long after it was said a change of what a known device may do counts."""
SLACK_MS = 5 * 60 * 1000
"""A device and a key count from a little before they were made, for clocks that differ; neither can have signed anything earlier."""
EVERYTHING = ("*",)
PUBLISH = "_publish"
"""The permission to write what only comes down to devices (`direction="down"`); `*` does not contain it, and it is a right to no command."""


class DeviceStatus(Enum):
    """What the operator says of a device."""

    ACTIVE = "active"
    """It may write, on its terms."""
    REVOKED = "revoked"
    """Nothing more of it is taken."""
    WIPE = "wipe"
    """Revoked, and it erases its key and its replica when it hears of it."""


class DeviceKey(NamedTuple):
    """A public key and when it counts: from `from_ms`, and until before `until_ms` (0: no end)."""

    key_id: str
    public: bytes
    """Raw Ed25519, 32 bytes."""
    from_ms: int
    until_ms: int = 0

    def counts_at(self, moment_ms: int) -> bool:
        return self.from_ms - SLACK_MS <= moment_ms and (not self.until_ms or moment_ms < self.until_ms)


class Terms(NamedTuple):
    """What a device may do, from `from_ms` until the next terms."""

    from_ms: int
    status: DeviceStatus
    scopes: tuple[str, ...]
    """Scopes it may write; `*` for all."""
    permissions: tuple[str, ...]
    """Commands it may send; `*` for all, `_write` for writes without a command. With `_publish` also where they change what only comes down."""
    not_after_ms: int = 0
    """The permit's end; 0 for none."""
    grace_ms: int = 0
    """For how long after its end it is still honoured."""

    def ended_at(self, moment_ms: int) -> bool:
        """Is the permit over, its grace too?"""
        return bool(self.not_after_ms) and moment_ms > self.not_after_ms + self.grace_ms


class Standing(NamedTuple):
    """A device as it stood at one moment."""

    device_id: str
    status: DeviceStatus
    scopes: tuple[str, ...]
    permissions: tuple[str, ...]
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A line of the device registry. `version` rises with every change; readers keep the highest."""

    device_id: str
    version: int
    keys: tuple[DeviceKey, ...]
    terms: tuple[Terms, ...]
    """In order of time; never empty."""

    def key_at(self, key_id: str, moment_ms: int) -> DeviceKey | None:
        """The key of this name that counts at a moment."""
        return next((key for key in self.keys if key.key_id == key_id and key.counts_at(moment_ms)), None)

    def terms_at(self, moment_ms: int) -> Terms | None:
        """The terms of a moment; None before it was enrolled."""
        found = next((terms for terms in reversed(self.terms) if terms.from_ms <= moment_ms), None)
        first = self.terms[0]
        return first if found is None and first.from_ms - SLACK_MS <= moment_ms else found

    def standing_at(self, moment_ms: int) -> Standing | None:
        """How it stood at a moment; None before it was enrolled."""
        terms = self.terms_at(moment_ms)
        if terms is None:
            return None
        return Standing(
            self.device_id, terms.status, terms.scopes, terms.permissions, expired=terms.ended_at(moment_ms)
        )

    def wiped(self, key_id: str) -> bool:
        """Is whoever holds this key told to erase what he has?

        Also when the device was enrolled again since: then its new key is not meant, and the old ones are, wherever a folder with one
        turns up. Unless they were kept (`--keep-keys`), which takes them back in. Of a line from before the key nothing follows.
        """
        key = next((key for key in self.keys if key.key_id == key_id), None)
        if key is None:
            return False
        if self.latest.status is DeviceStatus.WIPE:
            return True
        return bool(key.until_ms) and any(
            terms.status is DeviceStatus.WIPE and key.from_ms <= terms.from_ms and key.until_ms <= following.from_ms
            for terms, following in pairwise(self.terms)
        )

    @property
    def latest(self) -> Terms:
        """The terms that were said last; they may not count yet."""
        return self.terms[-1]


def enrolled(
    device_id: str,
    key: DeviceKey,
    scopes: tuple[str, ...] = EVERYTHING,
    permissions: tuple[str, ...] = EVERYTHING,
    not_after_ms: int = 0,
    grace_ms: int = 0,
) -> Device:
    """The first line of a device; it counts from when its key does."""
    terms = Terms(key.from_ms, DeviceStatus.ACTIVE, scopes, permissions, not_after_ms, grace_ms)
    return Device(device_id, 1, (key,), (terms,))


def ahead(now_ms: int) -> int:
    """From when a change counts that is said now."""
    return now_ms + NOTICE_MS


def with_terms(device: Device, terms: Terms) -> Device:
    """The next version, with these terms from their time on. What was announced for later than that no longer comes."""
    kept = tuple(earlier for earlier in device.terms if earlier.from_ms < terms.from_ms)
    return Device(device.device_id, device.version + 1, device.keys, (*kept, terms))


def with_key(device: Device, key: DeviceKey, now_ms: int, *, keep: bool = False) -> Device:
    """The next version, with one more key. The others end, unless they are kept: what they signed before stays good."""
    end = ahead(now_ms)
    others = device.keys if keep else tuple(_ended(other, end) for other in device.keys)
    return Device(device.device_id, device.version + 1, (*others, key), device.terms)


def _ended(key: DeviceKey, end_ms: int) -> DeviceKey:
    return key if key.until_ms and key.until_ms <= end_ms else key._replace(until_ms=end_ms)
