"""Processor time to merge one op, without the broker: admission, merge, sealing and the store, beside a plain loop over the same ops.

One thread, and only its own processor time, so the figure is steady on a machine that others use. Records are made beforehand; a flight is sealed every
2,000 ops of a partition and written to RocksDB, and cyclic garbage is looked for as seldom as in a worker, for both sides. The baseline (`plain_loop`) reads, merges and stores the same ops and promises
nothing of what Driftlog promises: it is the bare ground that Python gives. The facts say how the time of ours is shared out.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

from rocksdict import WriteBatch

from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.plain_loop import PlainMerge, open_store, plain_record
from benchmarks.quiet import quiet
from driftlog_schemas.devices import Device
from driftlog_schemas.registry import FixedIds
from driftlog_streams.core.admission import admit
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.state_cache import CacheRoom
from driftlog_streams.core.trial import unwatched
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.faust_driver.taking_over import taken_over
from driftlog_streams.process.worker import spare_the_collector
from tests.load.app import declare
from tests.load.fleet import Fleet
from tests.load.workload import LoadRecord, Shape, Workload

PARTITIONS = 4
DEVICES = 10
FLIGHT_OPS = 2_000
CACHE_BYTES = 256 << 20
OPS = {1: 4_000, 100: 60_000}
"""A round, by ops a batch."""
QUICK = 20
ROUNDS = 5


class _Registry:
    """`rules.Devices`: everybody is enrolled."""

    vouches = True

    def __init__(self, lines: Sequence[Device]) -> None:
        self._lines = {line.device_id: line for line in lines}

    def find(self, device_id: str) -> Device | None:
        return self._lines.get(device_id)

    def catch_up(self) -> None:
        """Nothing ever changes."""


class _Worker:
    """The core of a worker: all that happens between a record from the broker and the records to it."""

    def __init__(self, ground: Ground, rules: SpaceRules, devices: _Registry) -> None:
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
def _merging(keys: int, ops_per_batch: int, ground: Ground) -> Iterator[Sides]:
    quiet()
    ids, fleet = FixedIds(), Fleet.of("core", DEVICES, seed=7)
    rules = SpaceRules(declare("core", PARTITIONS).contract.spaces["core"], ids)
    shape = Shape("core", PARTITIONS, keys, ops_per_batch=ops_per_batch, counters=0.9, looks=0.95)
    stream = Workload(shape, fleet, ids, start_ms=time.time_ns() // 1_000_000, keep=False).records(sys.maxsize)
    count = max(1, OPS[ops_per_batch] // ops_per_batch // (QUICK if ground.quick else 1))
    worker, plain = _Worker(ground, rules, _Registry(fleet.registry())), _Plain(ground)
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
        yield Sides(ours, baseline, facts)
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        worker.close()
        plain.close()


def _case(keys: int, ops_per_batch: int, aim: float | None) -> Case:
    return Case(
        f"keys={keys}/batch={ops_per_batch}",
        "us/op",
        partial(_merging, keys, ops_per_batch),
        "plain loop",
        None if aim is None else ratio_at_most(aim),
        rounds=ROUNDS,
    )


CASES: Sequence[Case] = [
    _case(5_000, 100, 2.6),
    _case(200_000, 100, 1.4),
    _case(5_000, 1, None),
]
