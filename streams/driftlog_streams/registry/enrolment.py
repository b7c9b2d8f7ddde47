"""The device registry from its operator's side: who may write what, and who no longer may.

A device is a signed line in the compacted topic `driftlog.devices`; every change is the next version of it, with its history in it. Enrolling
makes a key pair: the private half goes into the identity file and nowhere else, beside the root's public key. Enrolling again, and
rotating the key, end the keys of before, unless they are kept. What a change says counts from a little later (`devices.ahead`), so
that every worker knows of it by then. Records are judged by when the broker has appended them, so it is the broker's time that a change says: by a clock that is years
ahead a device would be revoked in years, and by one that is behind what it had written before would be refused in a replay. No line is ever deleted: a replay needs it.

Must never happen: an identity file for a line that was not delivered (the device could not write), so the line goes first; or a
line for a file that cannot be written, so that goes beside its place before, and is put there after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from driftlog_schemas import avro_files, topics
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.devices import (
    Device,
    DeviceKey,
    DeviceStatus,
    Terms,
    ahead,
    enrolled,
    with_key,
    with_terms,
)
from driftlog_schemas.farewell import Farewell
from driftlog_schemas.generations import FIRST, InForce, ever_in_force, in_force, line_name, switched
from driftlog_schemas.moves import Moved, announced, announcing, moved, moving
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import DeliveryFailed, SetupProblem
from driftlog_streams.reading.births import cloned_devices
from driftlog_streams.reading.farewells import read_farewells
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.registry.operators_clock import broker_ahead_ms
from driftlog_streams.registry.sending import send

TIMEOUT_SECONDS = 15.0
MAX_LINE_BYTES = 512 * 1024


class Signs(NamedTuple):
    """What the registry does not say of devices, because they have shown it themselves."""

    farewells: Mapping[str, Sequence[Farewell]] = MappingProxyType({})
    """Device -> the replicas of it that were wiped and have said so."""
    cloned: Mapping[str, int] = MappingProxyType({})
    """Device -> when it last began too many lives."""


class Enrolment:
    """The registry of one cluster. A context manager: it holds a reader of the topic. Without an operator it only reads.

    Raises `SetupProblem` where `root` is another than the operator's.
    """

    def __init__(
        self,
        kafka: KafkaSettings | str,
        ids: SchemaIds,
        operator: OperatorKey | None = None,
        root: bytes | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if operator is not None and root not in (None, operator.certificate.root):
            raise SetupProblem(
                "the operator's key is of another root than the one that is believed here: nobody would believe what it signs",
                "name the folder of the right keys with --operator, or pin the root of these with trust.root",
            )
        self._kafka = kafka_at(kafka)
        self._codecs = RecordCodecs(ids)
        self._operator = operator
        self._own_ms = now_ms
        self._ahead_ms = 0
        for name in ("device", "signed_line"):  # a registry that is not there is told here, not found missing later
            ids.id_of(avro_files.text(name))
        TopicsAdmin(self._kafka, timeout=5.0).require([topics.devices_topic()])
        self.view = DeviceView(
            self._kafka, self._codecs, root if operator is None or root is not None else operator.certificate.root
        )

    def __enter__(self) -> Enrolment:
        try:
            self.view.start(TIMEOUT_SECONDS)
            if self._operator is not None:
                self._ahead_ms = broker_ahead_ms(self._kafka, self._own_ms)
        except BaseException:
            self.view.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.view.close()

    def enrol(
        self,
        device_id: str,
        out: Path,
        scopes: Sequence[str] = ("*",),
        permissions: Sequence[str] = ("*",),
        valid_ms: int = 0,
        grace_ms: int = 0,
        *,
        keep_keys: bool = False,
    ) -> Device:
        """A new device, or a known one with a new key and these terms. Writes its identity to `out`.

        Raises:
            SetupProblem: `out` exists, or `device_id` cannot name a device.
        """
        now = self._now_ms()
        not_after = now + valid_ms if valid_ms else 0

        def line(known: Device | None, key: DeviceKey) -> Device:
            if known is None:
                return enrolled(device_id, key, tuple(scopes), tuple(permissions), not_after, grace_ms)
            terms = Terms(ahead(now), DeviceStatus.ACTIVE, tuple(scopes), tuple(permissions), not_after, grace_ms)
            changed = known if _same(known.latest, terms) else with_terms(known, terms)
            return with_key(changed, key, now, keep=keep_keys)

        return self._new_key(device_id, out, now, line)

    def rotate_key(self, device_id: str, out: Path, *, keep_keys: bool = False) -> Device:
        """A new key for a device, on the terms it has. Raises `SetupProblem`."""
        self.find(device_id)
        now = self._now_ms()

        def line(known: Device | None, key: DeviceKey) -> Device:
            assert known is not None, "found above; no line is ever deleted"
            return with_key(known, key, now, keep=keep_keys)

        return self._new_key(device_id, out, now, line)

    def set_status(self, device_id: str, status: DeviceStatus) -> Device:
        """The device is `status` from a little later on. Raises `SetupProblem` if it is not enrolled."""
        device, soon = self.find(device_id), ahead(self._now_ms())
        if device.latest.status is status and device.latest.from_ms <= soon:
            return device
        terms = device.latest._replace(status=status, from_ms=soon)
        return self._publish(with_terms(device, terms))

    def renew(self, device_id: str, valid_ms: int, grace_ms: int | None = None) -> Device:
        """The permit holds for so long from now on. Raises `SetupProblem` if it is not enrolled, or shut out."""
        device = self.find(device_id)
        now, latest = self._now_ms(), device.latest
        if latest.status is not DeviceStatus.ACTIVE:
            raise SetupProblem(
                f"device {device_id!r} is {latest.status.value}", "a new permit takes a new enrolment: `devices enrol`"
            )
        terms = latest._replace(
            from_ms=ahead(now),
            not_after_ms=now + valid_ms,
            grace_ms=latest.grace_ms if grace_ms is None else grace_ms,
        )
        return self._publish(with_terms(device, terms))

    def rotate_operator(self, root: RootKey, keep: Callable[[OperatorKey], None], *, sure: bool = False) -> OperatorKey:
        """The next operator signs every line again; only then the ones before count no more.

        Cut off anywhere, both count, and it can be begun again. `keep` writes the new operator down. A command that moves a space, or switches its generation, has the key of
        before and would end: `sure`, it is rotated all the same.

        Raises:
            SetupProblem: also where such a command is not at its end.
        """
        if not sure:
            self._require_rest()
        lines = self.view.lines
        generation = max(lines.generation, self._signer().certificate.generation) + 1
        now = self._now_ms()
        final = OperatorKey.create(root, now, generation)
        interim = OperatorKey(final.key, root.certify(final.certificate.public, generation, now, oldest=lines.oldest))
        devices = self.view.everything()
        self._operator = interim
        self._send([_again(device) for device in devices])
        keep(final)
        self._operator = final
        if devices:  # one line with the final certificate ends all operators before
            self._send([_again(_again(devices[0]))])
        return final

    def _require_rest(self) -> None:
        lines = self.view.lines
        moving = (f"{space} is being given {count} partitions" for space, count in lines.moving().items())
        switching = (
            f"{space} is being switched from generation {now.read} to {now.merged}"
            for space, now in lines.under_way().items()
        )
        if begun := [*moving, *switching]:
            raise SetupProblem(
                f"{', '.join(begun)}, by a command that would end where the operator's key is another one",
                "let that come to its end, `driftlog doctor` says how; where the key must go at once give --yes, and run that command again",
            )

    def generations(self, space: str) -> tuple[InForce, frozenset[int]]:
        """Which generations of a space are in force, and which ever were."""
        known = self.view.find(line_name(space))
        return in_force(known), ever_in_force(known)

    def switch(self, space: str, to: InForce) -> None:
        """These generations of a space are in force from now on. Raises `SetupProblem`, also where the space has moved to other topics."""
        known = self.view.find(line_name(space))
        self._require_here(known, space)
        if (count := announced(known)) is not None:
            raise SetupProblem(
                f"{space} is being given {count} partitions, and its logs may be closed",
                f"finish that: `driftlog topics repartition --partitions {count} --yes`",
            )
        if in_force(known) != to:
            self._publish(switched(known, space, to, self._now_ms()))

    def announce(self, space: str, partitions: int | None) -> int:
        """A space, by its name on the wire, is about to be given so many partitions; None takes that back. The version of the line that says so.

        Raises `SetupProblem` where it has moved already, and where somebody else says something of it at this moment: of two lines of a version the first counts.
        """
        return self._publish(announcing(self._line_of(space), partitions, self._now_ms())).version

    def move(self, space: str, to: Moved, announced_in: int) -> None:
        """A space, by its name on the wire, goes on there from now on. Raises `SetupProblem` as `require_announced` does."""
        self._publish(moving(self._announced(space, announced_in), to, self._now_ms()))

    def require_announced(self, space: str, announced_in: int) -> None:
        """Ask the registry once more. Raises `SetupProblem` where the space has moved by now, or another line of it counts than that version, `DevicesUnknown`."""
        self.view.catch_up(TIMEOUT_SECONDS)
        self._announced(space, announced_in)

    def _announced(self, space: str, announced_in: int) -> Device:
        line = self._line_of(space)
        if line.version != announced_in:
            raise SetupProblem(
                f"somebody else has begun to give {space} another number of partitions, or has taken it back, or the operator's key was rotated",
                "let that come to its end; if it does not, run the command again",
            )
        return line

    def _line_of(self, space: str) -> Device:
        """That of a space which has not moved."""
        known = self.view.find(line_name(space)) or switched(None, space, FIRST, self._now_ms())
        self._require_here(known, space)
        return known

    @staticmethod
    def _require_here(known: Device | None, space: str) -> None:
        if (to := moved(known)) is not None:
            raise SetupProblem(f"{space} has moved to {to.partitions} partitions, and its old topics are closed", "")

    def find(self, device_id: str) -> Device:
        """Raises `SetupProblem` if it is not enrolled."""
        device = self.view.find(device_id)
        if device is None:
            raise SetupProblem(f"device {device_id!r} is not enrolled", "see `driftlog devices list`")
        return device

    def all(self) -> list[Device]:
        """Every line, by name."""
        return self.view.all()

    def signs(self) -> Signs:
        """What devices have shown of themselves. Raises `TopicProblem`, `BrokerUnreachable`."""
        return Signs(
            read_farewells(self._kafka, self._codecs, self.view.find), cloned_devices(self._kafka, self._codecs)
        )

    def _new_key(
        self, device_id: str, out: Path, now_ms: int, line: Callable[[Device | None, DeviceKey], Device]
    ) -> Device:
        if out.exists():
            raise SetupProblem(f"{out} exists already", "choose another --out; an identity is never overwritten")
        try:
            identity = Identity.create(device_id, self._signer().certificate.root)
        except ValueError as error:
            raise SetupProblem(str(error), "for example store-1") from error
        key = DeviceKey(identity.key_id, identity.public_key, now_ms)
        device = line(self.view.find(device_id), key)
        kept = out.with_name(f"{out.name}.new")
        identity.save(kept)  # a folder that takes no file must not cost a line
        try:
            self._publish(device)
            kept.replace(out)
        finally:
            kept.unlink(missing_ok=True)
        return device

    # -- writing

    def _signer(self) -> OperatorKey:
        if self._operator is None:
            raise SetupProblem("only an operator may change the registry", "see `driftlog operator init`")
        return self._operator

    def _publish(self, device: Device) -> Device:
        self._send([device])
        return device

    def _send(self, devices: Sequence[Device]) -> None:
        signer = self._signer()
        values = {}
        for device in devices:
            value = self._codecs.encode_signed_line(signer.sign(self._codecs.encode_device(device)))
            if len(value) > MAX_LINE_BYTES:
                raise SetupProblem(
                    f"the line of {device.device_id} has {len(value)} bytes, at most {MAX_LINE_BYTES}",
                    "name fewer scopes, or * for all",
                )
            values[device.device_id] = value
        self._deliver(values)
        self.view.catch_up(TIMEOUT_SECONDS)
        for name, value in values.items():
            held = self.view.lines.line(name)
            if held is None or held.value != value:
                why = ", ".join(f"{reason}: {n}" for reason, n in self.view.lines.ignored.items()) or "no reason known"
                raise SetupProblem(
                    f"the line of {name} is not believed, or somebody else changed it meanwhile ({why})",
                    "look at `driftlog doctor`, then try again",
                )

    def _deliver(self, values: dict[str, bytes]) -> None:
        sent = send(self._kafka, topics.DEVICES, values)
        if sent.missing:
            raise DeliveryFailed(
                f"the broker did not take {sent.missing} of {len(values)} lines: {sent.why}", "see the broker's log"
            )

    # -- the time

    def _now_ms(self) -> int:
        return self._own_ms() + self._ahead_ms


def _same(one: Terms, other: Terms) -> bool:
    """Do they say the same, whenever they began?"""
    return one._replace(from_ms=0) == other._replace(from_ms=0)


def _again(device: Device) -> Device:
    """The same as the next version."""
    return Device(device.device_id, device.version + 1, device.keys, device.terms)
