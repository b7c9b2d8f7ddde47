"""The history of one document: every change of it in the op log, who made it and when, what its writer had not seen, and what became of it.

The document's partition is merged once more from the first record of its log. Nothing is published, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from driftlog_crdt import DOCUMENT, DocumentState, Place
from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.contract import CollectionContract
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.reading.topic_reading import from_the_first
from driftlog_streams.replaying.retelling import Decided, Retelling, Step
from driftlog_streams.replaying.scratch import scratch

STANDS, BESIDE = "stands", "beside"
"""A write that a reader sees now, and one that nobody had seen who wrote it and that has lost to it by the field's rule."""


@dataclass(frozen=True, slots=True)
class History:
    """All of it, and what came of it."""

    steps: Sequence[Step]
    state: DocumentState
    read: int
    """How many records of the partition's op log."""


class DocumentHistory:
    """Collects one document's steps while its partition is retold."""

    def __init__(
        self, rules: SpaceRules, partition: int, document: DocumentId, devices: Devices, store: PartitionStore
    ) -> None:
        self._rules, self._document = rules, document
        self._retelling = Retelling(rules, partition, store, devices, lambda one: one == document)
        self._steps: dict[tuple[int, str], Step] = {}
        self._read = 0

    def take(self, record: ChangelogRecord) -> None:
        """The next record of the op log."""
        told = self._retelling.take(record)
        self._steps.update(((step.offset, step.command_id), step) for _, step in told.steps)
        self._decide(told.decided)
        self._read += 1

    def history(self) -> History:
        """What was taken so far."""
        self._decide(self._retelling.end())
        state = self._retelling.state(self._document)
        standing = standing_of(self._rules, self._document, state)
        return History([now(step, standing) for step in self._steps.values()], state, self._read)

    def _decide(self, decided: Sequence[Decided]) -> None:
        for _, offset, name, outcome, _ in decided:
            if (step := self._steps.get((offset, name))) is not None:
                self._steps[offset, name] = replace(
                    step, outcome=outcome.verdict.value, code=outcome.code, reason=outcome.reason
                )


def standing_of(rules: SpaceRules, document: DocumentId, state: DocumentState) -> Mapping[tuple[str, int], str]:
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


def now(step: Step, standing: Mapping[tuple[str, int], str]) -> Step:
    """The step, and which of its writes are left."""
    found = {c.seq: standing[dot] for c in step.changes if (dot := (step.replica, c.seq)) in standing}
    return replace(step, now=found) if found else step


def why(declared: CollectionContract, steps: Sequence[Step]) -> dict[str, str]:
    """Field -> by which rule it has its value, and whose write that is where one of these is it."""
    kind, found = declared.document, dict[str, str]()
    for name in kind.fields:
        rule = kind.fields[name].type.name
        place = "" if kind.unit == "record" else name
        standing = [step for step in steps for c in step.changes if c.field == place and step.now.get(c.seq) == STANDS]
        beside = sum(c.field == place and step.now.get(c.seq) == BESIDE for step in steps for c in step.changes)
        if not standing:
            found[name] = f"{rule}: of all its changes that count"
            continue
        lost = f"; {beside} that its writer had not seen lost to it by the rule" if beside else ""
        found[name] = f"{rule}: as {who(standing[0])} set it{lost}"
    return found


def who(step: Step) -> str:
    """The person and the device that wrote it."""
    return f"{step.actor} at {step.device}" if step.actor and step.actor != step.device else step.device


@contextmanager
def temporary_store() -> Iterator[PartitionStore]:
    """A database that goes when it is not needed any more: a partition may hold more than the memory."""
    with scratch("history") as folder:
        store = WorkerStore(folder / "states")
        try:
            yield store.partition(0)
        finally:
            store.close()


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
        found = DocumentHistory(rules, partition, document, devices, store)
        for record, end in from_the_first(kafka, topics.ops_topic(rules.name), rules.partitions, partition):
            found.take(record)
            progress(record.offset + 1, end)
        return found.history()
