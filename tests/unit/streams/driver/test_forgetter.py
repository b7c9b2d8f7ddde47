"""What a worker has its partitions forget: only what lies the retention back by the broker's times, and nobody whom it has heard of since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from driftlog_schemas import asking, groups, topics
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA
from driftlog_schemas.messages import Forgetting, Heartbeat
from driftlog_streams.core import forgetting
from driftlog_streams.core.admission import Admitted
from driftlog_streams.core.passed import Passed
from driftlog_streams.core.store_mark import StoreMark
from driftlog_streams.faust_driver import forgetter, publisher
from driftlog_streams.faust_driver.forgetter import Forgetter
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.faust_driver.publisher import Publisher
from driftlog_streams.reading import lately_heard, past_reader, plain_reader
from driftlog_streams.reading.lately_heard import LatelyHeard
from driftlog_streams.reading.past_reader import PastReader
from tests.fake_kafka.broker import Broker
from tests.fake_kafka.clients import Admin, Consumer, Producer
from tests.unit.streams.cloud import PARTITION, Cloud, change, command, count, key, ledger, stock

OPS, STATES = topics.ops_topic("retail"), topics.state_topic("retail")
RETENTION_SECONDS = 3600
LATER = "store-2.1"


class Topics:
    """`TopicsAdmin`, as far as it is asked."""

    def __init__(self) -> None:
        self.timed = topics.APPEND_TIME

    def existing(self, names: list[str]) -> dict[str, Any]:
        settings = {topics.RETENTION: str(RETENTION_SECONDS * 1000), topics.TIMES: self.timed}
        return {name: SimpleNamespace(settings=settings) for name in names}


class World:
    """One partition: what is appended is merged, published and stored at once; a forgetter looks at it."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker, self.cloud, self.topics = broker, Cloud(), Topics()
        self._worker_store = WorkerStore(folder / "states")
        self.store: PartitionStore = self._worker_store.partition(PARTITION)
        self.owned = {PARTITION: self.store}
        self.publisher = Publisher("nowhere", 10.0, asyncio.get_running_loop())
        self.merged = self._published = 0
        rules = self.cloud.rules
        self.forgetter = Forgetter(
            rules,
            self.cloud.devices,
            self.cloud.identities[CLOUD],
            PastReader("nowhere", topics.SpaceTopics("retail")),
            LatelyHeard("nowhere", rules.records, lambda device: self.cloud.devices.find(device) is not None),
            self.topics,  # type: ignore[arg-type]
            self.publisher,
            lambda: self.owned,
            lambda partition: self.merged,
            lambda partition: self.cloud.merger.forgotten,
        )

    def close(self) -> None:
        self.publisher.close(0.0)
        self._worker_store.close()

    def append(self, value: bytes) -> None:
        self.broker.append(OPS, PARTITION, b"device", value)

    def merge(self) -> None:
        """All that is in the op topic."""
        for record in self.broker.read(OPS, PARTITION)[self.merged :]:
            self.cloud.merge_value(record.value, append_ms=record.timestamp_ms)
            self.merged += 1
            self.cloud.fly()
        for out in self.cloud.published[self._published :]:
            self.broker.append(out.topic, PARTITION, out.key, out.value, out.headers)
        self._published = len(self.cloud.published)
        passed = Passed(dict(self.cloud.dead), dict(self.cloud.gone), dict(self.cloud.waiting))
        self.store.write(self.cloud.store.items(), StoreMark(), self.cloud.rows.items(), passed)

    def tombstone(self) -> None:
        """Made and deleted by one life, and a word of another, which no floor here leaves behind."""
        self.append(self.cloud.batch(command("made", count(stock(), 5, 1))))
        self.append(self.cloud.batch(command("gone", change(stock(), "", "delete", None, 2, context={}))))
        self.day("store-2.7")

    def day(self, replica: str = LATER, seq: int = 1) -> None:
        """Somebody writes on another document."""
        self.append(self.cloud.batch(command(f"{replica}-{seq}", count(ledger(), 1, seq, replica)), replica=replica))
        self.merge()

    def heartbeat(self, device: str = "store-1", replica: str = "store-1.1", under: bytes = b"") -> None:
        value = self.cloud.rules.records.encode_heartbeat(Heartbeat(device, replica, 1, "online", 0, 0, 0, 0, {}))
        self.broker.append(topics.HEARTBEATS, 0, under or device.encode(), value)

    def pass_retention(self) -> None:
        self.broker.pass_seconds(RETENTION_SECONDS + 1)

    async def look(self) -> Forgetting | None:
        """What it writes at this moment, which is merged."""
        before = len(self.broker.read(OPS, PARTITION))
        await self.forgetter._look()
        await self.told()
        written = self.broker.read(OPS, PARTITION)[before:]
        self.merge()
        if not written:
            return None
        (record,) = written
        assert record.key == CLOUD.encode()
        admission = self.cloud.admit(record.value, record.timestamp_ms)
        assert isinstance(admission, Admitted), admission
        return admission.batch.forget

    async def told(self) -> None:
        """All that it has published was delivered."""
        await until(lambda: not len(self.publisher._producer))


@pytest.fixture
async def world(broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[World]:
    monkeypatch.setattr(publisher, "Producer", lambda config: Producer(broker, config))
    monkeypatch.setattr(plain_reader, "Consumer", lambda config: Consumer(broker, config))
    monkeypatch.setattr(asking, "AdminClient", lambda config: Admin(broker, config))
    made = World(broker, tmp_path)
    assert "anybody" in made.forgetter._heard.since(0), "it begins to listen"
    yield made
    made.close()


async def test_what_lies_the_retention_back_is_forgotten_and_nothing_before(world: World) -> None:
    world.tombstone()
    assert await world.look() is None
    world.pass_retention()
    world.day()
    found = await world.look()
    assert found is not None
    assert (found.floor, found.retired, list(found.purge)) == (2, {"store-1.1": "store-1"}, [key(stock())])
    assert world.cloud.store[key(stock())] is None
    assert world.cloud.row(CLOUD_REPLICA).forgot[0].floor == 2
    assert await world.look() is None, "nothing would change"


async def test_a_space_in_which_nobody_writes_any_more_forgets_too_and_then_is_still(world: World) -> None:
    world.tombstone()
    assert await world.look() is None
    world.pass_retention()
    found = await world.look()
    assert found is not None
    assert list(found.purge) == [key(stock())]
    assert world.cloud.store[key(stock())] is None
    world.pass_retention()
    found = await world.look()
    assert found is not None
    assert found.retired == {"store-2.7": "store-2"}
    for _ in range(3):
        world.pass_retention()
        assert await world.look() is None, "an idle partition does not grow by it"
    words = world.broker.read(topics.HEARTBEATS, 0)
    assert {(record.key, record.value) for record in words} == {(CLOUD.encode(), None)}


async def test_times_of_writers_are_not_believed(world: World) -> None:
    world.topics.timed = "CreateTime"
    world.tombstone()
    world.pass_retention()
    assert await world.look() is None


async def test_who_was_heard_of_within_the_retention_is_not_retired(world: World) -> None:
    world.tombstone()
    world.day("store-2.1")
    world.heartbeat("store-2", "store-2.7")
    world.pass_retention()
    world.heartbeat("store-1", "store-1.1")
    world.broker.append(topics.HEARTBEATS, 0, b"store-1/key", b"a farewell")
    world.broker.append(topics.HEARTBEATS, 0, b"store-1", b"noise")
    found = await world.look()
    assert found is not None
    assert found.retired == {"store-2.7": "store-2"}, "its heartbeat was too long ago"
    world.pass_retention()
    world.broker.pass_seconds(5)
    found = await world.look()
    assert found is not None
    assert found.retired == {"store-1.1": "store-1", "store-2.1": "store-2"}


async def test_only_a_heartbeat_of_a_known_device_under_its_own_name_keeps_a_life(world: World) -> None:
    world.tombstone()
    world.pass_retention()
    world.heartbeat("stranger", "store-1.1")
    world.heartbeat("stranger", "stranger.1")
    assert "stranger.1" not in world.forgetter._heard.since(0), "there may be any number of those"
    world.heartbeat("store-1", "store-1.1", under=b"store-2")
    world.heartbeat("store-2", "store-2.9")
    found = await world.look()
    assert found is not None
    assert found.retired == {"store-1.1": "store-1"}


async def test_a_life_that_was_followed_by_another_is_over_the_retention_after_its_last_word(world: World) -> None:
    world.tombstone()
    world.pass_retention()
    world.heartbeat("store-1", "store-1.1")
    world.heartbeat("store-1", "store-1.2")
    found = await world.look()
    assert found is None or "store-1.1" not in found.retired
    world.pass_retention()
    world.heartbeat("store-1", "store-1.2")
    found = await world.look()
    assert found is not None
    assert found.retired["store-1.1"] == "store-1"


@pytest.mark.parametrize("names", [1, 3, 20])
async def test_a_strangers_words_in_the_name_of_a_device_end_none_of_its_lives(
    world: World, monkeypatch: pytest.MonkeyPatch, names: int
) -> None:
    """Each newer than the last one of the life that is there, more of them than are kept."""
    monkeypatch.setattr(lately_heard, "MOST_HEARD", 5)
    world.tombstone()
    world.pass_retention()
    for number in range(names):
        if number == names // 2:
            world.heartbeat("store-1", "store-1.1")
        world.heartbeat("store-1", f"store-1.bogus{number}")
        world.heartbeat("store-1", f"store-2.bogus{number}")
    found = await world.look()
    assert found is None or "store-1.1" not in found.retired
    world.pass_retention()
    world.broker.pass_seconds(5)
    found = await world.look()
    assert found is not None
    assert found.retired["store-1.1"] == "store-1", "when they are as old as the retention, nobody is kept by them"


async def test_who_has_just_begun_to_listen_calls_nobody_silent(world: World) -> None:
    """Of what a device has said only the last word is left then, and that may be a stranger's."""
    world.tombstone()
    world.pass_retention()
    world.heartbeat("store-1", "store-1.bogus")
    world.forgetter._heard = LatelyHeard("nowhere", world.cloud.rules.records, lambda device: True)
    found = await world.look()
    assert found is not None and not found.retired
    world.heartbeat("store-1", "store-1.1")
    found = await world.look()
    assert found is None or not found.retired


async def test_the_floor_lies_below_what_is_committed_and_what_readers_had(world: World) -> None:
    world.tombstone()
    world.day(seq=1)
    world.pass_retention()
    world.broker.remove(STATES, PARTITION, 2, 3)  # compaction has left the groups of 0 and 1
    found = await world.look()
    assert found is not None
    assert found.floor == 1
    world.append(world.cloud.batch(command("new", count(ledger(), 1, 1))))
    world.pass_retention()
    world.merged, merged = 3, world.merged
    await world.forgetter._look()
    await world.told()
    record = world.broker.read(OPS, PARTITION)[-1]
    world.merged = merged
    admission = world.cloud.admit(record.value, record.timestamp_ms)
    assert isinstance(admission, Admitted)
    assert admission.batch.forget is None or admission.batch.forget.floor <= 2


async def test_a_group_far_back_is_found_whatever_compaction_has_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_reader, "FIRST_LOOK", 2)
    world.tombstone()
    for number in range(20):
        world.broker.append(STATES, PARTITION, b"Stock/s1/x", b"", groups.headers(number + 3, last=False))
    world.pass_retention()
    found = await world.look()
    assert found is not None
    assert found.floor == 2


@pytest.mark.parametrize("moved", ["lost", "written meanwhile"])
async def test_what_has_changed_while_it_looked_is_left_to_the_next_look(
    world: World, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tombstone()
    world.pass_retention()
    planned = world.forgetter._planned

    def while_planning(*args: Any) -> Forgetting | None:
        found = planned(*args)
        if moved == "lost":
            world.owned = {}
        else:
            world.cloud.forget(0)
        return found

    monkeypatch.setattr(world.forgetter, "_planned", while_planning)
    before = len(world.broker.read(OPS, PARTITION))
    await world.forgetter._look()
    await world.told()
    assert len(world.broker.read(OPS, PARTITION)) == before


async def test_a_broker_that_is_away_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.tombstone()
    world.pass_retention()
    monkeypatch.setattr(forgetter, "LEAST_SECONDS", 0.001)
    monkeypatch.setattr(forgetter, "LOOKS", 10**9)
    world.forgetter._seconds = 0.001
    world.broker.set_up(False)
    with structlog.testing.capture_logs() as said:
        running = asyncio.get_running_loop().create_task(world.forgetter.run())
        await until(lambda: any("cannot be asked" in line["event"] for line in said))
    world.broker.set_up(True)
    await until(lambda: len(world.broker.read(OPS, PARTITION)) == 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(("retention_ms", "seconds"), [(50_000, 1.0), (3_600_000, 36.0), (30 * topics.DAY_MS, 21600.0)])
async def test_a_partition_is_looked_at_a_hundred_times_within_its_retention(
    world: World, monkeypatch: pytest.MonkeyPatch, retention_ms: int, seconds: float
) -> None:
    found = {STATES: SimpleNamespace(settings={topics.RETENTION: str(retention_ms)})}
    monkeypatch.setattr(world.topics, "existing", lambda names: found)
    await world.forgetter._look()
    assert world.forgetter._seconds == seconds


async def test_where_one_record_does_not_hold_all_it_is_looked_at_again_sooner(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "MAX_PURGE", 1)
    for document in (
        stock("a"),
        stock("b"),
        stock("c"),
    ):  # one of them leaves with the first that goes, for their scope's digest
        gone = change(document, "", "delete", None, 1, context={})
        world.append(world.cloud.batch(command(f"gone-{document.id}", gone)))
    world.day("store-2.7")
    assert await world.look() is None
    world.pass_retention()
    world.day()
    for _ in range(2):
        found = await world.look()
        assert found is not None and len(found.purge) == 1
        assert world.forgetter._pause == RETENTION_SECONDS / 400
    assert await world.look() is None
    assert world.forgetter._pause == RETENTION_SECONDS / 100


async def until(fact: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if fact():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("never so")
