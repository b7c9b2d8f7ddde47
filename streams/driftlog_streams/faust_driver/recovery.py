"""Bringing a partition's store to the end of its changelog before the first record is merged.

Stock Faust reads a changelog one Python record at a time and waits for the exact last offset, which compaction may have removed. Here
librdkafka reads in blocks from the store's position to the end, and holes count as read. What the records make of the store is decided
in `core.restoration`.

Going on where a topic was made anew would publish states that lack what the old one had, and nobody would notice. A store that is beyond the
end tells so; where there is none, an empty state topic beside rows by which something was merged into it (`core.lost_states`). Deleting the store
mends nothing then: the op topic has to be merged again from its first record, by these workers or into a new generation.

A topic that was made anew and filled again, beyond where a store had come that was away meanwhile, tells by its id. Then store and topic are joined: each may
have what the other lacks. An op topic that was made anew nobody goes on in (`core.same_log`) before it leads on behind the old one (`replaying.renumbering`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from driftlog_schemas.asking import AskingClient
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import CLOSING_REPLICA
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.core import lost_states
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.closing import is_end
from driftlog_streams.core.parked_claims import ParkedClaims
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.store_mark import Positions
from driftlog_streams.errors import LogMadeAnew, RecoveryFailed, TopicMadeAnew
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.group_commits import committed
from driftlog_streams.reading.op_records import op_records, told_by_another_log
from driftlog_streams.reading.plain_reader import plain_reader
from driftlog_streams.reading.topic_reading import extent, to_present_end
from driftlog_streams.telling.client_log import ERRORS_TOLD

log = structlog.get_logger()


def topic_lives(asker: ChangelogReader, topics: SpaceTopics) -> tuple[str, str]:
    """Which lives of a space's changelogs these are, as one text, and which one of its op topic. Raises KafkaException."""
    *changelogs, log_id = asker.topic_ids([topics.state, topics.receipts, topics.conflicts, topics.ops])
    return " ".join(changelogs), log_id


class ChangelogRecovery:
    """Recovers partitions of one space. Blocking: run it off the event loop."""

    def __init__(
        self, kafka: KafkaSettings | str, rules: SpaceRules, asking: Callable[[], AskingClient | None] = lambda: None
    ) -> None:
        """`asking` gives the client for questions; None: one of its own."""
        self._kafka = kafka_at(kafka)
        self._asking = asking
        self._group_id = rules.topics.group
        self._rules = rules
        self.restoration = Restoration(rules)
        self._asker: ChangelogReader | None = None
        self.topic_ids: tuple[str, str] | None = None
        """The lives of the changelogs, as one text, and that of the op topic, when partitions were recovered last; None before."""

    def recover(self, stores: Mapping[int, PartitionStore]) -> dict[int, Recovered]:
        """Bring every store to its changelog's present end. Raises `RecoveryFailed`."""
        consumer = self._consumer()
        try:
            again = self._met(consumer, stores)
            result = {p: Recovered(store.mark.positions, store.mark.group) for p, store in stores.items()}
            for partition in again:
                self.restoration.begin_anew(stores[partition], result[partition])
            places = [TopicPartition(self._rules.topics.ops, p) for p in stores]
            for partition, offset in committed(consumer, places).items():
                result[partition].committed = offset
            for partition, found in result.items():
                begin, found.ops_end = extent(consumer, self._rules.topics.ops, partition)
                found.ask_ops_end = partial(self._ops_end, consumer, partition)
                if 0 <= found.committed <= found.ops_end and not stores[partition].log:
                    self._count_on(stores[partition])  # the topic's end takes the commits with it
                found.committed = found.committed if found.committed >= 0 else begin
                self._require_log(consumer, partition, stores[partition], [])
            try:
                self._read(consumer, stores, result)
            except TopicMadeAnew as error:
                if isinstance(error, LogMadeAnew):
                    raise
                raise TopicMadeAnew(str(error), self._begin_anew(consumer, stores)) from error
        except KafkaException as error:
            raise RecoveryFailed(f"the broker does not let us recover {self._rules.name}: {error}") from error
        finally:
            consumer.close()
        return result

    def without_false_ends(
        self, stores: Mapping[int, PartitionStore], devices: Devices, catch_up: Callable[[], None]
    ) -> None:
        """What stores were told of an end of their logs, they forget where no such record is in the log. Who may close one is asked for by `catch_up`.

        Raises `RecoveryFailed`, and what that raises.
        """
        told = {
            number: row for number, store in stores.items() if (row := self.restoration.row(store, CLOSING_REPLICA))
        }
        if not told:
            return
        catch_up()
        try:
            with closing(self._consumer()) as consumer:
                for partition, row in told.items():
                    there = op_records(consumer, self._rules.topics.ops, partition, [row.offset])
                    record = there.found.get(row.offset)
                    if row.offset < there.first or (
                        record is not None and is_end(record, partition, self._rules, devices)
                    ):
                        continue
                    log.warning("a row tells of an end of the op log that is not there", partition=partition)
                    stores[partition].write((), stores[partition].mark, [(CLOSING_REPLICA, None)])
        except KafkaException as error:
            raise RecoveryFailed(f"the op logs of {self._rules.name} cannot be read: {error}") from error

    def _met(self, consumer: Consumer, stores: Mapping[int, PartitionStore]) -> list[int]:
        """The partitions whose topics must be read from their start, though there is a store: they are not those that it was filled from.

        Where it is beyond the end of them it is left as it is: whoever reads says so.
        """
        self.topic_ids = self._topic_ids()
        topics, again = self.topic_ids[0], []
        for partition, store in stores.items():
            if store.topics in ("", topics):
                if store.topics != topics:
                    store.follow(topics, store.mark)
            elif extent(consumer, self._rules.topics.state, partition)[1] > store.mark.position:
                log.warning(
                    "the topics are not those that the store was filled from: they are joined", partition=partition
                )
                store.follow(topics, store.mark.anew())
            if store.mark.position < 0 and next(iter(store.documents()), None) is not None:
                again.append(partition)  # or it was not answered yet when its worker died
        return again

    def _topic_ids(self) -> tuple[str, str]:
        """Which lives of the changelogs these are, as one text, and which one of the op topic. Raises KafkaException."""
        if self._asker is None:
            self._asker = ChangelogReader(self._kafka, self._asking())
        return topic_lives(self._asker, self._rules.topics)

    def _count_on(self, store: PartitionStore) -> None:
        """What is in the store was merged from the op topic that there is now."""
        assert self.topic_ids is not None, "it was asked first"
        if store.log != self.topic_ids[1]:
            store.count_by(self.topic_ids[1])

    @staticmethod
    def _was_merged_into(store: PartitionStore, found: Recovered) -> bool:
        """Do states tell of merging, too? Rows alone are what a stranger could write into a space where nothing was merged: there is nothing to lose."""
        return bool(found.stale) or next(iter(store.documents()), None) is not None

    def _require_log(
        self, consumer: Consumer, partition: int, store: PartitionStore, ahead: Iterable[ChainRow]
    ) -> None:
        """Raises `LogMadeAnew` where the op topic is not the one that the rows of the store, and those ahead of it, were merged from."""
        assert self.topic_ids is not None, "it was asked first"
        if store.log == self.topic_ids[1]:
            return
        rows = (self.restoration.row(store, replica) for replica in store.replicas())
        told = (*(row for row in rows if row is not None), *ahead)
        highest = told_by_another_log(consumer, self._rules, partition, told)
        if highest is not None:
            raise LogMadeAnew(
                f"{self._rules.topics.ops}[{partition}] has nothing of what was merged up to op {highest}: the topic was made anew",
                "bring it back from a backup with the offsets that it had; or, if it is gone for good, stop all workers and let it count on behind"
                " the old one: `driftlog topics renumber` (docs/lost_topics.md). Devices send again what was not merged",
            )

    def _read(self, consumer: Consumer, stores: Mapping[int, PartitionStore], result: dict[int, Recovered]) -> None:
        self._read_states(consumer, stores, result)
        for partition, store in stores.items():
            self.restoration.count(store, result[partition])
            self.restoration.expect_conflicts(store, result[partition])
        self._read_rows(consumer, stores, result)
        for partition, store in stores.items():
            if self._was_merged_into(store, result[partition]):
                self._require_log(consumer, partition, store, result[partition].ahead)
            self._count_on(store)
            self._require_states(consumer, partition, store, result[partition])
            self.restoration.without_removed(store, result[partition])
        self._read_conflicts(consumer, stores, result)
        self._read_parked(consumer, stores, result)

    def _ops_end(self, consumer: Consumer, partition: int) -> int:
        """Where the op topic ends now. Raises KafkaException."""
        return extent(consumer, self._rules.topics.ops, partition)[1]

    def _require_states(self, consumer: Consumer, partition: int, store: PartitionStore, found: Recovered) -> None:
        """Raises `TopicMadeAnew` where the state topic never had a record, though ops with effect are committed."""
        states = self._rules.topics.state
        if found.read.states >= 0 or not found.committed or extent(consumer, states, partition)[1]:
            return
        rows = (self.restoration.row(store, replica) for replica in store.replicas())
        offsets = lost_states.merged_before(found.committed, (row for row in rows if row is not None))
        found_ops = op_records(consumer, self._rules.topics.ops, partition, offsets).found if offsets else {}
        witnesses = [
            found_ops[offset] for offset in offsets if offset in found_ops
        ]  # not the topic's first, which is read besides
        if any(lost_states.has_effect(record, self._rules) for record in witnesses):
            raise TopicMadeAnew(
                f"{states}[{partition}] is empty, though ops before {found.committed} were merged into it: the topic was made anew"
            )

    def _begin_anew(self, consumer: Consumer, partitions: Iterable[int]) -> str:
        """What a person has to do."""
        ops = self._rules.topics.ops
        for partition in partitions:
            first, _ = extent(consumer, ops, partition)
            if first > 0:
                return (
                    f"bring the topic back from a backup: the states cannot be made again, for {ops}[{partition}] begins at {first}; "
                    "keep each worker's --data-dir"
                )
        return (
            "make the read model once more in topics of its own (`driftlog replay --to-generation`, see docs/replay.md);"
            f" or stop all workers, and let them merge all ops again: kafka-consumer-groups --group {self._group_id} --topic {ops} "
            "--reset-offsets --to-earliest --execute; when that is done, and not before, delete each one's --data-dir"
        )

    def _consumer(self) -> Consumer:
        """Asks for the group's commits, too."""
        return plain_reader(self._kafka, self._group_id, {"check.crcs": True, **ERRORS_TOLD})

    def _read_states(
        self, consumer: Consumer, stores: Mapping[int, PartitionStore], result: dict[int, Recovered]
    ) -> None:
        topic = self._rules.topics.state
        starts = {p: found.read.states + 1 for p, found in result.items()}
        for block in to_present_end(consumer, topic, starts):
            for partition, records in block.records.items():
                self.restoration.take(stores[partition], result[partition], records)
            for partition, position in block.read_to.items():
                self.restoration.ended(stores[partition], result[partition], Positions(states=position - 1))

    def _read_rows(
        self, consumer: Consumer, stores: Mapping[int, PartitionStore], result: dict[int, Recovered]
    ) -> None:
        topic = self._rules.topics.receipts
        starts = {p: found.read.rows + 1 for p, found in result.items()}
        for block in to_present_end(consumer, topic, starts):
            for partition, records in block.records.items():
                self.restoration.take_rows(stores[partition], result[partition], records)
            for partition, position in block.read_to.items():
                self.restoration.ended(stores[partition], result[partition], Positions(rows=position - 1))

    def _read_conflicts(
        self, consumer: Consumer, stores: Mapping[int, PartitionStore], result: dict[int, Recovered]
    ) -> None:
        topic = self._rules.topics.conflicts
        starts = {p: found.read.conflicts + 1 for p, found in result.items()}
        for block in to_present_end(consumer, topic, starts):
            for partition, records in block.records.items():
                self.restoration.take_conflicts(stores[partition], result[partition], records)
            for partition, position in block.read_to.items():
                self.restoration.ended(stores[partition], result[partition], Positions(conflicts=position - 1))

    def _read_parked(
        self, consumer: Consumer, stores: Mapping[int, PartitionStore], result: dict[int, Recovered]
    ) -> None:
        """All of it, after the rows."""
        topic = self._rules.topics.parked
        waiting = {p: ParkedClaims(partial(self.restoration.row, stores[p])) for p in result}
        for block in to_present_end(consumer, topic, dict.fromkeys(result, 0)):
            for partition, records in block.records.items():
                for record in records:
                    self._take_parked(waiting[partition], record)
            for partition, position in block.read_to.items():
                result[partition].parked_read = position - 1
        for partition, claims in waiting.items():
            if offsets := claims.offsets():
                ops = op_records(consumer, self._rules.topics.ops, partition, offsets)
                result[partition].parked, result[partition].spoiled = claims.believed(ops)

    def _take_parked(self, claims: ParkedClaims, record: ChangelogRecord) -> None:
        if record.value is None:
            claims.leave(record.key)
            return
        try:
            claims.say(record.key, self._rules.records.decode_parked(record.value))
        except (Undecodable, UnknownSchema, RegistryUnreachable) as error:  # anybody's tool may write to a topic
            log.warning("a parked command is not readable", error=str(error))
            claims.spoil(record.key, noise=isinstance(error, Undecodable))
