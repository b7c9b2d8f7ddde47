"""What anybody with a Kafka client may append, and no producer of Driftlog does."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c
from confluent_kafka import Producer

_NAME = "~}~}"
_NO_TEXT = b"\xff\xfe\xff\xfe"
_CRC, _COVERED = 17, 21


async def unreadable_headers(bootstrap: str, topics: Iterable[str], partition: int, *values: bytes) -> None:
    """One batch for each topic, of which each record has a header whose name is no text."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for topic in topics:
            batch: Any = producer.create_batch()
            for value in values:
                batch.append(timestamp=None, key=b"stranger", value=value, headers=[(_NAME, b"x")])
            data = bytearray(batch._build().replace(_NAME.encode(), _NO_TEXT))
            struct.pack_into(">I", data, _CRC, calc_crc32c(data[_COVERED:]))
            batch._buffer = bytes(data)
            await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()


@contextmanager
def transactions(bootstrap: str, name: str, topics: Iterable[str], partition: int, value: bytes) -> Iterator[None]:
    """One that is committed, one that is aborted, and one that stays open meanwhile; each has a record in every topic."""
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0, "transactional.id": name})
    producer.init_transactions(30)
    for end in (producer.commit_transaction, producer.abort_transaction, producer.flush):
        producer.begin_transaction()
        for topic in topics:
            producer.produce(topic, value, b"stranger", partition)
        assert producer.flush(30) == 0
        end(30)
    yield
    producer.abort_transaction(30)
