"""What a worker settles: only what the broker's time says is overdue, whatever its own clock says, and nobody's decision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from driftlog_schemas import asking, topics
from driftlog_schemas.identity import CLOUD, CLOUD_REPLICA
from driftlog_schemas.messages import Due, Forgetting
from driftlog_streams.core.admission import Admitted
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.core.settling import AGAIN_MS
from driftlog_streams.core.store_mark import StoreMark
from driftlog_streams.faust_driver import publisher, settler
from driftlog_streams.faust_driver.broker_time import BrokerTime
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.faust_driver.settler import Settler
from driftlog_streams.reading import plain_reader
from driftlog_streams.reading.past_reader import PastReader
from tests.fake_kafka.broker import Broker
from tests.fake_kafka.clients import Admin, Consumer, Producer
from tests.unit.streams.cloud import PARTITION, change, command, stock
from tests.unit.streams.driver.test_forgetter import OPS, STATES, World, until

HOURS_48 = 48 * 3600


class Deadlines(World):
    """One partition with a settler that looks at it."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        super().__init__(broker, folder)
        self.seconds = 0.0
        told = BrokerTime(
            PastReader("nowhere", topics.SpaceTopics("retail")), self.topics, self.publisher, lambda: self.seconds
        )  # type: ignore[arg-type]
        self.settler = Settler(
            self.cloud.rules,
            self.cloud.identities[CLOUD],
            told,
            self.publisher,
            lambda: self.owned,
            lambda partition: self.cloud.merger.forgotten,
            lambda: self.seconds,
        )

    def dispute(self, sku: str = "tea", seq: int = 1) -> None:
        for replica, value in (("store-1.1", 10 + seq), ("store-2.1", 20 + seq)):
            written = change(stock(sku), "price", "set", value, seq, replica=replica)
            self.append(self.cloud.batch(command(f"{sku}-{value}", written), replica=replica))
        self.merge()

    def another_store(self) -> PartitionStore:
        """Of a worker that has nothing yet."""
        return self._worker_store.partition(PARTITION + 1)

    def pass_time(self, seconds: float) -> None:
        self.broker.pass_seconds(seconds)
        self.seconds += seconds

    async def settled(self) -> tuple[Due, ...]:
        """What it writes at this moment; not merged yet."""
        before = len(self.broker.read(OPS, PARTITION))
        await self.settler._look()
        await self.told()
        written = self.broker.read(OPS, PARTITION)[before:]
        if not written:
            return ()
        (record,) = written
        admission = self.cloud.admit(record.value, record.timestamp_ms)
        assert isinstance(admission, Admitted), admission
        assert isinstance(admission.batch.forget, Forgetting)
        return admission.batch.forget.settle

    def statuses(self) -> list[str]:
        self.merge()
        return [conflict.status.value for conflict in self.cloud.conflicts()]


@pytest.fixture
async def world(broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Deadlines]:
    monkeypatch.setattr(publisher, "Producer", lambda config: Producer(broker, config))
    monkeypatch.setattr(plain_reader, "Consumer", lambda config: Consumer(broker, config))
    monkeypatch.setattr(asking, "AdminClient", lambda config: Admin(broker, config))
    made = Deadlines(broker, tmp_path)
    yield made
    made.close()


async def test_an_idle_partition_settles_when_its_time_has_come_and_not_before(world: Deadlines) -> None:
    world.dispute()
    world.pass_time(HOURS_48 - 60)
    assert await world.settled() == ()
    assert world.statuses() == ["open"]
    world.pass_time(120)
    (due,) = await world.settled()
    assert (due.key, due.place) == (b"Stock/s1/tea", "price")
    assert world.statuses() == ["open", "settled"]
    assert await world.settled() == ()
    assert world.store.first_due() is None, "it leaves the list"


async def test_nothing_is_written_of_a_partition_whose_chain_is_not_read_yet(world: Deadlines) -> None:
    """While it is taken over its store has the cloud's row, and nobody has merged anything: number 1 would be sealed a second time."""
    world.dispute()
    world.pass_time(HOURS_48 + 60)
    world.store.write((), world.store.mark, [(CLOUD_REPLICA, b"as it was stored")])
    assert world.cloud.merger.forgotten is None
    assert await world.settled() == ()
    world.store.write((), world.store.mark, [(CLOUD_REPLICA, None)])
    assert len(await world.settled()) == 1


async def test_a_workers_own_clock_settles_nothing(world: Deadlines) -> None:
    world.dispute()
    world.seconds += 10 * HOURS_48
    assert await world.settled() == ()


async def test_the_broker_is_left_alone_while_no_deadline_is_near(world: Deadlines) -> None:
    assert await world.settled() == ()
    assert world.broker.read(topics.HEARTBEATS, 0) == [], "nothing is in conflict"
    world.dispute()
    for _ in range(3):
        assert await world.settled() == ()
        world.pass_time(3600)
    assert len(world.broker.read(topics.HEARTBEATS, 0)) == 1, "asked once, and known since"


async def test_times_of_writers_are_not_believed(world: Deadlines) -> None:
    world.topics.timed = "CreateTime"
    world.dispute()
    world.pass_time(HOURS_48 + 60)
    assert await world.settled() == (), "nobody tells how late it is"
    world.day()
    assert len(await world.settled()) == 1, "an op record does"


async def test_what_was_written_is_waited_for_and_written_again_if_it_is_lost(world: Deadlines) -> None:
    world.dispute()
    world.pass_time(HOURS_48 + 60)
    assert len(await world.settled()) == 1
    assert await world.settled() == (), "it is on its way"
    world.pass_time(settler.PATIENCE_SECONDS + 1)
    assert len(await world.settled()) == 1
    assert world.statuses() == ["open", "settled"], "both are in the log, and the chain took one"
    assert world.cloud.row(CLOUD_REPLICA).last == 1


async def test_a_look_is_bounded_and_the_rest_comes_next(world: Deadlines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_streams.core.settling.MAX_SETTLE", 2)
    for sku in ("a", "b", "c"):
        world.dispute(sku)
    world.pass_time(HOURS_48 + 60)
    assert [due.key for due in await world.settled()] == [b"Stock/s1/a", b"Stock/s1/b"]
    world.merge()
    assert [due.key for due in await world.settled()] == [b"Stock/s1/c"]
    assert world.statuses().count("settled") == 3


async def test_what_a_person_decided_leaves_the_list(world: Deadlines) -> None:
    world.dispute()
    decided = change(stock(), "price", "set", 15, 2, context={"store-2.1": 1})
    world.append(world.cloud.batch(command("decided", decided)))
    world.merge()
    world.pass_time(HOURS_48 + 60)
    assert world.statuses() == ["open", "resolved"]
    assert await world.settled() == ()
    assert world.store.first_due() is None


async def test_a_deadline_that_runs_anew_is_kept(world: Deadlines) -> None:
    """One writer has gone and another has come: the dispute is younger than the list knows."""
    world.dispute()
    world.pass_time(HOURS_48 - 60)
    decided = change(stock(), "price", "set", 15, 2, context={"store-2.1": 1})
    world.append(world.cloud.batch(command("decided", decided)))
    late = change(stock(), "price", "set", 17, 2, replica="store-2.1", context={"store-1.1": 1})
    world.append(world.cloud.batch(command("late", late), replica="store-2.1"))
    world.merge()
    world.pass_time(120)
    assert await world.settled() == ()
    world.pass_time(HOURS_48)
    assert len(await world.settled()) == 1


async def test_a_new_release_may_move_a_deadline(world: Deadlines) -> None:
    """The list had it earlier than it is now."""
    world.dispute()
    ((first, key, _),) = world.store.due(1 << 60)
    world.store.moved_due([(first, key)], [(first - 3_600_000, key)])
    world.cloud.waiting.clear()
    world.pass_time(HOURS_48 - 1800)
    assert await world.settled() == ()
    assert world.store.first_due() == first


async def test_what_cannot_be_settled_is_not_written_for_ever(
    world: Deadlines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_streams.core.enactment.MAX_STATE_BYTES", 100)
    world.dispute()
    world.pass_time(HOURS_48 + 60)
    assert len(await world.settled()) == 1
    assert world.statuses() == ["open"]
    world.cloud.waiting.clear()
    for _ in range(3):
        world.pass_time(settler.PATIENCE_SECONDS + 1)
        assert await world.settled() == ()
    monkeypatch.undo()
    world.pass_time(AGAIN_MS / 1000)
    world.settler._written.clear()
    assert await world.settled() != ()


async def test_a_document_of_another_release_is_looked_at_again(world: Deadlines) -> None:
    world.dispute()
    unreadable = [(k, b"\x00\x00\x00\x00\x09other") for k, _ in world.store.documents()]
    world.cloud.store.update(unreadable)
    world.store.write(unreadable, StoreMark())
    world.pass_time(HOURS_48 + 60)
    assert await world.settled() == ()
    assert world.store.first_due() is not None


@pytest.mark.parametrize("moved", ["lost", "written meanwhile"])
async def test_what_has_changed_while_it_looked_is_left_to_the_next_look(
    world: Deadlines, moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.dispute()
    world.pass_time(HOURS_48 + 60)
    found = world.settler._found

    def while_looking(*args: object) -> object:
        result = found(*args)  # type: ignore[arg-type]
        if moved == "lost":
            world.owned = {}
        else:
            world.cloud.forget(0)
        return result

    monkeypatch.setattr(world.settler, "_found", while_looking)
    assert await world.settled() == ()


async def test_a_broker_that_is_away_is_asked_again(world: Deadlines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr("driftlog_streams.faust_driver.broker_time.PASSING_SECONDS", 0.01)
    world.dispute()
    world.pass_time(HOURS_48 + 60)
    world.broker.set_up(False)
    with structlog.testing.capture_logs() as said:
        running = asyncio.get_running_loop().create_task(world.settler.run())
        await until(lambda: any("cannot be asked" in line["event"] for line in said))
    world.broker.set_up(True)
    await until(lambda: len(world.broker.read(OPS, PARTITION)) == 3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert world.statuses() == ["open", "settled"]


async def test_deadlines_are_found_again_by_who_takes_the_partition_over(world: Deadlines) -> None:
    """The state records say in their headers when the first of a document's conflicts is due."""
    world.dispute()
    (deadline,) = {at_ms for _, at_ms in world.cloud.waiting}
    fresh = world.another_store()
    records = [
        ChangelogRecord(r.key or b"", r.value, r.offset, r.headers, r.timestamp_ms)
        for r in world.broker.read(STATES, PARTITION)
    ]
    Restoration(world.cloud.rules).take(fresh, Recovered(), records)
    assert fresh.first_due() == deadline
    world.owned = {PARTITION: fresh}
    world.pass_time(HOURS_48 + 60)
    assert [due.due_ms for due in await world.settled()] == [deadline]
