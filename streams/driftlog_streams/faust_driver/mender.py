"""Puts our word last again where somebody else has written into a partition that we own (see `changelog_watch`).

Runs beside the flights and never holds them up: what is found out of place goes out with the next flight. While the broker does not
answer nothing is lost: what was to be looked at is kept, one range per partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
from confluent_kafka import KafkaException

from driftlog_streams.core.changelog_watch import ChangelogWatch
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.errors import RecoveryFailed

log = structlog.get_logger()

CHECK_SECONDS = 2.0


class Reader(Protocol):
    """A look at the state topic; blocking."""

    def ends(self, partitions: list[int]) -> dict[int, int]: ...
    def last_words(self, partition: int, offsets: range) -> dict[bytes, bytes | None]: ...


class Mender:
    """Watches the partitions of one assignment after the other.

    `quiet` says whether nothing of ours is on its way; `mended` is told how many documents go out again.
    """

    def __init__(self, reader: Reader, quiet: Callable[[], bool], mended: Callable[[int], None]) -> None:
        self._reader = reader
        self._quiet = quiet
        self._mended = mended
        self._watch = ChangelogWatch()
        self._mergers: Mapping[int, PartitionMerger] = {}
        self._unread: dict[int, range] = {}
        self._epoch = 0
        self._wake = asyncio.Event()

    def own(self, mergers: Mapping[int, PartitionMerger], following: Mapping[int, int]) -> None:
        """From now on these partitions, each from the offset that comes next."""
        self.forget()
        self._mergers = mergers
        for partition, offset in following.items():
            self._watch.own(partition, offset)

    def forget(self) -> None:
        """The partitions belong to somebody else now."""
        self._epoch += 1
        self._mergers = {}
        self._watch.forget()
        self._unread.clear()

    def published(self, partition: int, count: int, last: int) -> None:
        """A flight's states of a partition are in the topic. In the order of the flights."""
        self._found(partition, self._watch.published(partition, count, last))

    def _found(self, partition: int, offsets: range | None) -> None:
        if offsets is None:
            return
        known = self._unread.get(partition, offsets)
        self._unread[partition] = range(min(known.start, offsets.start), max(known.stop, offsets.stop))
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._wake.wait()
                self._wake.clear()
            except TimeoutError:
                pass  # time to look, though nobody called
            try:
                await self._check_ends()
                await self._read()
            except (KafkaException, RecoveryFailed, TimeoutError) as error:
                log.warning("the state topic cannot be looked at now", error=str(error))
                await asyncio.sleep(CHECK_SECONDS)

    async def _check_ends(self) -> None:
        epoch, partitions = self._epoch, list(self._mergers)
        if not partitions or not self._quiet():
            return
        ends = await asyncio.get_running_loop().run_in_executor(None, self._reader.ends, partitions)
        if epoch != self._epoch or not self._quiet():
            return  # what we have published meanwhile is in the answer, or is not
        for partition, end in ends.items():
            self._found(partition, self._watch.ended(partition, end))

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        for partition, offsets in list(self._unread.items()):
            epoch = self._epoch
            words = await loop.run_in_executor(None, self._reader.last_words, partition, offsets)
            if epoch != self._epoch:
                return
            if self._unread.get(partition) == offsets:
                del self._unread[partition]
            merger = self._mergers[partition]
            before = len(merger.work.again)
            for key, value in words.items():
                merger.heard(key, value)
            again = len(merger.work.again) - before
            log.warning("somebody else wrote states", partition=partition, offsets=f"{offsets}", published_again=again)
            self._mended(again)
