"""The servers that the system benchmarks share: a real broker, a real registry, and a fresh space for each case.

Both sides of a case talk to this one broker, so what the broker costs, both pay.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.case import Ground
from driftlog_infra import EmbeddedBroker, EmbeddedRegistry
from driftlog_schemas.contract import AppContract
from driftlog_schemas.registry import CachedRegistry
from tests.load.app import declare
from tests.load.fleet import Fleet
from tests.load.ground import enrol, lay_topics, schema_ids
from tests.load.workers import WorkerPlace

_TOPIC_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class BenchSpace:
    """One space of the load app on the broker: topics laid, devices enrolled."""

    contract: AppContract
    ids: CachedRegistry
    fleet: Fleet
    place: WorkerPlace
    """For worker and edge processes."""

    @property
    def name(self) -> str:
        return self.place.space


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the servers are."""

    bootstrap: str
    registry_url: str

    def space(self, name: str, folder: Path, *, partitions: int, devices: int) -> BenchSpace:
        """A space under a name that no other case uses."""
        contract = declare(name, partitions).contract
        lay_topics(self.bootstrap, contract)
        ids = schema_ids(self.registry_url, folder / "schemas")
        fleet = Fleet.of(name, devices, seed=7)
        enrol(self.bootstrap, fleet.registry(), ids)
        return BenchSpace(
            contract, ids, fleet, WorkerPlace(self.bootstrap, self.registry_url, folder, name, partitions)
        )

    def topic(self, name: str, partitions: int, **settings: str) -> str:
        """A topic of the case's own. Settings are Kafka's, with `_` for `.`."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        config = {key.replace("_", "."): value for key, value in settings.items()}
        for future in admin.create_topics([NewTopic(name, partitions, 1, config=config)]).values():
            future.result(_TOPIC_SECONDS)
        return name


@contextmanager
def servers(ground: Ground) -> Iterator[Cluster]:
    """A broker and a registry that leave nothing behind."""
    ground.say("starting a broker and a registry")
    with EmbeddedBroker() as broker, EmbeddedRegistry() as registry:
        yield Cluster(broker.bootstrap, registry.url)


def fresh_name(base: str) -> str:
    """A space name for one case of one run."""
    return f"{base}_{time.time_ns() // 1_000_000:x}"
