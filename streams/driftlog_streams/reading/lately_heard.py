"""Which replicas were heard of lately: by their heartbeats, at the broker's times.

A heartbeat is nobody's word of honour: who may write the topic can keep a life from being retired, and nothing else. A topic that keeps
its writers' times tells nothing about when, so who was ever heard there counts as heard.

The topic is compacted, one record a device, and read on from where the last look ended. Blocking; not to be used by two threads at once.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.core.changelog_record import UNTIMED, ChangelogRecord
from driftlog_streams.reading.changelog_reader import ChangelogReader

log = structlog.get_logger()

AT_ONCE = 20_000
"""So many offsets are read at a time."""
_PLACE = topics.HEARTBEATS, 0


class HeartbeatTail:
    """Reads the topic on from where the last look ended. What is kept of it is a subclass's business."""

    def __init__(self, kafka: KafkaSettings | str, codecs: RecordCodecs) -> None:
        self._reader = ChangelogReader(kafka)
        self._codecs = codecs
        self._next = 0

    def look(self) -> None:
        """Take what came since. Raises KafkaException, `RecoveryFailed`, `RegistryUnreachable`."""
        end = self._reader.ends([_PLACE])[_PLACE]
        if end < self._next:
            self._next = 0
            self.anew()
        while self._next < end:
            stop = min(self._next + AT_ONCE, end)
            for record in self._reader.records(*_PLACE, range(self._next, stop)):
                heartbeat = heartbeat_in(record, self._codecs)
                if heartbeat is not None:
                    self.take(heartbeat, record.append_ms)
            self._next = stop

    def take(self, heartbeat: Heartbeat, at_ms: int) -> None:
        """One heartbeat, and when the broker took it."""
        raise NotImplementedError

    def anew(self) -> None:
        """The topic was made anew: forget everything."""
        raise NotImplementedError


class LatelyHeard(HeartbeatTail):
    """Of all devices that `known` has; so what is kept is bounded by who is enrolled."""

    def __init__(self, kafka: KafkaSettings | str, codecs: RecordCodecs, known: Callable[[str], bool]) -> None:
        super().__init__(kafka, codecs)
        self._known = known
        self._heard: dict[str, tuple[str, int]] = {}
        """device -> the life that it named last, and when"""

    def since(self, append_ms: int) -> set[str]:
        """The replicas that were heard of since then. Raises like `look`."""
        self.look()
        return {replica for replica, at_ms in self._heard.values() if at_ms == UNTIMED or at_ms >= append_ms}

    def take(self, heartbeat: Heartbeat, at_ms: int) -> None:
        if self._known(heartbeat.device_id):
            self._heard[heartbeat.device_id] = heartbeat.replica, at_ms

    def anew(self) -> None:
        self._heard.clear()


def heartbeat_in(record: ChangelogRecord, codecs: RecordCodecs) -> Heartbeat | None:
    """What a device says of itself in this record of the heartbeats' topic; None for whatever else stands there."""
    if record.value is None or b"/" in record.key:
        return None  # a word that says nothing but when, a stranger's tombstone; a farewell
    try:
        heartbeat = codecs.decode_heartbeat(record.value)
    except (Undecodable, UnknownSchema, ValueError) as noise:
        log.warning("a heartbeat is not readable", offset=record.offset, error=str(noise))
        return None
    return heartbeat if record.key == heartbeat.device_id.encode() else None
