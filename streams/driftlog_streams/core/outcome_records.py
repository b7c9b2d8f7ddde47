"""What becomes of batches and commands beside their chain row, as records: conflicts, parked and quarantined, refusals, and the calls
of its reactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from driftlog_schemas import bounds
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.messages import (
    Call,
    Conflict,
    ParkedCommand,
    Quarantined,
    RefusalNotice,
)
from driftlog_schemas.reacting import calls_bodies
from driftlog_streams.core.admission import Refusal
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord


class OutcomeRecords:
    """Of one partition."""

    def __init__(self, rules: SpaceRules, partition: int) -> None:
        self._rules = rules
        self._codecs = rules.records
        self._topics = rules.topics
        self._partition = partition

    def refusal(self, refusal: Refusal, offset: int, append_ms: int) -> OutRecord:
        """The answer to a batch that cannot be known to come from the replica it names."""
        notice = RefusalNotice(refusal.device_id, refusal.code, refusal.reason, offset, append_ms)
        value = self._codecs.encode_refusal_notice(notice)
        return OutRecord(self._topics.receipts, self._partition, refusal.device_id.encode(), value)

    def conflict(self, conflict: Conflict) -> OutRecord:
        """A conflict that was opened or ended."""
        value = self._codecs.encode_conflict(conflict)
        return OutRecord(self._topics.conflicts, self._partition, conflict.id.encode(), value)

    def parked(self, arrival: Arrival) -> OutRecord:
        """A command that waits, with what its merge will need."""
        waits = ParkedCommand(arrival.append_ms, arrival.offset, arrival.command.id, arrival.value, arrival.dropped_at)
        value = self._codecs.encode_parked(waits)
        return OutRecord(self._topics.parked, self._partition, arrival.key, value)

    def released(self, arrival: Arrival) -> OutRecord:
        """The tombstone of a command that waits no longer."""
        return self.released_as(arrival.key)

    def released_as(self, key: bytes) -> OutRecord:
        """The same by its name."""
        return OutRecord(self._topics.parked, self._partition, key, None)

    def quarantined(
        self, value: bytes, code: str, reason: str, offset: int, append_ms: int, replica: str = "", device_id: str = ""
    ) -> OutRecord:
        """A record that could not be decided, as it came."""
        record = Quarantined(
            reason=bounds.cut(reason, bounds.MAX_REASON),
            code=code,
            partition=self._partition,
            offset=offset,
            append_ms=append_ms,
            replica=replica,
            record=value,
        )
        encoded = self._codecs.encode_quarantined(record)
        return OutRecord(self._topics.quarantine, self._partition, device_id.encode(), encoded)

    def called(self, emitted: Iterable[tuple[int, Call]]) -> Iterator[OutRecord]:
        """The records of what reactions call for, to each partition in the order of the changes."""
        identity, space = self._rules.cloud, self._rules.name
        places: dict[int, list[Call]] = {}
        for place, call in emitted:
            places.setdefault(place, []).append(call)
        for place, calls in places.items():
            assert identity is not None, "without it no reaction runs"
            for body in calls_bodies(space, place, calls):
                value = self._rules.batches.seal(body, identity)
                yield OutRecord(self._topics.ops, place, CLOUD.encode(), value)
