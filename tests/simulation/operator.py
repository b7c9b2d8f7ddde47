"""Who says in a world's device registry who may write what, as `driftlog devices` does; and the stranger who writes there too.

Every change is a signed line, a record of `driftlog.devices` like any other, and counts a while after it was said. In the end everybody is let
in again, so that what devices hold can be merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from driftlog_schemas.devices import Device, DeviceStatus, Terms, ahead, with_terms
from driftlog_schemas.generations import line_name
from driftlog_schemas.moves import announced
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.topics import DEVICES
from tests.simulation.scheduler import EPOCH_MS

if TYPE_CHECKING:
    from tests.simulation.world import World

PARTITION = 0
BARRED = "a device was barred"
"""It had lost every right, so nothing of what it sent was seen."""


class Operator:
    """The registry's owner."""

    def __init__(self, world: World, root: RootKey) -> None:
        self._world = world
        self._codecs = RecordCodecs(world.ids)
        self._signer = _operator(world.scheduler.seed, root)
        self._stranger = _operator(world.scheduler.seed, root_of(world.scheduler.seed, "stranger"))
        self.devices: dict[str, Device] = {}
        """As they were said last."""
        self._enrolled: dict[str, Terms] = {}

    def enrol(self, devices: Mapping[str, Device]) -> None:
        """The first lines."""
        for device in devices.values():
            self._enrolled[device.device_id] = device.latest
            self.say(device)

    def announced(self, space: str) -> int | None:
        """How many partitions a space is about to be given."""
        return announced(self.devices.get(line_name(space)))

    def shut_out(self, name: str, length_ms: int) -> None:
        """Revoke a device, and take it in again after a while."""
        self._for_a_while(name, length_ms, self._enrolled[name]._replace(status=DeviceStatus.REVOKED), "revoked")

    def let_end(self, name: str, left_ms: int, grace_ms: int, length_ms: int) -> None:
        """Give a permit that ends soon, and renew it later."""
        end = self._world.scheduler.now + left_ms
        terms = self._enrolled[name]._replace(not_after_ms=end, grace_ms=grace_ms)
        self._for_a_while(name, left_ms + grace_ms + length_ms, terms, "given a permit that ends")

    def restrict(self, name: str, command: str, length_ms: int) -> None:
        """Take one right away, and give it back later."""
        permissions = tuple(right for right in self._enrolled[name].permissions if right != command)
        self._for_a_while(name, length_ms, self._enrolled[name]._replace(permissions=permissions), "restricted")

    def bar(self, name: str, length_ms: int) -> None:
        """Take all its rights away, so that nothing of what it sends is seen, and give them back later."""
        self._for_a_while(name, length_ms, self._enrolled[name]._replace(permissions=()), "barred")

    def write_over(self, name: str) -> None:
        """A stranger puts a line of his own in a device's place, then a tombstone."""
        if self._world.network.healed:
            return
        known = self.devices[name]
        value = self._line(Device(name, known.version + 9, known.keys, known.terms), self._stranger)
        for written in (value, None):
            self._world.log.append(DEVICES, PARTITION, name.encode(), written)
        self._world.history.situation("a line of the registry was written over")

    def let_in(self) -> None:
        """Everybody as he was enrolled."""
        for name, terms in self._enrolled.items():
            self._change(name, terms)

    def _for_a_while(self, name: str, length_ms: int, terms: Terms, what: str) -> None:
        if self._world.network.healed:
            return
        self._world.history.situation(f"a device was {what}")
        self._change(name, terms)

        def again() -> None:
            if not self._world.network.healed:
                self._change(name, self._enrolled[name])

        self._world.scheduler.after(length_ms, f"{name} as before", again)

    def _change(self, name: str, terms: Terms) -> None:
        self.say(with_terms(self.devices[name], terms._replace(from_ms=ahead(self._world.scheduler.now))))

    def say(self, device: Device) -> None:
        """A line as it is from now on."""
        self.devices[device.device_id] = device
        self._world.log.append(DEVICES, PARTITION, device.device_id.encode(), self._line(device, self._signer))

    def _line(self, device: Device, signer: OperatorKey) -> bytes:
        return self._codecs.encode_signed_line(signer.sign(self._codecs.encode_device(device)))


def root_of(seed: int, name: str) -> RootKey:
    """A root key that a seed always has."""
    return RootKey(_key(seed, f"root of {name}"))


def _operator(seed: int, root: RootKey) -> OperatorKey:
    key = _key(seed, f"operator under {root.public.hex()}")
    return OperatorKey(key, root.certify(key.public_key().public_bytes_raw(), 1, EPOCH_MS))


def _key(seed: int, name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=32).digest())
