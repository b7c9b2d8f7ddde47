"""What comes in: from the replica's own positions, every record once and in order, and ends that were really reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

import pytest

from driftlog_edge.link import kafka_rim
from driftlog_edge.link.kafka_rim import KafkaRoute
from driftlog_edge.ports import Chunk, Feed, Record
from tests.fake_kafka.broker import Broker
from tests.unit.edge.waiting import until

STATES, RECEIPTS = ("retail.state", 3), ("retail.receipts", 3)
Arrived = Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]]


class Gathered:
    """What arrived; `gate` holds the replica's work up."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls = 0

    async def arrived(self, chunks: Sequence[Chunk]) -> None:
        self.calls += 1
        await self.gate.wait()
        self.chunks += chunks

    def records(self, place: tuple[str, int]) -> list[Record]:
        return [record for c in self.chunks if (c.topic, c.partition) == place for record in c.records]

    def offsets(self, place: tuple[str, int]) -> list[int]:
        return [record.offset for record in self.records(place)]

    def ended(self, place: tuple[str, int]) -> bool:
        return any(c.at_end for c in self.chunks if (c.topic, c.partition) == place)


@pytest.fixture
async def gathered() -> Gathered:
    return Gathered()


@pytest.fixture
async def follow(broker: Broker, gathered: Gathered) -> AsyncIterator[Callable[..., Feed]]:
    made: list[Feed] = []

    def follow(positions: Mapping[tuple[str, int], int], budget: int = 0) -> Feed:
        loop = asyncio.get_running_loop()
        made.append(KafkaRoute("nowhere", lambda: budget).follow(loop, positions, gathered.arrived, lambda: None))
        return made[-1]

    yield follow
    gathered.gate.set()
    for feed in made:
        await asyncio.get_running_loop().run_in_executor(None, feed.close)


def fill(broker: Broker, place: tuple[str, int], count: int) -> None:
    for n in range(count):
        broker.append(*place, b"key-%d" % n, b"value-%d" % n, [("driftlog.group", b"%d" % n)])


async def test_it_begins_at_the_replicas_own_positions(
    broker: Broker, gathered: Gathered, follow: Callable[..., Feed]
) -> None:
    fill(broker, STATES, 6)
    fill(broker, RECEIPTS, 3)
    follow({STATES: 2, RECEIPTS: 0})
    await until(lambda: gathered.ended(STATES) and gathered.ended(RECEIPTS))

    assert gathered.offsets(STATES) == [2, 3, 4, 5]
    assert gathered.offsets(RECEIPTS) == [0, 1, 2]


async def test_a_record_arrives_whole(broker: Broker, gathered: Gathered, follow: Callable[..., Feed]) -> None:
    broker.append(*STATES, None, None)
    fill(broker, STATES, 1)
    follow({STATES: 0})
    await until(lambda: len(gathered.offsets(STATES)) == 2)

    tombstone, record = gathered.records(STATES)
    assert tombstone == Record(0, b"", None, (), broker.now_ms)
    assert record == Record(1, b"key-0", b"value-0", (("driftlog.group", b"0"),), broker.now_ms)


async def test_an_end_is_told_when_it_is_reached_and_not_before(
    broker: Broker, gathered: Gathered, follow: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_rim, "FETCH_BATCH", 2)
    fill(broker, STATES, 8)
    follow({STATES: 0, RECEIPTS: 0})
    await until(lambda: gathered.ended(STATES) and gathered.ended(RECEIPTS))

    first_end = next(n for n, c in enumerate(gathered.chunks) if c.topic == STATES[0] and c.at_end)
    before = [r.offset for c in gathered.chunks[: first_end + 1] if c.topic == STATES[0] for r in c.records]
    assert before == list(range(8))
    assert gathered.records(RECEIPTS) == []


async def test_a_hole_before_the_end_is_no_end_that_never_comes(
    broker: Broker, gathered: Gathered, follow: Callable[..., Feed]
) -> None:
    fill(broker, STATES, 5)
    broker.remove(*STATES, 1, 4)
    follow({STATES: 0})
    await until(lambda: gathered.ended(STATES))
    assert gathered.offsets(STATES) == [0, 2, 3]


async def test_what_was_never_read_is_begun_where_the_log_begins(
    broker: Broker, gathered: Gathered, follow: Callable[..., Feed]
) -> None:
    fill(broker, RECEIPTS, 5)
    broker.retain(*RECEIPTS, 3)
    follow({RECEIPTS: 0})
    await until(lambda: gathered.ended(RECEIPTS))
    assert gathered.offsets(RECEIPTS) == [3, 4]


@pytest.mark.parametrize("position", [2, 9], ids=["retention has passed it", "the topic ends before it"])
async def test_a_position_that_the_log_does_not_have_is_told_and_nothing_else_read_there(
    broker: Broker, gathered: Gathered, follow: Callable[..., Feed], position: int
) -> None:
    fill(broker, RECEIPTS, 5)
    fill(broker, STATES, 1)
    broker.retain(*RECEIPTS, 3)
    follow({RECEIPTS: position, STATES: 0})
    await until(lambda: gathered.ended(STATES) and any(chunk.lost for chunk in gathered.chunks))
    assert [(c.topic, c.partition) for c in gathered.chunks if c.lost] == [RECEIPTS]
    assert gathered.offsets(RECEIPTS) == [] and not gathered.ended(RECEIPTS)


async def test_nothing_more_is_read_while_the_replica_is_at_work(
    broker: Broker, gathered: Gathered, follow: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica whose disk is slow must not gather the topic in memory."""
    monkeypatch.setattr(kafka_rim, "POLL_SECONDS", 0.01)
    gathered.gate.clear()
    fill(broker, STATES, 1)
    follow({STATES: 0})
    await until(lambda: gathered.calls == 1)
    fill(broker, STATES, 3)
    await asyncio.sleep(0.1)
    assert gathered.calls == 1
    gathered.gate.set()
    await until(lambda: len(gathered.offsets(STATES)) == 4)


async def test_closing_ends_it_even_in_the_middle_of_the_replicas_work(
    broker: Broker, gathered: Gathered, follow: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_rim, "POLL_SECONDS", 0.01)
    gathered.gate.clear()
    fill(broker, STATES, 1)
    feed = follow({STATES: 0})
    await until(lambda: gathered.calls == 1)
    await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, feed.close), 30)


async def test_an_agent_is_in_no_group(broker: Broker, gathered: Gathered, follow: Callable[..., Feed]) -> None:
    fill(broker, STATES, 3)
    feed = follow({STATES: 0})
    await until(lambda: gathered.ended(STATES))
    await asyncio.get_running_loop().run_in_executor(None, feed.close)
    assert broker.committed == {}


@pytest.mark.parametrize("budget", [0, 1_000], ids=["any pace", "a budget"])
async def test_little_is_fetched_ahead_of_what_is_read(follow: Callable[..., Feed], budget: int) -> None:
    """The client's own bound is more than an idle agent takes, and one that catches up fills it."""
    feed: Any = follow({STATES: 0}, budget)
    assert 0 < feed._consumer.config["queued.max.messages.kbytes"] <= 4 * 1024


@pytest.mark.parametrize("budget", [1, 10_000, 150_000, 10_000_000])
async def test_the_real_client_is_made_within_any_budget(budget: int, gathered: Gathered) -> None:
    """What does not fit together only that one knows."""
    loop = asyncio.get_running_loop()
    feed = KafkaRoute("127.0.0.1:1", lambda: budget).follow(loop, {STATES: 0}, gathered.arrived, lambda: None)
    await asyncio.to_thread(feed.close)
