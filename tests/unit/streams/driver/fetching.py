"""aiokafka, as Faust's consumer meets it: the thread that fetches, seeks and commits for one member of the group.

`Fetching` stands where `AIOKafkaConsumerThread` stands, below the overrides: Faust's own `Consumer` and ours run whole. It fetches
ahead, as aiokafka does, and a seek does not empty what was fetched already unless the test says so: that is how records come out of
their order after a rebalance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka.structs import ConsumerRecord
from faust.types import TP
from mode import Service

from driftlog_streams.faust_driver.overrides import FastConsumer, FaustApp
from tests.fake_kafka.broker import Broker, Stored

GROUP = "driftlog-merge-retail"
LOG_APPEND_TIME = 1


class Fetching(Service):  # type: ignore[misc]  # Faust ships no types
    """One member's fetcher. `deal` is what the group's coordinator does."""

    def __init__(self, broker: Broker) -> None:
        super().__init__()
        self.broker = broker
        self.expelled = False
        self.stale: dict[TP, list[int]] = {}
        """Offsets that were fetched before the last seek and are handed over all the same."""
        self._assigned: set[TP] = set()
        self._at: dict[TP, int] = {}
        self.seeks: list[tuple[TP, int]] = []

    def deal(self, *tps: TP) -> None:
        self._assigned = set(tps)
        self._at = {tp: self.broker.committed.get((GROUP, *tp), 0) for tp in tps}

    async def getmany(self, active: set[TP] | None, timeout: float) -> Mapping[TP, list[Any]]:  # noqa: ASYNC109
        await asyncio.sleep(0)
        found = {}
        for tp in sorted(self._assigned & (active or self._assigned)):
            records = self.broker.log(*tp)
            early = self.stale.pop(tp, None)
            if early is None:
                fetched = [r for r in records if r.offset >= self._at[tp]]
                if fetched:
                    self._at[tp] = fetched[-1].offset + 1
            else:
                fetched = [r for r in records if r.offset in early]
            if fetched:
                found[tp] = [_fetched(tp, record) for record in fetched]
        return found

    async def seek_to_committed(self) -> Mapping[TP, int]:
        committed = {tp: self.broker.committed.get((GROUP, *tp)) for tp in self._assigned}
        for tp, at in committed.items():
            self._at[tp] = at or 0
        return {tp: at for tp, at in committed.items() if at is not None}

    def seek(self, tp: TP, offset: int) -> None:
        self.seeks.append((tp, offset))
        self._at[tp] = offset

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        if self.expelled:
            return False
        self.broker.committed.update({(GROUP, *tp): at for tp, at in offsets.items()})
        return True

    def assignment(self) -> set[TP]:
        return set(self._assigned)

    def highwater(self, tp: TP) -> int:
        assert tp in self._assigned, "aiokafka asserts that too"
        return self.broker.partition(*tp).end

    async def earliest_offsets(self, *tps: TP) -> Mapping[TP, int]:
        return {tp: self.broker.partition(*tp).low for tp in tps}

    def close(self) -> None: ...


def _fetched(tp: TP, r: Stored) -> Any:
    if r.control or not r.readable:  # as `fetched` gives it
        return ConsumerRecord(*tp, r.offset, r.timestamp_ms, LOG_APPEND_TIME, None, None, None, -1, -1, ())
    sizes = (len(r.key or b""), len(r.value or b""))
    return ConsumerRecord(*tp, r.offset, r.timestamp_ms, LOG_APPEND_TIME, r.key, r.value, None, *sizes, r.headers)


async def _nothing(*args: Any, **options: Any) -> None:
    """A callback of Faust's that is of no concern here."""


def consumer_on(broker: Broker, topic: str, app: FaustApp | None = None) -> tuple[FastConsumer, Fetching]:
    """Our consumer, whole, over a fetcher of this broker."""
    fetching = Fetching(broker)

    class Consumer(FastConsumer):
        def _new_consumer_thread(self) -> Any:
            return fetching

    app = app or FaustApp(GROUP, broker="kafka://nowhere", store="memory://", web_enabled=False)
    app.producer = SimpleNamespace(flush=_nothing)
    consumer = Consumer(app.transport, _nothing, _nothing, _nothing, loop=asyncio.get_running_loop())
    consumer.manual.add(topic)
    return consumer, fetching


async def assigned(consumer: FastConsumer, fetching: Fetching, tps: Iterable[TP], generation: int) -> None:
    """What a rebalance does to a consumer, in the order of aiokafka and Faust."""
    tps = set(tps)
    fetching.deal(*tps)
    consumer.app.consumer_generation_id = generation
    await consumer.on_partitions_assigned(tps, generation)
    consumer.flow_active = True
