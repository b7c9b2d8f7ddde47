"""The rebuilt read model in topics of its own, put in force in the place of the one that runs: all the steps in their order.

Nothing is in force before the operator's first line, so whatever ends this before leaves topics that nobody reads. What each step is about `switching`,
`publication` and `open_calls` say.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.generations import InForce
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.topics import SpaceTopics
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.errors import SetupProblem
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.replaying import open_calls
from driftlog_streams.replaying.commits import Commits
from driftlog_streams.replaying.kept import Kept, MadeBy, kept, nothing_kept
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.publication import Delivery, Written, publish, require_written
from driftlog_streams.replaying.replay import PartitionReport, Replay
from driftlog_streams.replaying.scratch import scratch
from driftlog_streams.replaying.switching import (
    Way,
    follow_over,
    lay_topics,
    require_declared,
    require_leading_on,
    way_to,
)


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


Told = Callable[[str, float, float], None]
"""What is done now, and how much of it is done of how much; 0 of 0 where nobody can tell."""


def untold(what: str, done: float, total: float) -> None:
    """Nobody is told."""


class NewGeneration:
    """Of one space. `enrolment` has the operator's key."""

    def __init__(
        self,
        contract: SpaceContract,
        ids: SchemaIds,
        kafka: KafkaSettings,
        enrolment: Enrolment,
        limit: int,
        wait_seconds: float,
        told: Told = untold,
        made_by: MadeBy | None = None,
    ) -> None:
        """`limit` bounds how many differences are listed, `wait_seconds` how long the workers may take to follow. What is rebuilt is kept for another attempt where
        it is told by what it is `made_by`."""
        self._made_by = made_by
        self._contract, self._ids, self._enrolment = contract, ids, enrolment
        self._kafka, self._limit, self._wait, self._told = kafka, limit, wait_seconds, told
        self._admin = TopicsAdmin(kafka)
        self._commits = Commits(kafka, contract.partitions)

    def reach(self, wanted: int, *, sure: bool) -> Reached | Refused:
        """Have this generation in force; `sure`, though it differs from the one that runs, or was left before.

        Raises `SetupProblem`, `NotWhole`, `TopicProblem`, `BrokerUnreachable`, `DeliveryFailed`.
        """
        name = self._contract.name
        now, ever = self._enrolment.generations(name)
        way = way_to(wanted, now, ever)
        done = Reached(now, way, [], [])
        if way is Way.NOTHING:
            return done
        require_declared(self._admin, SpaceTopics(name, now.read), self._contract.partitions)
        with closing(Logs(self._kafka)) as logs:
            if way is Way.MAKE:
                found = self._make(logs, SpaceTopics(name, now.read), wanted, sure=sure)
                if isinstance(found, Refused):
                    return found
                done = Reached(now, way, *found)
            elif way is Way.RETURN:
                self._return(logs, SpaceTopics(name, wanted), now, sure=sure)
        self._switch(now, wanted)
        return done

    def _make(
        self, logs: Logs, running: SpaceTopics, wanted: int, *, sure: bool
    ) -> tuple[list[PartitionReport], list[Written]] | Refused:
        """Rebuild, compare, write, read back, and say where its workers begin. Nothing of it is in force then."""
        then = SpaceRules(self._contract, self._ids, generation=running.generation)
        devices = self._enrolment.view
        with scratch("generation") as folder, closing(WorkerStore(folder / "states")) as stores:
            Replay(then, devices, logs, stores, self._limit).require_whole()
            with self._kept(wanted) as kept, closing(WorkerStore(kept.folder / "rebuilt")) as rebuilt:
                replay = Replay(then, devices, logs, stores, self._limit, rebuilt)
                reports = self._rebuild(replay, running)
                if not sure and any(report.differing for report in reports):
                    kept.stays = True  # --yes goes on from here
                    return Refused(reports)
                written = self._write(replay, then, logs, wanted, stores)
                topics = SpaceTopics(self._contract.name, wanted)
                self._commits.begin(topics, {report.partition: report.merged_to + 1 for report in reports})
        return reports, written

    def _kept(self, wanted: int) -> AbstractContextManager[Kept]:
        """Where what is rebuilt lies: of each op topic that there ever was in a folder of its own."""
        if self._made_by is None:
            return nothing_kept("rebuilt")
        name = self._contract.name
        (ops,) = self._admin.topic_ids([SpaceTopics(name).ops])
        return kept("generation", f"{name}-{wanted}-{ops}", self._made_by)

    def _rebuild(self, replay: Replay, running: SpaceTopics) -> list[PartitionReport]:
        committed = self._commits.read(running)
        return [
            replay.replay(number, None, self._merged, compare=True, verdicts=False, committed=committed[number])
            for number in range(self._contract.partitions)
        ]

    def _write(self, replay: Replay, then: SpaceRules, logs: Logs, wanted: int, stores: WorkerStore) -> list[Written]:
        """Into topics of its own, and read back."""
        count = self._contract.partitions
        rules = SpaceRules(self._contract, self._ids, generation=wanted)
        lay_topics(self._admin, logs, then.topics, wanted, count)
        written, delivery = [], Delivery(self._kafka)
        for number in range(count):
            self._told("writing", number, count)
            store = replay.rebuilt(number)
            open_calls.take_over(then, logs, number, store)
            written.append(publish(rules, number, store, delivery.deliver))
            require_written(rules, logs, number, store, stores.partition(2 * count + number))
        return written

    def _return(self, logs: Logs, to: SpaceTopics, now: InForce, *, sure: bool) -> None:
        """An earlier generation can be put in force again."""
        require_leading_on(self._admin, logs, to, self._contract.partitions, self._commits.read(to))
        if not sure and now.read != to.generation:
            raise SetupProblem(
                f"generation {to.generation} was in force before {now.read}, and is as it was left: its workers merge what came since",
                "give --yes to go back to it",
            )

    def _switch(self, now: InForce, wanted: int) -> None:
        name = self._contract.name
        self._enrolment.switch(name, InForce(wanted, now.read))
        left = now.merged if now.merged != wanted else now.read
        if left != wanted:
            follow_over(self._commits, SpaceTopics(name, left), SpaceTopics(name, wanted), self._wait, self._behind)
        self._enrolment.switch(name, InForce(wanted, wanted))

    def _merged(self, partition: int, done: int, total: int) -> None:
        self._told("rebuilding", partition + (done / total if total else 1), self._contract.partitions)

    def _behind(self, records: int) -> None:
        self._told(f"the workers follow, {records} op records behind", 0, 0)
