"""Single records of the op topic, by their offsets: what is said of them elsewhere can be compared with what they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from confluent_kafka import Consumer

from driftlog_schemas.messages import ChainRow
from driftlog_streams.core import same_log
from driftlog_streams.core.changelog_record import UNTIMED, ChangelogRecord
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.reading.topic_reading import extent, to_present_end

READ_ON = 1_000
"""So many records that nobody asks for are read sooner than a place is asked for anew."""


class OpRecords(NamedTuple):
    """Of one partition. `first` and `end` are the offsets between which it has records."""

    found: dict[int, ChangelogRecord]
    first: int
    end: int

    @property
    def began_ms(self) -> int | None:
        """When the broker took the first that is left."""
        record = self.found.get(self.first)
        return None if record is None or record.append_ms == UNTIMED else record.append_ms


def op_records(consumer: Consumer, topic: str, partition: int, offsets: Iterable[int]) -> OpRecords:
    """Those at these offsets, and the first that there is. Raises KafkaException, `RecoveryFailed`."""
    first, end = extent(consumer, topic, partition)
    wanted = {offset for offset in (*offsets, first) if first <= offset < end}
    found: dict[int, ChangelogRecord] = {}
    for start, last in _stretches(sorted(wanted)):
        for block in to_present_end(consumer, topic, {partition: start}):
            records = block.records.get(partition, ())
            found.update((record.offset, record) for record in records if record.offset in wanted)
            if records and records[-1].offset >= last:
                break
    return OpRecords(found, first, end)


def told_by_another_log(consumer: Consumer, rules: SpaceRules, partition: int, rows: Iterable[ChainRow]) -> int | None:
    """The highest op that these rows tell of, where the op log is another one than that which they were merged from (`core.same_log`); None where it is
    that one. Raises KafkaException, `RecoveryFailed`.
    """
    told = same_log.witnesses(rows)
    if not told:
        return None
    ops = op_records(consumer, rules.topics.ops, partition, told)
    return max(told) if same_log.is_another(told, ops.first, ops.found, rules) else None


def _stretches(offsets: list[int]) -> Iterator[tuple[int, int]]:
    start = None
    for at, offset in enumerate(offsets):
        start = offset if start is None else start
        if at + 1 == len(offsets) or offsets[at + 1] > offset + READ_ON:
            yield start, offset
            start = None
