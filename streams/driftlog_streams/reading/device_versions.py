"""Which version of the app the devices of a space run, as they have last said: kept up by reading on, a word for each device.

A device belongs to a space if its app declares it. Heartbeats are not signed, so this is for looking, and what they name is bounded: only devices that
are enrolled are kept, and what is no version counts as none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from sys import intern

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.devices import Device, DeviceStatus
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.support import parsed
from driftlog_streams.reading.fleet import app_version, space_component
from driftlog_streams.reading.lately_heard import HeartbeatTail


class DeviceVersions(HeartbeatTail):
    """Of the active devices that hold the space; `find` asks the device registry."""

    def __init__(
        self, kafka: KafkaSettings | str, codecs: RecordCodecs, space: str, find: Callable[[str], Device | None]
    ) -> None:
        super().__init__(kafka, codecs)
        self._component = space_component(space)
        self._find = find
        self._version: dict[str, str] = {}

    def take(self, heartbeat: Heartbeat, at_ms: int) -> None:
        if self._component in heartbeat.versions and self._find(heartbeat.device_id) is not None:
            version = app_version(heartbeat)
            self._version[heartbeat.device_id] = intern(version) if parsed(version) else ""
        else:
            self._version.pop(heartbeat.device_id, None)

    def anew(self) -> None:
        self._version.clear()

    def counted(self) -> Counter[str]:
        """Version -> how many devices run it; the empty one is of those that name none."""
        return Counter(version for device_id, version in self._version.items() if self._active(device_id))

    def _active(self, device_id: str) -> bool:
        device = self._find(device_id)
        return device is not None and device.latest.status is DeviceStatus.ACTIVE
