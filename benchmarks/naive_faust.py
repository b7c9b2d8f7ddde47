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

from driftlog_crdt import Op, Outcome, Write
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import (
    Command,
    CommandOutcome,
    Conflict,
    ConflictStatus,
    Device,
    Receipt,
    SignedBatch,
    Verdict,
    Version,
)
from driftlog_schemas.record_codecs import conflict_id
from driftlog_schemas.signing import verify
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
            if device is None or not _genuine(device, signed):
                continue
            batch = decode_body(signed.body)
            for command in batch.commands:
                for document, op in command.ops:
                    collection, key = rules.collections[document.collection], document_key(document)
                    raw = states.get(key)
                    state = collection.type.new() if raw is None else collection.codec.decode(raw)
                    collection.type.check(op)
                    applied = collection.type.apply(state, op)
                    if applied.outcome is not Outcome.APPLIED:
                        continue
                    for write in applied.beside:
                        conflict = _conflict(document, command, op, write, round(message.timestamp * 1000))
                        await found.send(key=conflict.id.encode(), value=rules.records.encode_conflict(conflict))
                    states[key] = collection.codec.encode(document, state)
            receipt = Receipt(
                device_id=device.device_id,
                replica=batch.replica,
                space=batch.space,
                partition=message.partition,
                batch=batch.number,
                outcomes=tuple([CommandOutcome(c.id, Verdict.ACCEPTED) for c in batch.commands]),
                offset=message.offset,
            )
            value = rules.records.encode_receipt(receipt)
            await receipts.send(key=device.device_id.encode(), value=value, partition=message.partition)

    app.agent(ops, name="merge")(merge)
    return app


def _genuine(device: Device, signed: SignedBatch) -> bool:
    key = device.keys.get(signed.key_id)
    return key is not None and verify(key, signed.signature, signed.body)


def _conflict(document: DocumentId, command: Command, op: Op, write: Write, append_ms: int) -> Conflict:
    mine = Version(op.replica, op.seq, op.hlc, op.value, command.id, command.actor)
    theirs = Version(write.replica, write.seq, write.hlc, write.value)
    loser, winner = sorted((mine, theirs), key=lambda v: (v.hlc, v.replica, v.seq))
    return Conflict(
        id=conflict_id(document, op.field, (op.replica, op.seq), (write.replica, write.seq)),
        document=document,
        field=op.field,
        winner=winner,
        loser=loser,
        policy="record",
        rule="register",
        detected_ms=append_ms,
        deadline_ms=0,
        status=ConflictStatus.RECORDED,
    )


if __name__ == "__main__":
    main()
