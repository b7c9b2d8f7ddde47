"""Which partitions this replica follows, and how far it has come in each.

A scope lies in one partition of every space, and of a space an agent reads the states, the rows of the chains and the conflicts; beside
them the device registry, if it knows whose word to believe there. How far it has come stands beside what was read, in the same write, so this is only looked up.
"""

from __future__ import annotations

from collections.abc import Collection

from driftlog_edge.incoming.landmarks import Kind
from driftlog_edge.link import registry_line
from driftlog_edge.ports import Extent
from driftlog_edge.store.cursors import Cursor, cursor_of
from driftlog_edge.store.generations import return_of
from driftlog_edge.store.journal import Journal
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.partitioning import partition_of


class Places:
    """The partitions of the held scopes, each a (topic, partition)."""

    def __init__(self, contract: AppContract, scopes: Collection[str], journal: Journal, *, registry: bool) -> None:
        self._contract = contract
        self._journal = journal
        self.registry = [registry_line.PLACE] if registry else []
        """The one of the device registry, if it is followed."""
        self.topics: dict[str, tuple[str, Kind]] = {}
        """Of each topic its space and what it carries."""
        for name in contract.spaces:
            self.topics[topics.state_topic(name)] = (name, "state")
            self.topics[topics.receipts_topic(name)] = (name, "receipts")
            self.topics[topics.conflicts_topic(name)] = (name, "conflicts")
        self._of_spaces = dict(self.topics)
        self.topics.update({topic: ("", "devices") for topic, _ in self.registry})
        self.topics.update({topics.ops_topic(name): (name, "ops") for name in contract.spaces})
        self.ops: list[tuple[str, int]] = []
        """Where our batches go; nobody here reads them."""
        self.all: list[tuple[str, int]] = []
        self.states: list[tuple[str, int]] = []
        """Those of them that carry states."""
        self.hold(scopes)

    def hold(self, scopes: Collection[str]) -> None:
        """From now on follow what these scopes need."""
        self.all = [
            (topic, partition)
            for topic, (space, _) in self._of_spaces.items()
            for partition in sorted({partition_of(s, self._contract.spaces[space].partitions) for s in scopes})
        ]
        self.ops = [
            (topics.ops_topic(self.topics[topic][0]), at) for topic, at in self.all if self.topics[topic][1] == "state"
        ]
        self.all += self.registry
        self.states = [place for place in self.all if self.topics[place[0]][1] == "state"]

    def position(self, topic: str, partition: int) -> int:
        """Before which offset this replica has applied all."""
        return cursor_of(self._journal, topic, partition).offset

    def positions(self) -> dict[tuple[str, int], int]:
        """From where each of them is to be read: where it is read again, that is behind what the fresh rows have."""
        return {place: self._from(*place) for place in self.all}

    def cursor(self, topic: str, partition: int) -> Cursor:
        """Where this replica stands."""
        return cursor_of(self._journal, topic, partition)

    def is_read(self, place: tuple[str, int], extent: Extent) -> bool:
        """Is what the broker has of a partition of states what readers see, as far as it was read?"""
        space, partition = self.topics[place[0]][0], place[1]
        durable = self._journal.durable
        if return_of(durable, space, partition) is not None:
            return False
        return cursor_of(durable, *place).topic_id == extent.topic_id

    def shows(self, place: tuple[str, int], extent: Extent) -> bool:
        """Do readers see all that the broker had of it?"""
        return self.is_read(place, extent) and cursor_of(self._journal.durable, *place).offset >= extent.end

    def has_read(self, place: tuple[str, int], extent: Extent) -> bool:
        """Was all read that the broker had of a partition that is read record by record?"""
        cursor = self.cursor(*place)  # of a topic that was made anew it counts nothing
        return cursor.topic_id == extent.topic_id and (cursor.offset >= extent.end or extent.start >= extent.end)

    def states_beside(self, place: tuple[str, int]) -> tuple[str, int]:
        """The partition of states that tells of the same documents as this one of conflicts."""
        space = self.topics[place[0]][0]
        return next(one for one in self.states if one[1] == place[1] and self.topics[one[0]][0] == space)

    def described(self, place: tuple[str, int]) -> tuple[str, Kind]:
        """The space of a place, and what it carries."""
        return self.topics[place[0]]

    def _from(self, topic: str, partition: int) -> int:
        space, kind = self.topics[topic]
        under_way = return_of(self._journal, space, partition) if kind == "state" else None
        return (under_way.cursor if under_way else cursor_of(self._journal, topic, partition)).offset

    def applied(self) -> dict[str, int]:
        """`space/partition` -> offset of the state topic up to which this replica has applied it."""
        return {f"{self.topics[topic][0]}/{at}": self.position(topic, at) for topic, at in self.states}
