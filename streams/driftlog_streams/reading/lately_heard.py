"""Which replicas were heard of lately: by their heartbeats, at the broker's times.

A heartbeat is nobody's word of honour: who may write the topic can keep a life from being retired, and nothing else. So a word on one life takes nothing
from what was heard of another of the same device; names beyond what can be kept count as everybody's; and who has just begun to listen, and finds
of each device the last word only, has not heard enough to call anybody silent. A topic that keeps its writers' times tells nothing about
when, so who was ever heard there counts as heard.

The topic is compacted, one record a device, and read on from where the last look ended. Blocking; not to be used by two threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Container

import structlog

from driftlog_schemas import topics
from driftlog_schemas.asking import AskingClient
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import device_of
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.core.changelog_record import UNTIMED, ChangelogRecord
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.skipped import MISPLACED, UNREADABLE, Skipped, skipping

log = structlog.get_logger()

AT_ONCE = 20_000
"""So many offsets are read at a time."""
MOST_HEARD = 100_000
"""Lives that are remembered."""
_PLACE = topics.HEARTBEATS, 0


class HeartbeatTail:
    """Reads the topic on from where the last look ended. What is kept of it is a subclass's business."""

    def __init__(self, kafka: KafkaSettings | str, codecs: RecordCodecs, asking: AskingClient | None = None) -> None:
        self._reader = ChangelogReader(kafka, asking)
        self._codecs = codecs
        self._next = 0

    def look(self) -> None:
        """Take what came since. Raises KafkaException, `RecoveryFailed`, `RegistryUnreachable`."""
        end = self._reader.ends([_PLACE])[_PLACE]
        if end < self._next:
            self._next = 0
            self.anew()
        with skipping(topics.HEARTBEATS) as skipped:
            while self._next < end:
                stop = min(self._next + AT_ONCE, end)
                for record in self._reader.records(*_PLACE, range(self._next, stop)):
                    heartbeat = heartbeat_in(record, self._codecs, skipped)
                    if heartbeat is not None:
                        self.take(heartbeat, record.append_ms)
                self._next = stop

    def take(self, heartbeat: Heartbeat, at_ms: int) -> None:
        """One heartbeat, and when the broker took it."""
        raise NotImplementedError

    def anew(self) -> None:
        """The topic was made anew: forget everything."""
        raise NotImplementedError


class _Everybody:
    def __contains__(self, replica: object) -> bool:
        return True


EVERYBODY: Container[str] = _Everybody()


class LatelyHeard(HeartbeatTail):
    """Of all devices that `known` has."""

    def __init__(
        self,
        kafka: KafkaSettings | str,
        codecs: RecordCodecs,
        known: Callable[[str], bool],
        asking: AskingClient | None = None,
    ) -> None:
        super().__init__(kafka, codecs, asking)
        self._known = known
        self._heard: dict[str, int] = {}
        """replica -> when it was heard of last; `UNTIMED` where the topic does not tell"""
        self._full_ms = -1
        """When a name found no room last."""
        self._listens = False

    def since(self, append_ms: int) -> Container[str]:
        """The replicas that were heard of since then, among them all that may have been. Raises like `look`."""
        listened = self._listens
        self.look()
        self._listens = True
        self._heard = {replica: at for replica, at in self._heard.items() if at == UNTIMED or at >= append_ms}
        if self._full_ms >= append_ms:
            log.warning("more lives are named in heartbeats than can be kept: nobody is retired", lives=MOST_HEARD)
            return EVERYBODY
        return frozenset(self._heard) if listened else EVERYBODY

    def take(self, heartbeat: Heartbeat, at_ms: int) -> None:
        if not self._known(heartbeat.device_id) or device_of(heartbeat.replica) != heartbeat.device_id:
            return
        if heartbeat.replica in self._heard or len(self._heard) < MOST_HEARD:
            self._heard[heartbeat.replica] = at_ms
        else:
            log.warning(
                "more lives are named in heartbeats than can be kept: nobody is retired", last=heartbeat.replica
            )
            self._full_ms = max(at_ms, self._full_ms)

    def anew(self) -> None:
        self._heard.clear()
        self._listens = False


def heartbeat_in(record: ChangelogRecord, codecs: RecordCodecs, skipped: Skipped) -> Heartbeat | None:
    """What a device says of itself in this record of the heartbeats' topic; None for whatever else stands there."""
    if record.value is None or b"/" in record.key:
        return None  # a word that says nothing but when, a stranger's tombstone; a farewell
    try:
        heartbeat = codecs.decode_heartbeat(record.value)
    except (Undecodable, UnknownSchema):
        skipped.add(UNREADABLE, record.offset)
        return None
    if record.key != heartbeat.device_id.encode():
        skipped.add(MISPLACED, record.offset)
        return None
    return heartbeat
