"""The topics where a space goes on, made as those that run are and filled with all that was merged, or gone on with as an attempt before has left them.

The op topic is numbered first, for a partition of it that begins behind its filling says that an attempt came so far. What is in the other topics says the rest (`continuation`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.topics import Plan, ops_topic, space_topics
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import DeliveryFailed, SetupProblem
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.replaying.calls_left import Carried
from driftlog_streams.replaying.conflict_history import copy_conflicts
from driftlog_streams.replaying.continuation import Continuation, Otherwise, others
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.publication import Delivery, publish, require_written
from driftlog_streams.replaying.renumbering import fill_up
from driftlog_streams.replaying.switching import like

log = structlog.get_logger()

Told = Callable[[str, float, float], None]
"""What is done now, and how much of it is done of how much; 0 of 0 where nobody can tell."""


class Laid(NamedTuple):
    """The successor's topics."""

    ids: Mapping[str, str]
    """Of each topic."""
    starts: Mapping[int, int]
    """Where each partition of the op topic begins."""
    written_before: int
    """How many records were there already."""


class Stores(NamedTuple):
    """What goes there."""

    filled: Sequence[PartitionStore]
    """One for each partition."""
    spare: Callable[[], PartitionStore]
    """Another empty one, for what is read back."""
    calls: Carried | None


@dataclass(frozen=True)
class Laying:
    """Of one space, whose present topics `rules` are of."""

    kafka: KafkaSettings
    rules: SpaceRules
    admin: TopicsAdmin
    logs: Logs
    looking_back: Logs
    """Its own, for it reads what is there while `logs` are read."""
    require_mine: Callable[[], None]
    """Raises where another attempt has begun since: it is asked before anything is written or deleted."""
    told: Told

    def begun_at(self, space: str, partitions: int, least: int) -> int:
        """Where an attempt before has let the log of the successor begin; 0 where it has not come so far, or that lies before `least`.

        Raises `BrokerUnreachable`.
        """
        ops = ops_topic(space)
        there = self.admin.existing([ops]).get(ops)
        if there is None or there.partitions != partitions:
            return 0
        begins = min(self.logs.extent(ops, number).start for number in range(partitions))
        return begins if begins >= least else 0

    def lay(self, after: SpaceRules, begins: int, stores: Stores) -> Laid:
        """All of it, behind what an attempt before has written, or from the beginning where that is otherwise.

        Raises:
            SetupProblem: another attempt has begun since.
            TopicProblem, BrokerUnreachable
            DeliveryFailed: also where what was written is not what is there.
        """
        try:
            return self._lay(after, begins, stores, anew=False)
        except Otherwise as found:
            _warn([str(found)])
        try:
            return self._lay(after, begins, stores, anew=True)
        except Otherwise as found:
            raise DeliveryFailed(
                f"{found}, and that is not what was written there just now",
                "somebody else writes there: see who may write these topics, then run the command again",
            ) from found

    def require_here(self, laid: Laid, space: str) -> None:
        """Raise `SetupProblem` where these topics are not those that this attempt has filled."""
        if self.admin.topic_ids([*laid.ids]) != [*laid.ids.values()]:
            raise SetupProblem(
                f"somebody else gives {space} another number of partitions just now, and has made its topics anew",
                "let that come to its end; if it does not, run the command again",
            )

    def _lay(self, after: SpaceRules, begins: int, stores: Stores, *, anew: bool) -> Laid:
        ids = self._topics(after, anew=anew)
        starts = self._numbered(after, begins)
        firsts = {(after.topics.ops, number): at for number, at in starts.items()}
        wanted = space_topics(after.name, after.partitions)
        filling = Continuation(self.looking_back, wanted, firsts, self._while_mine(Delivery(self.kafka).deliver))
        copy_conflicts(self.rules, after, self.logs, filling.deliver)
        for number, store in enumerate(stores.filled):
            self.told("writing", number, after.partitions)
            publish(after, number, store, filling.deliver, conflicts=True)
            filling.require_end(after.topics.state, number)
            filling.require_end(after.topics.receipts, number)
            require_written(after, self.logs, number, store, stores.spare())
        if stores.calls is not None:
            filling.deliver([*stores.calls.records()])
        filling.require_ends()
        return Laid(ids, starts, filling.left_out)

    def _topics(self, after: SpaceRules, *, anew: bool) -> dict[str, str]:
        """The id of each, as they are wanted. Those of an attempt before stay, unless they are others. What has come to its end by now is not deleted."""
        before = self.rules
        running = space_topics(before.name, before.partitions, generations=(before.topics.generation,))
        wanted = space_topics(after.name, after.partitions)
        names = [topic.name for topic in wanted]
        there = self.admin.existing([*(topic.name for topic in running), *names])
        made = [like(there.get(old.name), new) for old, new in zip(running, wanted, strict=True)]
        if changed := others(there, made):
            _warn(changed)
        self.require_mine()
        if anew or changed or not there.keys() >= {*names}:
            self.admin.remove(names)
            self.admin.apply(Plan(made, (), ()))
            for reader in (self.logs, self.looking_back):
                reader.renew()
        return dict(zip(names, self.admin.topic_ids(names), strict=True))

    def _numbered(self, after: SpaceRules, begins: int) -> dict[int, int]:
        """Let the successor's op topic count on from there; where each partition of it begins."""
        filled = 0

        def told(count: int) -> None:
            nonlocal filled
            filled += count
            self.require_mine()
            self.told("numbering", filled, begins * after.partitions)

        wanted = dict.fromkeys(range(after.partitions), begins)
        starts = fill_up(self.kafka, self.logs, after.topics.ops, wanted, told)
        self.require_mine()
        self.admin.forget_before(after.topics.ops, starts)
        return starts

    def _while_mine(self, deliver: Callable[[Sequence[OutRecord]], None]) -> Callable[[Sequence[OutRecord]], None]:
        def delivered(records: Sequence[OutRecord]) -> None:
            self.require_mine()
            deliver(records)

        return delivered


def _warn(changed: Sequence[str]) -> None:
    log.warning("what an earlier attempt has left is not gone on with", changed=changed)
