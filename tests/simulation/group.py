"""The consumer group of the merge workers: who owns which partition, in which generation, and what may be committed.

Kafka's promises and no more: a rebalance asks the members to finish (bounded), then deals the partitions anew under a new generation;
a member that is silent for the session timeout is expelled without being asked, and does not know it yet; commits of an old
generation are refused. So two workers may work on one partition at once, and only one of them can commit.
"""

from __future__ import annotations

from typing import Protocol

from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.topics import ops_topic
from tests.simulation.app import SPACE
from tests.simulation.log import SimulatedLog
from tests.simulation.scheduler import Event, Scheduler

SESSION_MS = 10_000
REBALANCE_MS = 20_000
OPS = ops_topic(SPACE.name)


class Member(Protocol):
    """A worker process as the group sees it."""

    name: str

    def finish(self) -> None:
        """Take no further records; call `Group.finished` when all is acknowledged."""
        ...

    def own(self, partitions: list[int], generation: int) -> None:
        """These partitions are yours now, and only these."""
        ...


class Group:
    """The coordinator of one space's group."""

    def __init__(self, scheduler: Scheduler, log: SimulatedLog, space: SpaceContract = SPACE) -> None:
        self._scheduler = scheduler
        self._log = log
        self._ops, self._partitions = ops_topic(space.name), space.partitions
        self._members: dict[str, Member] = {}
        self._awaited: dict[str, Member] = {}
        self._deadline: Event | None = None
        self.generation = 0
        self._owner: dict[int, str] = {}

    def join(self, member: Member) -> None:
        """A process asks in."""
        self._members[member.name] = member
        self.rebalance("join")

    def leave(self, member: Member) -> None:
        """A process goes in good order, or is silent for too long."""
        if self._members.get(member.name) is member:
            del self._members[member.name]
            self._awaited.pop(member.name, None)
            self.rebalance("leave")

    def rebalance(self, why: str) -> None:
        """Ask all members to finish, then deal again."""
        self._scheduler.note(f"rebalance ({why})")
        if self._deadline is not None:
            self._deadline.cancel()
        self._awaited = dict(self._members)
        self._deadline = self._scheduler.after(REBALANCE_MS, "rebalance deadline", self._deal)
        for member in list(self._members.values()):
            member.finish()

    def finished(self, member: Member) -> None:
        """A member has nothing under way."""
        if self._awaited.get(member.name) is member:
            del self._awaited[member.name]
            if not self._awaited and self._deadline is not None:
                self._deadline.cancel()
                self._deadline = self._scheduler.after(self._scheduler.between(1, 300), "deal", self._deal)

    def _deal(self) -> None:
        self._deadline = None
        self._awaited = {}
        self.generation += 1
        names = list(self._members)
        dealt: dict[str, list[int]] = {name: [] for name in names}
        self._owner = {}
        for partition in range(self._partitions):
            if names:
                name = self._scheduler.random.choice(names)
                self._owner[partition] = name
                dealt[name].append(partition)
        self._scheduler.note(f"generation {self.generation}: {dealt}")
        for name in names:
            self._members[name].own(dealt[name], self.generation)

    def commit(self, member: Member, generation: int, partition: int, offset: int) -> bool:
        """Remember a position, if the member still owns the partition."""
        if generation != self.generation or self._owner.get(partition) != member.name:
            return False
        if self._members.get(member.name) is not member:
            return False
        assert offset >= self._log.committed(self._ops, partition), "a position never goes back"
        self._log.commit(self._ops, partition, offset)
        return True
