"""Judging a run: a pure function of what was sent, what the topics hold, and what follows from it.

Two independent opinions are asked. The expectation is arithmetic over the ops as they were made; it finds what was lost on the
way in, applied twice, or merged wrongly by a faulty algebra. The replay folds the op topic; it finds every byte of the
read model that does not follow from the log. Every fault is one line that names the document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from driftlog_schemas import groups
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.identity import document_key, parse_document_key
from driftlog_schemas.messages import ChainRow, ConflictStatus
from driftlog_schemas.record_codecs import RecordCodecs, conflict_id
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.state_codec import StateCodec
from tests.load.app import COLLECTION, COUNTER, LABEL, TAGS
from tests.load.expectation import Expectation, ExpectedDocument
from tests.load.history import History, TopicRecord
from tests.load.replay import Replayed, replay

SHOWN = 8


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found. `faults` is empty for a good run."""

    documents: int
    ops: int
    state_records: int
    repeated_records: int
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        head = (
            f"{self.documents} documents, {self.ops} ops, {self.state_records} state records, "
            f"{self.repeated_records} op records more than once, {len(self.faults)} faults"
        )
        return "\n  ".join([head, *self.faults[:SHOWN]])


def judge(
    history: History, expectation: Expectation, space: SpaceContract, ids: SchemaIds, others: int = 0
) -> Judgement:
    """All faults of a run that has come to rest. `others` are ops in the log that the expectation does not know."""
    replayed = replay(history.ops, space, ids)
    latest = latest_by_key(history.state)
    faults = [
        *_missing_ops(replayed, expectation.count + others),
        *_wrong_states(latest, replayed),
        *_wrong_values(latest, expectation, StateCodec(space.collections[COLLECTION], ids)),
        *_wrong_conflicts(history, _owed(latest), expectation, RecordCodecs(ids)),
        *_wrong_receipts(history, replayed, RecordCodecs(ids)),
        *_wrong_groups(history.state),
        *(f"still parked: {key!r}" for key, r in latest_by_key(history.parked).items() if r.value is not None),
    ]
    return Judgement(
        documents=len(replayed.values),
        ops=replayed.ops,
        state_records=len(history.state),
        repeated_records=len(history.ops) - len(replayed.batches),
        faults=faults,
    )


def latest_by_key(records: Sequence[TopicRecord]) -> dict[bytes, TopicRecord]:
    """What compaction will keep."""
    return {r.key: r for r in records}


def _missing_ops(replayed: Replayed, made: int) -> Iterator[str]:
    for key, ops in replayed.waiting.items():
        yield f"{_name(key)}: {len(ops)} ops of the log can never apply, first {ops[0][:2]}"
    if replayed.ops != made:
        yield f"{made} ops were made, {replayed.ops} different ones are in the log"


def _wrong_states(latest: Mapping[bytes, TopicRecord], replayed: Replayed) -> Iterator[str]:
    for key, value in replayed.values.items():
        found = latest.get(key)
        if found is None:
            yield f"{_name(key)}: missing in the state topic"
        elif found.value != value:
            yield f"{_name(key)}: the state record of offset {found.offset} is not the replay of the log"
    for key in latest.keys() - replayed.values.keys():
        yield f"{_name(key)}: in the state topic, but never written"


def _wrong_values(latest: Mapping[bytes, TopicRecord], expectation: Expectation, codec: StateCodec) -> Iterator[str]:
    for document, wanted in expectation.documents():
        found = latest.get(document_key(document))
        if found is None or found.value is None:
            yield f"{'/'.join(document)}: no state"
            continue
        row, state = codec.decode_row(found.value), codec.decode(found.value)
        name = "/".join(document)
        if dict(state.vector) != wanted.vector:
            yield f"{name}: vector {dict(state.vector)}, expected {wanted.vector}"
        yield from _wrong_row(name, row, wanted)


def _wrong_row(name: str, row: Mapping[str, object], wanted: ExpectedDocument) -> Iterator[str]:
    if row[COUNTER] != wanted.hits:
        yield f"{name}: {COUNTER} is {row[COUNTER]}, expected {wanted.hits}"
    if row[LABEL] != wanted.label:
        yield f"{name}: {LABEL} is {row[LABEL]!r}, expected {wanted.label!r}"
    tags = row[TAGS]
    assert isinstance(tags, list)
    if frozenset(tags) != wanted.tags or len(tags) != len(wanted.tags):
        yield f"{name}: {TAGS} are {tags}, expected {sorted(wanted.tags)}"


def _owed(latest: Mapping[bytes, TopicRecord]) -> Collection[bytes]:
    """Documents whose state says that one of their conflicts is told later than it has grown: workers that were ended may not have come to it."""
    return {key for key, record in latest.items() if groups.parse(record.headers).owed}


def _wrong_conflicts(
    history: History, owed: Collection[bytes], expectation: Expectation, codecs: RecordCodecs
) -> Iterator[str]:
    """Exactly where surviving writes differ a conflict stands, with all of them where nothing is owed; all others are resolved."""
    standing = {}
    for record in latest_by_key(history.conflicts).values():
        assert record.value is not None
        conflict = codecs.decode_conflict(record.value)
        if conflict.status is not ConflictStatus.RESOLVED:
            standing[conflict.id] = frozenset((version.replica, version.seq) for version in conflict.versions)
    wanted = {
        conflict_id(document, LABEL): (document, end.disputed)
        for document, end in expectation.documents()
        if end.disputed
    }
    for identifier, (document, dots) in wanted.items():
        if identifier not in standing:
            yield f"{'/'.join(document)}: conflict {identifier} is not reported as standing"
        elif standing[identifier] != dots and document_key(document) not in owed:
            yield f"{'/'.join(document)}: its conflict is between {sorted(standing[identifier])}, not {sorted(dots)}"
    for false in standing.keys() - wanted.keys():
        yield f"conflict {false} stands, but no two surviving writes differ there"


def _wrong_receipts(history: History, replayed: Replayed, codecs: RecordCodecs) -> Iterator[str]:
    """Every batch is in its chain, every command merged in the end."""
    rows: dict[tuple[str, int], ChainRow] = {}
    for record in history.receipts:
        if record.value is None or b"." not in record.key:
            continue
        row = codecs.decode_chain_row(record.value)
        rows[row.replica, row.partition] = row
        if row.notice is not None:
            yield f"batch {row.notice.number} of {row.replica}: not taken, {row.notice.code}"
    for row in rows.values():
        for outcome in (outcome for entry in row.entries for outcome in entry.outcomes):
            yield f"command {outcome.command_id}: {outcome.verdict.value}, {outcome.code} {outcome.reason}"
    last = {place: row.last for place, row in rows.items()}
    silent = [batch for batch in replayed.batches if last.get(batch[:2], 0) < batch[2]]
    if silent:
        yield f"{len(silent)} batches have no receipt, first {min(silent)}"


def _wrong_groups(state: Sequence[TopicRecord]) -> Iterator[str]:
    """Every partition's last record ends a group, and no group that was begun stays without an end at or above it."""
    open_groups: dict[int, int] = {}
    for record in state:
        mark = groups.parse(record.headers)
        open_groups[record.partition] = max(mark.number, open_groups.get(record.partition, -1))
        if mark.last and mark.number >= open_groups[record.partition]:
            del open_groups[record.partition]
    for partition, number in open_groups.items():
        yield f"partition {partition}: group {number} is torn and no later group covers it"


def _name(key: bytes) -> str:
    return "/".join(parse_document_key(key))
