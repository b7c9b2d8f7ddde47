"""A space's read model rebuilt from its op topic, a partition at a time, and held against the one that runs.

A replay begins with the first record that there ever was. Where retention has cut the op topic, what was before is only in the states, and
nothing that is rebuilt would be whole: that is said, and nothing is compared (`NotWhole`).

With the rules of another app it is a dry run: the same records, judged as that app would have judged them. What it would have decided otherwise is listed
with what the chain rows say today; a row remembers the batches that its writer has not confirmed, and of older ones the newest 1,000 refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.command_merge import untold
from driftlog_streams.core.flight import PartitionFlight
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.errors import SetupProblem, WorkerError
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.replaying.comparing import Difference, differences
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.rebuild import Rebuild
from driftlog_streams.replaying.running import Running
from driftlog_streams.replaying.verdicts import Changed, Verdicts

Progress = Callable[[int, int, int], None]
"""Partition, op records merged, and how many there are."""


class NotWhole(WorkerError):
    """The op topic does not begin at its beginning any more."""


class Until(NamedTuple):
    """Where a replay ends: behind this offset of each partition, or before the first record later than this time."""

    offset: int | None = None
    at_ms: int | None = None

    def passed(self, record: ChangelogRecord) -> bool:
        return (self.offset is not None and record.offset > self.offset) or (
            self.at_ms is not None and record.append_ms > self.at_ms
        )


@dataclass(slots=True)
class PartitionReport:
    """What a replay of one partition has found."""

    partition: int
    before: int = 0
    """So many op records were merged by attempts before this one."""
    records: int = 0
    ops: int = 0
    merged_to: int = -1
    """Offset of the last op record of it."""
    commands: int = 0
    unknown: int = 0
    """Commands of which the rows say nothing any more."""
    differing: int = 0
    changed: int = 0
    differences: list[Difference] = field(default_factory=list)
    """The first of them."""
    changes: list[Changed] = field(default_factory=list)


class Replay:
    """Of one space, with stores in a folder of its own."""

    def __init__(
        self,
        rules: SpaceRules,
        devices: Devices,
        logs: Logs,
        stores: WorkerStore,
        limit: int,
        kept: WorkerStore | None = None,
    ) -> None:
        """`limit` is how many differences of each kind and partition are listed; all are counted. What is rebuilt lies in `kept` where that is given, as an
        attempt that was cut off has left it."""
        self._rules, self._devices, self._logs, self._stores, self._limit = rules, devices, logs, stores, limit
        self._kept = kept or stores

    def rebuilt(self, partition: int) -> PartitionStore:
        """The store that a replay of this partition fills."""
        return self._kept.partition(partition)

    def _waiting(self, partition: int) -> PartitionStore:
        """The parked commands of what is rebuilt."""
        return self._kept.partition(3 * self._rules.partitions + partition)

    def _running(self, partition: int) -> PartitionStore:
        return self._stores.partition(self._rules.partitions + partition)

    def require_whole(self) -> None:
        """Raise `NotWhole` unless every op record that there ever was is there."""
        topic = self._rules.topics.ops
        for partition in range(self._rules.partitions):
            there = self._logs.extent(topic, partition)
            if there.start:
                raise NotWhole(
                    f"{topic}[{partition}] begins at offset {there.start}: what was before has been deleted, so nothing rebuilt of it would be whole",
                    "give the op topic a retention that keeps everything (`driftlog topics apply`), before anything is cut",
                )

    def replay(
        self,
        partition: int,
        until: Until | None,
        progress: Progress,
        *,
        compare: bool,
        verdicts: bool,
        committed: int = 0,
    ) -> PartitionReport:
        """Rebuild a partition up to where the read model runs now, or until then, and say where the two differ.

        `compare` their documents, and the `verdicts` on its commands. `committed` is the op offset before which all had been merged at some moment
        before the call: what the model does not have of that it has lost.
        """
        report = PartitionReport(partition)
        ops = self._rules.topics.ops
        running = self._running(partition)
        end = len(self._logs.extent(ops, partition))
        if compare:
            model = Running(running, end)
            for block in self._logs.blocks(self._rules.topics.state, partition):
                model.take(block)
            until = Until(offset=max(model.group, committed - 1)) if until is None else until
        judged = self._verdicts(partition) if verdicts else None
        rebuild = self._rebuild(partition, until, judged)
        report.before, report.merged_to = rebuild.following, rebuild.following - 1
        for record in self._records(ops, partition, until, rebuild.following):
            rebuild.take(record)
            report.merged_to = record.offset
            if not rebuild.records % 1000:
                progress(partition, report.before + rebuild.records, end)
        waiting = rebuild.end()
        if judged is not None:
            report.changes = judged.end(waiting, rebuild.merged_to + 1)
            report.commands, report.unknown, report.changed = judged.counts
        progress(partition, end, end)
        report.records, report.ops = rebuild.records, rebuild.ops
        if compare:
            found = differences(self._rules, running, self.rebuilt(partition))
            report.differences = list(islice(found, self._limit))
            report.differing = len(report.differences) + sum(1 for _ in found)
        return report

    def _rebuild(self, partition: int, until: Until | None, judged: Verdicts | None) -> Rebuild:
        """As an attempt before has left it."""
        topic, waiting = self._rules.topics.parked, self._waiting(partition)

        def sealed(part: PartitionFlight) -> None:
            """First: what is taken off this list leaves with the flight after the one that needs it no more."""
            words = [(record.key, record.value) for record in part.outcomes if record.topic == topic]
            waiting.write(words, waiting.mark)
            if judged is not None:
                judged.sealed(rebuild.merged_to)

        told = untold if judged is None else judged.told
        rebuild = Rebuild(self._rules, partition, self.rebuilt(partition), self._devices, told, sealed=sealed)
        if until is not None and until.offset is not None and rebuild.following > until.offset + 1:
            raise SetupProblem(
                f"an earlier attempt has rebuilt partition {partition} up to op {rebuild.following - 1}, and {until.offset} is the last one that is to be in it",
                "delete the folders driftlog-kept-* among the temporary files, and run the command again",
            )
        if rebuild.following:
            parked = [self._rules.records.decode_parked(value) for _, value in waiting.documents()]
            rebuild.resume([one for one in parked if one.offset < rebuild.following])
        if judged is not None:
            judged.resume(rebuild.following)
        return rebuild

    def _records(self, topic: str, partition: int, until: Until | None, start: int) -> Iterator[ChangelogRecord]:
        for block in self._logs.blocks(topic, partition, start):
            for record in block:
                if until is not None and until.passed(record):
                    return
                yield record

    def _verdicts(self, partition: int) -> Verdicts:
        """Holds what becomes of each command against what its chain row says."""
        running = self._running(partition)
        for block in self._logs.blocks(self._rules.topics.receipts, partition):
            rows = [(r.key.decode(errors="replace"), r.value) for r in block if r.value is not None and b"." in r.key]
            running.write((), running.mark, rows)
        counts = self._kept.partition(4 * self._rules.partitions + partition)
        return Verdicts(partition, ChainBook(running.row, self._rules.records), counts, self._limit)
