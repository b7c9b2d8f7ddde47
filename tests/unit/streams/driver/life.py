"""One worker process over a broker in memory: the host and all that it makes, with only the clients below it stood in for.

What runs is production's: host, pump, publisher, recovery, stores on a real RocksDB, Faust's consumer under our overrides. A test deals
partitions, appends batches, and may end a life where it likes; the next one begins on what the broker and the folder have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from faust.types import TP

from driftlog_schemas import asking, topics
from driftlog_schemas.devices import Device
from driftlog_schemas.generations import FIRST, InForce
from driftlog_schemas.moves import Moved
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver import flights, host, overrides, publisher, pump, table
from driftlog_streams.faust_driver.pulse import Pulse
from driftlog_streams.reading import plain_reader
from driftlog_streams.registry import device_view
from driftlog_streams.settings import WorkerSettings
from tests.fake_kafka.broker import Broker, Stored
from tests.fake_kafka.clients import Admin, Consumer, Producer
from tests.unit.streams.cloud import IDS, Cloud
from tests.unit.streams.driver.fetching import GROUP, assigned, consumer_on

OPS, STATES = topics.ops_topic("retail"), topics.state_topic("retail")
RECEIPTS, PARKED, CONFLICTS = (
    topics.receipts_topic("retail"),
    topics.parked_topic("retail"),
    topics.conflicts_topic("retail"),
)
SESSION_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
"""Far more than anything takes, also on a machine that stands still now and then."""


class Died(BaseException):
    """Stands for `os._exit`: nothing may catch it, and the life does nothing more."""


class Directory:
    """The device registry, known at once; `late` comes only with a catch-up."""

    def __init__(self, cloud: Cloud) -> None:
        self.lines: dict[str, Device] = cloud.devices.lines
        self.late: dict[str, Device] = {}
        self.caught_up = 0
        self.vouches = True
        self.in_force = FIRST
        self.elsewhere: Moved | None = None

    def generations(self, space: str) -> InForce:
        return self.in_force

    def moved(self, space: str) -> Moved | None:
        return self.elsewhere

    def find(self, device_id: str) -> Device | None:
        return self.lines.get(device_id)

    def catch_up(self) -> None:
        self.caught_up += 1
        self.vouches = True
        self.lines.update(self.late)


class Life:
    """From start to death."""

    def __init__(self, broker: Broker, cloud: Cloud, folder: Path, number: int, generation: int = 1) -> None:
        self.broker = broker
        self.died: list[BaseException] = []
        self.producers: list[Producer] = []
        settings = WorkerSettings(app="tests:app", data_dir=folder, session_timeout=SESSION_SECONDS, window_ms=0)
        self.directory = Directory(cloud)
        rules = SpaceRules(cloud.rules.space, IDS, cloud.rules.cloud, generation)
        self.directory.in_force = InForce(generation, generation)
        self.host = host.WorkerHost(rules, settings, f"slot-{number}", self.directory)  # type: ignore[arg-type]
        self.host._pulse = Pulse(3600.0)  # not started: its thread would outlive the test, and may end the process
        self.consumer, self.fetching = consumer_on(broker, OPS, self.host.app)
        self.host.app.consumer = self.consumer
        self.generation = 0
        self._ended = False
        self._agent: asyncio.Task[None] | None = None

    @property
    def pump(self) -> pump.MergePump:
        assert self.host.pump is not None
        return self.host.pump

    async def own(self, *partitions: int) -> None:
        """A rebalance deals these partitions to this worker, as Faust carries one out."""
        await self.host._revoked(self.host.app, set())
        self.generation += 1
        await assigned(self.consumer, self.fetching, [TP(OPS, p) for p in partitions], self.generation)
        await self.host.take_over(list(partitions))
        await self.consumer.perform_seek()

    def read(self) -> None:
        """The agent begins to merge what is fetched."""
        self._agent = asyncio.get_running_loop().create_task(self.host._merge(_Stream(self)))

    async def until(self, fact: Callable[[], bool]) -> None:
        """Let everything run until it is so."""
        end, pause = time.monotonic() + PATIENCE_SECONDS, 0.002
        while time.monotonic() < end:
            if fact():
                return
            await asyncio.sleep(pause)
            pause = min(0.02, 1.25 * pause)  # what is asked costs more than what it waits for
        raise AssertionError(f"never so: {fact}; died: {self.died}")

    async def quiet(self) -> None:
        """All that is in the op topic is merged, delivered, stored and acknowledged, and committed."""
        wanted = {tp: self.broker.partition(*tp).end for tp in self.fetching.assignment()}
        await self.until(lambda: all(self.consumer._new_offset(tp) == end for tp, end in wanted.items() if end))
        await self.consumer.commit()

    async def die(self) -> None:
        """SIGKILL."""
        if self._ended:
            return
        self._ended = True
        tasks = [t for t in (self._agent, self.host._runner) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.host.pump is not None:
            self.host.pump.flights._epoch += 1  # what is delivered now reaches nobody
        if self.host._publisher is not None:
            self.host._publisher._producer.purge()
            self.host._publisher._closed = True
            self.host._publisher._thread.join()
        if self.host._store is not None:
            self.host._store.close()

    # -- what is there

    def committed(self, partition: int = 0) -> int | None:
        return self.broker.committed.get((GROUP, OPS, partition))

    def topic(self, name: str, partition: int = 0) -> list[Stored]:
        return self.broker.read(name, partition)


class _Stream:
    """A Faust stream over what the consumer lets through, as an agent sees it."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self.current_event: Any = None

    def noack(self) -> _Stream:
        return self

    async def __aiter__(self) -> Any:
        consumer = self._life.consumer
        while True:
            async for _, message in consumer.getmany(timeout=0.01):
                consumer.track_message(message)
                self.current_event = SimpleNamespace(message=message, ack=lambda m=message: consumer.ack(m))
                yield message.value
            await asyncio.sleep(0.001)


def stand_in(monkeypatch: pytest.MonkeyPatch, broker: Broker) -> list[BaseException]:
    """Give the rim clients of this broker; returns what processes died of."""
    deaths: list[BaseException] = []

    def die(error: BaseException, code: int = 0) -> NoReturn:
        if not isinstance(error, Died):  # whoever else meets the end of the process
            deaths.append(error)
        raise Died(f"{error}")

    for module in (host, pump, flights, table, overrides):
        monkeypatch.setattr(module, "die", die)
    for writer in (publisher, device_view):
        monkeypatch.setattr(writer, "Producer", lambda config: Producer(broker, config))
    for reader in (plain_reader, device_view):
        monkeypatch.setattr(reader, "Consumer", lambda config: Consumer(broker, config))
    monkeypatch.setattr(asking, "AdminClient", lambda config: Admin(broker, config))
    return deaths


class Lives:
    """Starts lives over one broker, each on its own folder unless told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.broker = Broker()
        self.cloud = Cloud()
        self.deaths = stand_in(monkeypatch, self.broker)
        self._folder = folder
        self._all: list[Life] = []

    def start(self, folder: str = "a", generation: int = 1) -> Life:
        life = Life(self.broker, self.cloud, self._folder / folder, len(self._all), generation)
        life.died = self.deaths
        self._all.append(life)
        return life

    async def end(self) -> None:
        for life in self._all:
            await life.die()

    def __iter__(self) -> Iterator[Life]:
        return iter(self._all)
