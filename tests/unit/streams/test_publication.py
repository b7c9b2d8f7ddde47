"""A rebuilt partition in topics of its own tells whoever reads it what the one that runs tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from driftlog_schemas import groups
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.replaying import publication
from driftlog_streams.replaying.publication import Written, publish, require_written
from driftlog_streams.replaying.rebuild import Rebuild
from tests.unit.streams.cloud import IDS, PARTITION, SPACE, change, command, count, stock
from tests.unit.streams.test_replaying import OTHER, Log, log

__all__ = ["log"]

SECOND = SpaceTopics("retail", 2)
RULES = SpaceRules(SPACE, IDS, generation=2)


class Topics:
    """Those of the new generation, in memory; as `Logs` reads them."""

    def __init__(self, ops: int) -> None:
        self.records: dict[str, list[ChangelogRecord]] = {SECOND.state: [], SECOND.receipts: []}
        self._ops = ops

    def deliver(self, records: Sequence[OutRecord]) -> None:
        for record in records:
            assert record.partition == PARTITION
            there = self.records[record.topic]  # no topic but these two
            there.append(ChangelogRecord(record.key, record.value, len(there), tuple(record.headers), 0))

    def extent(self, topic: str, partition: int) -> range:
        return range(self._ops)

    def blocks(self, topic: str, partition: int) -> Iterator[list[ChangelogRecord]]:
        yield list(self.records[topic])


@pytest.fixture
def many(log: Log) -> Log:
    """More documents than leave at once, an open conflict, a command that waits."""
    read = len(log.ops) - 1
    for number in range(7):
        log.append(log.cloud.batch(command(f"more {number}", count(stock(f"sku-{number}"), number + 1, 1)), read=read))
    log.append(log.cloud.batch(command("one", change(stock("fought"), "price", "set", 1, 1)), read=read))
    rival = command("two", change(stock("fought"), "price", "set", 2, 1, replica=OTHER))
    log.append(log.cloud.batch(rival, replica=OTHER, read=read))
    log.append(log.cloud.batch(command("waits", count(stock("sku-0"), 1, 5)), read=read))
    return log


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[PartitionStore]]:
    all_of_them = WorkerStore(tmp_path / "stores")
    yield [all_of_them.partition(number) for number in range(3)]
    all_of_them.close()


def published(log: Log, store: PartitionStore) -> tuple[Topics, Written]:
    made = Topics(len(log.ops))
    _rebuild(log, store)
    return made, publish(RULES, PARTITION, store, made.deliver)


def _rebuild(log: Log, store: PartitionStore) -> None:
    made = Rebuild(log.cloud.rules, PARTITION, store, log.cloud.devices)
    for record in log.ops:
        made.take(record)
    assert [one.command.id for one in made.end()] == ["waits"]


@pytest.mark.parametrize("at_once", [1, 3, 200])
def test_a_worker_that_recovers_has_what_was_rebuilt(
    many: Log, stores: list[PartitionStore], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "AT_ONCE", at_once)
    source, heir, _ = stores
    made, written = published(many, source)
    assert written == Written(9, 3)

    restoration, found = Restoration(RULES), Recovered(heir.mark.positions, heir.mark.group)
    found.ops_end = len(many.ops)
    restoration.take(heir, found, made.records[SECOND.state])
    restoration.count(heir, found)
    restoration.take_rows(heir, found, made.records[SECOND.receipts])
    assert dict(heir.documents()) == dict(source.documents()) and len(dict(heir.documents())) == 9
    assert list(heir.rows()) == list(source.rows())
    assert heir.mark.group == source.mark.group == len(many.ops) - 1
    assert not found.stale and not found.stale_rows and not found.tail.open
    assert heir.digest("s1") == source.digest("s1") == many.cloud.digests["s1"]
    assert list(heir.disputes()) == list(source.disputes()) and len(list(heir.disputes())) == 1


def test_every_group_ends_and_the_last_word_of_a_scope_is_its_digest(
    many: Log, stores: list[PartitionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "AT_ONCE", 4)
    made, _ = published(many, stores[0])
    cut = groups.Cut()
    marks = [groups.parse(record.headers) for record in made.records[SECOND.state]]
    ends = [cut.take(mark) for mark in marks]
    assert ends.count(True) == 3 and ends[-1]
    assert {mark.number for mark in marks} == {len(many.ops) - 1}
    assert marks[-1].digest == stores[0].digest("s1")
    assert sum(mark.disputed for mark in marks) == 1


def test_what_was_written_is_read_back_and_compared(many: Log, stores: list[PartitionStore]) -> None:
    source, scratch, other = stores
    made, _ = published(many, source)
    require_written(RULES, made, PARTITION, source, scratch)  # type: ignore[arg-type]
    first, last = made.records[SECOND.state][0], made.records[SECOND.state][-1]
    made.records[SECOND.state].append(last._replace(key=first.key, offset=99))
    with pytest.raises(DeliveryFailed, match="do not say what was rebuilt"):
        require_written(RULES, made, PARTITION, source, other)  # type: ignore[arg-type]


def test_a_row_that_is_missing_is_noticed(many: Log, stores: list[PartitionStore]) -> None:
    source, scratch, _ = stores
    made, _ = published(many, source)
    made.records[SECOND.receipts].pop()
    with pytest.raises(DeliveryFailed, match="or its receipts"):
        require_written(RULES, made, PARTITION, source, scratch)  # type: ignore[arg-type]


def test_a_broker_that_takes_nothing_leaves_nothing_in_force(many: Log, stores: list[PartitionStore]) -> None:
    def away(records: Sequence[OutRecord]) -> None:
        raise BrokerUnreachable("away", "wait")

    _rebuild(many, stores[0])
    with pytest.raises(BrokerUnreachable):
        publish(RULES, PARTITION, stores[0], away)


def test_an_empty_partition_publishes_nothing(stores: list[PartitionStore]) -> None:
    assert publish(RULES, PARTITION, stores[0], lambda records: pytest.fail("nothing")) == Written(0, 0)
