"""The ground that Python stands on: a merge that promises next to nothing, written by hand against the bare clients.

A counter and a last-writer register in each document, dedupe by (replica, seq), the merged states in RocksDB and on a compacted changelog, one
write of a state for a group of polled records, commits behind the writes. What Driftlog does besides is not here: signatures, chains and
their receipts, causal gaps, commands that are merged whole or not, conflicts, rights, typed rows, the order of effects after a crash.

It gets the same ops as the worker beside it, of the same batches, as plain Avro records. It is told by a line on its standard input how many records to merge, and
answers with the processor time that they took, of its one process:

    python -m benchmarks.plain_loop BOOTSTRAP OPS_TOPIC CHANGELOG FOLDER
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer
from rocksdict import Options, Rdict, WriteBatch

from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import SignedBatch

GROUP_RECORDS = 500
"""Polled at once, and written as one group."""
MAX_CACHED = 500_000
"""Documents that are kept decoded."""

RECORD: Any = fastavro.parse_schema(json.loads((Path(__file__).parent / "plain_ops.avsc").read_text()))
STATE: Any = fastavro.parse_schema(
    {
        "type": "record",
        "name": "State",
        "fields": [
            {"name": "count", "type": "long"},
            {"name": "label", "type": "string"},
            {"name": "clock", "type": "long"},
            {"name": "writer", "type": "string"},
            {"name": "seen", "type": {"type": "map", "values": "long"}},
        ],
    }
)


def plain_record(signed: SignedBatch) -> bytes:
    """The ops of a batch as this loop reads them: what counts is a number, all else a text."""
    batch = decode_body(signed.body)
    ops = [
        {
            "key": document_key(document).decode(),
            "seq": op.seq,
            "clock": op.hlc,
            "value": (op.value if op.kind == "increment" else -op.value)
            if isinstance(op.value, int)
            else str(op.value),
        }
        for command in batch.commands
        for document, op in command.ops
    ]
    return plain_encoded({"replica": batch.replica, "ops": ops})


def plain_encoded(record: dict[str, Any]) -> bytes:
    """A record of `RECORD`."""
    return _encoded(RECORD, record)


class PlainMerge:
    """The merge itself. `store` has what is not in the cache."""

    def __init__(self, store: Rdict) -> None:
        self._store = store
        self._states: dict[str, dict[str, Any]] = {}
        self._dirty: set[str] = set()

    def take(self, value: bytes) -> None:
        """Merge one record."""
        record: Any = fastavro.schemaless_reader(io.BytesIO(value), RECORD, None)
        replica = record["replica"]
        for op in record["ops"]:
            key = op["key"]
            state = self._states.get(key) or self._load(key)
            seq = op["seq"]
            if state["seen"].get(replica, 0) >= seq:
                continue
            state["seen"][replica] = seq
            given = op["value"]
            if isinstance(given, int):
                state["count"] += given
            elif (op["clock"], replica) > (state["clock"], state["writer"]):
                state.update(label=given, clock=op["clock"], writer=replica)
            self._dirty.add(key)

    def group(self) -> list[tuple[bytes, bytes]]:
        """The states that have changed since the last call, each encoded once."""
        found = [(key.encode(), _encoded(STATE, self._states[key])) for key in self._dirty]
        self._dirty.clear()
        if len(self._states) > MAX_CACHED:
            self._states.clear()
        return found

    def _load(self, key: str) -> dict[str, Any]:
        raw: Any = self._store.get(key.encode())
        fresh = {"count": 0, "label": "", "clock": -1, "writer": "", "seen": {}}
        state: Any = fresh if raw is None else fastavro.schemaless_reader(io.BytesIO(raw), STATE, None)
        self._states[key] = state
        return state  # type: ignore[no-any-return]  # untyped there


def _encoded(schema: Any, record: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, record)
    return stream.getvalue()


def open_store(folder: Path) -> Rdict:
    """RocksDB as it comes."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    return Rdict(str(folder), options)


def main() -> None:
    bootstrap, source, changelog, folder = sys.argv[1:]
    store = open_store(Path(folder))
    merge = PlainMerge(store)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": source,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    consumer.subscribe([source])
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "compression.type": "zstd",
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 0,
        }
    )
    for line in sys.stdin:
        left, begun = int(line), time.process_time()
        while left > 0:
            messages = [message for message in consumer.consume(GROUP_RECORDS, 0.05) if message.error() is None]
            if not messages:
                continue
            for message in messages:
                merge.take(message.value() or b"")
            batch = WriteBatch(raw_mode=True)
            for key, value in merge.group():
                producer.produce(changelog, value, key)
                batch.put(key, value)
            producer.flush()
            store.write(batch)
            consumer.commit(asynchronous=True)
            left -= len(messages)
        print(time.process_time() - begun, flush=True)  # noqa: T201  # the answer
    consumer.close()
    store.close()


if __name__ == "__main__":
    main()
