"""The state topic of a space, followed from where the sink stands; and the questions that tell whether that still leads on.

A client that consumes does not say that its topic was deleted and made again: it goes on at the same offset in the other one. So the topic's id is asked for
*after* records were read and before they are applied: who finds it unchanged knows whose records they were.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from driftlog_schemas import groups, topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.record_headers import headers_of_each
from driftlog_schemas.tuples import maker
from driftlog_streams.projections.errors import PositionLost
from driftlog_streams.projections.records import StateRecord
from driftlog_streams.projections.sink import Position
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.plain_reader import plain_reader

log = structlog.get_logger()

BLOCK = 10_000
"""Records at once."""
QUEUED_KB = 32 << 10
"""What the client fetches ahead."""
_record = maker(StateRecord)


class StateLog:
    """The state topic of one space. Not to be used by two threads at once. Everything raises `BrokerUnreachable`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        space: str,
        in_force: Callable[[], int] = lambda: 1,
        elsewhere: Callable[[], bool] = lambda: False,
    ) -> None:
        """`in_force` says which generation of the space is read; the one of this moment is followed. Does the space go on `elsewhere` by now?"""
        self._in_force, self._generation, self._elsewhere = in_force, in_force(), elsewhere
        self._space = topics.SpaceTopics(space, self._generation)
        self.topic, self._ops = self._space.state, self._space.ops
        self._asker = ChangelogReader(kafka)
        self._ops_ends: dict[int, int] = {}
        self._begun: Mapping[int, int] = {}
        self._consumer = plain_reader(
            kafka,
            "driftlog-projector",
            {"auto.offset.reset": "error", "enable.partition.eof": False, "queued.max.messages.kbytes": QUEUED_KB},
        )

    def close(self) -> None:
        self._consumer.close()

    def topic_id(self) -> str:
        """Which life of the topic this is."""
        with self._told():
            return self._asker.topic_id(self.topic)

    def ends(self, partitions: Collection[int]) -> dict[int, int]:
        """The offset that comes next in each."""
        with self._told():
            found = self._asker.ends([(self.topic, number) for number in partitions])
        return {number: found[self.topic, number] for number in partitions}

    def require_leading_on(self, topic_id: str, positions: Mapping[int, Position]) -> None:
        """Raise `PositionLost` where the topic does not have what follows a position, or may have forgotten what was deleted since."""
        places = [(self.topic, number) for number in positions]
        with self._told():
            begins, ends, kept = self._asker.begins(places), self._asker.ends(places), self._tombstones_kept()
        for number, at in positions.items():
            if at.topic_id and at.topic_id != topic_id:
                raise PositionLost(f"topic {self.topic} was made anew")
            begin, end = begins[self.topic, number], ends[self.topic, number]
            if at.offset > end:
                raise PositionLost(f"{self.topic}[{number}] ends at {end}, and was read to {at.offset}")
            if 0 < at.offset < begin:
                raise PositionLost(f"{self.topic}[{number}] begins at {begin}, and was read to {at.offset}")
            if 0 < at.offset < end and at.age_seconds >= kept:
                days = at.age_seconds / 86_400
                raise PositionLost(
                    f"{self.topic}[{number}] was not followed for {days:.0f} days, longer than it keeps what was deleted"
                )

    def _tombstones_kept(self) -> float:
        return self._asker.milliseconds(self.topic, topics.RETENTION, topics.RETENTION_MS) / 1000

    def follow(self, offsets: Mapping[int, int]) -> None:
        """From these on, and nothing else."""
        self._begun = dict(offsets)
        with self._told():
            self._consumer.assign([TopicPartition(self.topic, number, at) for number, at in offsets.items()])

    def read(self, seconds: float) -> list[StateRecord]:
        """What comes within this time. Raises `PositionLost` as well, also where another generation is in force by now, or the space has moved."""
        if self._in_force() != self._generation:
            raise PositionLost(
                f"generation {self._in_force()} of {self._space.space} is in force, and {self.topic} was followed"
            )
        if self._elsewhere():
            raise PositionLost(
                f"{self._space.space} goes on with another number of partitions in other topics, and {self.topic} was followed"
            )
        with self._told():
            return _records([one for one in self._consumer.consume(BLOCK, seconds) if self._is_record(one)])

    def has_read(self, until: Mapping[int, int]) -> bool:
        """Were these partitions followed and read up to there? Holes that compaction left count as read."""
        if not until.keys() <= self._begun.keys():
            return False
        with self._told():
            found = self._consumer.position([TopicPartition(self.topic, number) for number in until])
        return all(max(at.offset, self._begun[at.partition]) >= until[at.partition] for at in found)

    def behind(self, positions: Mapping[int, int]) -> int:
        """How many records there are behind these offsets, as the client was told last."""
        lag = 0
        for number, at in positions.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self.topic, number), cached=True)
            lag += max(0, end - at)
        return lag

    def ops_ends(self, records: Collection[StateRecord]) -> Mapping[int, int]:
        """Where the op logs end, asked where a record claims a group behind what is known: what was read was written before."""
        highest: dict[int, int] = {}
        for record in records:
            highest[record.partition] = max(record.mark.number, highest.get(record.partition, -1))
        unknown = [number for number, most in highest.items() if most >= self._ops_ends.get(number, 0)]
        if unknown:
            with self._told():
                found = self._asker.ends([(self._ops, number) for number in unknown])
            self._ops_ends |= {number: found[self._ops, number] for number in unknown}
        return self._ops_ends

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise PositionLost(f"{self.topic}[{message.partition()}] has not what follows what was read")
        log.warning("the state topic is read", error=str(error))
        return False

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (KafkaException, TimeoutError) as error:
            raise BrokerUnreachable(
                f"{self.topic} cannot be read: {error}", "check --bootstrap, and the broker's log"
            ) from error


def _records(messages: Sequence[Message]) -> list[StateRecord]:
    """By columns, which costs half of one by one."""
    partitions = [message.partition() for message in messages]
    offsets = [message.offset() for message in messages]
    keys = [message.key() or b"" for message in messages]
    values = [message.value() for message in messages]
    marks = [groups.parse(tuple(headers)) for headers in headers_of_each(messages)]
    times = [message.timestamp()[1] for message in messages]
    return [*map(_record, zip(partitions, offsets, keys, values, marks, times, strict=True))]
