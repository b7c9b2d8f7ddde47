"""What an attempt to lay a space anew has written is gone on with by the next one: it writes what is lacking, once, and nothing else."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.topics import space_topics
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.work import OutRecord
from driftlog_streams.replaying import publication
from driftlog_streams.replaying.conflict_history import copy_conflicts
from driftlog_streams.replaying.continuation import Continuation, Otherwise
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.publication import publish
from tests.unit.streams.cloud import change, command, count
from tests.unit.streams.spread import AFTER, BEFORE, World
from tests.unit.streams.test_spreading import SCOPES, stock

STATES, CONFLICTS = "retail.p2.state", "retail.p2.conflicts"


class KilledHere(Exception):
    """The attempt is over."""


class Topics:
    """As a broker has them."""

    def __init__(self, partitions: int = AFTER) -> None:
        self.wanted = space_topics("retail.p2", partitions)
        self.logs: dict[tuple[str, int], list[OutRecord | None]] = {
            (topic.name, number): [] for topic in self.wanted for number in range(partitions)
        }
        """None where compaction has removed a record."""
        self.room = 1 << 30
        """How many records are taken before the attempt is killed."""

    def extent(self, topic: str, partition: int) -> range:
        return range(len(self.logs[topic, partition]))

    def blocks(self, topic: str, partition: int, start: int = 0) -> Generator[list[ChangelogRecord], None, None]:
        for at, record in enumerate(self.logs[topic, partition]):
            if record is not None and at >= start:
                yield [ChangelogRecord(record.key, record.value, at, [*record.headers])]

    def deliver(self, records: Sequence[OutRecord]) -> None:
        for record in records:
            if not self.room:
                raise KilledHere
            self.room -= 1
            self.logs[record.topic, record.partition].append(record)

    def continuation(self) -> Continuation:
        return Continuation(cast(Logs, self), self.wanted, {}, self.deliver)

    def of(self, topic: str) -> list[OutRecord]:
        return [one for (name, _), log in self.logs.items() if name == topic for one in log if one is not None]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Documents, lives and conflicts in every partition of before, in groups of three."""
    monkeypatch.setattr(publication, "AT_ONCE", 3)
    world = World(tmp_path)
    for number, scope in enumerate(SCOPES):
        world.before.send(command(f"sold {number}", count(stock(scope), number, 1, "store-1.1")))
        for seq, replica in enumerate(("store-1.1", "store-2.1"), 1):
            priced = change(stock(scope, "oat"), "price", "set", seq, 1, replica=replica)
            world.before.send(command(f"priced {number} {replica}", priced), replica=replica)
    world.move()
    yield world
    world.end()


def write(world: World, topics: Topics) -> int:
    """One attempt to its end, or to where it is killed; how many records it has left out."""
    filling = topics.continuation()
    for number, store in enumerate(world.made.stores):
        publish(world.made.rules, number, store, filling.deliver, conflicts=True)
    filling.require_ends()
    return filling.left_out


def test_killed_anywhere_the_next_attempt_writes_the_rest_and_nothing_twice(world: World) -> None:
    uncut = Topics()
    assert write(world, uncut) == 0
    total = sum(map(len, uncut.logs.values()))
    assert total > 50 and uncut.of(CONFLICTS) and uncut.of(STATES)
    for room in range(0, total + 1, 7):
        topics = Topics()
        topics.room = room
        with pytest.raises(KilledHere):
            write(world, topics)
            raise KilledHere
        topics.room = 1 << 30
        assert write(world, topics) == room
        assert topics.logs == uncut.logs
    assert write(world, topics) == total, "nothing is lacking"
    assert topics.logs == uncut.logs


def test_killed_again_and_again_it_comes_to_its_end(world: World) -> None:
    uncut, topics = Topics(), Topics()
    write(world, uncut)
    attempts = 0
    while topics.logs != uncut.logs:
        topics.room, attempts = 5, attempts + 1
        try:
            write(world, topics)
        except KilledHere:
            continue
    assert attempts > 10 and write(world, topics) == sum(map(len, uncut.logs.values()))


@pytest.mark.parametrize(
    "changes", [{"value": b"another"}, {"value": None}, {"key": b"Stock/store 1/nobody"}, {"headers": ()}]
)
def test_what_is_otherwise_is_not_gone_on_with(world: World, changes: dict[str, object]) -> None:
    topics = Topics()
    write(world, topics)
    place = next(place for place, log in topics.logs.items() if place[0] == STATES and len(log) > 2)
    first, *_ = topics.logs[place]
    assert first is not None
    topics.logs[place] = [first._replace(**changes)]  # type: ignore[arg-type]
    with pytest.raises(Otherwise, match=rf"{place[0]}\[{place[1]}\] at 0: "):
        write(world, topics)
    assert len(topics.logs[place]) == 1, "nothing is put behind it"


def test_what_is_there_too_much_is_found(world: World) -> None:
    topics = Topics()
    write(world, topics)
    topics.logs[STATES, 0].append(OutRecord(STATES, 0, b"x", b"y"))
    with pytest.raises(Otherwise, match=r"retail.p2.state\[0\] ends at \d+ and not at \d+"):
        write(world, topics)


def test_who_writes_meanwhile_is_found(world: World) -> None:
    """As what an attempt that stood still had under way."""
    topics = Topics()
    filling = topics.continuation()
    for number, store in enumerate(world.made.stores):
        publish(world.made.rules, number, store, filling.deliver, conflicts=True)
    filling.require_ends()
    topics.logs[STATES, 0].append(OutRecord(STATES, 0, b"x", b"y"))
    with pytest.raises(Otherwise):
        filling.require_end(STATES, 0)


def test_what_compaction_has_removed_is_no_difference(world: World) -> None:
    topics = Topics()
    write(world, topics)
    log = next(log for (name, _), log in topics.logs.items() if name == CONFLICTS and len(log) > 1)
    whole = [*log]
    log[0] = None
    assert write(world, topics) == sum(map(len, topics.logs.values()))
    del log[1:]
    write(world, topics)
    assert log == [None, *whole[1:]]


class History:
    """The conflicts of before, with the offsets that they have."""

    def __init__(self, partition: int, records: Sequence[tuple[int, OutRecord, bytes | None]]) -> None:
        self._partition = partition
        self._records = [ChangelogRecord(record.key, value, at, ()) for at, record, value in records]

    def blocks(self, topic: str, partition: int, start: int = 0) -> Iterator[list[ChangelogRecord]]:
        assert topic == "retail.conflicts"
        for record in self._records if partition == self._partition else ():
            yield [record]


def copied(world: World, history: History, topics: Topics) -> int:
    filling = topics.continuation()
    copy_conflicts(world.before.rules, world.made.rules, cast(Logs, history), filling.deliver)
    filling.require_ends()
    return filling.left_out


def test_of_each_conflict_the_last_record_comes_along(world: World) -> None:
    """Whatever compaction has removed by then: each attempt writes the same."""
    (there, first), *rest = [
        (partition_of(world.before.rules.records.decode_conflict(record.value or b"").document.scope, BEFORE), record)
        for record in world.published
        if record.topic == CONFLICTS
    ]
    gone = next(record for partition, record in rest if partition == there)
    topics, older = Topics(), gone.value
    everything = [(0, first, older), (1, gone, older), (2, first, first.value), (3, gone, None), (4, gone, b"nobody's")]
    assert copied(world, History(there, everything), topics) == 0
    (found,) = topics.of(CONFLICTS)
    assert (found.key, found.value, found.partition) == (first.key, first.value, first.partition)
    assert copied(world, History(there, everything[2:]), topics) == 1
    assert topics.of(CONFLICTS) == [found]
