"""A rebuilt partition as the first records of a new generation: every chain row and every document once, as they stand.

They leave as the owner of a partition publishes what somebody else has written over (`PartitionMerger.publish_again`), with all that a state record says
besides, so whoever reads the topic, be it a worker that recovers or an edge, meets nothing that it would not meet in any other.
Each group has the number of the last op record that was merged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.scope_digests import ScopeDigests
from driftlog_streams.core.state_cache import CacheRoom, StateCache
from driftlog_streams.core.stored_states import StoredStates
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import DeliveryFailed
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.running import Running

AT_ONCE, AT_ONCE_BYTES = 200, 8 << 20
"""So many rows or documents, or about so many bytes of documents, are one group."""
TIMEOUT_SECONDS = 60.0


class Written(NamedTuple):
    """What a partition of the new generation has."""

    documents: int
    rows: int


class Delivery:
    """Puts records into topics and waits until the broker has them."""

    def __init__(self, kafka: KafkaSettings | str) -> None:
        self._producer = Producer(
            {
                **kafka_at(kafka).client(),
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "message.timeout.ms": int(TIMEOUT_SECONDS * 1000),
                "message.max.bytes": 1 << 20,
                "compression.type": "zstd",
                "log_level": 0,
            }
        )

    def deliver(self, records: Sequence[OutRecord]) -> None:
        """In this order. Raises `DeliveryFailed`."""
        failures: list[str] = []

        def told(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is not None or offset is None or offset < 0:
                failures.append("reported without an offset" if error is None else error.str())

        produce: Any = self._producer.produce
        for topic, partition, key, value, headers in records:
            produce(topic, value, key, partition, told, headers=headers or None)
        left = self._producer.flush(TIMEOUT_SECONDS + 1)
        if left or failures:
            raise DeliveryFailed(
                f"the broker did not take {left or len(failures)} of {len(records)} records: {', '.join(failures[:1]) or 'no answer'}",
                "see the broker's log, then run the command again",
            )


def publish(
    rules: SpaceRules,
    partition: int,
    store: PartitionStore,
    deliver: Callable[[Sequence[OutRecord]], None],
    progress: Callable[[int], None] = lambda written: None,
    *,
    conflicts: bool = False,
) -> Written:
    """Publish what a store holds into the generation of `rules`, and where its space has no `conflicts` yet also those that are open.

    Raises what `deliver` raises.
    """
    cache = StateCache(store.get, CacheRoom(AT_ONCE_BYTES), store.purged)
    merger = PartitionMerger(
        rules,
        partition,
        cache,
        ChainBook(store.row, rules.records),
        digests=ScopeDigests(store.digest, store.keys),
        disputes=Disputes(store.dispute, store.ended),
    )
    merger.resume(store.mark.group + 1)
    documents = rows = 0

    def leave() -> None:
        if not merger.work.empty:
            part = merger.seal()
            deliver([*part.outcomes, *part.states])
            part.work.stored()
            cache.make_room()
            progress(documents + rows)

    for replica in store.replicas():
        merger.publish_row_again(replica)
        rows += 1
        if len(merger.work.rows) >= AT_ONCE:
            leave()
    states = StoredStates(rules)
    for key, value in store.documents():
        documents += merger.publish_again(key)
        for _, (_, _, place) in states.owed(key, value, 0) if conflicts else ():
            merger.tell_again(key, place)
        if len(merger.work.dirty) >= AT_ONCE or merger.work.size >= AT_ONCE_BYTES:
            leave()
    leave()
    return Written(documents, rows)


def require_written(
    rules: SpaceRules, logs: Logs, partition: int, rebuilt: PartitionStore, scratch: PartitionStore
) -> None:
    """Read the new generation back into a store and compare it, byte for byte, with what was rebuilt.

    Raises `DeliveryFailed` where they are not the same, `BrokerUnreachable`.
    """
    model = Running(scratch, logs.extent(rules.topics.ops, partition).stop)
    for block in logs.blocks(rules.topics.state, partition):
        model.take(block)
    for block in logs.blocks(rules.topics.receipts, partition):
        rows = [(record.key.decode(errors="replace"), record.value) for record in block]
        scratch.write((), scratch.mark, rows)
    same = all(one == other for one, other in zip_longest(rebuilt.documents(), scratch.documents()))
    if not same or any(one != other for one, other in zip_longest(rebuilt.rows(), scratch.rows())):
        raise DeliveryFailed(
            f"{rules.topics.state}[{partition}] or its receipts do not say what was rebuilt",
            "somebody else writes there: see who may write these topics, then run the command again",
        )
