"""A text or list that is founded anew, again and again, under edits that were written before: nobody's run is lost, doubled, torn or moved.

A cloud merges one log. Edges have read it up to some place, and write on what they see, which is that with their own edits on top; what
they wrote comes later. Lives end and others begin. The cloud folds whoever is over, and founds the body anew when it likes; what it was
founded on goes when everybody has read up to there. The conditions are those of `test_sequences` (the strong list specification): what was
inserted and not deleted is there, and no two elements are ever seen in two orders, by anybody, before or after.
"""

from __future__ import annotations

import itertools
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from driftlog_crdt import PAST, BadEncoding, DocumentState, DocumentType, EverybodyBut, Field, Op, Outcome, sequence
from tests.properties.test_sequences import FIELDS, assert_one_order, fresh_runs

STEPS = 120
both = pytest.mark.parametrize("name", list(FIELDS))


class Edge:
    """A life: how far it has read, and its edits that the log has not, each with how far it had read when it wrote it."""

    def __init__(self, replica: str, read: int) -> None:
        self.replica = replica
        self.read = read
        self.unsent: list[tuple[int, Op]] = []
        self.pending: list[Op] = []
        """Those of its edits that what it has read lacks, sent or not."""

    @property
    def behind(self) -> int:
        """Nothing that still comes from here was written with less read."""
        return self.unsent[0][0] if self.unsent else self.read


class World:
    def __init__(self, name: str, seed: int) -> None:
        self.document = DocumentType("Note", {"body": Field(FIELDS[name])}, max_bytes=10_000_000)
        self.random, self.run = Random(seed), fresh_runs(name)
        self.log = [self.document.encode(self.document.new())]
        """The state after each record."""
        self.cloud = self.document.new()
        self.edges = [Edge(f"life.{number}", 0) for number in range(self.random.randint(1, 3))]
        self.lives = itertools.count(3)
        self.over: dict[str, str] = {}
        self.views: list[list[str]] = []
        self.inserted: set[str] = set()
        self.deleted: set[str] = set()
        self.foundings = self.in_flight = 0

    def live(self, steps: int) -> None:
        often = [self.write, self.send, self.read]
        actions = [*often, *often, *often, self.end, self.end, self.end, self.found, self.found]
        for _ in range(steps):
            self.random.choice(actions)(self.random.choice(self.edges))
        for edge in self.edges:
            while edge.unsent:
                self.send(edge)
        self.views.append(self.shown(self.cloud))

    def seen_by(self, edge: Edge) -> DocumentState:
        state = self.document.decode(self.log[edge.read])
        for op in edge.pending:
            assert self.document.apply(state, op, EverybodyBut(edge.replica)).outcome is Outcome.APPLIED
        return state

    def shown(self, state: DocumentState) -> list[str]:
        body: Any = self.document.values(state)["body"]
        return list(body)

    def write(self, edge: Edge) -> None:
        state = self.seen_by(edge)
        seen = self.shown(state)
        place = self.random.randint(0, len(seen))
        if place < len(seen) and self.random.random() < 0.4:
            count = self.random.randint(1, min(3, len(seen) - place))
            self.deleted.update(seen[place : place + count])
            expected = seen[:place] + seen[place + count :]
            op = self.document.prepare(state, edge.replica, 0, "body", "delete", [place, count])
        else:
            run = self.run(self.random.randint(1, 3))
            self.inserted.update(run)
            expected = seen[:place] + list(run) + seen[place:]
            op = self.document.prepare(state, edge.replica, 0, "body", "insert", [place, run])
        edge.unsent.append((edge.read, op))
        edge.pending.append(op)
        self.document.apply(state, op, EverybodyBut(edge.replica))
        assert self.shown(state) == expected
        self.views.append(expected)

    def send(self, edge: Edge) -> None:
        """The cloud merges its oldest edit."""
        if edge.unsent:
            read, op = edge.unsent.pop(0)
            before = self.cloud.fields["body"].before if self.cloud.fields else None
            self.in_flight += before is not None and read < before.at
            assert self.document.apply(self.cloud, op, self.over).outcome is Outcome.APPLIED
            self.record()

    def record(self) -> None:
        data = self.document.encode(self.cloud)
        again = self.document.decode(data)
        assert self.document.encode(again) == data
        assert self.shown(again) == self.shown(self.cloud)
        late = self.document.decode(self.random.choice(self.log))
        assert self.document.encode(self.document.join(late, again)) == data
        assert self.document.encode(self.document.join(again, late)) == data
        if self.random.random() < 0.5:
            self.cloud = again  # its worker began anew
        self.log.append(data)
        self.views.append(self.shown(self.cloud))

    def read(self, edge: Edge) -> None:
        """It hears of more of the log; what is in it is pending no longer."""
        edge.read = self.random.randint(edge.read, len(self.log) - 1)
        vector = self.document.decode(self.log[edge.read]).vector
        edge.pending = [op for op in edge.pending if op.seq > vector.get(op.replica, 0)]
        self.views.append(self.shown(self.seen_by(edge)))

    def end(self, edge: Edge) -> None:
        """A life is over when it has sent all; another begins that has read all."""
        if self.random.random() < 0.7:
            while edge.unsent:
                self.send(edge)
            self.edges[self.edges.index(edge)] = Edge(f"life.{next(self.lives)}", len(self.log) - 1)

    def found(self, edge: Edge) -> None:
        """The lives are folded of which everybody has seen everything."""
        floor = min(one.behind for one in self.edges)
        known = self.document.decode(self.log[floor]).vector
        here = {PAST, *(one.replica for one in self.edges)}
        gone = {r: r for r, seq in self.cloud.vector.items() if r not in here and known.get(r, 0) >= seq}
        if self.document.fold(self.cloud, gone):
            self.over.update(gone)
            before = self.shown(self.cloud)
            kept = self.cloud.fields["body"].before
            self.document.found(self.cloud, len(self.log), floor)
            assert self.shown(self.cloud) == before
            self.foundings += self.cloud.fields["body"].before is not kept
            self.record()


@both
@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_founded_anew_under_edits_that_are_on_their_way(name: str, seed: int) -> None:
    with patch.object(sequence, "FEW", 0):
        world = World(name, seed)
        world.live(STEPS)
    assert sorted(world.views[-1]) == sorted(world.inserted - world.deleted)
    assert_one_order(world.views)


@pytest.mark.slow
def test_the_worlds_meet_what_they_are_for() -> None:
    with patch.object(sequence, "FEW", 0):
        worlds = [World("text", seed) for seed in range(40)]
        for world in worlds:
            world.live(STEPS)
    assert sum(world.foundings for world in worlds) >= 40
    assert sum(world.in_flight for world in worlds) >= 40


@both
@settings(max_examples=60)
@given(data=st.data(), seed=st.integers(0, 40))
def test_any_other_bytes_of_what_was_founded_are_refused_or_hurt_nothing(
    name: str, data: st.DataObject, seed: int
) -> None:
    with patch.object(sequence, "FEW", 0):
        world = World(name, seed)
        world.live(STEPS)
    kind = world.document
    bodies = [kind.decode(state).fields.get("body") for state in world.log]
    founded = [kind.merge_type("body").encode(body) for body in bodies if body is not None and body.before is not None]
    assume(founded)
    good = data.draw(st.sampled_from(founded))
    place = data.draw(st.integers(0, len(good) - 1))
    bad = data.draw(
        st.sampled_from(
            [
                good[:place],
                good[:place] + bytes([data.draw(st.integers(0, 255))]) + good[place + 1 :],
                good + good[place:],
            ]
        )
    )
    merge: Any = kind.merge_type("body")
    try:
        state = merge.decode(bad)
    except BadEncoding:
        return
    assert merge.encode(merge.decode(merge.encode(state))) == merge.encode(state)
    for edge in world.edges:
        for op in edge.pending:
            if merge.takes_effect(state, op):
                merge.apply(state, op)
    merge.value(merge.decode(merge.encode(state)))
