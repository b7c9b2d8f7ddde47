"""A run under load: fresh topics, enrolled devices, a workload; workers are the tests' business."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from driftlog_schemas import topics
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.registry import CachedRegistry
from tests.load.app import PARTITIONS, declare
from tests.load.checker import Judgement, judge
from tests.load.feeder import Feeder
from tests.load.fleet import Fleet
from tests.load.ground import enrol, lay_topics, schema_ids
from tests.load.history import read_space
from tests.load.waiting import Group
from tests.load.workers import WorkerPlace, WorkerProcess
from tests.load.workload import Shape, Workload
from tests.running import RunningBroker


@dataclass
class LoadRun:
    """One space under load, from its first record to its judgement."""

    bootstrap: str
    space: SpaceContract
    ids: CachedRegistry
    place: WorkerPlace
    workload: Workload
    group: Group

    def feeder(self, ops: int, records_per_second: float) -> Feeder:
        """What produces the next `ops`."""
        return Feeder(
            self.bootstrap,
            topics.ops_topic(self.space.name),
            self.workload.records(ops),
            per_second=records_per_second,
        )

    def worker(self, slot: str, workers: int = 1) -> WorkerProcess:
        """A worker of this run, not yet started."""
        return WorkerProcess(self.place, slot, workers)

    def judge(self) -> Judgement:
        """Read all topics and judge them."""
        return judge(read_space(self.bootstrap, self.space.name), self.workload.expectation, self.space, self.ids)


@pytest.fixture
def load_run(registry_url: str, fresh_name: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., LoadRun]]:
    """Makes a run on a broker: `load_run(bootstrap, ops_per_batch=20, ...)`, options as in `Shape`."""
    groups: list[Group] = []

    def make(bootstrap: str, *, session_timeout: float = 6.0, devices: int = 10, **shape: float) -> LoadRun:
        name = fresh_name("load").replace("-", "_")
        app = declare(name)
        lay_topics(bootstrap, app.contract)
        ids = schema_ids(registry_url, tmp_path / "schemas")
        fleet = Fleet.of(name, devices, seed=11)
        enrol(bootstrap, fleet.registry(), ids)
        made = Shape(name, PARTITIONS, **shape)  # type: ignore[arg-type]  # numbers by name
        workload = Workload(made, fleet, ids, start_ms=time.time_ns() // 1_000_000)
        space = app.contract.spaces[name]
        group = Group(bootstrap, f"driftlog-merge-{name}", topics.ops_topic(name), PARTITIONS)
        groups.append(group)
        place = WorkerPlace(bootstrap, registry_url, tmp_path, name, session_timeout=session_timeout)
        return LoadRun(bootstrap, space, ids, place, workload, group)

    yield make
    for group in groups:
        group.close()


@pytest.fixture
def on_broker(broker: RunningBroker, load_run: Callable[..., LoadRun]) -> Callable[..., LoadRun]:
    """Makes a run on the session's broker."""
    return lambda **options: load_run(broker.bootstrap, **options)
