"""The baseline of `bench_merge`: the same job as one would write it from Faust's documentation.

One event at a time, an ordinary table on RocksDB, `table[key] = state` for each op, answers by `topic.send`, Faust's own
acknowledgement and commits. It opens the same signed batches, checks the same signature against the same registry of devices, merges with
the same algebra, writes the same rows and sends the same receipts and conflicts with the same codecs.

What it leaves out, in its own favour: gaps, parking, half-seen commands, guards, atomic commands, groups, and the order of effects.

    python -m benchmarks.naive_faust BOOTSTRAP REGISTRY SPACE PARTITIONS FOLDER
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import faust

from driftlog_crdt import Outcome
from driftlog_schemas.batch_codec import batch_digest, decode_body
from driftlog_schemas.devices import Device
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import (
    ChainEntry,
    ChainRow,
    SignedBatch,
)
from driftlog_schemas.signing import verify
from driftlog_streams.core import conflicts
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.registry.device_view import DeviceView
from tests.load.app import declare
from tests.load.ground import schema_ids


def names(space: str) -> tuple[str, str, str, str]:
    """Its topics: what it reads, its receipts, its conflicts, and the changelog of its table."""
    base = f"naive-{space}"
    return f"{base}-ops", f"{base}-receipts", f"{base}-conflicts", f"{base}-states-changelog"


def main() -> None:
    bootstrap, registry_url, space, partitions, folder = sys.argv[1:]
    contract = declare(space, int(partitions)).contract.spaces[space]
    rules = SpaceRules(contract, schema_ids(registry_url, Path(folder) / "schemas"))
    rules.register()
    devices = DeviceView(bootstrap, rules.records)
    devices.start()
    app = _app(bootstrap, space, int(partitions), Path(folder), rules, devices)
    worker = app.Worker(loglevel=logging.WARNING, quiet=True)
    logging.disable(logging.DEBUG)
    worker.execute_from_commandline()


def _app(bootstrap: str, space: str, partitions: int, folder: Path, rules: SpaceRules, devices: DeviceView) -> Any:
    (folder / "faust").mkdir(parents=True, exist_ok=True)
    app = faust.App(
        f"naive-{space}",
        broker=f"kafka://{bootstrap}",
        store="rocksdb://",
        datadir=str(folder / "faust"),
        topic_partitions=partitions,
        topic_disable_leader=True,
        stream_recovery_delay=0.0,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
    )
    source, answers, disputes, _ = names(space)
    ops, receipts, found = (
        app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        for name in (source, answers, disputes)
    )
    states: Any = app.Table("states", key_type=bytes, value_type=bytes, partitions=partitions)

    async def merge(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            signed = rules.batches.open(message.value)
            device = devices.find(signed.device_id)
            if device is None or not _genuine(device, signed, round(message.timestamp * 1000)):
                continue
            batch = decode_body(signed.body)
            for command in batch.commands:
                for document, op in command.ops:
                    collection, key = rules.collections[document.collection], document_key(document)
                    raw = states.get(key)
                    state = collection.type.new() if raw is None else collection.codec.decode(raw)
                    collection.type.check(op)
                    op = op._replace(origin=command.origin(op, round(message.timestamp * 1000)))
                    applied = collection.type.apply(state, op)
                    if applied.outcome is not Outcome.APPLIED:
                        continue
                    for place in applied.contested:
                        conflict = conflicts.standing(document, collection, state, place)
                        if conflict is not None:
                            await found.send(key=conflict.id.encode(), value=rules.records.encode_conflict(conflict))
                    states[key] = collection.codec.encode(document, state)
            row = ChainRow(
                device_id=device.device_id,
                replica=batch.replica,
                space=batch.space,
                partition=message.partition,
                last=batch.number,
                head=batch_digest(signed.body),
                floor=batch.number,
                entries=(ChainEntry(batch.number, batch_digest(signed.body)[:8], message.offset),),
                offset=message.offset,
            )
            value = rules.records.encode_chain_row(row)
            await receipts.send(key=batch.replica.encode(), value=value, partition=message.partition)

    app.agent(ops, name="merge")(merge)
    return app


def _genuine(device: Device, signed: SignedBatch, append_ms: int) -> bool:
    key = device.key_at(signed.key_id, append_ms)
    return key is not None and verify(key.public, signed.signature, signed.body)


if __name__ == "__main__":
    main()
