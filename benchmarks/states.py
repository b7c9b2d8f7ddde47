"""A state topic filled with documents, as workers fill it, for cases that only read one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import Producer

from benchmarks.cluster import BenchSpace
from driftlog_crdt import DocumentState
from driftlog_schemas import groups, topics
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.state_codec import codecs_of
from tests.load.app import COLLECTION, COUNTER, LABEL

PLACES = 50
GROUP = 500
FLUSH_SECONDS = 60.0


def articles(space: BenchSpace, documents: int) -> Iterator[tuple[DocumentId, DocumentState]]:
    """So many documents over `PLACES` scopes, each counted and named by one writer."""
    rules = space.contract.spaces[space.name].collections[COLLECTION].document
    for number in range(documents):
        state = rules.new()
        rules.apply(state, rules.prepare(state, "office.seed", 1 << 16, COUNTER, "increment", number + 1))
        rules.apply(state, rules.prepare(state, "office.seed", 1 << 16, LABEL, "set", f"article {number}"))
        yield DocumentId(COLLECTION, f"place-{number % PLACES}", f"item-{number:07d}"), state


def merged(space: BenchSpace, documents: int) -> None:
    """`articles` in the state topic, in groups of `GROUP` as a busy worker publishes them, and an op record for each group's number."""
    producer = Producer({"bootstrap.servers": space.place.bootstrap, "linger.ms": 20, "log_level": 0})
    for partition in range(space.place.partitions):
        for _ in range(documents // GROUP + 1):
            producer.produce(topics.ops_topic(space.name), b"op", partition=partition)
    _flushed(producer)
    published(space, articles(space, documents), GROUP)


def published(space: BenchSpace, states: Iterable[tuple[DocumentId, DocumentState]], group: int) -> None:
    """So many states of a partition are a group; the last one may be shorter."""
    codec = codecs_of(space.contract.spaces[space.name].collections, space.ids)[COLLECTION]
    producer = Producer({"bootstrap.servers": space.place.bootstrap, "linger.ms": 20, "log_level": 0})
    sent: Counter[int] = Counter()
    held: dict[int, tuple[DocumentId, DocumentState]] = {}
    """Of each partition one is held back: the very last one ends its group."""

    def send(partition: int, last: bool) -> None:
        document, state = held[partition]
        number, place = divmod(sent[partition], group)
        sent[partition] += 1
        headers: Any = groups.headers(number, last=last or place == group - 1)
        value, key = codec.encode(document, state), document_key(document)
        while True:
            try:
                producer.produce(topics.state_topic(space.name), value, key, partition, headers=headers)
                return
            except BufferError:  # its bound holds us back until the broker has taken some
                producer.poll(0.1)

    for document, state in states:
        partition = partition_of(document.scope, space.place.partitions)
        if partition in held:
            send(partition, last=False)
        held[partition] = document, state
    for partition in held:
        send(partition, last=True)
    _flushed(producer)


def _flushed(producer: Producer) -> None:
    assert producer.flush(FLUSH_SECONDS) == 0, "the broker takes all of it"
