"""Worlds that forget: production's forgetter beside production's host, with a retention of minutes, over the simulated log.

A handful of lives is enough for a document to fold them, and for its texts and lists to be founded anew.

They are judged by a replay alone: the core once more over the op log, without crash, rebalance or rim. What the read model and every
edge show must be that, byte for byte. What the ops mean is not asked here (see `reference`): it knows of no purge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from driftlog_crdt import sequence
from driftlog_crdt.foundation import Foundation
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.devices import Device, DeviceKey, enrolled
from driftlog_schemas.identity import CLOUD, DocumentId, parse_document_key
from driftlog_schemas.state_codec import META, StateCodec, codecs_of
from driftlog_streams.core import memory
from driftlog_streams.core.admission import admit
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.over import may_go
from driftlog_streams.core.rights import FORGET
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import StateCache
from driftlog_streams.core.work import OutRecord
from driftlog_streams.faust_driver.forgetter import Forgetter
from driftlog_streams.reading.lately_heard import LatelyHeard
from driftlog_streams.reading.past_reader import PastReader
from tests.simulation.all_types import BODIES, LOCKABLE, words_of
from tests.simulation.app import EDGES, PARTITIONS, SPACE, device_of_node
from tests.simulation.history import History
from tests.simulation.operator import BARRED
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import MINUTE_MS, World, identity_of

if TYPE_CHECKING:
    from tests.simulation.worker_rim import Changelog

Told = Callable[[OutRecord], None]

RETENTION_MS = 2 * MINUTE_MS
LENGTH_MS = 20 * MINUTE_MS
LOST_SIGHT = "an edge was behind the floor"
FOUNDED = "texts and lists were founded anew"
REMOVED = "rows of lives that were over were removed"
AT_LEAST = {"documents were purged": 8, "lives were retired": 60, LOST_SIGHT: 8, FOUNDED: 1, REMOVED: 20, BARRED: 15}
"""In the worlds of a run, also of the shortest; see `test_forgetting`."""


class ForgettingWorld(World):
    """One of them."""

    bars = 2

    def __init__(self, seed: int, variant: Variant = HONEST) -> None:
        super().__init__(seed, variant)
        self.length_ms = LENGTH_MS
        self.retention_ms = RETENTION_MS
        if seed % 2:
            self.favourites = [("Job", "text"), ("Job", "list")]
        self.cloud = identity_of(seed, CLOUD, self.root)

    def _run(self) -> History:
        key = DeviceKey(self.cloud.key_id, self.cloud.public_key, EPOCH_MS)
        self.operator.enrol({CLOUD: enrolled(CLOUD, key, (), (FORGET,))})
        return super()._run()


class Past(PastReader):
    """Production's, asking the simulated log."""

    def __init__(self, world: World, changelog: Changelog, rules: SpaceRules) -> None:
        self._world = world
        self._reader = changelog  # type: ignore[assignment]
        self._ops, self._states = rules.topics.ops, rules.topics.state

    def _asked(self, places: list[TopicPartition], spec: Any) -> dict[tuple[str, int], Any]:
        return {(p.topic, p.partition): self._answer(p.topic, p.partition, spec._value) for p in places}

    def _answer(self, topic: str, partition: int, asked: int) -> Any:
        log = self._world.log
        if asked == OffsetSpec.latest()._value:
            return SimpleNamespace(offset=log.end(topic, partition), timestamp=-1)
        records: Sequence[Any] = log.read(topic, partition, 0, 1 << 30)
        if asked == OffsetSpec.max_timestamp()._value:
            found = records[-1] if records else None
        else:
            found = next((record for record in records if record.timestamp_ms >= asked), None)
        return SimpleNamespace(offset=found.offset if found else -1, timestamp=found.timestamp_ms if found else -1)


class Heard(LatelyHeard):
    """The same."""

    def __init__(self, world: World, changelog: Changelog) -> None:
        super().__init__("nowhere", world.rules.records, world.operator.devices.__contains__)
        self._reader = changelog  # type: ignore[assignment]


def topics_with(retention_ms: int) -> Any:
    """`TopicsAdmin`, as far as it is asked."""
    settings = {topics.RETENTION: str(retention_ms), topics.TIMES: topics.APPEND_TIME}
    return SimpleNamespace(existing=lambda names: {name: SimpleNamespace(settings=settings) for name in names})


def forgetter(
    world: World, rules: SpaceRules, changelog: Changelog, devices: Any, publisher: Any, pump: Any
) -> Forgetter:
    """Production's, of one worker, with the rules of the space that it merges."""
    assert world.cloud is not None
    return Forgetter(
        rules,
        devices,
        world.cloud,
        Past(world, changelog, rules),
        Heard(world, changelog),
        topics_with(world.retention_ms),
        publisher,
        pump.open_stores,
        pump.committed,
        pump.forgotten,
    )


# -- the judgement


class Directory:
    """Who might write, by what the operator has ever said."""

    vouches = True

    def __init__(self, devices: dict[str, Device]) -> None:
        self._devices = devices

    def find(self, device_id: str) -> Device | None:
        return self._devices.get(device_id)

    def catch_up(self) -> None: ...


def broken(world: ForgettingWorld, history: History, told: Told = lambda record: None) -> Iterator[str]:
    """What is wrong with a world that was lived through; `told` gets every outcome that its replay tells."""
    yield from history.crashes
    if not history.quiet:
        yield f"not at rest in time: {history.unrest}"
    codecs = codecs_of(SPACE.collections, world.ids)
    meant: dict[DocumentId, bytes] = {}
    for partition in range(PARTITIONS):
        documents, removed, early = replayed(world.rules, history, partition, told)
        meant |= documents
        gone = {replica for replica, at in history.removed if at == (SPACE.name, partition)}
        if wrong := removed - gone | gone - removed - early:
            yield f"the rows of {sorted(wrong)} in {partition} are gone or there, the log says otherwise"
    latest = {r.key: r.value for records in history.states.values() for r in records}
    for key, value in latest.items():
        document = parse_document_key(key or b"")
        if (meant.get(document) is None) != (value is None):
            yield f"the read model has {'/'.join(document)}: {value is not None}, the log says otherwise"
        elif value is not None and value != meant[document]:
            yield f"the read model of {'/'.join(document)} is not what the log says"
    for document, value in meant.items():
        row = codecs[document.collection].decode_row(value)
        for body in BODIES if document.collection in LOCKABLE else ():
            words = words_of(row[body])
            if len(set(words)) < len(words):
                yield f"{'/'.join(document)}.{body} has a word twice: {words}"
    yield from replicas_apart(history, meant, codecs)


def replicas_apart(
    history: History, meant: Mapping[DocumentId, bytes], codecs: Mapping[str, StateCodec]
) -> Iterator[str]:
    """The documents of which an edge has something else, at the end, than what is meant."""
    for edge, end in history.ends.items():
        for document in meant.keys() | end.confirmed.keys():
            if document.scope in EDGES[device_of_node(edge)]:
                value = meant.get(document)
                wanted = None if value is None else merge_of(codecs, document, value)
                if end.confirmed.get(document) != wanted:
                    yield f"{edge} has other bytes for {'/'.join(document)} than the log"


def merge_of(codecs: Mapping[str, StateCodec], document: DocumentId, value: bytes) -> bytes:
    """What merges, of a state record."""
    merge: bytes = codecs[document.collection].decode_row(value)[META]["merge"]
    return merge


def replayed(
    rules: SpaceRules, history: History, partition: int, told: Told = lambda record: None
) -> tuple[dict[DocumentId, bytes], set[str], set[str]]:
    """The documents of a partition by its op log alone, whose row is gone, and whose may be gone besides: only a notice keeps it.

    A late word of a worker that was cut off can be the last of a row, and what it does not know is a notice: who sends under the name of a life that is over
    is told so again.
    """
    store: dict[bytes, bytes | None] = {}
    rows: dict[str, bytes | None] = {}
    devices = Directory(history.devices)
    merger = PartitionMerger(rules, partition, StateCache(store.get), ChainBook(rows.get, rules.records))
    for record in history.ops[SPACE.name, partition]:
        admission = admit(record.value, record.timestamp_ms, partition, rules, devices)
        merger.merge(admission, record.offset, record.timestamp_ms)
        part = merger.seal()
        for outcome in part.outcomes:
            told(outcome)
        store.update(part.writes)
        rows.update(part.rows)
        part.work.stored()
    documents = {parse_document_key(key): value for key, value in store.items() if value is not None}
    removed = {replica for replica, row in rows.items() if row is None}
    floor = merger.forgotten.forgot[-1].floor if merger.forgotten and merger.forgotten.forgot else -1
    early = {
        replica
        for replica, row in rows.items()
        if row is not None and may_go(replace(rules.records.decode_chain_row(row), notice=None), floor)
    }
    return documents, removed, early


def covered(world: ForgettingWorld, history: History) -> Counter[str]:
    """How much of it there was."""
    found: Counter[str] = Counter()
    for records in history.ops.values():
        for record in records:
            if record.key == CLOUD.encode():
                forget = decode_body(world.rules.batches.open(record.value or b"").body).forget
                found["documents were purged"] += len(forget.purge) if forget else 0
                found[REMOVED] += len(forget.over) if forget else 0
    last = {(row.replica, row.partition): row for row in history.rows}
    found["lives were retired"] += sum(row.ended == "retired" for row in last.values())
    behind = {(row.replica, row.partition) for row in history.rows if row.notice and row.notice.code == "away"}
    found[LOST_SIGHT] += len(behind)
    found[BARRED] += history.situations[BARRED]
    return found


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[str], Counter[str]]:
    """What is wrong with the world of this seed, and what it covered. The replay is always honest, whatever was planted in the world."""
    with patch.object(memory, "due", _two), patch.object(sequence, "pays", _any), founding() as founded:
        world = ForgettingWorld(seed, variant)
        history = world.run()
        founded.clear()
        facts = list(broken(world, history))
        met = covered(world, history)
    met[FOUNDED] += len(founded)
    return facts, met


def _two(count: int) -> bool:
    return count >= 2


def _any(over: int, going_on: int) -> bool:
    return over > 0


@contextmanager
def founding() -> Iterator[list[int]]:
    """The places in the log at which a text or list is founded anew, wherever it is merged."""
    places: list[int] = []
    made = Foundation.of

    def noted(update: bytes, clocks: Mapping[int, int], at: int, founder: int) -> Foundation:
        places.append(at)
        return made(update, clocks, at, founder)

    with patch.object(Foundation, "of", noted):
        yield places


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]
