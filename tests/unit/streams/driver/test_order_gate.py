"""What is let through to the merge: the very next record of each partition, after the seek of this generation, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from faust.types import TP

from driftlog_streams.errors import OrderBroken
from driftlog_streams.faust_driver import overrides
from driftlog_streams.faust_driver.overrides import FastConsumer
from tests.fake_kafka.broker import Broker
from tests.unit.streams.driver.fetching import GROUP, Fetching, assigned, consumer_on

OPS = TP("retail.ops", 0)
OTHER = TP("retail.ops", 1)


class Died(BaseException):
    pass


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    found: list[BaseException] = []

    def die(error: BaseException) -> NoReturn:
        found.append(error)
        raise Died

    monkeypatch.setattr(overrides, "die", die)
    yield found


@pytest.fixture
async def member(broker: Broker) -> tuple[FastConsumer, Fetching]:
    for n in range(8):
        broker.append(*OPS, b"key", b"%d" % n)
    return consumer_on(broker, OPS.topic)


async def offsets(consumer: FastConsumer, tp: TP = OPS) -> list[int]:
    return [message.offset async for at, message in consumer.getmany(1.0) if at == tp]


async def test_nothing_passes_before_the_seek_of_this_generation(member: tuple[FastConsumer, Fetching]) -> None:
    """Faust resumes partitions before it seeks them."""
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    assert await offsets(consumer) == []
    await consumer.perform_seek()
    assert await offsets(consumer) == list(range(8))

    await assigned(consumer, fetching, [OPS], 2)
    assert await offsets(consumer) == []


async def test_nothing_passes_between_a_new_generation_and_its_assignment(
    broker: Broker, member: tuple[FastConsumer, Fetching]
) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    assert await offsets(consumer) == list(range(8))
    consumer.app.consumer_generation_id = 2
    broker.append(*OPS, b"key", b"8")
    assert await offsets(consumer) == []


async def test_a_seek_that_a_rebalance_overtook_opens_nothing(
    member: tuple[FastConsumer, Fetching], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)

    async def overtaken(*tps: TP) -> dict[TP, int]:
        await assigned(consumer, fetching, [OPS], 2)
        return dict.fromkeys(tps, 0)

    monkeypatch.setattr(fetching, "earliest_offsets", overtaken)
    await consumer.perform_seek()

    assert await offsets(consumer) == []


async def test_it_begins_at_the_committed_position(broker: Broker, member: tuple[FastConsumer, Fetching]) -> None:
    consumer, fetching = member
    broker.committed[GROUP, *OPS] = 5
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()

    assert await offsets(consumer) == [5, 6, 7]


async def test_it_begins_at_the_oldest_record_when_nothing_was_committed(
    broker: Broker, member: tuple[FastConsumer, Fetching], deaths: list[BaseException]
) -> None:
    consumer, fetching = member
    broker.retain(*OPS, 3)
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()

    assert await offsets(consumer) == [3, 4, 5, 6, 7]
    assert deaths == []


async def test_what_was_prefetched_behind_a_gap_is_dropped_and_comes_again_in_its_order(
    member: tuple[FastConsumer, Fetching],
) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    fetching.stale[OPS] = [3, 4]

    assert await offsets(consumer) == []
    assert (consumer.stale, fetching.seeks) == (2, [(OPS, 0)])
    assert await offsets(consumer) == list(range(8))


async def test_what_passed_does_not_pass_again(member: tuple[FastConsumer, Fetching]) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    fetching.stale[OPS] = [0, 1, 1, 0, 2]

    assert await offsets(consumer) == [0, 1, 2]
    fetching.stale[OPS] = [1, 2, 3]
    assert await offsets(consumer) == [3]


async def test_a_hole_that_stays_ends_the_process(
    broker: Broker,
    member: tuple[FastConsumer, Fetching],
    deaths: list[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overrides, "HOLE_SECONDS", 0.0)
    consumer, fetching = member
    broker.remove(*OPS, 3)
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    passed = []
    with pytest.raises(Died):
        for _ in range(10):
            async for _, message in consumer.getmany(1.0):
                passed.append(message.offset)

    assert passed == [0, 1, 2]
    assert isinstance(deaths[0], OrderBroken) and "has no record 3" in str(deaths[0])
    assert "retention" in deaths[0].remedy and "--reset-offsets --to-offset 4" in deaths[0].remedy


async def test_a_hole_on_a_partition_where_nothing_more_comes_ends_the_process_too(
    broker: Broker,
    member: tuple[FastConsumer, Fetching],
    deaths: list[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Retention has passed the commit, and nobody writes there: all that is left was fetched twice before the time was over."""
    now = [0.0]
    monkeypatch.setattr(overrides, "time", SimpleNamespace(monotonic=lambda: now[0]))
    consumer, fetching = member
    broker.committed[GROUP, *OPS] = 3
    broker.remove(*OPS, 0, 1, 2, 3, 4)
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    for _ in range(3):
        assert await offsets(consumer) == []
    assert not deaths

    now[0] = overrides.HOLE_SECONDS + 1
    with pytest.raises(Died):
        for _ in range(3):
            assert await offsets(consumer) == []
    assert "has no record 3; the next one is 5" in str(deaths[0])


async def test_a_gap_that_closed_is_forgotten(
    member: tuple[FastConsumer, Fetching], deaths: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stale prefetches a minute apart are no hole."""
    now = [0.0]
    monkeypatch.setattr(overrides, "time", SimpleNamespace(monotonic=lambda: now[0]))
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    fetching.stale[OPS] = [2]
    assert await offsets(consumer) == []
    fetching.stale[OPS] = [0]
    assert await offsets(consumer) == [0]

    now[0] = 60.0
    fetching.stale[OPS] = [3]
    assert await offsets(consumer) == []
    assert deaths == []


async def test_partitions_are_ordered_each_by_itself(broker: Broker, member: tuple[FastConsumer, Fetching]) -> None:
    consumer, fetching = member
    broker.append(*OTHER, b"key", b"value")
    await assigned(consumer, fetching, [OPS, OTHER], 1)
    await consumer.perform_seek()
    fetching.stale[OPS] = [5]

    assert [(tp, m.offset) async for tp, m in consumer.getmany(1.0)] == [(OTHER, 0)]


async def test_a_seek_in_mid_generation_does_not_repeat_what_was_done(
    broker: Broker, member: tuple[FastConsumer, Fetching], deaths: list[BaseException]
) -> None:
    """Faust seeks again when flow was suspended; what is done may not be committed yet."""
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    async for _, message in consumer.getmany(1.0):
        if message.offset < 4:
            consumer.mark_done(message)
    await consumer.perform_seek()

    assert await offsets(consumer) == [4, 5, 6, 7]


async def test_whether_records_are_known_to_wait(member: tuple[FastConsumer, Fetching]) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    assert consumer.behind(OPS, 7) and not consumer.behind(OPS, 8)
    assert not consumer.behind(OTHER, 0), "a partition that is just being lost"
    consumer.flow_active = False
    assert not consumer.behind(OPS, 0), "a rebalance waits for what was begun"


async def test_every_record_reaches_the_agent_once_and_a_full_queue_waits(
    member: tuple[FastConsumer, Fetching], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    consumer.app.flow_control.resume()
    got: list[int] = []
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=3)
    monkeypatch.setattr(consumer.app.topics, "_tp_index", {OPS: [SimpleNamespace(queue=queue)]})

    async def callback(message: Any) -> None:
        await queue.put(message.offset)

    consumer.callback = callback
    stopped = SimpleNamespace(is_set=lambda: len(got) == 8)
    draining = asyncio.ensure_future(consumer._drain_messages(SimpleNamespace(_stopped=stopped)))
    for _ in range(8):
        await asyncio.sleep(0.01)
        assert queue.qsize() <= 3
        got.append(await asyncio.wait_for(queue.get(), 30))
    await asyncio.wait_for(draining, 30)

    assert got == list(range(8))
    assert consumer._read_offset[OPS] == 7


async def test_a_rebalance_does_not_wait_for_room_in_the_agents_queue(
    member: tuple[FastConsumer, Fetching], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, fetching = member
    await assigned(consumer, fetching, [OPS], 1)
    await consumer.perform_seek()
    consumer.app.flow_control.resume()
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
    monkeypatch.setattr(consumer.app.topics, "_tp_index", {OPS: [SimpleNamespace(queue=queue)]})
    stop = asyncio.Event()

    async def callback(message: Any) -> None:
        await queue.put(message.offset)

    consumer.callback = callback
    draining = asyncio.ensure_future(consumer._drain_messages(SimpleNamespace(_stopped=stop)))
    await asyncio.sleep(0.02)
    assert queue.full()
    consumer.suspend_flow.set()
    stop.set()
    await asyncio.wait_for(draining, 30)
