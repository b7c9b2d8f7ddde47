"""Which partitions this replica follows, and how far it has come in each.

A scope lies in one partition of every space, and of a space an agent reads the states, the rows of the chains and the conflicts; beside
them the device registry, if it knows whose word to believe there. How far it has come stands beside what was read, in the same write, so this is only looked up.
"""

from __future__ import annotations

from collections.abc import Collection

from driftlog_edge.incoming.intake import Kind
from driftlog_edge.link import registry_line
from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.partitioning import partition_of


class Places:
    """The partitions of the held scopes, each a (topic, partition)."""

    def __init__(self, contract: AppContract, scopes: Collection[str], journal: Journal, *, registry: bool) -> None:
        self._contract = contract
        self._journal = journal
        self._registry = [registry_line.PLACE] if registry else []
        self.topics: dict[str, tuple[str, Kind]] = {}
        """Of each topic its space and what it carries."""
        for name in contract.spaces:
            self.topics[topics.state_topic(name)] = (name, "state")
            self.topics[topics.receipts_topic(name)] = (name, "receipts")
            self.topics[topics.conflicts_topic(name)] = (name, "conflicts")
        self._of_spaces = dict(self.topics)
        self.topics.update({topic: ("", "devices") for topic, _ in self._registry})
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
        self.all += self._registry
        self.states = [place for place in self.all if self.topics[place[0]][1] == "state"]

    def position(self, topic: str, partition: int) -> int:
        """The next offset this replica will read."""
        return _cursor(self._journal, topic, partition)

    def positions(self) -> dict[tuple[str, int], int]:
        """The same for all of them."""
        return {place: self.position(*place) for place in self.all}

    def shows(self, place: tuple[str, int], end: int) -> bool:
        """Do readers see all of a partition up to there?"""
        return _cursor(self._journal.durable, *place) >= end

    def applied(self) -> dict[str, int]:
        """`space/partition` -> offset of the state topic up to which this replica has applied it."""
        return {f"{self.topics[topic][0]}/{at}": self.position(topic, at) for topic, at in self.states}


def _cursor(source: Source, topic: str, partition: int) -> int:
    return keys.unpack_number(source.get(Family.META, keys.cursor_key(topic, partition)))
