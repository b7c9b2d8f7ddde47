"""The device registry as one worker knows it: `driftlog.devices`, read to its present end before the first record is merged.

A thread keeps reading. A batch of a device, key or incarnation that is not known here may simply be newer than what was read, so before it
is refused the caller asks for one `catch_up`: the topic's present end is asked for *after* the batch was read, and the view is
decisive for every batch read before that. If the end cannot be reached in time nobody is refused: the worker ends with
`DevicesUnknown` and starts again, because a wrong refusal would tell an honest device that its work is not wanted.
"""

from __future__ import annotations

import threading
import time
from typing import cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.messages import Device
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.errors import DevicesUnknown

log = structlog.get_logger()

CATCH_UP_SECONDS = 20.0
REGISTRY_SECONDS = 1.0
"""How long to wait before a registry that must be asked is asked again."""
_PARTITION = 0


class DeviceView:
    """device id -> its newest line. `start` it, ask `find`, `close` it."""

    def __init__(self, kafka: KafkaSettings | str, codecs: RecordCodecs) -> None:
        self._codecs = codecs
        self._devices: dict[str, Device] = {}
        self._position = 0
        self._moved = threading.Condition()
        self._closed = False
        self._known_at = 0.0
        config = {
            **kafka_at(kafka).client(),
            "group.id": "driftlog-device-view",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "enable.partition.eof": True,
            "log_level": 3,
        }
        self._consumer = Consumer(config)
        self._asker = Consumer(config)
        """Asking for the end would wait for ever on the handle that another thread polls."""
        self._thread = threading.Thread(target=self._tail, name="device-view", daemon=True)

    def start(self, timeout: float = CATCH_UP_SECONDS) -> None:
        """Read to the present end. Raises `DevicesUnknown`."""
        self._consumer.assign([TopicPartition(topics.DEVICES, _PARTITION, 0)])
        self._thread.start()
        self.catch_up(timeout)

    def find(self, device_id: str) -> Device | None:
        """The device as far as it is known here."""
        return self._devices.get(device_id)

    def all(self) -> list[Device]:
        """Every device, by name."""
        return [device for _, device in sorted(self._devices.copy().items())]

    def __len__(self) -> int:
        return len(self._devices)

    def fresh_since(self, moment: float) -> bool:
        """Was the topic's end, as it was after `moment` (monotonic), read?"""
        return self._known_at >= moment

    def catch_up(self, timeout: float = CATCH_UP_SECONDS) -> None:
        """Read to the topic's present end; blocks. Raises `DevicesUnknown`."""
        begin = time.monotonic()
        end = begin + timeout
        high = self._present_end(end)
        with self._moved:
            while self._position < high:
                left = end - time.monotonic()
                if left <= 0 or self._closed:
                    raise DevicesUnknown(
                        f"read {self._position} of {high} records of {topics.DEVICES} in {timeout:.0f} s"
                    )
                self._moved.wait(left)
        self._known_at = max(self._known_at, begin)

    def _present_end(self, end: float) -> int:
        while True:
            try:
                _, high = self._asker.get_watermark_offsets(TopicPartition(topics.DEVICES, _PARTITION), timeout=5.0)
                return int(high)
            except KafkaException as error:
                if time.monotonic() > end:
                    raise DevicesUnknown(f"the end of {topics.DEVICES} cannot be asked for: {error}") from error
                time.sleep(0.2)

    def _tail(self) -> None:
        while not self._closed:
            message = self._consumer.poll(0.2)
            if message is None:
                continue
            error, offset = message.error(), cast(int, message.offset())
            if error is None:
                self._take(message.key(), message.value(), offset)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._reached(offset)  # compaction may have left a hole before the end
            else:
                log.warning("device registry", error=str(error))

    def _take(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        if value is None:
            self._devices.pop((key or b"").decode(errors="replace"), None)
        else:
            device = self._decoded(value, offset)
            if device is not None:
                self._devices[device.device_id] = device
        self._reached(offset + 1)

    def _decoded(self, value: bytes, offset: int) -> Device | None:
        """The line, None for noise. Waits for a registry that must be asked: to pass a line over would forget a device."""
        while not self._closed:
            try:
                return self._codecs.decode_device(value)
            except (Undecodable, UnknownSchema) as error:
                log.error("a line of the device registry is not readable", offset=offset, error=str(error))
                return None
            except RegistryUnreachable as error:
                log.warning("device registry", offset=offset, error=str(error))
                time.sleep(REGISTRY_SECONDS)
        return None

    def _reached(self, position: int) -> None:
        with self._moved:
            self._position = max(self._position, position)
            self._moved.notify_all()

    def close(self) -> None:
        """Stop reading."""
        self._closed = True
        if self._thread.is_alive():
            self._thread.join(2.0)
        self._consumer.close()
        self._asker.close()
