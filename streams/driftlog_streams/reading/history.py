"""The history of one document: every change of it in the op log, who made it and when, what its writer had not seen, and what became of it.

The document's partition is merged once more, by the workers' own core, from the first record of its log. So what is said of a change is what
was decided, and not a second opinion. Nothing is published, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

from rocksdict import Options, Rdict

from driftlog_crdt import DOCUMENT, DocumentState, Op, Place, Plain
from driftlog_crdt.causal import PAST
from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.identity import DocumentId, device_of
from driftlog_schemas.messages import Batch, Command, Verdict
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.core import chain
from driftlog_streams.core.admission import Admitted, admit
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.state_cache import StateCache
from driftlog_streams.reading.topic_reading import from_the_first

SEAL_AFTER = 500
"""So many records are merged before what has changed goes into the store."""
NOT_TAKEN = "not_taken"
"""The outcome of a command whose batch did not enter its chain; its code says why."""
STANDS, BESIDE = "stands", "beside"
"""A write that a reader sees now, and one that nobody had seen who wrote it and that has lost to it by the field's rule."""


class Change(NamedTuple):
    """One op on the document."""

    field: str
    """Empty for the document itself."""
    op: str
    value: Plain
    seq: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one command did to the document."""

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


@dataclass(frozen=True, slots=True)
class History:
    """All of it, and what came of it."""

    steps: Sequence[Step]
    state: DocumentState
    read: int
    """How many records of the partition's op log."""


class Store(Protocol):
    """Where merged states and rows are kept meanwhile: a dict, or a database."""

    def get(self, key: bytes) -> bytes | None: ...
    def __setitem__(self, key: bytes, value: bytes) -> None: ...
    def __delitem__(self, key: bytes) -> None: ...


class Retelling:
    """Merges a partition anew and keeps what concerns one document."""

    def __init__(self, rules: SpaceRules, partition: int, document: DocumentId, devices: Devices, store: Store) -> None:
        self._rules = rules
        self._partition = partition
        self._document = document
        self._devices = devices
        self._store = store
        self._book = ChainBook(lambda replica: store.get(_row_key(replica)), rules.records)
        self._cache = StateCache(store.get)
        self._merger = PartitionMerger(rules, partition, self._cache, self._book)
        self._steps: list[Step] = []
        self._waiting: dict[int, int] = {}
        """Which of the steps wait for an earlier change -> the number of the batch that brought them."""
        self._unsealed = self._read = 0

    def take(self, value: bytes | None, offset: int, append_ms: int) -> None:
        """Merge the next record of the op log."""
        admission = admit(value, append_ms, self._partition, self._rules, self._devices)
        batch = admission.batch if isinstance(admission, Admitted) else None
        commands = [] if batch is None else [c for c in batch.commands if any(d == self._document for d, _ in c.ops)]
        known = dict(self._state().vector) if commands else {}
        self._merger.merge(admission, offset, append_ms)
        if batch is not None:
            for command in commands:
                self._keep(batch, command, offset, append_ms, known)
        self._decide_waiting()
        self._read += 1
        self._unsealed += 1
        if self._unsealed >= SEAL_AFTER:
            self._seal(offset)

    def history(self) -> History:
        """What was taken so far."""
        state = self._state()
        now = _now(self._rules, self._document, state)
        steps = [
            replace(step, now={c.seq: now[dot] for c in step.changes if (dot := (step.replica, c.seq)) in now})
            for step in self._steps
        ]
        return History(steps, state, self._read)

    def _state(self) -> DocumentState:
        return self._cache.get(self._document, self._rules.collections[self._document.collection]).state

    def _keep(self, batch: Batch, command: Command, offset: int, append_ms: int, known: Mapping[str, int]) -> None:
        became = self._became(batch, command.id, offset)
        if became is None:
            return
        if became.outcome == Verdict.PARKED.value:
            self._waiting[len(self._steps)] = batch.number
        ops = [op for document, op in command.ops if document == self._document]
        self._steps.append(
            Step(
                offset=offset,
                logged_ms=append_ms,
                device=device_of(batch.replica),
                replica=batch.replica,
                command_id=command.id,
                command=command.name,
                actor=command.actor,
                clock_ms=command.hlc >> 16,
                changes=tuple(Change(op.field, op.kind, op.value, op.seq) for op in ops),
                unseen=_unseen(ops, batch.replica, known),
                outcome=became.outcome,
                code=became.code,
                reason=became.reason,
            )
        )

    def _became(self, batch: Batch, command_id: str, offset: int) -> _Became | None:
        """What the record at this offset has brought about; None where it only repeats what stands in the log before."""
        row = self._book.get(batch.replica)
        if row is None:
            return None
        entry = chain.entry_of(row, batch.number)
        if entry is not None and entry.offset == offset:
            verdict = chain.verdict_of(entry, command_id)
            return _Became(verdict.verdict.value, verdict.code, verdict.reason)
        notice = row.notice
        if notice is not None and notice.offset == offset:
            return _Became(NOT_TAKEN, notice.code, notice.reason)
        return None

    def _decide_waiting(self) -> None:
        """What waited may have been decided by this record."""
        for place, number in list(self._waiting.items()):
            step = self._steps[place]
            row = self._book.get(step.replica)
            entry = None if row is None else chain.entry_of(row, number)
            if entry is None:
                del self._waiting[place]
                continue
            verdict = chain.verdict_of(entry, step.command_id)
            if verdict.verdict is not Verdict.PARKED:
                outcome, code, reason = verdict.verdict.value, verdict.code, verdict.reason
                self._steps[place] = replace(step, outcome=outcome, code=code, reason=reason)
                del self._waiting[place]

    def _seal(self, offset: int) -> None:
        """As a flight would, all the way."""
        part = self._merger.seal()
        for key, value in part.writes:
            if value is not None:
                self._store[key] = value
            elif self._store.get(key) is not None:
                del self._store[key]
        for replica, row in part.rows:
            if row is not None:
                self._store[_row_key(replica)] = row
            elif self._store.get(_row_key(replica)) is not None:
                del self._store[_row_key(replica)]
        part.work.stored()
        self._merger.committed = offset + 1
        self._unsealed = 0


class _Became(NamedTuple):
    outcome: str
    code: str
    reason: str


def _row_key(replica: str) -> bytes:
    return b"\x00row/" + replica.encode()  # no document's key begins so


def _unseen(ops: Sequence[Op], replica: str, known: Mapping[str, int]) -> Mapping[str, int] | None:
    """Device -> how many of its changes, merged before, the writer had not seen; None where no op says what it had."""
    contexts = [op.context for op in ops if op.context is not None]
    if not contexts:
        return None
    found: dict[str, int] = {}
    for other, seq in known.items():
        missed = seq - min(context.get(other, 0) for context in contexts)
        if other not in (replica, PAST) and missed > 0:
            device = device_of(other)
            found[device] = found.get(device, 0) + missed
    return found


def _now(rules: SpaceRules, document: DocumentId, state: DocumentState) -> dict[tuple[str, int], str]:
    """The dots of the writes that are left where writes replace each other, and which of them a reader sees."""
    kind = rules.collections[document.collection].type
    found: dict[tuple[str, int], str] = {}
    for name in [DOCUMENT] if kind.unit == "record" else kind.fields:
        merge = kind.merge_type(name)
        if not merge.conflicting or name not in state.fields:
            continue
        writes = kind.writes_at(state, Place(name))
        first = max(writes, key=merge.rank, default=None)
        found.update({(w.replica, w.seq): STANDS if w is first else BESIDE for w in writes})
    return found


@contextmanager
def temporary_store() -> Iterator[Store]:
    """A database that goes when it is not needed any more: a partition may hold more than the memory."""
    with TemporaryDirectory(prefix="driftlog-history-") as folder:
        database = Rdict(str(Path(folder) / "states"), options=Options(raw_mode=True))
        try:
            yield database
        finally:
            database.close()


def read_history(
    kafka: KafkaSettings | str,
    rules: SpaceRules,
    document: DocumentId,
    devices: Devices,
    progress: Callable[[int, int], None] = lambda read, end: None,
) -> History:
    """Merge the document's partition from the first record of its op log to its present end; `progress` is told how far that is.

    Raises:
        SetupProblem: the beginning of the log is gone, so what became of later changes cannot be worked out.
        BrokerUnreachable, TopicProblem
    """
    partition = partition_of(document.scope, rules.partitions)
    with temporary_store() as store:
        retelling = Retelling(rules, partition, document, devices, store)
        for record, end in from_the_first(kafka, topics.ops_topic(rules.name), rules.partitions, partition):
            retelling.take(record.value, record.offset, record.append_ms)
            progress(record.offset + 1, end)
        return retelling.history()
