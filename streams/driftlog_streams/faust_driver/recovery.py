"""Bringing a partition's store to the end of its changelog before the first record is merged.

Stock Faust reads a changelog one Python record at a time and waits for the exact last offset, which compaction may have removed. Here
librdkafka reads in blocks from the store's position to the end, and holes count as read.

What a crash leaves behind is a *torn tail*: state records of flights that were never acknowledged, so their ops are read again. A
command may then be half seen, and must get the decision it got before. The dots that a group rejected stand in its records' headers; they are kept
here for every group from the committed op offset on, and `until` says up to which op offset that can matter.

A life may end before it has merged all of that again, and the next one may find the states in its store; so the store keeps in
its mark from where the tail begins, and every recovery looks at it again, until a flight has brought the merge beyond it.

A record whose group number is below one already seen was published by another life (after a crash, or by a frozen
worker that woke): it may be older than what it would replace, so it is joined with it, never put over it, and the document is
published again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from driftlog_schemas import groups, topics
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.messages import ParkedCommand
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver.topic_reading import ChangelogRecord, to_present_end
from driftlog_streams.partition_store import PartitionStore, StoreMark
from driftlog_streams.rules import SpaceRules

log = structlog.get_logger()


class Changelogged(Protocol):
    """A store that recovery fills."""

    @property
    def mark(self) -> StoreMark: ...
    def get(self, key: bytes) -> bytes | None: ...
    def write(self, states: Iterable[tuple[bytes, bytes | None]], mark: StoreMark) -> None: ...


@dataclass(slots=True)
class Recovered:
    """What a merger of a recovered partition must know."""

    rejected: dict[bytes, set[tuple[str, int]]] = field(default_factory=dict)
    """document key -> dots seen without effect in groups that may be read again"""
    until: int = -1
    """the highest group number among those; commands of later op records are never half seen"""
    tail: int = -1
    """offset of the first state record among those"""
    stale: set[bytes] = field(default_factory=set)
    """documents whose last record in the topic is behind the store: to be published again"""
    parked: list[ParkedCommand] = field(default_factory=list)
    """in order of parking"""
    records: int = 0
    committed: int = 0


class ChangelogRecovery:
    """Recovers partitions of one space. Blocking: run it off the event loop."""

    def __init__(self, bootstrap: str, group_id: str, rules: SpaceRules) -> None:
        self._bootstrap = bootstrap
        self._group_id = group_id
        self._rules = rules

    def recover(self, stores: Mapping[int, PartitionStore]) -> dict[int, Recovered]:
        """Bring every store to its changelog's present end. Raises `RecoveryFailed`."""
        began = time.monotonic()
        result = {p: Recovered() for p in stores}
        consumer = self._consumer()
        try:
            for at in consumer.committed(
                [TopicPartition(topics.ops_topic(self._rules.name), p) for p in stores], timeout=15
            ):
                result[at.partition].committed = max(at.offset, 0)
            self._read_states(consumer, stores, result)
            self._read_parked(consumer, result)
        except KafkaException as error:
            raise RecoveryFailed(f"the broker does not let us recover {self._rules.name}: {error}") from error
        finally:
            consumer.close()
        count = sum(r.records for r in result.values())
        log.info("recovered", partitions=len(stores), records=count, seconds=round(time.monotonic() - began, 2))
        return result

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": self._group_id,  # to ask for its commits; it never joins
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "check.crcs": True,
                "enable.partition.eof": True,
                "log_level": 3,
            }
        )

    def _read_states(
        self, consumer: Consumer, stores: Mapping[int, PartitionStore], result: dict[int, Recovered]
    ) -> None:
        topic = topics.state_topic(self._rules.name)
        starts = {p: store.mark.reread for p, store in stores.items()}
        for block in to_present_end(consumer, topic, starts):
            for partition, records in block.records.items():
                self.take(stores[partition], result[partition], records)
            for partition, position in block.read_to.items():
                store = stores[partition]
                if position - 1 > store.mark.position:  # compaction's holes are read too
                    mark = store.mark
                    store.write((), mark.after_recovery(position - 1, mark.group, mark.tail, mark.until))
        for partition, store in stores.items():
            self.settle(store, result[partition])

    def take(self, store: Changelogged, recovered: Recovered, records: Iterable[ChangelogRecord]) -> None:
        """Put changelog records of one partition into its store; of what it has already, only the torn tail is looked at."""
        states: dict[bytes, bytes | None] = {}
        highest, position = store.mark.group, store.mark.position
        for key, value, offset, headers in records:
            mark = groups.parse(headers)
            if mark.number >= recovered.committed:
                recovered.tail = offset if recovered.tail < 0 else recovered.tail
                recovered.until = max(recovered.until, mark.number)
                if mark.rejected:
                    recovered.rejected.setdefault(key, set()).update(mark.rejected)
            if offset <= position:
                continue
            position = offset
            if mark.number < 0:
                log.warning(
                    "a state that no worker wrote is passed over", key=key.decode(errors="replace"), offset=offset
                )
                recovered.stale.add(key)
                continue
            recovered.stale.discard(key)
            if value is not None and 0 <= mark.number < highest:
                joined = self._joined(key, value, states[key] if key in states else store.get(key))
                if joined != value:
                    recovered.stale.add(key)
                value = joined
            highest = max(highest, mark.number)
            states[key] = value
            recovered.records += 1
        # Until all of the changelog is read the older tail, if there is one, is the one to keep.
        tail, until = store.mark.tail, store.mark.until
        if tail < 0:
            tail, until = recovered.tail, recovered.until
        store.write(states.items(), store.mark.after_recovery(position, highest, tail, max(until, recovered.until)))

    def settle(self, store: Changelogged, recovered: Recovered) -> None:
        """All of the changelog is read: what was found of a torn tail replaces what an earlier life had found."""
        mark = store.mark
        if (mark.tail, mark.until) != (recovered.tail, recovered.until):
            store.write((), mark.after_recovery(mark.position, mark.group, recovered.tail, recovered.until))

    def _joined(self, key: bytes, value: bytes, stored: bytes | None) -> bytes:
        if stored is None or stored == value:
            return value
        document = parse_document_key(key)
        collection = self._rules.collections[document.collection]
        state = collection.type.join(collection.codec.decode(stored), collection.codec.decode(value))
        return collection.codec.encode(document, state)

    def _read_parked(self, consumer: Consumer, result: dict[int, Recovered]) -> None:
        topic = topics.parked_topic(self._rules.name)
        waiting: dict[int, dict[bytes, bytes]] = {p: {} for p in result}
        for block in to_present_end(consumer, topic, dict.fromkeys(result, 0)):
            for partition, records in block.records.items():
                for record in records:
                    waiting[partition].pop(record.key, None)
                    if record.value is not None:
                        waiting[partition][record.key] = record.value
        for partition, found in waiting.items():
            result[partition].parked = [self._rules.records.decode_parked(value) for value in found.values()]
