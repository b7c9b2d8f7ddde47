"""A space of three partitions that is closed, and its successor of seven, in memory: records by hand, the merge core, stores on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from driftlog_crdt import DocumentState, Plain
from driftlog_schemas.batch_codec import batch_digest, encode_body
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.forgetting_codec import digest_of
from driftlog_schemas.identity import CLOSER, CLOSING_REPLICA, CLOUD_REPLICA, DocumentId, device_of
from driftlog_schemas.messages import Batch, ChainRow, Command, CommandOutcome, Conflict, Forgetting
from driftlog_schemas.moves import Moved, present
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import Identity
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from driftlog_streams.core.rights import CLOSE
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.replaying.predecessors import Closed, Predecessors, gathered
from driftlog_streams.replaying.publication import publish
from driftlog_streams.replaying.rebuild import Rebuild
from driftlog_streams.replaying.spreading import spread
from tests.unit.streams.cloud import IDS, NOW_MS, SPACE, Cloud, device

BEFORE, AFTER = 3, 7


class Side:
    """The partitions of one space, merged as records come."""

    def __init__(self, space: SpaceContract, cloud: Cloud, stores: WorkerStore, first: int, begins: int = 0) -> None:
        self.rules = SpaceRules(space, IDS)
        self.begins = begins
        self.stores = [stores.partition(first + number) for number in range(space.partitions)]
        self.ends = [begins] * space.partitions
        self.said: dict[str, str] = {}
        self._cloud = cloud
        self._merges: list[Rebuild] = []
        self._chains: dict[tuple[str, int], tuple[int, bytes]] = {}

    def begin(self) -> None:
        """Merge from here on, with what the stores have."""
        self._merges = [
            Rebuild(self.rules, number, store, self._cloud.devices, self._told)  # type: ignore[arg-type]
            for number, store in enumerate(self.stores)
        ]
        for merge in self._merges:
            merge.resume(())

    def _told(self, arrival: object, outcome: CommandOutcome | None) -> None:
        name = arrival.command.id  # type: ignore[attr-defined]
        self.said[name] = "accepted" if outcome is None else f"{outcome.verdict.value} {outcome.code}".strip()

    def place(self, scope: str) -> int:
        return partition_of(scope, self.rules.partitions)

    def send(
        self,
        *commands: Command,
        replica: str = "store-1.1",
        at: int | None = None,
        read: int | None = None,
        ends: Sequence[str] = (),
        forget: Forgetting | None = None,
    ) -> int:
        """The next batch of a life, by somebody who has read all there is unless told otherwise; its offset."""
        number = self.place(commands[0].scope) if at is None else at
        last, prev = self._chains.get((replica, number), (0, b""))
        batch = Batch(
            self.rules.name,
            number,
            replica,
            last + 1,
            commands,
            prev=prev,
            floor=last + 1,
            ends=tuple(ends),
            read=self.ends[number] - 1 if read is None else read,
            forget=forget,
        )
        return self.append(batch)

    def append(self, batch: Batch) -> int:
        body = encode_body(batch)
        self._chains[batch.replica, batch.partition] = batch.number, batch_digest(body)
        value = self.rules.batches.seal(body, self._cloud.identities[device_of(batch.replica)])
        offset = self.ends[batch.partition]
        self.ends[batch.partition] += 1
        self._merges[batch.partition].take(ChangelogRecord(b"", value, offset, (), NOW_MS))
        return offset

    def forget(self, at: int, floor: int, *purged: DocumentId, retired: Sequence[str] = ()) -> int:
        purge = {"/".join(document).encode(): digest_of(self.state(document).vector) for document in purged}
        lives = {replica: device_of(replica) for replica in retired}
        return self.send(replica=CLOUD_REPLICA, at=at, forget=Forgetting(floor, lives, purge))

    def rest(self) -> None:
        """All that was merged is in the stores."""
        for merge in self._merges:
            merge.end()

    def state(self, document: DocumentId) -> DocumentState:
        return self._merges[self.place(document.scope)].state(document)

    def value(self, document: DocumentId, name: str) -> Plain:
        return self.rules.collections[document.collection].type.field_value(self.state(document), name)

    def row(self, replica: str, at: int) -> ChainRow | None:
        return self._merges[at].row(replica)

    def documents(self) -> dict[bytes, bytes]:
        return {key: value for store in self.stores for key, value in store.documents()}


class World:
    """Both, and what is published of the second."""

    def __init__(self, folder: Path, space: SpaceContract = SPACE) -> None:
        self.cloud = Cloud()
        self.cloud.identities |= {name: Identity.create(name) for name in (CLOSER, "store-3")}
        self.cloud.devices.lines["store-3"] = device(self.cloud.identities["store-3"])
        self.cloud.devices.lines[CLOSER] = device(self.cloud.identities[CLOSER], scopes=(), permissions=(CLOSE,))
        self._stores = WorkerStore(folder / "stores")
        self._space = replace(space, partitions=BEFORE)
        self.before = Side(self._space, self.cloud, self._stores, 0)
        self.before.begin()
        self.published: list[OutRecord] = []
        self.inactive: set[str] = set()

    def beside(self, partitions: int) -> Side:
        """A space of the same name that never moves."""
        side = Side(replace(self._space, partitions=partitions), self.cloud, self._stores, 40)
        side.begin()
        return side

    def close(self) -> Predecessors:
        """End the logs; what their lives leave."""
        before = self.before
        closed = [
            Closed(before.stores[number], before.append(Batch("retail", number, CLOSING_REPLICA, 1, (), floor=1)))
            for number in range(BEFORE)
        ]
        before.rest()
        self.closed = closed
        return gathered(before.rules, closed)

    def move(self) -> Side:
        """Close it, lay it anew and let workers recover that."""
        known = self.close()
        begins = max(self.before.ends) + 1
        moved = Moved(2, AFTER, begins, known.since)
        space = present(self._space, lambda name: moved if name == self._space.name else None)
        made = Side(space, self.cloud, self._stores, 10, begins)
        self.documents = spread(
            made.rules, self.closed, made.stores, known, begins, lambda name: name not in self.inactive
        )
        self.made, after = made, Side(space, self.cloud, self._stores, 20, begins)
        for number in range(AFTER):
            publish(made.rules, number, made.stores[number], self.published.extend, conflicts=True)
            self._recover(after, number)
        after.begin()
        return after

    def _recover(self, after: Side, number: int) -> None:
        restoration, store = Restoration(after.rules), after.stores[number]
        found = Recovered(store.mark.positions, store.mark.group)
        found.ops_end = after.begins
        topics = after.rules.topics
        restoration.take(store, found, self._records(topics.state, number))
        restoration.count(store, found)
        restoration.take_rows(store, found, self._records(topics.receipts, number))
        restoration.without_removed(store, found)
        assert not found.answers and not found.tail.open, "nothing there is anybody else's"

    def _records(self, topic: str, number: int) -> list[ChangelogRecord]:
        there = [record for record in self.published if (record.topic, record.partition) == (topic, number)]
        return [ChangelogRecord(r.key, r.value, at, tuple(r.headers), 0) for at, r in enumerate(there)]

    def conflicts(self, side: Side) -> list[tuple[int, Conflict]]:
        """Those that are published, with their partitions."""
        topic = side.rules.topics.conflicts
        decode = side.rules.records.decode_conflict
        return [(r.partition, decode(r.value)) for r in self.published if r.topic == topic and r.value is not None]

    def end(self) -> None:
        self._stores.close()
