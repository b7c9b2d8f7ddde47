"""What is set aside has names of its own, also where one record of the op topic has set several things aside: each is shown, sent again and dropped by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from driftlog_schemas import topics
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.reading import set_aside
from driftlog_streams.reading.set_aside import drop, read_set_aside
from tests.unit.streams.cloud import IDS
from tests.unit.streams.reacting import World

QUARANTINE = topics.quarantine_topic("retail")


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ChangelogRecord]]:
    """The quarantine of the second partition, after two transfers whose arrival was refused at one record."""
    world = World()
    world.fail("arrive", {"1": 5, "2": 7})
    assert len({one.offset for one in world.quarantined}) == 1 and len(world.quarantined) == 2
    values = [world.rules.records.encode_quarantined(one) for one in world.quarantined]
    there = [ChangelogRecord(b"driftlog-cloud", value, at, ()) for at, value in enumerate(values)]

    def whole_topic(kafka: str, name: str, partitions: int) -> Iterator[tuple[int, ChangelogRecord]]:
        yield from ((1, record) for record in there if name == QUARANTINE)

    def produce(kafka: str, name: str, partition: int, key: str, value: Any, headers: dict[str, bytes]) -> None:
        assert (name, partition, value) == (QUARANTINE, 1, None)
        there.append(ChangelogRecord(key.encode(), None, len(there), tuple(headers.items())))

    monkeypatch.setattr(set_aside, "whole_topic", whole_topic)
    monkeypatch.setattr(set_aside, "produce", produce)
    yield there


def test_what_one_record_has_set_aside_is_all_shown_and_dropped_one_by_one(topic: list[ChangelogRecord]) -> None:
    first, second = read_set_aside("nowhere", "retail", 2, IDS)
    assert first.record != second.record and second.id == f"{first.id}.1" and first.id == f"1:{first.offset}"
    drop("nowhere", first)
    assert [one.id for one in read_set_aside("nowhere", "retail", 2, IDS)] == [second.id]
    drop("nowhere", second)
    assert read_set_aside("nowhere", "retail", 2, IDS) == []


def test_what_a_crash_has_set_aside_twice_is_shown_once(topic: list[ChangelogRecord]) -> None:
    topic.append(topic[0]._replace(offset=len(topic)))
    assert len(read_set_aside("nowhere", "retail", 2, IDS)) == 2
