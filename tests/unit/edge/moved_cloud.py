"""The in-process cloud gives `retail` another number of partitions: its log is closed, what was merged is laid anew, and merging goes on there."""

from __future__ import annotations

from typing import Any

from driftlog_edge.ports import Record, Sealed
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.devices import Device
from driftlog_schemas.generations import InForce, switched
from driftlog_schemas.identity import DocumentId, device_of
from driftlog_schemas.messages import ChainRow, Command, CommandOutcome, Verdict
from driftlog_schemas.moves import Moved, announcing, following_name, moving
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import COLLECTIONS, EPOCH_MS
from tests.unit.edge.shop import PARTITIONS
from tests.unit.edge.test_registry_line import publish

KINDS = (topics.state_topic, topics.receipts_topic, topics.conflicts_topic, topics.ops_topic)


class Move:
    """Of `retail`, from one number of its topics to the next. `since` is told of each partition of before."""

    def __init__(
        self, cloud: Cloud, partitions: int, before: int = PARTITIONS, number: int = 2, since: int = 0
    ) -> None:
        self.cloud = cloud
        self.partitions = partitions
        self.old, self.name = following_name("retail", number - 1), following_name("retail", number)
        self._before, self._number, self._since = before, number, since
        self.begins = 0
        self._floors: dict[int, int] = {}
        """Up to which record whoever writes in a new partition must have read."""
        self.in_vain: list[Sealed] = []
        """What was sent to the closed log."""
        self._merge = cloud.merge

    def announce(self) -> None:
        """The operator says that it begins."""
        publish(self.cloud, self._announced())

    def _announced(self) -> Device:
        return announcing(switched(None, self.old, InForce(), EPOCH_MS), self.partitions, EPOCH_MS)

    def close(self) -> None:
        """The log takes nothing any more."""
        self.cloud.merge = self._merged  # type: ignore[assignment,method-assign]
        for row in list(self.cloud.rows.values()):
            if row.space == self.old:
                del self.cloud.rows[row.replica, row.partition]

    def take_back(self) -> None:
        """Nothing is closed, and the operator says that it stays as it is."""
        publish(self.cloud, announcing(self._announced(), None, EPOCH_MS + 1))

    def _merged(self, sealed: Sealed, *rest: Any) -> Any:
        body = BatchCodec(FixedIds()).open(sealed.value).body
        batch = decode_body(body)
        if batch.space == self.old:
            self.in_vain.append(sealed)
            return None
        if batch.space == self.name:
            assert batch.read >= self._floors[batch.partition], "it has read what was laid anew"
            for command in batch.commands:
                assert partition_of(command.scope, self.partitions) == batch.partition
        return self._merge(sealed, *rest)

    def say_closed(self, replica: str, parked: Command) -> None:
        """What waited is given back to its device when its log is closed."""
        at = partition_of(parked.scope, self._before)
        others = {place: row for place, row in self.cloud.rows.items() if place[1] != at}
        for place in others:
            del self.cloud.rows[place]
        self.cloud.release(replica, parked, CommandOutcome(parked.id, Verdict.DEFERRED, "closed"))
        self.cloud.rows.update(others)

    def lay_anew(self, *lives: str) -> None:
        """All that was merged, by the new count, and that these lives are over."""
        cloud = self.cloud
        ends = [len(cloud.of(topics.ops_topic(self.old), at)) for at in range(self._before)]
        self.begins = max(ends) + 1
        for kind in KINDS:
            cloud.partitions[kind(self.name)] = self.partitions
        for at in range(self.partitions):
            log = cloud.topics.setdefault((topics.ops_topic(self.name), at), [])
            log.extend(Record(number, b"", b"", (), EPOCH_MS) for number in range(self.begins))
            here = [d for d in cloud.states if self._lies(d) == at]
            self._floors[at] = self.begins - 1 if here else -1
            if here:
                cloud.publish_group(self.name, at, here, number=self.begins - 1)
            for life in lives:
                row = ChainRow(
                    device_of(life), life, self.name, at, 0, b"", 1, (), ended="ended", ended_at=self.begins - 2
                )
                cloud.publish_row(row)

    def _lies(self, document: DocumentId) -> int | None:
        """In which new partition; None of another space."""
        retail = COLLECTIONS[document.collection].space == "retail"
        return partition_of(document.scope, self.partitions) if retail else None

    def say(self) -> Moved:
        """The operator says where it goes on."""
        publish(self.cloud, moving(self._announced(), self.to, EPOCH_MS))
        return self.to

    @property
    def to(self) -> Moved:
        """Where it goes on, once that is laid."""
        return Moved(self._number, self.partitions, self.begins, (self._since,) * self._before)

    def write(self, document: DocumentId, field: str, kind: str, value: Any) -> None:
        """Somebody who has followed writes."""
        cloud, rules = self.cloud, COLLECTIONS[document.collection].document
        state = cloud.states.setdefault(document, rules.new())
        rules.apply(state, rules.prepare(state, "office.2", EPOCH_MS << 16, field, kind, value))
        at = partition_of(document.scope, self.partitions)
        log = cloud.topics[topics.ops_topic(self.name), at]
        log.append(Record(len(log), b"office", b"", (), EPOCH_MS))
        cloud.publish_group(self.name, at, [document], number=len(log) - 1)
