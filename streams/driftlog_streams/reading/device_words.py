"""Which version of the app the devices of a space run and when each was heard last, as they have said: kept up by reading on, a word for each device.

A device belongs to a space if its app declares it. Heartbeats are not signed, so this is for looking, and what they name is bounded: only devices that
are enrolled are kept, and what is no version counts as none.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import NamedTuple

from driftlog_schemas.asking import AskingClient
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.devices import Device, DeviceStatus
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.support import parsed
from driftlog_streams.reading.fleet import app_version, space_component
from driftlog_streams.reading.lately_heard import HeartbeatTail


class Word(NamedTuple):
    """What is kept of a heartbeat."""

    version: str
    """Empty where the app names none."""
    at_ms: int
    """When the broker took it; `UNTIMED` where the topic does not tell."""


class DeviceWords(HeartbeatTail):
    """Of the active devices that hold the space; `find` asks the device registry."""

    def __init__(
        self,
        kafka: KafkaSettings | str,
        codecs: RecordCodecs,
        space: str,
        find: Callable[[str], Device | None],
        asking: AskingClient | None = None,
    ) -> None:
        super().__init__(kafka, codecs, asking)
        self._component = space_component(space)
        self._find = find
        self._words: dict[str, Word] = {}

    def take(self, heartbeat: Heartbeat, at_ms: int) -> None:
        if self._component in heartbeat.versions and self._find(heartbeat.device_id) is not None:
            version = app_version(heartbeat)
            self._words[heartbeat.device_id] = Word(intern(version) if parsed(version) else "", at_ms)
        else:
            self._words.pop(heartbeat.device_id, None)

    def anew(self) -> None:
        self._words.clear()

    def last(self) -> list[Word]:
        """Of each active device."""
        return [word for device_id, word in self._words.items() if self._active(device_id)]

    def _active(self, device_id: str) -> bool:
        device = self._find(device_id)
        return device is not None and device.latest.status is DeviceStatus.ACTIVE
