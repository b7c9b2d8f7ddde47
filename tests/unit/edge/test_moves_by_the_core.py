"""Devices whose space moves, against the core by which workers merge and lay it anew: whatever was given counts once, and nobody has to be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from driftlog_edge.ports import Record, Sealed
from driftlog_edge.store.carrying import carry
from driftlog_edge.store.moves import Move, Stage, written
from driftlog_schemas import groups
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.moves import Moved
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.state_codec import StateCodec
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.replaying.predecessors import gathered
from tests.unit.edge.replica import Replica, finished
from tests.unit.streams.cloud import IDS, NOW_MS, app
from tests.unit.streams.spread import AFTER, BEFORE, Side, World

SCOPES = tuple(f"store {number}" for number in range(9))
DECLARED = replace(app.contract, spaces={"retail": replace(app.contract.spaces["retail"], partitions=BEFORE)})
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

    def __init__(self, world: World, name: str, folder: Path) -> None:
        self._world, self._name, self._folder = world, name, folder
        self.given: dict[str, tuple[str, int]] = {}
        """command id -> its scope, and by how much it counts up"""
        self._read: Counter[tuple[str, int]] = Counter()
        self._open(DECLARED)

    def _open(self, contract: AppContract) -> None:
        identity = self._world.cloud.identities[self._name]
        self.replica = Replica(self._folder, identity, IDS, scopes=SCOPES, contract=contract)

    def write(self, scope: str, amount: int) -> None:
        """Count up, and put a tag of its own on it."""
        name = f"{self._name}/{len(self.given)}"
        self.given[name] = scope, amount
        changes = [("on_hand", "increment", [amount]), ("tags", "add", [name]), ("name", "set", [name])]
        executed = self.replica.executor.write(item(scope), changes, name, "")
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
        codec = StateCodec(side.rules.space.collections["Stock"], IDS)
        there = [item(scope) for scope in SCOPES if side.place(scope) == at and side.state(item(scope)).vector]
        states = [
            self._record(
                f"{space}.state",
                at,
                document_key(one),
                codec.encode(one, side.state(one)),
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
        contract = carry(self.replica.store, DECLARED, NOW_MS)
        self.replica.close()
        self._open(contract)


def put(side: Side, batch: Sealed) -> None:
    """A batch comes into the log, and is merged if that is open."""
    offset = side.ends[batch.partition]
    side.ends[batch.partition] += 1
    side._merges[batch.partition].take(ChangelogRecord(batch.key, batch.value, offset, (), NOW_MS))


@pytest.mark.parametrize("seed", range(12))
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
