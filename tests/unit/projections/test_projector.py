"""The projector over any sink, here one that a user might write: whole groups, one position, and going on after every kind of trouble."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from driftlog_schemas import groups
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.identity import document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.projections import projector as module
from driftlog_streams.projections import records
from driftlog_streams.projections.errors import HeldElsewhere, PositionLost, SinkAway
from driftlog_streams.projections.gathering import Gathering
from driftlog_streams.projections.metrics import ProjectorMetrics
from driftlog_streams.projections.projector import Projector
from driftlog_streams.projections.records import StateReader, StateRecord
from driftlog_streams.projections.sink import Group, Position
from driftlog_streams.telling.health import Health
from tests.unit.projections.sqlite_sink import SqliteSink
from tests.unit.projections.topic import IDS, OPS_END, SPACE, Topic, row, stock

HERE = partition_of("s1", 2)


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SqliteSink]:
    made = SqliteSink(tmp_path / "shop.sqlite")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(Projector, "_wait", lambda self, stop, seconds: None)


def run(topic: Topic, sink: Any, patience: float = 60.0) -> Projector:
    """To the topic's end."""
    metrics = ProjectorMetrics("retail")
    made = Projector(
        topic,  # type: ignore[arg-type]  # what a `StateLog` does
        StateReader(SPACE, IDS, metrics.skipped.inc),
        sink,
        frozenset({0, 1}),
        metrics,
        Health(),
    )
    made.run(threading.Event(), lambda: {0: topic.end(0), 1: topic.end(1)}, patience)
    return made


def on_hand(sink: SqliteSink) -> dict[str, int]:
    return {sku: json.loads(value)["on_hand"] for sku, value in sink.db.execute("SELECT id, value FROM document")}


class Shared(SqliteSink):
    """Somebody else writes partition 1."""

    def claim(self, partitions: Collection[int]) -> Mapping[int, Position]:
        return super().claim([number for number in partitions if number != 1])


def test_who_has_an_end_to_reach_does_not_stand_by_for_ever(topic: Topic, tmp_path: Path) -> None:
    sink = Shared(tmp_path / "shop.sqlite")
    topic.put(stock("tea"), row(stock("tea"), 5), 1)
    topic.put(stock("milk", "s2"), row(stock("milk", "s2"), 2), 1)
    with pytest.raises(HeldElsewhere, match="another projector writes 1 of 2 partitions"):
        run(topic, sink, patience=0.0)
    sink.close()


def test_rows_come_change_and_go(topic: Topic, sink: SqliteSink) -> None:
    topic.put(stock("tea"), row(stock("tea"), 5), 1)
    topic.put(stock("milk", "s2"), row(stock("milk", "s2"), 2), 1)
    run(topic, sink)
    assert on_hand(sink) == {"tea": 5, "milk": 2}
    topic.put(stock("tea"), row(stock("tea"), 4), 2)
    topic.put(stock("milk", "s2"), row(stock("milk", "s2"), 0, deleted=True), 2)
    assert run(topic, sink).done.rows == 2
    assert on_hand(sink) == {"tea": 4}
    assert run(topic, sink).done.records == 0


def test_a_document_that_changed_often_is_written_once(topic: Topic, sink: SqliteSink) -> None:
    topic.block = 100
    for number in range(50):
        topic.put(stock("tea"), row(stock("tea"), number), number)
    assert run(topic, sink).done.rows == 1
    assert on_hand(sink) == {"tea": 49}


def test_a_group_is_there_whole_or_not_at_all(topic: Topic, sink: SqliteSink) -> None:
    topic.block = 1
    topic.put(stock("tea"), row(stock("tea"), 5), 7, last=False)
    topic.put(stock("milk"), row(stock("milk"), 1), 5)  # of a worker that died and began again
    run(topic, sink)
    assert on_hand(sink) == {}
    topic.put(stock("milk"), row(stock("milk"), 2), 7)
    run(topic, sink)
    assert on_hand(sink) == {"tea": 5, "milk": 2}


def test_holes_of_compaction_are_no_end(topic: Topic, sink: SqliteSink) -> None:
    topic.put(stock("tea"), row(stock("tea"), 5), 1, last=False, offset=4)
    topic.put(stock("milk"), row(stock("milk"), 5), 9, offset=70)
    assert run(topic, sink).done.positions[HERE] == 71
    assert on_hand(sink) == {"tea": 5, "milk": 5}


def test_a_strangers_record_counts_nowhere(topic: Topic, sink: SqliteSink) -> None:
    forged, key = row(stock("tea"), 1_000), document_key(stock("tea"))
    topic.put(stock("tea"), row(stock("tea"), 5), 1)
    topic.put_raw(HERE, key, forged, groups.FOREIGN)
    topic.put_raw(HERE, key, None, groups.FOREIGN)
    topic.put_raw(HERE, key, forged, groups.GroupMark(OPS_END, last=True))
    topic.put_raw(1 - HERE, key, forged, groups.GroupMark(1, last=True))
    topic.put_raw(HERE, b"Stock/s1/tea%41", forged, groups.GroupMark(1, last=True))
    topic.put_raw(HERE, b"Stock/s1/\xff", forged, groups.GroupMark(1, last=True))
    topic.put_raw(HERE, b"Nothing/s1/tea", forged, groups.GroupMark(1, last=True))
    topic.put_raw(HERE, key, forged[:-3], groups.GroupMark(2, last=True))
    done = run(topic, sink)
    assert on_hand(sink) == {"tea": 5}
    assert done._metrics.skipped._value.get() == 8
    assert done.done.positions == {HERE: topic.end(HERE), 1 - HERE: topic.end(1 - HERE)}, "none is read for ever"


def test_a_scopes_document_is_believed_in_its_own_partition_only() -> None:
    reader, mark = StateReader(SPACE, IDS), groups.GroupMark(1, last=True)
    tea, milk = stock("tea"), stock("milk")
    asked = [(HERE, tea), (1 - HERE, milk), (HERE, milk)]
    made = [reader.row(StateRecord(at, 0, document_key(one), row(one, 1), mark, 0)) for at, one in asked]
    assert [one and one.document for one in made] == [tea, None, milk]


def test_of_many_scopes_not_all_are_remembered(topic: Topic, sink: SqliteSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_PLACES", 2)
    scopes = [f"s{number}" for number in range(7)]
    for place, scope in enumerate([*scopes, *scopes]):
        topic.put(stock(scope, scope), row(stock(scope, scope), 1 + place), place)
    run(topic, sink)
    assert on_hand(sink) == {scope: 8 + at for at, scope in enumerate(scopes)}


def test_a_group_without_end_is_bounded(topic: Topic) -> None:
    for number in range(5):
        topic.put(stock(f"article-{number}"), row(stock(f"article-{number}"), 1), number, last=False)
    gathering = Gathering(StateReader(SPACE, IDS), "first", {HERE: 0}, max_open=3)
    gathering.take(topic.records[HERE], {HERE: OPS_END})
    (ripe,) = gathering.ripe()
    assert (ripe.end, len(ripe.rows)) == (3, 3)


class Failing(SqliteSink):
    """Fails at the first writes, before or after they took effect."""

    def __init__(self, path: Path, *, after: bool) -> None:
        super().__init__(path)
        self.left, self._after = 3, after

    def rows(self, groups: Sequence[Group]) -> None:
        self.left -= 1
        if self._after:
            super().rows(groups)
        if self.left > 0:
            raise SinkAway("the connection is gone")
        if not self._after:
            super().rows(groups)


@pytest.mark.parametrize("after", [False, True])
def test_a_write_of_which_nobody_knows_is_done_once(
    topic: Topic, tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile: list[float] = []
    monkeypatch.setattr(
        Projector, "_wait", lambda self, stop, seconds: meanwhile.append(self._metrics.partitions._value.get())
    )
    topic.block = 1
    for number in range(10):
        topic.put(stock("tea"), row(stock("tea"), number), number)
    sink = Failing(tmp_path / "shop.sqlite", after=after)
    done = run(topic, sink)
    assert sink.left < 1
    assert on_hand(sink) == {"tea": 9}
    assert done._metrics.troubles._value.get() == 2
    assert meanwhile == [0, 0] and done._metrics.partitions._value.get() == 2, "who waits writes no partition"
    sink.close()


def test_with_an_end_to_come_to_it_waits_no_longer_than_it_was_told(topic: Topic, tmp_path: Path) -> None:
    topic.put(stock("tea"), row(stock("tea"), 5), 1)
    sink = Failing(tmp_path / "shop.sqlite", after=False)
    with pytest.raises(SinkAway, match="the connection is gone"):
        run(topic, sink, patience=0.0)
    assert sink.left == 2, "it tried once"
    sink.close()


def test_a_registry_that_is_away_is_waited_for(topic: Topic, sink: SqliteSink, monkeypatch: pytest.MonkeyPatch) -> None:
    topic.put(stock("tea"), row(stock("tea"), 5), 1)
    read, left = StateReader.row, [RegistryUnreachable("away"), RegistryUnreachable("away")]

    def away(self: StateReader, record: Any) -> Any:
        if left:
            raise left.pop()
        return read(self, record)

    monkeypatch.setattr(StateReader, "row", away)
    run(topic, sink)
    assert on_hand(sink) == {"tea": 5}


def test_what_another_topic_says_is_never_written(topic: Topic, sink: SqliteSink) -> None:
    topic.put(stock("tea"), row(stock("tea"), 5), 1)
    run(topic, sink)
    topic.put(stock("tea"), row(stock("tea"), 9), 2)
    read = topic.read

    def made_anew(seconds: float) -> Any:
        topic.id = "second"
        return read(seconds)

    topic.read = made_anew  # type: ignore[method-assign]
    with pytest.raises(PositionLost, match="made anew") as lost:
        run(topic, sink)
    assert "--rebuild" in lost.value.remedy
    assert on_hand(sink) == {"tea": 5}
