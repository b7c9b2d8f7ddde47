"""The device registry: who may write what, and who no longer may.

A device is a line in the compacted topic `driftlog.devices`. Enrolling makes a key pair: the private half goes into the identity file and
nowhere else. Enrolling a device again begins its next incarnation: the line keeps the old keys, so that batches signed before still verify.
A revocation says since when, so that what was appended before stays valid. No line is ever deleted: a replay needs it.

Must never happen: an identity file for a line that was not delivered (the device could not write), so the line goes first; or a
line for a file that cannot be written, so that goes beside its place before, and is put there after.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from driftlog_schemas import avro_files, topics
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.messages import Device, DeviceStatus
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics import SHARED_PARTITIONS, Topic
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import DeliveryFailed, SetupProblem
from driftlog_streams.registry.device_view import DeviceView

TIMEOUT_SECONDS = 15.0


class Enrolment:
    """The registry of one cluster. A context manager: it holds a reader of the topic."""

    def __init__(self, kafka: KafkaSettings | str, ids: SchemaIds) -> None:
        self._kafka = kafka_at(kafka)
        self._codecs = RecordCodecs(ids)
        ids.id_of(
            avro_files.text("device")
        )  # a registry that is not there is told here, not found missing by the reader
        TopicsAdmin(kafka, timeout=5.0).require([Topic(topics.DEVICES, SHARED_PARTITIONS, {})])
        self._view = DeviceView(kafka, self._codecs)

    def __enter__(self) -> Enrolment:
        self._view.start(TIMEOUT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._view.close()

    def enrol(
        self,
        device_id: str,
        out: Path,
        scopes: Sequence[str] = ("*",),
        permissions: Sequence[str] = ("*",),
        now_ms: int | None = None,
    ) -> Device:
        """A new device, or the next incarnation of a known one. Writes its identity to `out`.

        Raises:
            SetupProblem: `out` exists, or `device_id` cannot name a device.
        """
        if out.exists():
            raise SetupProblem(f"{out} exists already", "choose another --out; an identity is never overwritten")
        now = _now() if now_ms is None else now_ms
        known = self._view.find(device_id)
        try:
            identity = Identity.create(device_id, known.incarnation + 1 if known else 1)
        except ValueError as error:
            raise SetupProblem(str(error), "for example store-1") from error
        device = Device(
            device_id=identity.device_id,
            incarnation=identity.incarnation,
            keys={**(known.keys if known else {}), identity.key_id: identity.public_key},
            scopes=tuple(scopes),
            permissions=tuple(permissions),
            status=DeviceStatus.ACTIVE,
            enrolled_ms=known.enrolled_ms if known else now,
            status_since_ms=now,
        )
        kept = out.with_name(f"{out.name}.new")
        identity.save(kept)  # a folder that takes no file must not cost an incarnation
        try:
            self._publish(device)
            kept.replace(out)
        finally:
            kept.unlink(missing_ok=True)
        return device

    def set_status(self, device_id: str, status: DeviceStatus, now_ms: int | None = None) -> Device:
        """From now on the device is `status`. Raises `SetupProblem` if it is not enrolled."""
        device = dataclasses.replace(
            self.find(device_id), status=status, status_since_ms=_now() if now_ms is None else now_ms
        )
        self._publish(device)
        return device

    def find(self, device_id: str) -> Device:
        """Raises `SetupProblem` if it is not enrolled."""
        device = self._view.find(device_id)
        if device is None:
            raise SetupProblem(f"device {device_id!r} is not enrolled", "see `driftlog devices list`")
        return device

    def all(self) -> list[Device]:
        """Every line, by name."""
        return self._view.all()

    def _publish(self, device: Device) -> None:
        failures: list[str] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error.str())

        producer = Producer(
            {
                **self._kafka.client(),
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": int(TIMEOUT_SECONDS * 1000),
                "log_level": 0,
            }
        )
        producer.produce(topics.DEVICES, self._codecs.encode_device(device), device.device_id.encode(), 0, on_delivery)
        left = producer.flush(TIMEOUT_SECONDS + 1)
        if left or failures:
            raise DeliveryFailed(
                f"the broker did not take the line of {device.device_id}: {', '.join(failures) or 'no answer'}",
                "see the broker's log",
            )
        self._view.catch_up(TIMEOUT_SECONDS)


def _now() -> int:
    return time.time_ns() // 1_000_000
