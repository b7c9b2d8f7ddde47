"""What the cloud has taken of a device, as the merge of the followed op logs has it: the last batch of each of its lives in each partition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import device_of
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_streams.faust_driver.partition_store import PartitionStore

MOST = 50


class Receipts(NamedTuple):
    """The newest first."""

    rows: Sequence[ChainRow]
    older: int
    """How many there are besides."""
    unreadable: int
    """How many this release cannot read."""


def receipts_of(device: str, stores: Iterable[tuple[PartitionStore, RecordCodecs]], most: int = MOST) -> Receipts:
    """Of one device in these partitions."""
    found, unreadable = list[ChainRow](), 0
    for store, codecs in stores:
        for value in store.rows(f"{device}."):
            try:
                row = codecs.decode_chain_row(value)
            except (Undecodable, UnknownSchema):
                unreadable += 1
                continue
            if device_of(row.replica) == device:  # and not of one whose name goes on after a dot
                found.append(row)
    found.sort(key=lambda row: (-row.append_ms, row.space, row.partition, row.replica))
    return Receipts(found[:most], max(0, len(found) - most), unreadable)
