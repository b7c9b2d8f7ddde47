"""A run under load: fresh topics, enrolled devices, a workload; workers are the tests' business."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from driftlog.testing.servers import RunningBroker, running_broker
from driftlog_schemas import topics
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.signing import Identity
from driftlog_schemas.state_codec import StateCodec
from driftlog_streams.settings import Workers
from tests.load.app import COLLECTION, PARTITIONS, declare
from tests.load.checker import Judgement, judge, latest_by_key
from tests.load.edges import EdgeProcess
from tests.load.feeder import Feeder
from tests.load.fleet import Fleet
from tests.load.ground import enrol, lay_topics, schema_ids
from tests.load.history import History, read_space
from tests.load.waiting import Group
from tests.load.workers import WorkerHost, WorkerPlace, WorkerProcess
from tests.load.workload import Shape, Workload

EDGES = 4


@dataclass
class LoadRun:
    """One space under load, from its first record to its judgement."""

    bootstrap: str
    space: SpaceContract
    ids: CachedRegistry
    place: WorkerPlace
    workload: Workload
    edges: tuple[Identity, ...]
    group: Group

    def feeder(self, ops: int, records_per_second: float) -> Feeder:
        """What produces the next `ops`."""
        return Feeder(
            self.bootstrap,
            topics.ops_topic(self.space.name),
            self.workload.records(ops),
            per_second=records_per_second,
        )

    def worker(self, slot: str, workers: Workers = 1, files: int | None = None) -> WorkerProcess:
        """A worker of this run, not yet started."""
        return WorkerProcess(self.place, slot, workers, files)

    def host(self, name: str, **settings: str) -> WorkerHost:
        """The same on a host of its own, with every default but these."""
        return WorkerHost(self.place, name, **settings)

    def edge(self, number: int, *scopes: str, folder: str = "") -> EdgeProcess:
        """The agent of the run's device `number`, not yet started, in the device's folder or another."""
        return EdgeProcess(self.place, self.edges[number], scopes, folder)

    def history(self) -> History:
        """All topics, now."""
        return read_space(self.bootstrap, self.space.name)

    def row(self, scope: str, item: str) -> dict[str, object]:
        """A document in the read-model topic, as any Kafka tool sees it."""
        found = self.rows(scope)
        assert item in found, f"{scope}/{item} is not in the read model"
        return found[item]

    def rows(self, scope: str) -> dict[str, dict[str, object]]:
        """All documents of a scope there, by their id."""
        codec = StateCodec(self.space.collections[COLLECTION], self.ids)
        latest = latest_by_key(self.history().state)
        documents = {
            parse_document_key(key): record.value for key, record in latest.items() if record.value is not None
        }
        return {d.id: codec.decode_row(value) for d, value in documents.items() if d.scope == scope}

    def judge(self, others: int = 0) -> Judgement:
        """Read all topics and judge them; `others` are ops that did not come from the workload."""
        return judge(self.history(), self.workload.expectation, self.space, self.ids, others)


@pytest.fixture
def load_run(registry_url: str, fresh_name: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., LoadRun]]:
    """Makes a run on a broker: `load_run(bootstrap, ops_per_batch=20, ...)`, options as in `Shape`."""
    groups: list[Group] = []

    def make(
        bootstrap: str,
        *,
        session_timeout: float = 6.0,
        devices: int = 10,
        partitions: int = PARTITIONS,
        **shape: float,
    ) -> LoadRun:
        name = fresh_name("load").replace("-", "_")
        app = declare(name, partitions)
        lay_topics(bootstrap, app.contract)
        ids = schema_ids(registry_url, tmp_path / "schemas")
        fleet = Fleet.of(name, devices, seed=11)
        others = Fleet.of(f"{name}-edge", EDGES, seed=12)
        enrol(bootstrap, [*fleet.registry(), *others.registry()], ids)
        made = Shape(name, partitions, **shape)  # type: ignore[arg-type]  # numbers by name
        workload = Workload(made, fleet, ids, start_ms=time.time_ns() // 1_000_000)
        space = app.contract.spaces[name]
        group = Group(bootstrap, f"driftlog-merge-{name}", topics.ops_topic(name), partitions)
        groups.append(group)
        place = WorkerPlace(
            bootstrap, registry_url, tmp_path, name, partitions=partitions, session_timeout=session_timeout
        )
        return LoadRun(bootstrap, space, ids, place, workload, others.members, group)

    yield make
    for group in groups:
        group.close()


@pytest.fixture(scope="module")
def apart(request: pytest.FixtureRequest) -> Iterator[RunningBroker]:
    """A broker for tests whose devices have an operator of their own: who knows no root believes the first that a registry of devices has."""
    with running_broker(request.config.getoption("--broker")) as running:
        yield running


@pytest.fixture
def on_broker(broker: RunningBroker, load_run: Callable[..., LoadRun]) -> Callable[..., LoadRun]:
    """Makes a run on the session's broker."""
    return lambda **options: load_run(broker.bootstrap, **options)
