"""What each command of an op log did to which document, told while its partition is merged once more.

It is the workers' own merge (`rebuild`), so what is said of a change is what was decided, and not a second opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from driftlog_crdt import DocumentState, Op, Plain
from driftlog_crdt.causal import PAST
from driftlog_schemas.identity import DocumentId, device_of
from driftlog_schemas.messages import Batch, Command, CommandOutcome, ParkedCommand, Verdict
from driftlog_streams.core.admission import Admission, Admitted
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.replaying.rebuild import Rebuild

NOT_TAKEN = "not_taken"
"""The outcome of a command whose batch did not enter its chain; its code says why."""
NOT_KNOWN = "not_known"
"""The outcome of a command in a log whose beginning is gone: what it met there nobody can tell."""
CACHE_BYTES = 32 << 20


class Change(NamedTuple):
    """One op on the document."""

    field: str
    """Empty for the document itself."""
    op: str
    value: Plain
    seq: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one command did to one document."""

    offset: int
    logged_ms: int
    device: str
    replica: str
    command_id: str
    command: str
    """Empty for a write without a declared command."""
    actor: str
    clock_ms: int
    """The writer's."""
    changes: tuple[Change, ...]
    unseen: Mapping[str, int] | None
    """Device -> how many of its changes were merged here before and not seen by the writer; None where the changes do not depend on it."""
    outcome: str
    code: str
    reason: str
    now: Mapping[int, str] = field(default_factory=dict)
    """Of changes that can be overwritten: seq -> `stands` or `beside`, while they are not."""
    saw: Mapping[str, int] = field(default_factory=dict)
    """Replica -> the last of its changes that the writer had seen, where the changes depend on it."""


class Decided(NamedTuple):
    """What became of a step that was told before: it waited."""

    document: DocumentId
    offset: int
    command_id: str
    outcome: CommandOutcome
    device: str


class Told(NamedTuple):
    """What one record of the log has done."""

    steps: Sequence[tuple[DocumentId, Step]]
    """Of its own commands, as its batch has them."""
    decided: Sequence[Decided]
    outcomes: Sequence[CommandOutcome]
    """Of every command that it has decided, of whatever document."""

    @property
    def documents(self) -> set[DocumentId]:
        """Those whose state may be another one now."""
        return {document for document, _ in self.steps} | {one.document for one in self.decided}


class Retelling:
    """Of one partition; `wanted` says of which documents. Give it each record of the op log in order, then `end` it."""

    def __init__(
        self,
        rules: SpaceRules,
        partition: int,
        store: PartitionStore,
        devices: Devices,
        wanted: Callable[[DocumentId], bool] = lambda document: True,
        sealed: Callable[[PartitionFlight], None] = lambda part: None,
    ) -> None:
        self._wanted = wanted
        self._rebuild = Rebuild(rules, partition, store, devices, self._hear, CACHE_BYTES, sealed)
        self._heard: dict[tuple[int, str], tuple[Arrival, CommandOutcome]] = {}
        """(offset, command) -> what became of it; the last word counts."""

    @property
    def following(self) -> int:
        """Offset of the op record that comes next after what the store has."""
        return self._rebuild.following

    def resume(self, parked: Sequence[ParkedCommand]) -> Sequence[Decided]:
        """Go on where an earlier life has left the store, with what waited then. Raises `Undecodable`."""
        self._rebuild.resume(parked)
        return self._late(-1)

    def admit(self, record: ChangelogRecord) -> Admission:
        """May its writer write this?"""
        return self._rebuild.admit(record)

    def take(self, record: ChangelogRecord, admission: Admission | None = None) -> Told:
        """Merge the next record. Raises `Unreadable` where the store has a state that this release cannot read."""
        admission = self._rebuild.admit(record) if admission is None else admission
        batch = admission.batch if isinstance(admission, Admitted) else None
        before = [] if batch is None else list(self._of(batch))
        self._rebuild.merge(admission, record)
        decided = self._late(record.offset)
        own = {name: outcome for (_, name), (_, outcome) in self._heard.items()}
        self._heard.clear()
        steps = []
        if batch is not None and before:
            refused = self._refused(batch, record.offset)
            for command, document, ops, unseen in before:
                outcome = refused or own.get(command.id)
                if outcome is not None:  # or the record only repeats what stands in the log before
                    steps.append((document, _step(record, batch, command, ops, unseen, outcome)))
        return Told(steps, decided, [*own.values(), *(one.outcome for one in decided)])

    def state(self, document: DocumentId) -> DocumentState:
        """A document as it is merged now. Raises `Unreadable`."""
        return self._rebuild.state(document)

    def end(self) -> Sequence[Decided]:
        """Everything is in the store now."""
        self._rebuild.end()
        decided = self._late(-1)
        self._heard.clear()
        return decided

    def _hear(self, arrival: Arrival, outcome: CommandOutcome | None) -> None:
        self._heard[arrival.offset, arrival.command.id] = arrival, outcome or arrival.accepted

    def _late(self, offset: int) -> list[Decided]:
        """What was heard of commands of other records than this one; it is said once."""
        late = [key for key in self._heard if key[0] != offset]
        found = []
        for key in late:
            arrival, outcome = self._heard.pop(key)
            command, device = arrival.command, device_of(arrival.batch.replica)
            documents = dict.fromkeys(document for document, _ in command.ops)
            found += [Decided(d, arrival.offset, command.id, outcome, device) for d in documents if self._wanted(d)]
        return found

    def _of(self, batch: Batch) -> Iterator[tuple[Command, DocumentId, list[Op], Mapping[str, int] | None]]:
        """Each command's ops by document, with what its writer had not seen of it."""
        for command in batch.commands:
            by_document: dict[DocumentId, list[Op]] = {}
            for document, op in command.ops:
                if self._wanted(document):
                    by_document.setdefault(document, []).append(op)
            for document, ops in by_document.items():
                yield command, document, ops, self._unseen(document, ops, batch.replica)

    def _unseen(self, document: DocumentId, ops: Sequence[Op], replica: str) -> Mapping[str, int] | None:
        """Device -> how many of its changes, merged before, the writer had not seen; None where no op says what it had."""
        seen = _seen(ops)
        if seen is None:
            return None
        found: dict[str, int] = {}
        for other, seq in self._rebuild.known(document).items():
            missed = seq - seen.get(other, 0)
            if other not in (replica, PAST) and missed > 0:
                device = device_of(other)
                found[device] = found.get(device, 0) + missed
        return found

    def _refused(self, batch: Batch, offset: int) -> CommandOutcome | None:
        """What is true of all its commands where this record did not enter its chain."""
        row = self._rebuild.row(batch.replica)
        notice = None if row is None else row.notice
        if notice is None or notice.offset != offset:
            return None
        return CommandOutcome("", Verdict.REJECTED, notice.code, notice.reason)


def listed(record: ChangelogRecord, admission: Admission) -> Told:
    """What a record asks for, of a log that cannot be merged because its beginning is gone."""
    if not isinstance(admission, Admitted):
        return Told((), (), ())
    steps = []
    for command in admission.batch.commands:
        by_document: dict[DocumentId, list[Op]] = {}
        for document, op in command.ops:
            by_document.setdefault(document, []).append(op)
        for document, ops in by_document.items():
            step = _step(record, admission.batch, command, ops, None, CommandOutcome(command.id, Verdict.ACCEPTED))
            steps.append((document, replace(step, outcome=NOT_KNOWN)))
    return Told(steps, (), ())


def _seen(ops: Sequence[Op]) -> Mapping[str, int] | None:
    """What the writer of these had seen at least; None where none of them says."""
    contexts = [op.context for op in ops if op.context is not None]
    if not contexts:
        return None
    first, *others = contexts
    return {name: min([seq, *(other.get(name, 0) for other in others)]) for name, seq in first.items()}


def _step(
    record: ChangelogRecord,
    batch: Batch,
    command: Command,
    ops: Sequence[Op],
    unseen: Mapping[str, int] | None,
    outcome: CommandOutcome,
) -> Step:
    return Step(
        offset=record.offset,
        logged_ms=record.append_ms,
        device=device_of(batch.replica),
        replica=batch.replica,
        command_id=command.id,
        command=command.name,
        actor=command.actor,
        clock_ms=command.hlc >> 16,
        changes=tuple(Change(op.field, op.kind, op.value, op.seq) for op in ops),
        unseen=unseen,
        outcome=outcome.verdict.value if outcome.command_id else NOT_TAKEN,
        code=outcome.code,
        reason=outcome.reason,
        saw=_seen(ops) or {},
    )
