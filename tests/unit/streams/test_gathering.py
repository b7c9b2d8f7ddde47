"""When a flight leaves: at once at rest, later and larger while more records are known to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from driftlog_schemas import topics
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.trial import unwatched
from driftlog_streams.core.work import OutRecord
from driftlog_streams.faust_driver import pump as pump_module
from driftlog_streams.faust_driver.append_time import LOG_APPEND_TIME
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.faust_driver.pump import MergePump
from driftlog_streams.telling.metrics import WorkerMetrics
from tests.unit.streams.cloud import NOW_MS, PARTITION, Cloud, command, count, stock

OPS = TP(topics.ops_topic("retail"), PARTITION)


class Log:
    """The op topic from the worker's side: how far it goes, and what is done."""

    def __init__(self) -> None:
        self.app = SimpleNamespace(consumer_generation_id=1)
        self.end = 0
        self.done: list[int] = []

    def behind(self, tp: TP, following: int) -> bool:
        return following < self.end

    def replays_from(self, tp: TP) -> int:
        return self.done[-1] + 1 if self.done else 0

    def mark_done(self, message: Any) -> None:
        self.done.append(message.offset)


class Wire:
    """A publisher that delivers at once; `stages` are what was published together."""

    def __init__(self) -> None:
        self.stages: list[Sequence[OutRecord]] = []
        self.offset = -1

    def publish(
        self,
        records: Sequence[OutRecord],
        delivered: Callable[[Mapping[tuple[str, int], int]], None],
        failed: Callable[[str], None],
    ) -> None:
        self.stages.append(list(records))
        self.offset += len(records)
        places = {(record.topic, record.partition): self.offset for record in records}
        asyncio.get_running_loop().call_soon(delivered, places)

    def states(self) -> list[int]:
        """How many states each stage published."""
        topic = topics.state_topic("retail")
        return [found for stage in self.stages if (found := sum(record.topic == topic for record in stage))]


class Rig:
    def __init__(self, folder: Path) -> None:
        self.cloud = Cloud()
        self.log, self.wire = Log(), Wire()
        reader: Any = SimpleNamespace(close=lambda: None)
        pulse: Any = SimpleNamespace(check=lambda: None)
        wire: Any = self.wire
        devices: Any = self.cloud.devices
        self.pump = MergePump(
            self.cloud.rules, devices, wire, pulse, WorkerMetrics("retail"), reader, 0.0, lambda: None, unwatched
        )
        self.pump.consumer = self.log
        self.below = WorkerStore(folder)
        self.store = self.below.partition(PARTITION)
        self.pump.assign({PARTITION: self.store}, {PARTITION: Recovered()})
        self.merged = 0

    def merge(self) -> None:
        """One more record is read and merged; each changes the same document."""
        offset = self.merged
        self.merged += 1
        value = self.cloud.batch(command(f"c{offset}", count(stock(), 1, offset + 1)))
        message = SimpleNamespace(
            topic=OPS.topic,
            partition=PARTITION,
            tp=OPS,
            offset=offset,
            generation_id=1,
            value=value,
            timestamp=NOW_MS / 1000,
            timestamp_type=LOG_APPEND_TIME,
        )
        event = SimpleNamespace(message=message, ack=lambda: None)
        self.pump.process(event, self.pump.admitting.admit(message))

    async def landed(self) -> None:
        """Wait until all that was merged is acknowledged."""
        async with asyncio.timeout(30):
            while self.log.done != list(range(self.merged)):  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "store")
    running = asyncio.create_task(rig.pump.run())
    yield rig
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    rig.below.close()


async def test_at_rest_every_record_flies_alone(rig: Rig) -> None:
    for _ in range(3):
        rig.log.end += 1
        rig.merge()
        await rig.landed()

    assert rig.wire.states() == [1, 1, 1]


async def test_while_records_are_known_to_wait_one_flight_carries_what_comes(rig: Rig) -> None:
    rig.log.end = 20
    for _ in range(20):
        rig.merge()
        await asyncio.sleep(0.002)
    await rig.landed()

    assert rig.wire.states() == [1], "one document that changed twenty times is published once"


async def test_gathering_ends_although_records_never_cease(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "GATHER_SECONDS", 0.02)
    rig.log.end = 1_000_000
    rig.merge()
    await rig.landed()

    assert rig.wire.states() == [1]


@pytest.mark.parametrize(("bound", "reached"), [("MAX_SOURCES", 5), ("MAX_DIRTY", 1), ("MAX_BYTES", 1)])
async def test_gathering_ends_when_a_flight_is_full(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, bound: str, reached: int
) -> None:
    monkeypatch.setattr(pump_module, "GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(pump_module, bound, reached)
    rig.log.end = 1_000_000
    for _ in range(5):
        rig.merge()
    await rig.landed()

    assert rig.wire.states() == [1]
