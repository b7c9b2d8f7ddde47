"""Who looks after which conflict, as `driftlog.desk` tells it: read on from where the last look ended.

Every console reads and writes it, so a claim outlives the console where it was made and is seen by the others. Anybody's tool may write to a topic:
what no console has signed counts for nothing, and takes nothing away.

Blocking; not to be used by two threads at once. What was found is replaced whole, so other threads may look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from driftlog_schemas import topics
from driftlog_schemas.claims import LONGEST_MS, Claim, ClaimKind
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.devices import Device
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.core.changelog_record import UNTIMED, ChangelogRecord
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.set_aside import produce
from driftlog_streams.reading.skipped import MISPLACED, UNREADABLE, UNSIGNED, Skipped, skipping

AT_ONCE = 20_000
"""So many offsets are read at a time."""
MOST = 100_000
"""Claims that are kept; who may write the topic could fill the memory with others."""
_PLACE = topics.DESK, 0


@dataclass(frozen=True, slots=True)
class Held:
    """A claim that is in force until `ends_ms`."""

    claim: Claim
    ends_ms: int

    @property
    def deferred(self) -> bool:
        """Was it put off?"""
        return self.claim.kind == ClaimKind.DEFERRED


class ClaimTail:
    """See the module. `find` gives a device of the registry, `now_ms` is this machine's clock."""

    def __init__(
        self,
        kafka: KafkaSettings | str,
        codecs: RecordCodecs,
        find: Callable[[str], Device | None],
        now_ms: Callable[[], int],
    ) -> None:
        self.held: Mapping[str, Held] = MappingProxyType({})
        """conflict id -> its claim"""
        self._reader = ChangelogReader(kafka)
        self._codecs = codecs
        self._find = find
        self._now_ms = now_ms
        self._next = 0

    def look(self) -> None:
        """Take what came since. Raises KafkaException, `RecoveryFailed`, `RegistryUnreachable`."""
        end = self._reader.ends([_PLACE])[_PLACE]
        found = dict(self.held)
        if end < self._next:  # the topic was made anew
            self._next = 0
            found.clear()
        with skipping(topics.DESK) as skipped:
            while self._next < end:
                stop = min(self._next + AT_ONCE, end)
                for record in self._reader.records(*_PLACE, range(self._next, stop)):
                    self._take(found, record, skipped)
                self._next = stop
        now = self._now_ms()
        self.held = MappingProxyType({name: one for name, one in found.items() if one.ends_ms > now})

    def _take(self, found: dict[str, Held], record: ChangelogRecord, skipped: Skipped) -> None:
        if record.value is None:
            return  # a stranger's: it takes nothing back
        try:
            claim = self._codecs.decode_claim(record.value)
        except (Undecodable, UnknownSchema):
            skipped.add(UNREADABLE, record.offset)
            return
        if record.key != claim.conflict_id.encode():
            skipped.add(MISPLACED, record.offset)
            return
        at_ms = claim.said_ms if record.append_ms == UNTIMED else record.append_ms
        device = self._find(claim.device_id)
        if device is None or not claim.genuine(device, at_ms):
            skipped.add(UNSIGNED, record.offset)
            return
        ends = claim.ends_ms(at_ms)
        known = claim.kind in (ClaimKind.CLAIMED, ClaimKind.DEFERRED)
        found.pop(claim.conflict_id, None)
        if known and ends > self._now_ms() and ends - self._now_ms() <= LONGEST_MS and len(found) < MOST:
            found[claim.conflict_id] = Held(claim, ends)


def write_claim(kafka: KafkaSettings | str, codecs: RecordCodecs, claim: Claim) -> None:
    """Let all consoles know. Raises `DeliveryFailed`, `RegistryUnreachable`."""
    produce(kafka, topics.DESK, 0, claim.conflict_id, codecs.encode_claim(claim))
