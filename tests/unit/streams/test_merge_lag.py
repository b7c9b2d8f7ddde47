"""How far workers are behind is what the group of the generation says that they merge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from driftlog_streams.reading import merge_lag, plain_reader
from driftlog_streams.reading.merge_lag import Lag, LagReader

COMMITTED = {"driftlog-merge-retail": 9, "driftlog-merge-retail.g2": 4}


class Asker:
    def __init__(self, config: dict[str, Any]) -> None:
        self._group = config["group.id"]

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(at.topic, at.partition, COMMITTED[self._group]) for at in places]


class Topics:
    def __init__(self, kafka: object) -> None:
        pass

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, 9)

    def records(self, topic: str, partition: int, offsets: range) -> list[Any]:
        return []


def test_the_group_of_the_generation_that_is_merged_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_reader, "Consumer", Asker)
    monkeypatch.setattr(merge_lag, "ChangelogReader", Topics)
    merged = {"retail": 1}
    reader = LagReader("nowhere", lambda space: merged[space])
    assert reader.look("retail", [0]) == {0: Lag(9, 9, None)}
    merged["retail"] = 2
    assert reader.look("retail", [0]) == {0: Lag(9, 4, None)}
