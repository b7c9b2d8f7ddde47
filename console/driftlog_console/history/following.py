"""One partition's op log as its history is made of it: merged once more by the workers' own core, or only listed where its beginning is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from driftlog_console.history.by_device import DOCUMENTS, LONG_REASON, Sent, SentBatch
from driftlog_console.history.kept import LONG_VALUE, MINUTES, KeptHistory, Moment, Reached
from driftlog_crdt import canonical
from driftlog_schemas import topics
from driftlog_schemas.contract import Json, SpaceContract
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.identity import CLOUD, DocumentId, device_of
from driftlog_schemas.messages import Batch
from driftlog_streams.core.admission import Admitted, Refusal
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.state_cache import Unreadable
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.replaying.retelling import Decided, Retelling, Step, Told, listed

MINUTE_MS = 60_000
TOO_LONG = "it is too long to be kept at each moment"
UNREADABLE = "this release cannot read it"
CUT = "the beginning of the log is gone"
REFUSED = "refused"
"""Counts whole batches that were refused: nobody knows how many commands they had."""


@dataclass(slots=True)
class Following:
    """Of one partition. Give it records in order; what it makes of them is kept when `end` is called."""

    space: SpaceContract
    rules: SpaceRules
    partition: int
    kept: KeptHistory
    retelling: Retelling
    reached: Reached

    @classmethod
    def of(
        cls,
        space: SpaceContract,
        rules: SpaceRules,
        partition: int,
        kept: KeptHistory,
        store: PartitionStore,
        devices: Devices,
        reached: Reached,
    ) -> Following:
        """As it was left; from its first record on if it was never followed. Raises `Undecodable`."""

        def sealed(part: PartitionFlight) -> None:
            for record in part.outcomes:
                if record.topic == topics.parked_topic(space.name):
                    kept.wait(space.name, partition, record.key, record.value)
            kept.flush()  # first: a store that is behind is given the same records again

        def declared(document: DocumentId) -> bool:
            return document.collection in rules.collections

        retelling = Retelling(rules, partition, store, devices, declared, sealed)
        found = cls(space, rules, partition, kept, retelling, reached)
        kept.devices.begin(space.name, partition, reached.following, reached.at_ms)
        if retelling.following and not reached.cut:
            waiting = map(rules.records.decode_parked, kept.parked(space.name, partition).values())
            found._decide(retelling.resume([one for one in waiting if one.offset < retelling.following]))
        return found

    @property
    def following(self) -> int:
        """Offset of the record that is to be given next."""
        return self.reached.following if self.reached.cut else self.retelling.following

    def take(self, records: Sequence[ChangelogRecord]) -> set[DocumentId]:
        """The next records; the documents that have changed. Raises `RegistryUnreachable`: from that record on they have to be given again."""
        changed: set[DocumentId] = set()
        for record in records:
            admission = self.retelling.admit(record)
            if isinstance(admission, Refusal) and admission.code == "unknown_schema":
                self.end()
                raise RegistryUnreachable(admission.reason, "see whether the schema registry answers")
            told = listed(record, admission) if self.reached.cut else self.retelling.take(record, admission)
            if record.offset >= self.reached.following:
                self._count(record, told, refused=isinstance(admission, Refusal))
            self._keep(record, told)
            if isinstance(admission, Admitted):
                self._keep_for_device(record, admission.batch, told.steps)
            self._decide(told.decided)
            changed |= told.documents
            self.reached = self.reached._replace(
                following=max(self.reached.following, record.offset + 1),
                at_ms=record.append_ms,
                began_ms=self.reached.began_ms or (record.append_ms if self.reached.cut else 0),
            )
        self.end()
        return changed

    def skip(self, offset: int) -> None:
        """There is nothing before this offset: holes are read, too."""
        self.reached = self.reached._replace(following=max(self.reached.following, offset), cut=True)
        self.end()

    def end(self) -> None:
        """Everything is on disk."""
        name = self.space.name
        self.kept.reach(name, self.partition, self.reached)
        self.kept.forget_minutes(name, self.partition, self.reached.at_ms // MINUTE_MS - MINUTES)
        if not self.reached.cut:
            self._decide(self.retelling.end())
        self.kept.flush()

    def _keep(self, record: ChangelogRecord, told: Told) -> None:
        by_document: dict[DocumentId, list[Step]] = {document: [] for document in told.documents}
        for document, step in told.steps:
            by_document[document].append(step)
        for document, steps in by_document.items():
            value, known = (None, CUT) if self.reached.cut else self._value(document)
            moment = Moment(record.offset, record.append_ms, tuple(steps), value, known)
            self.kept.take(self.space.name, document, moment)

    def _keep_for_device(self, record: ChangelogRecord, batch: Batch, steps: Sequence[tuple[DocumentId, Step]]) -> None:
        by_command: dict[str, list[tuple[DocumentId, Step]]] = {}
        for document, step in steps:
            by_command.setdefault(step.command_id, []).append((document, step))
        device = device_of(batch.replica)
        if by_command and device != CLOUD:  # that one has no page
            sent = SentBatch(
                record.offset, record.append_ms, batch.replica, batch.number, tuple(map(_sent, by_command.values()))
            )
            self.kept.send(self.space.name, self.partition, device, sent)

    def _decide(self, decided: Sequence[Decided]) -> None:
        name = self.space.name
        for one in decided:
            self.kept.decide(name, one)
        for device, offset, command_id, outcome in {
            (d.device, d.offset, d.command_id, d.outcome): None for d in decided
        }:
            self.kept.devices.decide(name, self.partition, device, offset, command_id, outcome)

    def _value(self, document: DocumentId) -> tuple[Mapping[str, Json] | None, str]:
        declared = self.space.collections[document.collection]
        try:
            state = self.retelling.state(document)
        except Unreadable:
            return None, UNREADABLE
        if not declared.document.exists(state):
            return None, ""
        value = declared.present(document.scope, document.id, state)
        return (value, "") if len(canonical(value)) <= LONG_VALUE else (None, TOO_LONG)

    def _count(self, record: ChangelogRecord, told: Told, *, refused: bool) -> None:
        counts = Counter(_counted(one.verdict.value, one.code) for one in told.outcomes)
        if refused:
            counts[REFUSED] += 1
        if counts and record.append_ms > 0:
            self.kept.count(self.space.name, self.partition, record.append_ms // MINUTE_MS, counts)


def _counted(verdict: str, code: str) -> str:
    return f"{verdict} {code}" if verdict in ("rejected", "deferred") and code else verdict


def _sent(steps: Sequence[tuple[DocumentId, Step]]) -> Sent:
    """One command, from what it did to each of its documents."""
    first, step = steps[0]
    return Sent(
        command_id=step.command_id,
        name=step.command,
        actor=step.actor,
        clock_ms=step.clock_ms,
        scope=first.scope,
        documents=tuple((document.collection, document.id) for document, _ in steps[:DOCUMENTS]),
        more=max(0, len(steps) - DOCUMENTS),
        outcome=step.outcome,
        code=step.code,
        reason=step.reason[:LONG_REASON],
    )
