"""An op log in memory that a history is made of, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException

from driftlog_console.history.view import HistoryView
from driftlog_schemas.devices import Device
from driftlog_schemas.messages import Command, DocumentOp
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.reading.merge_lag import Lag
from driftlog_streams.reading.workers import Worker
from tests.unit.streams.cloud import IDS, NOW_MS, SPACE, Cloud, change, stock

TEA = stock()
HOUR_MS = 3_600_000


class OpLog:
    """Of one partition; stands in for the broker. `first` is the offset of the first record that is left."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.records_: list[ChangelogRecord] = []
        self.first = 0
        self.reads: list[range] = []

    def append(self, *commands: Command, replica: str = "store-1.1", at_ms: int = 0, **more: Any) -> bytes:
        """A batch of this replica."""
        value = self.cloud.batch(*commands, replica=replica, **more)
        self.again(value, at_ms)
        return value

    def again(self, value: bytes | None, at_ms: int = 0) -> None:
        """This very record."""
        at = len(self.records_)
        self.records_.append(ChangelogRecord(b"", value, at, (), at_ms or NOW_MS + at))

    def begins(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, self.first)

    def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return dict.fromkeys(places, len(self.records_))

    def records(self, topic: str, partition: int, offsets: range) -> list[ChangelogRecord]:
        self.reads.append(offsets)
        return [one for one in self.records_ if one.offset in offsets and one.offset >= self.first]


class Known:
    """The device registry."""

    def __init__(self, log: OpLog) -> None:
        self._log = log

    def start(self) -> None: ...
    def catch_up(self) -> None: ...
    def close(self) -> None: ...

    def find(self, device_id: str) -> Device | None:
        return self._log.cloud.devices.find(device_id)


class Lags:
    """How far the workers are; a test says it."""

    def __init__(self) -> None:
        self.lag = Lag(0, 0, None)
        self.refuses = ""

    def look(self, space: str, partitions: Iterable[int]) -> dict[int, Lag]:
        if self.refuses:
            raise RecoveryFailed(self.refuses)
        return dict.fromkeys(partitions, self.lag)


class Workers:
    """Which there are; a test says it."""

    def __init__(self) -> None:
        self.found: list[Worker] = []
        self.refuses = ""

    def look(self, space: str) -> list[Worker]:
        if self.refuses:
            raise KafkaException(self.refuses)
        return self.found


def history_of(log: OpLog, folder: Path, changed: Callable[[], None] = lambda: None, **bounds: int) -> HistoryView:
    """Not started: a test looks by itself."""
    return HistoryView({"retail": SPACE}, IDS, Known(log), log, folder, lambda: ["s1"], changed, **bounds)


def priced(value: int, seq: int, replica: str = "store-1.1", ms: int = NOW_MS, **seen: int) -> DocumentOp:
    """Somebody sets the price of tea, having seen so much: `store_2__1=3` is change 3 of store-2.1."""
    context = {name.replace("_", "-").replace("--", "."): count for name, count in seen.items()}
    return change(TEA, "price", "set", value, seq, replica=replica, context=context, ms=ms)
