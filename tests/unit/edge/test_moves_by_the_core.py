"""Devices whose space moves, against the core by which workers merge and lay it anew: whatever was given counts once, and nobody has to be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from driftlog_crdt import AlgebraError
from driftlog_edge.ports import Record, Sealed
from driftlog_edge.store.carrying import carry
from driftlog_edge.store.moves import Move, Stage, written
from driftlog_schemas import groups
from driftlog_schemas.contract import AppContract, Json
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.moves import Moved
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.state_codec import StateCodec
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.replaying.predecessors import gathered
from tests.few import few
from tests.unit.edge.replica import Replica, finished
from tests.unit.streams.cloud import IDS, NOW_MS, app
from tests.unit.streams.spread import AFTER, BEFORE, Side, World
from tests.unit.streams.test_rights_that_come_back import EVENT
from tests.unit.streams.test_rights_that_come_back import app as hall

SCOPES = tuple(f"store {number}" for number in range(9))


def of_three(contract: AppContract) -> AppContract:
    """The app, had it declared as many partitions as the world begins with."""
    return replace(contract, spaces={"retail": replace(contract.spaces["retail"], partitions=BEFORE)})


RECORDS = RecordCodecs(IDS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.end()


def item(scope: str) -> DocumentId:
    return DocumentId("Stock", scope, "tea")


class Device:
    """One, with what it was asked to do."""

    def __init__(self, world: World, name: str, folder: Path, contract: AppContract = app.contract) -> None:
        self._declared = of_three(contract)
        self._world, self._name, self._folder = world, name, folder
        self.given: dict[str, tuple[str, int]] = {}
        """command id -> its scope, and by how much it counts up"""
        self._documents = (
            [item(scope) for scope in SCOPES] if "Stock" in contract.spaces["retail"].collections else [EVENT]
        )
        self._read: Counter[tuple[str, int]] = Counter()
        self._open(self._declared)

    def _open(self, contract: AppContract) -> None:
        identity = self._world.cloud.identities[self._name]
        self.replica = Replica(self._folder, identity, IDS, scopes=(*SCOPES, EVENT.scope), contract=contract)

    def write(self, scope: str, amount: int) -> None:
        """Count up, and put a tag of its own on it."""
        name = f"{self._name}/{len(self.given)}"
        self.given[name] = scope, amount
        changes: list[tuple[str, str, list[Json]]] = [
            ("on_hand", "increment", [amount]),
            ("tags", "add", [name]),
            ("name", "set", [name]),
        ]
        self.change(item(scope), name, changes)

    def change(self, document: DocumentId, name: str, changes: Sequence[tuple[str, str, Sequence[Json]]]) -> None:
        """Under this command's id. Raises as an agent does."""
        executed = self.replica.executor.write(document, changes, name, "")
        self.replica.journal.stage(executed.writes or {}, sync=True)
        self.replica.commit()

    def ship(self, side: Side, most: int = 1000) -> list[Sealed]:
        sent = self.replica.ship(most)
        for batch in sent:
            put(side, batch)
        return sent

    def pull(self, side: Side, at: int) -> None:
        """All that the cloud has of a partition: receipts, then states."""
        space = side.rules.name
        lives = [life.replica for life in self.replica.lives.all()]
        rows = [row for life in lives if (row := side.row(life, at)) is not None]
        self.replica.pull_receipts(
            [
                self._record(f"{space}.receipts", at, row.replica.encode(), RECORDS.encode_chain_row(row))
                for row in rows
            ],
            at,
            space,
        )
        codecs = {name: StateCodec(one, IDS) for name, one in side.rules.space.collections.items()}
        there = [one for one in self._documents if side.place(one.scope) == at and side.state(one).vector]
        states = [
            self._record(
                f"{space}.state",
                at,
                document_key(one),
                codecs[one.collection].encode(one, side.state(one)),
                groups.headers(side.ends[at] - 1, last=one is there[-1]),
            )
            for one in there
        ]
        if states:
            self.replica.pull_states(states, at, space)

    def _record(
        self, topic: str, at: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]] | None = None
    ) -> Record:
        offset = self._read[topic, at]
        self._read[topic, at] += 1
        return Record(offset, key, value, tuple(headers or ()), NOW_MS)

    def follow(self, side: Side, to: Moved) -> None:
        """As an agent does, once the line says where the space goes on."""
        for at in range(BEFORE):
            self.pull(side, at)
        renewal, journal = self.replica.renewal, self.replica.journal
        assert not renewal.unanswered("retail")
        whole = not renewal.silent("retail")
        journal.stage(renewal.close("retail", Move(to, Stage.CLOSED, whole)), sync=True)
        self.replica.commit()
        while not renewal.packed("retail"):
            for _, at in renewal.due:
                known = renewal.known("retail", at, [])
                assert renewal.unknown("retail", at) is None and known.complete
                for step in renewal.gathered("retail", at, known):
                    self.replica.renewed(at, step)
                begun = finished(renewal.begun("retail", at, known))
                assert begun is not None
                self.replica.renewed(at, begun)
                self.replica.take_along(at)
            journal.stage(renewal.end_those_of_before("retail"), sync=True)
        self.replica.store.write(written("retail", Move(to, Stage.PACKED, whole)), sync=True)
        contract = carry(self.replica.store, self._declared, NOW_MS)
        self.replica.close()
        self._open(contract)


def put(side: Side, batch: Sealed) -> None:
    """A batch comes into the log, and is merged if that is open."""
    offset = side.ends[batch.partition]
    side.ends[batch.partition] += 1
    side._merges[batch.partition].take(ChangelogRecord(batch.key, batch.value, offset, (), NOW_MS))


@pytest.mark.parametrize("seed", few(range(12), 3))
def test_whatever_was_given_counts_once(world: World, tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    devices = [Device(world, name, tmp_path / name) for name in ("store-1", "store-3")]
    before = world.before
    for _ in range(40):
        one = chance.choice(devices)
        what = chance.random()
        if what < 0.55:
            one.write(chance.choice(SCOPES), chance.randint(1, 9))
        elif what < 0.75:
            one.ship(before, chance.randint(1, 3))
        else:
            one.pull(before, chance.randrange(BEFORE))
    after = world.move()
    known = gathered(before.rules, world.closed)
    to = Moved(2, AFTER, after.begins, known.since)
    merged = {name for name, said in before.said.items() if said == "accepted"}
    for one in devices:
        if chance.random() < 0.5:
            one.ship(before)  # behind the end
    assert merged == {name for name, said in before.said.items() if said == "accepted"}
    for one in devices:
        for _ in range(3):
            one.write(chance.choice(SCOPES), 1)
        one.follow(before, to)
        for _ in range(3):
            one.write(chance.choice(SCOPES), 1)
    for one in devices:
        sent = one.ship(after)
        assert all(batch.topic == "retail.p2.ops" for batch in sent)
        for at in range(AFTER):
            one.pull(after, at)
        assert not one.replica.ship() and not list(one.replica.again.review())
    given = {name: what for one in devices for name, what in one.given.items()}
    assert merged | {name for name, said in after.said.items() if said == "accepted"} == given.keys()
    assert not merged & {name for name, said in after.said.items() if said == "accepted"}
    wanted: Counter[str] = Counter()
    for scope, amount in given.values():
        wanted[scope] += amount
    for scope, amount in wanted.items():
        assert after.value(item(scope), "on_hand") == amount
        tags = after.value(item(scope), "tags")
        assert isinstance(tags, list | frozenset | set) and set(tags) == {
            n for n, (s, _) in given.items() if s == scope
        }
    for one in devices:
        assert {one.replica.entry(name).status.value for name in one.given} <= {"merged"}
        one.replica.close()


def test_the_rights_of_a_device_are_its_next_lifes(tmp_path: Path) -> None:
    """What it had made room for it may use up offline where the space goes on; another device may not."""
    world = World(tmp_path / "cloud", hall.contract.spaces["retail"])
    one, other = (Device(world, name, tmp_path / name, hall.contract) for name in ("store-1", "store-3"))
    at = world.before.place(EVENT.scope)
    one.change(EVENT, "made", [("seats", "increment", [5])])
    one.ship(world.before)
    for device in (one, other):
        device.pull(world.before, at)
    after = world.move()
    to = Moved(2, AFTER, after.begins, gathered(world.before.rules, world.closed).since)
    for device in (one, other):
        device.follow(world.before, to)
    with pytest.raises(AlgebraError):
        other.change(EVENT, "not its own", [("seats", "decrement", [1])])
    one.change(EVENT, "used up", [("seats", "decrement", [5])])
    one.ship(after)
    assert after.said == {"used up": "accepted"} and after.value(EVENT, "seats") == 0
    for device in (one, other):
        device.replica.close()
    world.end()
