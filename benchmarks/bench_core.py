"""Processor time to merge one op, without the broker: admission, merge, sealing and the store, beside a plain loop over the same ops.

One thread, and only its own processor time, so the figure is steady on a machine that others use. Records are made beforehand; a flight is sealed every
2,000 ops of a partition and written to RocksDB, and cyclic garbage is looked for as seldom as in a worker, for both sides. The baseline (`plain_loop`) reads, merges and stores the same ops and promises
nothing of what Driftlog promises: it is the bare ground that Python gives. The facts say how the time of ours is shared out.

In the cases `held/...` every document is there beforehand, counted once, as in a worker that was just recovered: each op then meets one that must be fetched
from the store unless it was met lately. In the others documents come with the ops.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

from rocksdict import WriteBatch

from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.enrolled import Enrolled
from benchmarks.plain_loop import PlainMerge, open_store, plain_encoded, plain_record
from benchmarks.quiet import quiet
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_streams.core.admission import admit
from driftlog_streams.core.changelog_record import UNTIMED, ChangelogRecord
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import CacheRoom
from driftlog_streams.core.trial import unwatched
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.faust_driver.taking_over import taken_over
from driftlog_streams.process.worker import spare_the_collector
from tests.load.app import COUNTER, declare
from tests.load.fleet import Fleet
from tests.load.workload import LoadRecord, Shape, Workload

PARTITIONS = 4
DEVICES = 10
FLIGHT_OPS = 2_000
CACHE_BYTES = 256 << 20
OPS = {1: 4_000, 100: 60_000}
"""A round, by ops a batch."""
QUICK = 20
QUICK_KEYS = 5_000
SEED = "office.seed"
HELD_AT_ONCE = 10_000
ROUNDS = 5


class _Worker:
    """The core of a worker: all that happens between a record from the broker and the records to it."""

    def __init__(self, ground: Ground, rules: SpaceRules, devices: Enrolled) -> None:
        self._rules = rules
        self._devices = devices
        room = CacheRoom(CACHE_BYTES)
        self._database = WorkerStore(ground.folder / "ours")
        self._stores = {number: self._database.partition(number) for number in range(PARTITIONS)}
        self._mergers = {
            number: taken_over(rules, number, store, room, Recovered(), devices, unwatched)
            for number, store in self._stores.items()
        }
        self._offsets: Counter[int] = Counter()
        self.spent: Counter[str] = Counter()
        self.ops = 0

    def hold(self, documents: Iterable[DocumentId]) -> None:
        """Put these into the stores, as recovery would."""
        restoration = Restoration(self._rules)
        found = {number: Recovered(ops_end=1) for number in self._stores}
        gathered: dict[int, list[ChangelogRecord]] = {number: [] for number in self._stores}

        def taken(number: int) -> None:
            restoration.take(self._stores[number], found[number], gathered[number])
            gathered[number] = []

        headers = groups.headers(0, last=True)
        for offset, document in enumerate(documents):
            collection, number = self._rules.collections[document.collection], partition_of(document.scope, PARTITIONS)
            state = collection.type.new()
            collection.type.apply(state, collection.type.prepare(state, SEED, 1 << 16, COUNTER, "increment", 1))
            value = collection.codec.encode(document, state)
            gathered[number].append(ChangelogRecord(document_key(document), value, offset, headers, UNTIMED))
            if len(gathered[number]) >= HELD_AT_ONCE:
                taken(number)
        for number in gathered:
            taken(number)

    def round(self, records: Sequence[LoadRecord]) -> Samples:
        """Microseconds an op."""
        spent = Counter(self.spent)
        for record in records:
            self._take(record)
        for number in self._mergers:
            self._flight(number)
        ops = sum(record.ops for record in records)
        self.ops += ops
        return [(self.spent - spent).total() / ops * 1e6]

    def _take(self, record: LoadRecord) -> None:
        number, offset, now_ms = record.partition, self._offsets[record.partition], time.time_ns() // 1_000_000
        merger = self._mergers[number]
        begun = time.thread_time()
        admission = admit(record.value, now_ms, number, self._rules, self._devices)
        admitted = time.thread_time()
        merger.merge(admission, offset, now_ms, offset)
        self.spent["admission"] += admitted - begun
        self.spent["merge"] += time.thread_time() - admitted
        self._offsets[number] += 1
        if merger.work.ops >= FLIGHT_OPS:
            self._flight(number)

    def _flight(self, number: int) -> None:
        merger, store = self._mergers[number], self._stores[number]
        if merger.work.empty:
            return
        begun = time.thread_time()
        part = merger.seal()
        sealed = time.thread_time()
        mark = store.mark.moved(store.mark.positions, part.work.group)
        store.write(part.writes, mark, part.rows, part.passed, part.digested.scopes)
        part.work.stored()
        merger.committed = self._offsets[number]
        self.spent["seal"] += sealed - begun
        self.spent["store"] += time.thread_time() - sealed

    def close(self) -> None:
        self._database.close()


class _Plain:
    """The plain loop, with its store."""

    def __init__(self, ground: Ground) -> None:
        self._database = open_store(ground.folder / "plain")
        self._merge = PlainMerge(self._database)

    def hold(self, documents: Iterable[DocumentId]) -> None:
        """Put these into the store."""
        op = {"seq": 1, "clock": 1, "value": 1}
        for number, document in enumerate(documents, 1):
            self._merge.take(plain_encoded({"replica": SEED, "ops": [{**op, "key": document_key(document).decode()}]}))
            if number % HELD_AT_ONCE == 0:
                self._write()
        self._write()

    def round(self, values: Sequence[bytes], ops: int) -> Samples:
        """Microseconds an op."""
        begun, gathered = time.thread_time(), 0
        for value in values:
            self._merge.take(value)
            gathered += ops // len(values)
            if gathered >= FLIGHT_OPS * PARTITIONS:  # it knows of no partitions
                self._write()
                gathered = 0
        self._write()
        return [(time.thread_time() - begun) / ops * 1e6]

    def _write(self) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in self._merge.group():
            batch.put(key, value)
        self._database.write(batch)

    def close(self) -> None:
        self._database.close()


@contextmanager
def _merging(keys: int, ops_per_batch: int, held: bool, ground: Ground) -> Iterator[Sides]:
    quiet()
    keys = min(keys, QUICK_KEYS) if ground.quick else keys
    ids, fleet = FixedIds(), Fleet.of("core", DEVICES, seed=7)
    rules = SpaceRules(declare("core", PARTITIONS).contract.spaces["core"], ids)
    shape = Shape("core", PARTITIONS, keys, ops_per_batch=ops_per_batch, counters=0.9, looks=0.95)
    workload = Workload(shape, fleet, ids, start_ms=time.time_ns() // 1_000_000, keep=False)
    stream = workload.records(sys.maxsize)
    count = max(1, OPS[ops_per_batch] // ops_per_batch // (QUICK if ground.quick else 1))
    worker, plain = _Worker(ground, rules, Enrolled(fleet.registry())), _Plain(ground)
    records: list[LoadRecord] = []
    facts: dict[str, Any] = {"ops a round": count * ops_per_batch}
    thresholds = gc.get_threshold()

    def ours() -> Samples:
        records[:] = islice(stream, count)
        spare_the_collector()
        found = worker.round(records)
        for stage, seconds in worker.spent.items():
            facts[f"{stage} us"] = round(seconds / worker.ops * 1e6, 2)
        return found

    def baseline() -> Samples:
        values = [plain_record(rules.batches.open(record.value)) for record in records]
        return plain.round(values, count * ops_per_batch)

    try:
        if held:
            ground.say(f"putting {keys} documents into both stores")
            worker.hold(workload.documents())
            plain.hold(workload.documents())
        yield Sides(ours, baseline, facts)
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        worker.close()
        plain.close()


def _case(keys: int, ops_per_batch: int, aim: float | None, *, held: bool = False) -> Case:
    return Case(
        f"{'held/' if held else ''}keys={keys}/batch={ops_per_batch}",
        "us/op",
        partial(_merging, keys, ops_per_batch, held),
        "plain loop",
        None if aim is None else ratio_at_most(aim),
        rounds=ROUNDS,
    )


CASES: Sequence[Case] = [
    _case(5_000, 100, 2.6),
    _case(200_000, 100, 1.4),
    _case(5_000, 1, None),
    *(_case(keys, 100, None, held=True) for keys in (5_000, 200_000, 1_000_000)),
]
