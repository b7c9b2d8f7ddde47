"""An op topic that was made anew goes on counting behind the one that was lost.

All that was made of the old one is numbered by its offsets, so the new one must begin behind the highest that anything tells of. A topic cannot be given a
beginning; but it can be filled with records without a meaning, and these be deleted: then it stands as one of which retention has taken all up to there, which
everybody knows how to read. What was written into it before is deleted as well: devices send again whatever no row has answered.

Devices go on writing meanwhile, so some of what is filled in may come to lie behind that number. The log then begins behind the last of it.

Steps, each of which may be done twice, so that an attempt that was cut off is only begun again: the group's commits (which fails while workers run), the
filling, the commits once more where the log begins later, the deletion. In between no worker goes on in it, for it has nothing of what the rows name
(`core.same_log`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException

from driftlog_schemas import groups
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import BrokerUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import RecoveryFailed, SetupProblem
from driftlog_streams.reading.op_records import told_by_another_log
from driftlog_streams.reading.plain_reader import plain_reader
from driftlog_streams.replaying.commits import Commits
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.publication import Delivery

AT_ONCE = 10_000
"""So many records are on their way at most."""
MOST = 20_000_000
"""So many are filled in at most, in one partition: a number far beyond all others is somebody's invention."""


class Gap(NamedTuple):
    """Of one partition whose log is another one than the rows tell of."""

    partition: int
    begins: int
    ends: int
    highest: int
    """The highest op offset that a state, a row or the group's commit tells of."""

    @property
    def goes_on_at(self) -> int:
        """Where the log is to begin, at the earliest. What devices have already written behind that stays."""
        return self.highest + 1


class Renumbering:
    """Of one space, in the generation of `rules`."""

    def __init__(self, kafka: KafkaSettings | str, rules: SpaceRules, logs: Logs) -> None:
        self._kafka, self._rules, self._logs = kafka, rules, logs
        self._commits = Commits(kafka, rules.partitions)

    def gaps(self) -> list[Gap]:
        """The partitions whose log was made anew; reads all states and rows. Raises `BrokerUnreachable`."""
        committed = self._commits.read(self._rules.topics)
        found = []
        with closing(plain_reader(self._kafka, "driftlog-renumber")) as consumer:
            for partition in range(self._rules.partitions):
                rows = list(self._rows(partition))
                if self._is_another(consumer, partition, rows):
                    there = self._logs.extent(self._rules.topics.ops, partition)
                    highest = max(committed[partition] - 1, *self._numbers(partition, rows))
                    found.append(Gap(partition, there.start, there.stop, highest))
        return found

    def _is_another(self, consumer: Consumer, partition: int, rows: Iterable[ChainRow]) -> bool:
        try:
            return told_by_another_log(consumer, self._rules, partition, rows) is not None
        except (KafkaException, RecoveryFailed) as error:
            raise BrokerUnreachable(
                f"{self._rules.topics.ops}[{partition}] cannot be read: {error}",
                "see the broker's log, then run the command again",
            ) from error

    def _rows(self, partition: int) -> Iterator[ChainRow]:
        latest: dict[bytes, bytes | None] = {}
        for block in self._logs.blocks(self._rules.topics.receipts, partition):
            latest.update((record.key, record.value) for record in block if b"." in record.key)
        for key, value in latest.items():
            try:
                row = None if value is None else self._rules.records.decode_chain_row(value)
            except (Undecodable, UnknownSchema):  # anybody's tool may write to a topic
                continue
            if row is not None and row.replica.encode() == key:
                yield row

    def _numbers(self, partition: int, rows: Iterable[ChainRow]) -> Iterator[int]:
        """What is numbered by the old log."""
        for row in rows:
            yield max(row.offset, row.ended_at, row.forgotten, -1 if row.notice is None else row.notice.offset)
        for block in self._logs.blocks(self._rules.topics.state, partition):
            yield max((groups.parse(record.headers).number for record in block), default=-1)

    def carry_out(self, gaps: Sequence[Gap], progress: Callable[[int], None] = lambda written: None) -> None:
        """Let these partitions go on behind what was lost. No worker may run.

        Raises:
            SetupProblem: somebody tells of a number that cannot be true; nothing is changed.
            BrokerUnreachable: the group has members, or the broker does not take it; to be run again.
            DeliveryFailed, TopicProblem
        """
        for gap in gaps:
            if gap.goes_on_at - gap.ends > MOST:
                raise SetupProblem(
                    f"partition {gap.partition} tells of op {gap.highest}, and its log ends at {gap.ends}: more than {MOST:,} records lie between",
                    "somebody may have invented that number: look for it in states and receipts, or bring the op topic back from a backup",
                )
        if not gaps:
            return
        topics = self._rules.topics
        wanted = {gap.partition: gap.goes_on_at for gap in gaps}
        self._commits.begin(topics, wanted)
        begins = fill_up(self._kafka, self._logs, topics.ops, wanted, progress)
        if begins != wanted:
            self._commits.begin(topics, begins)
        TopicsAdmin(self._kafka).forget_before(topics.ops, begins)


def fill_up(
    kafka: KafkaSettings | str, logs: Logs, topic: str, wanted: Mapping[int, int], progress: Callable[[int], None]
) -> dict[int, int]:
    """Fill partitions of a topic up to these numbers; where each is to begin, when what was filled in is deleted: what lies before that devices send again.

    Raises `DeliveryFailed`, `BrokerUnreachable`.
    """
    delivery = Delivery(kafka)
    for partition, goes_on_at in wanted.items():
        while (lacking := goes_on_at - logs.extent(topic, partition).stop) > 0:
            count = min(AT_ONCE, lacking)
            delivery.deliver([OutRecord(topic, partition, b"", None)] * count)
            progress(count)
    return {partition: _behind_filling(logs, topic, partition, goes_on_at) for partition, goes_on_at in wanted.items()}


def _behind_filling(logs: Logs, topic: str, partition: int, goes_on_at: int) -> int:
    """The first place from which on everything has been written by a device."""
    begins = goes_on_at
    for block in logs.blocks(topic, partition, goes_on_at):
        begins = max((record.offset + 1 for record in block if record.value is None), default=begins)
    return begins
