"""`driftlog replay --to-generation N`: the rebuilt read model in topics of its own, put in force in the place of the one that runs.

What it does in which order, and what is left where it is cut off, is `driftlog_streams.replaying.switching`'s; here it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.progress import Progress

from driftlog.cli.terminal import err, fail
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.generations import InForce
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.topics import SpaceTopics
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.replaying import open_calls
from driftlog_streams.replaying.commits import Commits
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.publication import Delivery, Written, publish, require_written
from driftlog_streams.replaying.replay import PartitionReport, Replay
from driftlog_streams.replaying.switching import Way, follow_over, lay_topics, require_leading_on, way_to


@dataclass(frozen=True)
class Reached:
    """What was done to have it in force."""

    before: InForce
    way: Way
    reports: list[PartitionReport]
    """Of each partition that was rebuilt."""
    written: list[Written]


@dataclass(frozen=True)
class Refused:
    """It was rebuilt and is not in force, for nobody has said that its differences are meant."""

    reports: list[PartitionReport]


class NewGeneration:
    """Of one space."""

    def __init__(
        self,
        contract: SpaceContract,
        ids: SchemaIds,
        settings: ConnectionSettings,
        enrolment: Enrolment,
        limit: int,
        wait_seconds: float,
        *,
        quiet: bool,
    ) -> None:
        """`limit` bounds how many differences are listed, `wait_seconds` how long the workers may take to follow. `quiet` shows no bar."""
        self._contract, self._ids, self._enrolment = contract, ids, enrolment
        self._kafka, self._limit, self._wait, self._quiet = settings.kafka, limit, wait_seconds, quiet
        self._admin = TopicsAdmin(settings.kafka)
        self._commits = Commits(settings.kafka, contract.partitions)

    def reach(self, wanted: int, *, sure: bool) -> Reached | Refused:
        """Have this generation in force; `sure`, though it differs from the one that runs, or was left before.

        Raises `SetupProblem`, `NotWhole`, `TopicProblem`, `BrokerUnreachable`, `DeliveryFailed`.
        """
        name = self._contract.name
        now, ever = self._enrolment.generations(name)
        way = way_to(wanted, now, ever)
        done = Reached(now, way, [], [])
        with closing(Logs(self._kafka)) as logs:
            if way is Way.MAKE:
                found = self._make(logs, SpaceTopics(name, now.read), wanted, sure=sure)
                if isinstance(found, Refused):
                    return found
                done = Reached(now, way, *found)
            elif way is Way.RETURN:
                self._return(logs, SpaceTopics(name, wanted), now, sure=sure)
        if way is not Way.NOTHING:
            self._switch(now, wanted)
        return done

    def _make(
        self, logs: Logs, running: SpaceTopics, wanted: int, *, sure: bool
    ) -> tuple[list[PartitionReport], list[Written]] | Refused:
        """Rebuild, compare, write, read back, and say where its workers begin. Nothing of it is in force then."""
        count = self._contract.partitions
        then = SpaceRules(self._contract, self._ids, generation=running.generation)
        with TemporaryDirectory(prefix="driftlog-generation-") as folder:
            with closing(WorkerStore(Path(folder) / "states")) as stores:
                replay = Replay(then, self._enrolment.view, logs, stores, self._limit)
                replay.require_whole()
                committed = self._commits.read(running)
                with self._bar("rebuilding", count) as told:
                    reports = [
                        replay.replay(number, None, told, compare=True, verdicts=False, committed=committed[number])
                        for number in range(count)
                    ]
                if not sure and any(report.differing for report in reports):
                    return Refused(reports)
                rules = SpaceRules(self._contract, self._ids, generation=wanted)
                lay_topics(self._admin, logs, running, wanted, count)
                written, delivery = [], Delivery(self._kafka)
                with self._bar("writing", count) as told:
                    for number in range(count):
                        store = replay.rebuilt(number)
                        open_calls.take_over(then, logs, number, store)
                        written.append(publish(rules, number, store, delivery.deliver))
                        require_written(rules, logs, number, store, stores.partition(2 * count + number))
                        told(number, 1, 1)
        self._commits.begin(rules.topics, {report.partition: report.merged_to + 1 for report in reports})
        return reports, written

    def _return(self, logs: Logs, to: SpaceTopics, now: InForce, *, sure: bool) -> None:
        """An earlier generation can be put in force again."""
        require_leading_on(self._admin, logs, to, self._contract.partitions, self._commits.read(to))
        if not sure and now.read != to.generation:
            fail(
                f"generation {to.generation} was in force before {now.read}, and is as it was left: its workers merge what came since",
                "give --yes to go back to it",
            )

    def _switch(self, now: InForce, wanted: int) -> None:
        name = self._contract.name
        self._enrolment.switch(name, InForce(wanted, now.read))
        left = now.merged if now.merged != wanted else now.read
        with self._waiting(f"the workers follow to generation {wanted}") as told:
            if left != wanted:
                follow_over(self._commits, SpaceTopics(name, left), SpaceTopics(name, wanted), self._wait, told)
        self._enrolment.switch(name, InForce(wanted, wanted))

    @contextmanager
    def _bar(self, what: str, total: int) -> Iterator[Callable[[int, int, int], None]]:
        """Tell it the partition, and how much of it is done of how much."""
        with Progress(console=err, transient=True, disable=self._quiet or not err.is_terminal) as bar:
            task = bar.add_task(f"{self._contract.name}: {what}", total=total)
            yield lambda number, done, all: bar.update(task, completed=number + (done / all if all else 1))

    @contextmanager
    def _waiting(self, what: str) -> Iterator[Callable[[int], None]]:
        with Progress(console=err, transient=True, disable=self._quiet or not err.is_terminal) as bar:
            task = bar.add_task(what, total=None)
            yield lambda behind: bar.update(task, description=f"{what}: {behind} op records behind")


def reached_data(wanted: int, found: Reached | Refused) -> dict[str, Any]:
    """For `--json`, beside what a replay tells."""
    if isinstance(found, Refused):
        return {"generation": wanted, "in_force": False}
    return {
        "generation": wanted,
        "in_force": True,
        "before": found.before.read,
        "made": found.way is Way.MAKE,
        "documents": sum(one.documents for one in found.written),
        "rows": sum(one.rows for one in found.written),
    }
