"""Puts our word last again where somebody else has written into a partition that we own (see `changelog_watch`).

Runs beside the flights and never holds them up: what is found out of place goes out with the next flight. While the broker does not
answer nothing is lost: what was to be looked at is kept, one range per topic and partition. How far all is looked at and answered is
what a store may remember (`settled`), so a worker that dies in between leaves it to its next life. So it is with conflicts that have grown and are
not told yet (`conflict_pace`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog
from confluent_kafka import KafkaException

from driftlog_schemas import groups
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.changelog_watch import ChangelogWatch
from driftlog_streams.core.conflict_doubts import Doubts
from driftlog_streams.core.conflict_pace import Owing
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.net import passing_over
from driftlog_streams.core.open_groups import OpenGroups, Tail
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.store_mark import Positions
from driftlog_streams.errors import RecoveryFailed

log = structlog.get_logger()

CHECK_SECONDS = 2.0
AT_ONCE = 10_000
"""So many records are read and looked at in one go."""


class Reader(Protocol):
    """A look at topics; blocking."""

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]: ...
    def records(self, topic: str, partition: int, offsets: range) -> Sequence[ChangelogRecord]: ...


class _Answer(NamedTuple):
    """To somebody else's words."""

    number: int
    """It leaves with a flight whose work has this or a higher one."""
    settled: Positions
    """How far all is right while it has not left."""


class Mender:
    """Watches the partitions of one assignment after the other.

    `quiet` says whether nothing of ours is on its way; `mended` is told how many records go out again.
    """

    def __init__(
        self, topics: SpaceTopics, reader: Reader, quiet: Callable[[], bool], mended: Callable[[int], None]
    ) -> None:
        self._reader = reader
        self._quiet = quiet
        self._mended = mended
        self._state_topic, self._receipts_topic = topics.state, topics.receipts
        self._parked_topic, self._ops_topic, self._conflicts_topic = topics.parked, topics.ops, topics.conflicts
        self._changelogs = (self._state_topic, self._receipts_topic, self._conflicts_topic)
        """In the order of `Positions`. What is parked has no position: a recovery reads all of it."""
        self._watches = {topic: ChangelogWatch() for topic in (*self._changelogs, self._parked_topic)}
        self._groups = OpenGroups()
        self._doubts = Doubts()
        self._mergers: Mapping[int, PartitionMerger] = {}
        self._answers: dict[int, _Answer] = {}
        self._owing: dict[int, deque[tuple[int, Positions]]] = {}
        """The flights since which conflicts are owed, with how far all was right before each."""
        self._numbers = 0
        self._epoch = 0
        self._wake = asyncio.Event()

    def own(self, mergers: Mapping[int, PartitionMerger], found: Mapping[int, Recovered]) -> None:
        """From now on these partitions, as they were recovered; what was to be answered is on its way."""
        self.forget()
        self._mergers = mergers
        for partition in mergers:
            recovered = found[partition]
            read = (*recovered.read, recovered.parked_read)
            for watch, position in zip(self._watches.values(), read, strict=True):
                watch.own(partition, position + 1)
            self._groups.own(partition, recovered.tail)
            self._doubts.read(partition, (), recovered.doubted)
            if recovered.undoubted >= 0:
                again = range(recovered.undoubted, recovered.read.conflicts + 1)
                self._watches[self._conflicts_topic].again(partition, again)
            if recovered.answers:
                self._answering(partition, recovered.settled)

    def forget(self) -> None:
        """The partitions belong to somebody else now."""
        self._epoch += 1
        self._mergers = {}
        for watch in self._watches.values():
            watch.forget()
        self._groups.forget()
        self._doubts.forget()
        self._answers.clear()
        self._owing.clear()

    # -- what is ours

    def published(self, part: PartitionFlight, *, alone: bool) -> None:
        """A flight's records of a partition are delivered. In the order of the flights; `alone`: no other is under way.

        Rows of flights behind it may stand before its own: only alone it speaks for all.
        """
        partition, answer = part.partition, self._answers.get(part.partition)
        self._owe(partition, part.owing, self.settled(partition))
        if answer is not None and part.work.answers >= answer.number:
            del self._answers[partition]
        for topic, watch in self._watches.items():
            whole = alone or topic != self._receipts_topic
            watch.published(partition, part.sent.get(topic, 0), part.last.get(topic, -1), whole=whole)
            if partition in watch.unread:
                self._wake.set()
        if part.writes:
            self._groups.published(partition, part.last[self._state_topic], part.work.group)

    def settled(self, partition: int) -> Positions:
        """How far each topic is as we know it, whatever happens next."""
        known = Positions(*(self._watches[topic].looked_at(partition) - 1 for topic in self._changelogs))
        start = self._groups.start(partition)
        if start is not None:
            known = known.before(known._replace(states=start - 1))
        doubted = self._doubts.start(partition)
        if doubted is not None:
            known = known.before(known._replace(conflicts=doubted - 1))
        answer = self._answers.get(partition)
        if answer is not None:
            known = known.before(answer.settled)
        owing = self._owing.get(partition)
        return known.before(owing[0][1]) if owing else known

    def _owe(self, partition: int, owing: Owing, before: Positions) -> None:
        """A flight left; before it all was right up to there."""
        flights = self._owing.setdefault(partition, deque())
        flights.append((owing.flight, before))
        while flights and not 0 < owing.since <= flights[0][0]:
            flights.popleft()

    def unrest(self, partition: int, ends: Mapping[str, int]) -> str:
        """What is still to be looked at or to be ended, where the topics end so; empty when there is nothing."""
        for topic, watch in self._watches.items():
            if watch.behind(partition, ends[topic]) or partition in watch.unread:
                return f"{topic}[{partition}] has records that were not looked at"
        if self._groups.start(partition) is not None:
            return f"partition {partition} has a group that nobody ended"
        if self._doubts.start(partition) is not None:
            return f"partition {partition} has a conflict of writes that are not there"
        merger = self._mergers.get(partition)
        return f"partition {partition} has a conflict to tell" if merger is not None and merger.owes else ""

    # -- what is not

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._wake.wait()
                self._wake.clear()
            except TimeoutError:
                pass  # time to look, though nobody called
            self._tell()
            try:
                await self._check_ends()
                await self._read()
                await self._end_groups()
                await self._close_doubted()
            except (KafkaException, RecoveryFailed, TimeoutError) as error:
                log.warning("the space's topics cannot be looked at now", error=str(error))
                await asyncio.sleep(CHECK_SECONDS)

    def _tell(self) -> None:
        now = asyncio.get_running_loop().time()
        if sum([merger.tell(now) for merger in self._mergers.values()]):
            self._mended(0)  # nobody had written over it

    async def _check_ends(self) -> None:
        epoch, partitions = self._epoch, list(self._mergers)
        if not partitions or not self._quiet():
            return
        places = [(topic, partition) for topic in self._watches for partition in partitions]
        ends = await asyncio.get_running_loop().run_in_executor(None, self._reader.ends, places)
        if epoch != self._epoch or not self._quiet():
            return  # what we have published meanwhile is in the answer, or is not
        for (topic, partition), end in ends.items():
            self._watches[topic].ended(partition, end)

    async def _read(self) -> None:
        for topic, watch in self._watches.items():
            while (partition := self._unread(topic, watch)) is not None:
                epoch, offsets = self._epoch, watch.unread[partition][:AT_ONCE]
                records = await self._records(topic, partition, offsets)
                if epoch != self._epoch:
                    return
                self._look_at(topic, partition, offsets, records)

    def _unread(self, topic: str, watch: ChangelogWatch) -> int | None:
        """A partition in which somebody's records must be looked at; in the conflicts not while too many of them are in doubt."""
        full = self._doubts.full if topic == self._conflicts_topic else lambda partition: False
        return next((partition for partition in watch.unread if not full(partition)), None)

    def _look_at(self, topic: str, partition: int, offsets: range, records: Sequence[ChangelogRecord]) -> None:
        merger, settled = self._mergers[partition], self.settled(partition)
        last = {record.key: record for record in records}.values()
        again = sum([self._heard(topic, merger, record) for record in last])
        self._watches[topic].read(partition, offsets)
        if topic == self._conflicts_topic:
            doubts = merger.answers.doubts_conflict
            doubted = {record.key: record.offset for record in last if passing_over(doubts, record.key, record.value)}
            self._doubts.read(partition, [record.key for record in last], doubted)
        if topic == self._state_topic:
            self._groups.read(partition, records, merger.merged_to)
        log.warning(
            "somebody else wrote", topic=topic, partition=partition, offsets=f"{offsets}", published_again=again
        )
        if again:
            self._answering(partition, settled)
            self._mended(again)

    def _heard(self, topic: str, merger: PartitionMerger, record: ChangelogRecord) -> bool:
        """The last record of a key. Is it answered?"""
        answers = merger.answers
        if topic == self._state_topic:
            number = groups.parse(record.headers).number
            return passing_over(answers.heard, record.key, record.value, number)
        heard = {self._receipts_topic: answers.heard_row, self._parked_topic: answers.heard_parked}
        return passing_over(heard.get(topic, answers.heard_conflict), record.key, record.value)

    def _answering(self, partition: int, settled: Positions) -> None:
        """What was just given to the merger must leave before we are further than `settled`."""
        self._numbers += 1
        earlier = self._answers.get(partition)
        self._answers[partition] = _Answer(self._numbers, settled if earlier is None else earlier.settled)
        self._mergers[partition].work.answers = self._numbers

    async def _end_groups(self) -> None:
        """Publish a document again where nobody ended a group, once we know all that its writer knew, or that nobody can."""
        for partition, tail in self._groups.waiting():
            beyond = await self._beyond(partition, tail)
            merger = self._mergers.get(partition)
            if merger is None or not self._quiet() or (partition, tail) not in self._groups.waiting():
                continue
            if merger.merged_to < tail.number and not beyond:
                continue
            settled = self.settled(partition)
            if beyond or not tail.unended:
                self._groups.cleared(partition)
            if not (beyond or tail.unended):
                continue
            log.warning("nobody ended a group", partition=partition, number=tail.number, offset=tail.start)
            if any(merger.publish_again(key) for key in reversed(tail.keys)):
                if beyond:
                    self._answering(partition, settled)
                self._mended(1)

    async def _beyond(self, partition: int, tail: Tail) -> bool:
        """Have we merged all that there was when we asked, and does the number name none of it?"""
        epoch, merger = self._epoch, self._mergers[partition]
        if merger.merged_to >= tail.number:
            return False
        if tail.end < 0:
            tail.end = await self._ops_end(partition)
        return epoch == self._epoch and tail.end <= min(tail.number, merger.merged_to + 1)

    async def _close_doubted(self) -> None:
        """Read records of conflicts once more that named writes which were not here, where all is merged that there was when they were read."""
        epoch, doubts = self._epoch, self._doubts
        for partition in doubts.waiting():
            if doubts.unasked(partition):
                end = await self._ops_end(partition)
                if epoch != self._epoch:
                    return
                doubts.ask(partition, end)
            while due := doubts.due(partition, self._mergers[partition].merged_to):
                offsets = range(due[0], due[-1] + 1)[:AT_ONCE]
                records = await self._records(self._conflicts_topic, partition, offsets)
                if epoch != self._epoch:
                    return
                self._close(partition, offsets, records)

    def _close(self, partition: int, offsets: range, records: Iterable[ChangelogRecord]) -> None:
        settled, close = self.settled(partition), self._mergers[partition].answers.close_conflict
        doubted = self._doubts.take(partition, offsets)
        closed = sum([passing_over(close, r.key, r.value) for r in records if r.offset in doubted])
        if closed:
            self._answering(partition, settled)
            self._mended(closed)

    async def _ops_end(self, partition: int) -> int:
        place = self._ops_topic, partition
        return (await asyncio.get_running_loop().run_in_executor(None, self._reader.ends, [place]))[place]

    async def _records(self, topic: str, partition: int, offsets: range) -> Sequence[ChangelogRecord]:
        return await asyncio.get_running_loop().run_in_executor(None, self._reader.records, topic, partition, offsets)
