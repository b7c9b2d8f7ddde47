"""Small worlds at random: devices that come and go, write, delete and make anew, a cloud that forgets at any moment, crashes and late copies.

Whatever happens, a replay of the op log alone gives the same bytes, and what a document says is what those wrote who are later than
its last purge.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from driftlog_crdt import PAST, DocumentState, Op
from driftlog_crdt.causal import MOST_FORGOTTEN
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.forgetting_codec import digest_of
from driftlog_schemas.identity import CLOUD_REPLICA, OVER_REPLICA, DocumentId
from driftlog_schemas.messages import Batch, DocumentOp, Forgetting, Verdict
from driftlog_streams.core import memory
from driftlog_streams.core.flight import Stage
from driftlog_streams.core.memory import NOTHING, Memory
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from tests.few import few
from tests.unit.streams.cloud import Cloud, command, key, stock
from tests.unit.streams.test_forgotten_recovery import Kept

DOCUMENTS = [stock(f"d{number}") for number in range(3)]
STEPS = 220


@pytest.fixture(autouse=True)
def fold_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of lives is enough."""
    monkeypatch.setattr(memory, "FOLD_FROM", 4)


class Writer:
    """A life that has read the partition up to `read`, and writes on what it saw then."""

    def __init__(self, world: World, replica: str) -> None:
        self.world, self.replica = world, replica
        self.read = -1
        self.views: dict[DocumentId, DocumentState] = {}

    def catch_up(self) -> None:
        """It sees all that is merged; its own ops are in it, for they were answered."""
        kind = self.world.cloud.rules.collections["Stock"].type
        self.read = self.world.cloud.end - 1
        self.views = {document: kind.copy(self.world.cloud.state(document)) for document in DOCUMENTS}

    def write(self, random: Random) -> None:
        kind = self.world.cloud.rules.collections["Stock"].type
        document = random.choice(DOCUMENTS)
        view = self.views.setdefault(document, kind.new())
        if random.random() < 0.3 and kind.exists(view):
            op = kind.prepare(view, self.replica, self.world.tick(), "", "delete", None)
        elif random.random() < 0.3:
            op = kind.prepare(view, self.replica, self.world.tick(), "name", "set", f"n{self.world.time}")
        else:
            op = kind.prepare(view, self.replica, self.world.tick(), "on_hand", "increment", 1)
        kind.apply(view, op)
        if random.random() < 0.15:
            self.world.held.append((self, document, op))  # it comes late, or never
        else:
            self.world.append(self, document, op)

    def taken_along(self, random: Random, read: int, root: str) -> None:
        """A count that an earlier life had promised when it had read so far, sent by this one."""
        kind = self.world.cloud.rules.collections["Stock"].type
        document = random.choice(DOCUMENTS)
        view = self.views.setdefault(document, kind.new())
        op = kind.prepare(view, self.replica, self.world.tick(), "on_hand", "increment", 1)._replace(context=None)
        kind.apply(view, op)
        self.world.append(self, document, op, read, root)


class World:
    """One partition and its log."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.cloud = Cloud()
        self.log: list[bytes] = []
        self.time = 0
        self.lives = 0
        self.writers = [self.born() for _ in range(3)]
        self.held: list[tuple[Writer, DocumentId, Op]] = []
        self.purges = self.refused = self.crashes = self.dropped = 0

    def tick(self) -> int:
        self.time += 1
        return self.time << 16

    def born(self) -> Writer:
        self.lives += 1
        writer = Writer(self, f"store-1.{self.lives:x}")
        writer.catch_up()
        return writer

    def append(self, writer: Writer, document: DocumentId, op: Op, written: int | None = None, root: str = "") -> None:
        sent = command(f"c{self.time}", DocumentOp(document, op))._replace(written=written, root=root)
        ends = (root,) if root else ()
        self.put(self.cloud.batch(sent, replica=writer.replica, read=writer.read, ends=ends))
        row = self.cloud.merger._at.book.get(writer.replica)
        told = [o for entry in row.entries for o in entry.outcomes if o.verdict is not Verdict.PARKED] if row else []
        if (row is None or row.ended or row.notice is not None or told) and writer in self.writers:
            self.refused += 1  # away, retired, purged, dropped: the device goes on in a new life, and has read all
            self.writers[self.writers.index(writer)] = self.born()

    def put(self, value: bytes) -> None:
        self.log.append(value)
        self.cloud.merge_value(value)

    def renew(self, writer: Writer) -> None:
        """Its folder was restored or copied, or it was away: what it had promised goes on under a new life."""
        following = self.born()
        self.writers[self.writers.index(writer)] = following
        following.taken_along(self.random, writer.read, writer.replica)

    def forget(self) -> None:
        """At any moment, with a floor that anybody may be below, and tombstones as they are now or were a moment ago."""
        cloud, random = self.cloud, self.random
        cloud.fly()
        kind = cloud.rules.collections["Stock"].type
        dead = [d for d in DOCUMENTS if not (kind.exists(cloud.state(d)) or kind.blank(cloud.state(d)))]
        purge = {key(d): digest_of(cloud.state(d).vector) for d in dead}
        known = cloud.merger.forgotten
        floor = max(
            cloud.end - random.choice([0, 1, 5, 30]) - 1, known.forgot[-1].floor if known and known.forgot else 0, 0
        )
        if dead and floor < cloud.end - 1 and random.random() < 0.5:
            floor = cloud.end - 1  # a tombstone goes only when it lies below the floor
        elif floor < cloud.end - 1:
            purge = {}
        silent = {f"store-1.{random.randint(1, self.lives):x}": "store-1" for _ in range(3)}
        over = tuple(sorted({f"store-1.{random.randint(1, self.lives):x}" for _ in range(12)}))
        value = cloud.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=Forgetting(floor, silent, purge, over=over))
        if random.random() < 0.3:
            random.choice(self.writers).write(random)
        self.purges += bool(purge)
        self.put(value)

    def drop(self) -> None:
        """A person gives up some of what waits."""
        waiting = [arrival.key.decode() for arrival in self.cloud.merger.parking.waiting()]
        if waiting:
            self.cloud.fly()
            names = tuple(self.random.sample(waiting, self.random.randint(1, len(waiting))))
            value = self.cloud.batch(replica=CLOUD_REPLICA, floor=1 << 30, forget=Forgetting(-1, drop=names))
            if self.random.random() < 0.3:
                self.random.choice(self.writers).write(self.random)
            self.put(value)
            self.dropped += len(names)

    def crash(self) -> None:
        """Rows are out and some of the states, or some of the rows; what was not acknowledged is read again."""
        cloud = self.cloud
        self.crashes += 1
        first = cloud.merger.committed
        if not cloud.merger.work.empty:
            flight = cloud.seal()
            (part,) = flight.partitions
            urgent = [(replica, row) for replica, row in part.rows if replica in part.work.urgent]
            if self.random.random() < 0.5:
                cloud.rows.update(urgent)
                cloud.store.update(part.writes[: self.random.randint(0, len(part.writes))])
                cloud.gone.update(part.passed.gone)
            else:
                cloud.rows.update(urgent[: self.random.randint(0, len(urgent))])
            cloud.published += flight.records(Stage.FIRST)
            store = Kept()
            store.rows = cloud.rows
            Restoration(cloud.rules).without_removed(store, Recovered())
        cloud.new_life(committed=first)
        cloud.restore_parked()
        cloud.merger.resume(first)
        for offset, value in list(enumerate(self.log))[first:]:
            cloud.merge_value(value, offset=offset)

    def live(self) -> None:
        for _ in range(STEPS):
            chance = self.random.random()
            writer = self.random.choice(self.writers)
            if chance < 0.45:
                writer.write(self.random)
            elif chance < 0.55:
                self.renew(writer)
            elif chance < 0.75:
                writer.catch_up()
            elif chance < 0.80:
                self.forget()
            elif chance < 0.88:
                self.drop()
            elif chance < 0.90 and self.held:
                self.append(*self.held.pop(self.random.randrange(len(self.held))))
            elif chance < 0.93:
                self.cloud.fly()
            elif chance < 0.96:
                self.crash()
            elif self.log:
                self.put(self.random.choice(self.log))
        self.cloud.fly()


def increments(world: World, document: DocumentId, after: int) -> int:
    """How many increments of a document were written after this offset."""
    found = 0
    for value in world.log[after + 1 :]:
        batch = decode_body(world.cloud.rules.batches.open(value).body)
        for sent in batch.commands:
            late = sent.written is None or sent.written >= after or sent.written < 0
            found += late and sum(d == document and op.kind == "increment" for d, op in sent.ops)
    return found


def broken(seed: int) -> str:
    """What is wrong with the world of this seed; empty where nothing is."""
    world = World(seed)
    world.live()
    again = Cloud()
    again.devices = world.cloud.devices
    for value in world.log:
        again.merge_value(value)
        if world.random.random() < 0.1:
            again.fly()
    again.fly()
    if world.cloud.quarantined() or again.quarantined():
        return "a command was set aside: it failed where it was merged"
    one, other = ({k: v for k, v in c.store.items() if v is not None} for c in (world.cloud, again))
    if one != other:
        return "a replay of the log alone gives other bytes"
    rows, others = ({name for name, row in c.rows.items() if row is not None} for c in (world.cloud, again))
    if rows != others or world.cloud.rows.get(OVER_REPLICA) != again.rows.get(OVER_REPLICA):
        return f"a replay of the log alone has other chain rows: {rows ^ others}"
    for document in DOCUMENTS:
        purged = world.cloud.gone.get(key(document), -1)
        if world.cloud.value(document, "on_hand") > increments(world, document, purged):  # type: ignore[operator]
            return f"something of before its last purge has come back in {document}"
    return ""


@pytest.mark.parametrize("seed", few(range(40), 6))
def test_a_replay_of_the_log_alone_gives_the_same_bytes_and_nothing_comes_back(seed: int) -> None:
    assert broken(seed) == ""


def judges_by_the_newest_row(memory: Memory, offset: int) -> None:
    """Planted: a record that is read again is judged, and folds, by what the partition has forgotten since."""
    memory._offset = offset
    memory.forgets(memory._all()[-1] if memory._all() else NOTHING)


def hears_everybody(memory: Memory, batch: Batch) -> bool:
    """Planted: who had not read up to the floor is heard as well."""
    return False


@pytest.mark.parametrize(
    ("name", "planted"), [("reach", judges_by_the_newest_row), ("lags", hears_everybody)], ids=["newest row", "away"]
)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, name: str, planted: Any) -> None:
    monkeypatch.setattr(Memory, name, planted)
    assert any(broken(seed) for seed in range(12))


@pytest.mark.slow
def test_the_worlds_meet_what_they_are_for() -> None:
    worlds = [World(seed) for seed in range(12)]
    for world in worlds:
        world.live()
    assert sum(world.purges for world in worlds) > 20
    assert sum(world.refused for world in worlds) > 20
    assert sum(world.dropped for world in worlds) > 20
    codes = [
        row.notice.code
        for world in worlds
        for number in range(1, world.lives)
        if (row := world.cloud.merger._at.book.get(f"store-1.{number:x}")) is not None and row.notice is not None
    ]
    assert {"away", "retired"} <= set(codes)
    said = {
        outcome.code
        for world in worlds
        for number in range(1, world.lives)
        if (row := world.cloud.merger._at.book.get(f"store-1.{number:x}")) is not None
        for entry in row.entries
        for outcome in entry.outcomes
    }
    assert {"purged", "gone"} <= said
    pasts = [world.cloud.state(d).vector.get(PAST, 0) & MOST_FORGOTTEN for world in worlds for d in DOCUMENTS]
    assert sum(map(bool, pasts)) > 5, "documents have folded"
