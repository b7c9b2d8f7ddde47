"""Op records that nobody merges: they wait in partitions that no worker owns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import KafkaException

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.merge_lag import LagReader
from driftlog_streams.reading.workers import WorkerReader, unowned


class Unmerged(NamedTuple):
    """Of one space."""

    partitions: list[int]
    """Those in which something waits, and that no worker owns."""
    records: int


def unmerged(kafka: KafkaSettings, space: SpaceContract, merged: Callable[[str], int]) -> Unmerged:
    """What waits in a space whose topics are there; `merged` says which generation its workers merge. Raises `BrokerUnreachable`."""
    try:
        free = unowned(WorkerReader(kafka, merged).look(space.name), space.partitions)
        lags = LagReader(kafka, merged).look(space.name, free) if free else {}
    except (KafkaException, RecoveryFailed) as error:
        raise BrokerUnreachable(
            f"who merges space {space.name} cannot be told: {error}", "see the broker's log, then run the command again"
        ) from error
    waiting = {number: lag.end if lag.records is None else lag.records for number, lag in lags.items()}
    return Unmerged([number for number, records in waiting.items() if records], sum(waiting.values()))
