"""Writes the batches of reactions: lets the core run the commands that were called for (`core.calls`), and puts what comes of them into the op log.

It runs beside the merge, one batch under way in each partition. What it writes counts when it is read from the log; what is lost on the way, or is
second to another worker's, is made anew. What calls say is in the op log, and read from there after a take-over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import structlog
from confluent_kafka import KafkaException

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.messages import Batch, Call
from driftlog_schemas.signing import Identity
from driftlog_streams.core.admission import Admitted, admit
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.merge import PartitionMerger
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver.publisher import Publisher

log = structlog.get_logger()

LOOK_SECONDS = 0.02
"""A look costs a dictionary's look-up for each partition."""
PATIENCE_SECONDS = 10.0
"""So long a batch is waited for before it is made anew."""
PAUSE_SECONDS = 1.0


class Reader(Protocol):
    """Reads op records by their offsets."""

    def records(self, topic: str, partition: int, offsets: range) -> list[ChangelogRecord]: ...


class Owner(Protocol):
    """Who owns partitions."""

    @property
    def mergers(self) -> Mapping[int, PartitionMerger]: ...
    def changed(self, partition: int) -> None:
        """Something is to leave that no record has caused."""


class _Written(NamedTuple):
    number: int
    until: float


class Reactor:
    """Of the partitions that a worker owns."""

    def __init__(
        self,
        rules: SpaceRules,
        devices: Devices,
        identity: Identity,
        publisher: Publisher,
        reader: Reader,
        owner: Owner,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._rules = rules
        self._devices = devices
        self._identity = identity
        self._publisher = publisher
        self._reader = reader
        self._owner = owner
        self._monotonic = monotonic
        self._wall = wall
        self._written: dict[int, _Written] = {}

    async def run(self) -> None:
        """Until cancelled. An app without reactions may still have calls of an earlier release."""
        while True:
            await asyncio.sleep(LOOK_SECONDS if self._rules.reacting else PAUSE_SECONDS)
            try:
                await self._look()
            except (KafkaException, RecoveryFailed, ContractError, TimeoutError) as error:
                log.warning("what reactions call for cannot be read now", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _look(self) -> None:
        for partition, merger in list(self._owner.mergers.items()):
            if not merger.calls.waits or self._under_way(partition, merger):
                continue
            if merger.calls.forget_listed():
                self._owner.changed(partition)
            for offset in merger.calls.missing():
                calls, append_ms = await self._read(partition, offset)
                if self._owner.mergers.get(partition) is not merger:
                    break
                merger.calls.restore(offset, calls, append_ms)
                self._owner.changed(partition)
            if self._owner.mergers.get(partition) is merger:
                batch = merger.calls.due(int(self._wall() * 1000))
                if batch is not None:
                    self._write(partition, batch)

    def _under_way(self, partition: int, merger: PartitionMerger) -> bool:
        """Is what was written last not merged yet?"""
        written = self._written.get(partition)
        if written is None or merger.calls.last >= written.number:
            return False
        return self._monotonic() < written.until

    async def _read(self, partition: int, offset: int) -> tuple[tuple[Call, ...], int]:
        """The calls of a record, and when it was appended; none where it is gone."""
        topic, loop = topics.ops_topic(self._rules.name), asyncio.get_running_loop()
        found = await loop.run_in_executor(None, self._reader.records, topic, partition, range(offset, offset + 1))
        record = next((record for record in found if record.offset == offset), None)
        if record is None:
            return (), 0
        admission = admit(record.value, record.append_ms, partition, self._rules, self._devices)
        if not isinstance(admission, Admitted) or admission.batch.react is None:
            # It was good when it was merged: what says otherwise now is the registry's trouble, and passes.
            told = "it calls for nothing" if isinstance(admission, Admitted) else admission.reason
            raise RecoveryFailed(f"{topic}[{partition}] at {offset}: {told}", "see whether the registry answers")
        return admission.batch.react.calls, record.append_ms

    def _write(self, partition: int, batch: Batch) -> None:
        value = self._rules.batches.seal(encode_body(batch), self._identity)
        record = OutRecord(topics.ops_topic(self._rules.name), partition, CLOUD.encode(), value)
        self._written[partition] = _Written(batch.number, self._monotonic() + PATIENCE_SECONDS)

        def failed(error: str) -> None:
            log.warning("what reactions call for could not be written", partition=partition, error=error)
            self._written.pop(partition, None)

        self._publisher.publish([record], lambda offsets: None, failed)
