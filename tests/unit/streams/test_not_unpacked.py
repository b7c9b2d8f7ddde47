"""A batch that the client cannot unpack holds nobody up: what stands before it and behind it is read, whole."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError

from driftlog_streams.reading.topic_reading import to_present_end
from tests.fake_kafka.broker import Broker
from tests.fake_kafka.clients import Consumer, Message


class Packed(Consumer):
    """Of partition 0 it cannot unpack these batches: it tells where one begins, again and again."""

    def __init__(self, broker: Broker, batches: list[range]) -> None:
        super().__init__(broker, {"group.id": "x", "enable.partition.eof": True, "auto.offset.reset": "earliest"})
        self.batches = batches
        self.told = 0

    def _fetch(self, limit: int) -> list[Message]:
        place = ("t", 0)
        at = self._at.get(place)
        if at is None:
            return super()._fetch(limit)
        for batch in self.batches:
            if at in batch:
                self.told += 1
                error = KafkaError(KafkaError._BAD_COMPRESSION)
                return [Message("t", 0, None, error, batch.start)]
        found = super()._fetch(limit)
        following = next((batch.start for batch in self.batches if batch.start > at), None)
        if following is not None and self._at[place] > following:
            self._at[place] = following
            found = [m for m in found if m.partition() != 0 or m.offset() < following]
        return found


@pytest.mark.parametrize(
    "batches", [[(3, 4)], [(0, 1)], [(2, 7)], [(0, 100)], [(99, 100)], [(5, 38), (38, 71), (90, 99)]]
)
def test_what_stands_around_it_is_read(batches: list[tuple[int, int]]) -> None:
    broker = Broker()
    for number in range(100):
        broker.append("t", 0, b"%d" % number, b"x")
        broker.append("t", 1, b"%d" % number, b"y")
    bad = [range(*batch) for batch in batches]
    consumer = Packed(broker, bad)
    found: dict[int, list[int]] = {0: [], 1: []}
    ended: dict[int, int] = {}
    for block in to_present_end(cast(Any, consumer), "t", {0: 0, 1: 0}, stall_seconds=1.0):
        for partition, records in block.records.items():
            found[partition] += [record.offset for record in records]
        ended |= block.read_to
    assert found[0] == [at for at in range(100) if not any(at in batch for batch in bad)]
    assert found[1] == [*range(100)]
    assert ended == {0: 100, 1: 100}
    assert consumer.told < 40
